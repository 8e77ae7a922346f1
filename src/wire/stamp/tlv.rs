//! What may follow a STAMP test packet: type, length, value (RFC 8972 section 4).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |U|M|I|R R R R R|     Type      |            Length             |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ~                            Value                              ~
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```
//! A sender sets U; a reflector clears it where it knows the type, sets M where the TLV runs over the packet's end, and
//! I where an HMAC does not fit.

/// Flag U: the reflector does not know the type.
pub const UNRECOGNISED: u8 = 0x80;
/// Flag M: the TLV is malformed.
pub const MALFORMED: u8 = 0x40;
/// Flag I: the HMAC over the TLVs is wrong.
pub const INTEGRITY: u8 = 0x20;

/// Extra Padding (RFC 8972 section 4.1).
pub const PADDING: u8 = 1;
/// HMAC over the sequence number and the TLVs before it (RFC 8972 section 4.8).
pub const HMAC: u8 = 8;
/// Who answered: our own, from the range for private use (252 to 254). One octet of flags, of which bit 0 says that the
/// reflector counts the replies of each session itself, then its name in UTF-8, filled up with zeros. A request
/// carries zeros, as many as the reply may use.
pub const RESPONDER: u8 = 252;

/// The reflector numbers the replies of each session itself.
pub const RESPONDER_STATEFUL: u8 = 0x01;

/// Octets before the value.
pub const HEADER: usize = 4;
/// The shortest value of a [`RESPONDER`] TLV that can hold a short name and its hash.
pub const RESPONDER_MIN: usize = 20;
/// The longest value of a [`RESPONDER`] TLV that a sender asks for: a name of 63 octets, as of a DNS label.
pub const RESPONDER_MAX: usize = 64;

/// A TLV within a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tlv<'a> {
    /// Flags U, M and I.
    pub flags: u8,
    /// Type.
    pub kind: u8,
    /// Value.
    pub value: &'a [u8],
}

/// The TLVs of what follows a test packet, up to the first that is malformed.
#[derive(Debug, Clone)]
pub struct Tlvs<'a>(&'a [u8]);

/// Reads what follows a test packet.
#[must_use]
pub const fn tlvs(area: &[u8]) -> Tlvs<'_> {
    Tlvs(area)
}

impl<'a> Iterator for Tlvs<'a> {
    type Item = Tlv<'a>;

    fn next(&mut self) -> Option<Tlv<'a>> {
        let [flags, kind, high, low, rest @ ..] = self.0 else { return None };
        let (value, after) = rest.split_at_checked(usize::from(u16::from_be_bytes([*high, *low])))?;
        self.0 = after;
        Some(Tlv { flags: *flags, kind: *kind, value })
    }
}

/// Writes a TLV with value zero at the start of `area` and returns what is left of it; `None`, and nothing written, if
/// it does not fit.
pub fn put_zeros(area: &mut [u8], kind: u8, len: usize) -> Option<&mut [u8]> {
    let [high, low] = u16::try_from(len).ok()?.to_be_bytes();
    let (tlv, rest) = area.split_at_mut_checked(HEADER + len)?;
    let (header, value) = tlv.split_at_mut_checked(HEADER)?;
    header.copy_from_slice(&[UNRECOGNISED, kind, high, low]);
    value.fill(0);
    Some(rest)
}

/// Writes what follows a request of ours: room for the responder's name as far as there is some, then padding.
pub fn put_request(area: &mut [u8]) {
    let room = area.len().saturating_sub(HEADER).min(RESPONDER_MAX);
    let mut rest = area;
    if room >= RESPONDER_MIN {
        rest = put_zeros(rest, RESPONDER, room).unwrap_or_default();
    }
    match rest.len().checked_sub(HEADER) {
        Some(len) => {
            put_zeros(rest, PADDING, len);
        }
        None => rest.fill(0),
    }
}

/// Who answers, as a reflector tells it.
#[derive(Debug, Clone, Copy)]
pub struct Responder<'a> {
    /// The name, at most 63 octets of it are told.
    pub name: &'a str,
    /// Whether it numbers its replies itself.
    pub stateful: bool,
}

/// Turns the TLVs of a request into those of its reply, in place: same places, same lengths.
///
/// Padding goes back as zeros, and so does what is no TLV: a reflector must not carry text to whoever a forged source
/// address names.
pub fn reflect(area: &mut [u8], responder: Responder<'_>) {
    let mut rest = area;
    while rest.len() >= HEADER {
        let Some((header, after)) = rest.split_first_chunk_mut::<HEADER>() else { return };
        let [flags, kind, high, low] = header;
        let len = usize::from(u16::from_be_bytes([*high, *low]));
        if len > after.len() {
            *flags |= MALFORMED;
            after.fill(0);
            return;
        }
        let (value, next) = after.split_at_mut(len);
        match *kind {
            PADDING => {
                *flags &= !UNRECOGNISED;
                value.fill(0);
            }
            RESPONDER => {
                *flags &= !UNRECOGNISED;
                put_responder(value, responder);
            }
            HMAC => {}
            _ => *flags |= UNRECOGNISED,
        }
        rest = next;
    }
    rest.fill(0);
}

/// Fills a value with flags and name; what does not fit is cut at a character's end.
fn put_responder(value: &mut [u8], responder: Responder<'_>) {
    value.fill(0);
    let Some((flags, room)) = value.split_first_mut() else { return };
    *flags = if responder.stateful { RESPONDER_STATEFUL } else { 0 };
    let end = responder.name.floor_char_boundary(room.len());
    for (to, from) in room.iter_mut().zip(responder.name.bytes().take(end)) {
        *to = from;
    }
}

/// Who answered, as a reply tells it: a name (empty if it told none) and whether the reflector numbers its replies.
/// `None` if the reflector does not know this TLV, or the name is no text.
#[must_use]
pub fn responder(area: &[u8]) -> Option<Responder<'_>> {
    let tlv = tlvs(area).find(|tlv| tlv.kind == RESPONDER && tlv.flags & (UNRECOGNISED | MALFORMED) == 0)?;
    let (flags, name) = tlv.value.split_first()?;
    let end = name.iter().position(|octet| *octet == 0).unwrap_or(name.len());
    let name = std::str::from_utf8(name.get(..end)?).ok()?;
    let printable = name.chars().all(|c| !c.is_control());
    printable.then_some(Responder { name, stateful: flags & RESPONDER_STATEFUL != 0 })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_responder_fills_the_room_that_it_was_given_and_no_more() {
        let mut area = vec![0xee; 100];
        put_request(&mut area);
        assert_eq!(&area[..5], [0x80, 252, 0, 64, 0]);
        assert_eq!(&area[68..73], [0x80, 1, 0, 28, 0]);
        reflect(&mut area, Responder { name: "node-7", stateful: true });
        assert_eq!(&area[..12], [0, 252, 0, 64, 1, b'n', b'o', b'd', b'e', b'-', b'7', 0]);
        let answer = responder(&area).unwrap();
        assert_eq!((answer.name, answer.stateful), ("node-7", true));
    }

    #[test]
    fn a_name_too_long_is_cut_at_a_character() {
        let mut area = vec![0; HEADER + RESPONDER_MIN];
        put_request(&mut area);
        reflect(&mut area, Responder { name: &"ü".repeat(40), stateful: false });
        assert_eq!(responder(&area).unwrap().name, "ü".repeat(9));
    }

    #[test]
    fn a_malformed_tlv_is_marked_and_carries_nothing_back() {
        let mut area = vec![0x80, 1, 0, 200, b't', b'e', b'x', b't'];
        reflect(&mut area, Responder { name: "n", stateful: false });
        assert_eq!(area, [0xc0, 1, 0, 200, 0, 0, 0, 0]);
        assert!(responder(&area).is_none());
    }

    #[test]
    fn an_unknown_type_goes_back_unrecognised() {
        let mut area = vec![0, 77, 0, 1, 9, b'x'];
        reflect(&mut area, Responder { name: "n", stateful: false });
        assert_eq!(area, [0x80, 77, 0, 1, 9, 0]);
    }

    proptest! {
        #[test]
        fn any_octets_are_reflected_without_panic(mut area in prop::collection::vec(any::<u8>(), 0..200)) {
            let len = area.len();
            let _ = tlvs(&area).count();
            let _ = responder(&area);
            reflect(&mut area, Responder { name: "node", stateful: true });
            prop_assert_eq!(area.len(), len);
        }

        #[test]
        fn a_request_of_any_size_is_whole_tlvs(len in 0usize..300) {
            let mut area = vec![0xff; len];
            put_request(&mut area);
            let used: usize = tlvs(&area).map(|tlv| HEADER + tlv.value.len()).sum();
            prop_assert!(len - used < HEADER);
            prop_assert_eq!(tlvs(&area).any(|tlv| tlv.kind == RESPONDER), len >= HEADER + RESPONDER_MIN);
        }
    }
}
