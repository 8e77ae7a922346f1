//! STAMP test packets: RFC 8762 with the session identifier of RFC 8972, unauthenticated and authenticated.
//!
//! A session-sender numbers and stamps its packets; a session-reflector sends each back with its own number, the time it
//! came in and the time it left, in a packet of the same length. STAMP has no bit for the direction, but octets 16 to 23
//! of an unauthenticated request are zero, and those of a reply the receive timestamp (authenticated: octets 32 to 39).
//! Whoever answers only requests with zeros there cannot be drawn into an endless exchange with another reflector.
//!
//! Unauthenticated, 44 octets (RFC 8762 figures 2 and 5, RFC 8972 figures 1 and 2):
//! ```text
//!  Session-sender                           Session-reflector
//!  0                   1      1       3     0                   1      1       3
//!  0 1 2 3 4 5 6 7 8 9 0 ... 5 6 ...  1     0 1 2 3 4 5 6 7 8 9 0 ... 5 6 ...  1
//! +--------------------------------+       +--------------------------------+
//! |        Sequence Number         |   0   |        Sequence Number         |
//! +--------------------------------+       +--------------------------------+
//! |           Timestamp            |   4   |           Timestamp            |
//! |                                |       |                                |
//! +----------------+---------------+       +----------------+---------------+
//! | Error Estimate |     SSID      |  12   | Error Estimate |     SSID      |
//! +----------------+---------------+       +----------------+---------------+
//! |                                |  16   |       Receive Timestamp        |
//! |                                |       |                                |
//! |                                |       +--------------------------------+
//! |                                |  24   | Session-Sender Sequence Number |
//! |                                |       +--------------------------------+
//! |       MBZ (28 octets)          |  28   |    Session-Sender Timestamp    |
//! |                                |       |                                |
//! |                                |       +----------------+---------------+
//! |                                |  36   | S-S Error Est. |      MBZ      |
//! |                                |       +-------+--------+---------------+
//! |                                |  40   |S-S TTL|         MBZ            |
//! +--------------------------------+       +-------+------------------------+
//! ```
//! Authenticated, 112 octets (RFC 8762 figures 3 and 6): the same fields spread over blocks of 16 octets, and the first
//! 16 octets of HMAC-SHA-256 over the 96 before them; see [`Layout`] for the places.

pub mod time;
pub mod tlv;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use time::{ErrorEstimate, Timestamp};

/// Octets of an unauthenticated test packet, either way.
pub const LEN: usize = 44;
/// Octets of an authenticated test packet, either way.
pub const AUTH_LEN: usize = 112;
/// STAMP's own UDP port.
pub const PORT: u16 = 862;

/// Octets of an HMAC on the wire.
const TAG: usize = 16;
/// Where the HMAC of an authenticated packet stands, and how many octets before it it covers.
const TAG_AT: usize = 96;

/// Where the fields of a packet stand.
struct Layout {
    len: usize,
    timestamp: usize,
    received: usize,
    sender_seq: usize,
    sender_timestamp: usize,
    sender_error: usize,
    ttl: usize,
}

const OPEN: Layout =
    Layout { len: LEN, timestamp: 4, received: 16, sender_seq: 24, sender_timestamp: 28, sender_error: 36, ttl: 40 };
const AUTHENTICATED: Layout = Layout {
    len: AUTH_LEN,
    timestamp: 16,
    received: 32,
    sender_seq: 48,
    sender_timestamp: 64,
    sender_error: 72,
    ttl: 80,
};

/// A datagram that is not the test packet asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StampError {
    /// Fewer octets than the packet has.
    #[error("{0} octets: a STAMP packet has at least {1}")]
    Short(usize, usize),
    /// Its receive timestamp is not zero: a reply, where a request was wanted.
    #[error("its receive timestamp is not zero: a reply, not a request")]
    Reply,
    /// Its receive timestamp is zero: a request, or an echo of one, where a reply was wanted.
    #[error("its receive timestamp is zero: a request, not a reply")]
    Request,
    /// Its HMAC is not the key's.
    #[error("its HMAC does not fit the key")]
    Forged,
}

/// A shared key of the authenticated mode.
#[derive(Clone)]
pub struct Key(Hmac<Sha256>);

impl Key {
    /// A key from its octets; any length will do, 32 random ones are best (RFC 8762 section 4.4).
    #[must_use]
    pub fn new(octets: &[u8]) -> Option<Self> {
        Hmac::new_from_slice(octets).ok().map(Self)
    }

    fn tag(&self, parts: &[&[u8]]) -> [u8; TAG] {
        let full = self.over(parts).finalize().into_bytes();
        let mut tag = [0; TAG];
        for (to, from) in tag.iter_mut().zip(full) {
            *to = from;
        }
        tag
    }

    fn over(&self, parts: &[&[u8]]) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        for part in parts {
            mac.update(part);
        }
        mac
    }

    /// Compares in constant time.
    fn fits(&self, parts: &[&[u8]], tag: &[u8]) -> bool {
        tag.len() == TAG && self.over(parts).verify_truncated_left(tag).is_ok()
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}

/// What a session-sender sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// Its number within the session.
    pub seq: u32,
    /// When it left.
    pub timestamp: Timestamp,
    /// How good that clock is.
    pub error: ErrorEstimate,
    /// The session, zero where the sender knows none.
    pub ssid: u16,
}

/// What a session-reflector sends back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply {
    /// The reflector's own number (stateful), or the sender's again (stateless).
    pub seq: u32,
    /// When the reply left.
    pub timestamp: Timestamp,
    /// How good the reflector's clock is.
    pub error: ErrorEstimate,
    /// The session, as the sender gave it.
    pub ssid: u16,
    /// When the request came in.
    pub received: Timestamp,
    /// The request's number.
    pub sender_seq: u32,
    /// The request's timestamp.
    pub sender_timestamp: Timestamp,
    /// The request's error estimate.
    pub sender_error: ErrorEstimate,
    /// The request's time to live, or hop limit, on arrival.
    pub sender_ttl: u8,
}

fn layout(key: Option<&Key>) -> &'static Layout {
    if key.is_some() { &AUTHENTICATED } else { &OPEN }
}

/// Octets of the test packet itself in the mode that `key` says.
#[must_use]
pub fn base_len(key: Option<&Key>) -> usize {
    layout(key).len
}

/// Where the timestamp of a request begins in the mode that `key` says, as an ICMP error quotes it.
#[must_use]
pub fn timestamp_place(key: Option<&Key>) -> usize {
    layout(key).timestamp
}

fn get<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
}

fn set<const N: usize>(bytes: &mut [u8], at: usize, value: [u8; N]) {
    if let Some(place) = bytes.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
        *place = value;
    }
}

/// The packet proper, once its length and its HMAC are seen to be right.
fn checked<'a>(bytes: &'a [u8], key: Option<&Key>) -> Result<&'a [u8], StampError> {
    let len = base_len(key);
    let packet = bytes.get(..len).ok_or(StampError::Short(bytes.len(), len))?;
    let (covered, tag) = packet.split_at_checked(TAG_AT).unwrap_or((packet, &[]));
    match key {
        Some(key) if !key.fits(&[covered], tag) => Err(StampError::Forged),
        _ => Ok(packet),
    }
}

fn seal(packet: &mut [u8], key: Option<&Key>) {
    if let (Some(key), Some((covered, tag))) = (key, packet.split_at_mut_checked(TAG_AT)) {
        set(tag, 0, key.tag(&[covered]));
    }
}

impl Request {
    /// Writes the packet at the start of `bytes`, authenticated if there is a key; what follows it is left alone.
    ///
    /// # Errors
    /// [`StampError::Short`] if there is no room.
    pub fn write(&self, bytes: &mut [u8], key: Option<&Key>) -> Result<(), StampError> {
        let at = layout(key);
        let len = bytes.len();
        let packet = bytes.get_mut(..at.len).ok_or(StampError::Short(len, at.len))?;
        packet.fill(0);
        set(packet, 0, self.seq.to_be_bytes());
        set(packet, at.timestamp, self.timestamp.0.to_be_bytes());
        set(packet, at.timestamp + 8, self.error.0.to_be_bytes());
        set(packet, at.timestamp + 10, self.ssid.to_be_bytes());
        seal(packet, key);
        Ok(())
    }

    /// Reads a request, authenticated if there is a key; TLVs may follow it.
    ///
    /// # Errors
    /// What is not a request: too short, forged, or a reply.
    pub fn read(bytes: &[u8], key: Option<&Key>) -> Result<Self, StampError> {
        let at = layout(key);
        let packet = checked(bytes, key)?;
        if get(packet, at.received) != [0; 8] {
            return Err(StampError::Reply);
        }
        Ok(Self {
            seq: u32::from_be_bytes(get(packet, 0)),
            timestamp: Timestamp(u64::from_be_bytes(get(packet, at.timestamp))),
            error: ErrorEstimate(u16::from_be_bytes(get(packet, at.timestamp + 8))),
            ssid: u16::from_be_bytes(get(packet, at.timestamp + 10)),
        })
    }

    /// The number and session of a request of which only the beginning is known, as an ICMP error quotes it; unchecked.
    #[must_use]
    pub fn peek(bytes: &[u8], authenticated: bool) -> Option<(u32, u16)> {
        let at = if authenticated { &AUTHENTICATED } else { &OPEN };
        let ssid = at.timestamp + 10;
        (bytes.len() >= ssid + 2).then(|| (u32::from_be_bytes(get(bytes, 0)), u16::from_be_bytes(get(bytes, ssid))))
    }
}

impl Reply {
    /// Writes the packet at the start of `bytes`, authenticated if there is a key; what follows it is left alone.
    ///
    /// # Errors
    /// [`StampError::Short`] if there is no room.
    pub fn write(&self, bytes: &mut [u8], key: Option<&Key>) -> Result<(), StampError> {
        let at = layout(key);
        let len = bytes.len();
        let packet = bytes.get_mut(..at.len).ok_or(StampError::Short(len, at.len))?;
        packet.fill(0);
        set(packet, 0, self.seq.to_be_bytes());
        set(packet, at.timestamp, self.timestamp.0.to_be_bytes());
        set(packet, at.timestamp + 8, self.error.0.to_be_bytes());
        set(packet, at.timestamp + 10, self.ssid.to_be_bytes());
        set(packet, at.received, self.received.0.to_be_bytes());
        set(packet, at.sender_seq, self.sender_seq.to_be_bytes());
        set(packet, at.sender_timestamp, self.sender_timestamp.0.to_be_bytes());
        set(packet, at.sender_error, self.sender_error.0.to_be_bytes());
        set(packet, at.ttl, [self.sender_ttl]);
        seal(packet, key);
        Ok(())
    }

    /// Reads a reply, authenticated if there is a key; TLVs may follow it.
    ///
    /// # Errors
    /// What is not a reply: too short, forged, or a request.
    pub fn read(bytes: &[u8], key: Option<&Key>) -> Result<Self, StampError> {
        let at = layout(key);
        let packet = checked(bytes, key)?;
        let received = Timestamp(u64::from_be_bytes(get(packet, at.received)));
        if received.0 == 0 {
            return Err(StampError::Request);
        }
        let [sender_ttl] = get(packet, at.ttl);
        Ok(Self {
            seq: u32::from_be_bytes(get(packet, 0)),
            timestamp: Timestamp(u64::from_be_bytes(get(packet, at.timestamp))),
            error: ErrorEstimate(u16::from_be_bytes(get(packet, at.timestamp + 8))),
            ssid: u16::from_be_bytes(get(packet, at.timestamp + 10)),
            received,
            sender_seq: u32::from_be_bytes(get(packet, at.sender_seq)),
            sender_timestamp: Timestamp(u64::from_be_bytes(get(packet, at.sender_timestamp))),
            sender_error: ErrorEstimate(u16::from_be_bytes(get(packet, at.sender_error))),
            sender_ttl,
        })
    }
}

/// Octets that [`write_request`] adds in authenticated mode before padding: the HMAC TLV.
const TAG_TLV: usize = tlv::HEADER + TAG;

/// Writes a whole request of `bytes.len()` octets: the packet, room for the responder's name, padding; authenticated
/// TLVs end with an HMAC of their own (RFC 8972 section 4.8).
///
/// # Errors
/// [`StampError::Short`] if there is no room for the packet itself.
pub fn write_request(bytes: &mut [u8], request: &Request, key: Option<&Key>) -> Result<(), StampError> {
    request.write(bytes, key)?;
    let Some((_, area)) = bytes.split_at_mut_checked(base_len(key)) else { return Ok(()) };
    let Some(key) = key else {
        tlv::put_request(area);
        return Ok(());
    };
    match area.len().checked_sub(TAG_TLV).and_then(|len| area.split_at_mut_checked(len)) {
        Some((named, sealed)) => {
            tlv::put_request(named);
            tlv::put_zeros(sealed, tlv::HMAC, TAG);
            seal_tlvs(area, request.seq, key);
        }
        None => area.fill(0),
    }
    Ok(())
}

/// Writes the HMAC over `seq` and the TLVs before it into the HMAC TLV, if there is one.
pub fn seal_tlvs(area: &mut [u8], seq: u32, key: &Key) {
    if let Some((covered, tag)) = tag_place(area).and_then(|at| area.split_at_mut_checked(at)) {
        set(tag, tlv::HEADER, key.tag(&[&seq.to_be_bytes(), covered]));
    }
}

/// Whether the TLVs may be believed: there are none, or their HMAC fits.
#[must_use]
pub fn tlvs_fit(area: &[u8], seq: u32, key: &Key) -> bool {
    if area.is_empty() {
        return true;
    }
    let Some((covered, tag)) = tag_place(area).and_then(|at| area.split_at_checked(at)) else { return false };
    key.fits(&[&seq.to_be_bytes(), covered], tag.get(tlv::HEADER..TAG_TLV).unwrap_or_default())
}

/// Where the HMAC TLV begins.
fn tag_place(area: &[u8]) -> Option<usize> {
    let mut at = 0;
    for tlv in tlv::tlvs(area) {
        if tlv.kind == tlv::HMAC {
            return (tlv.value.len() == TAG).then_some(at);
        }
        at += tlv::HEADER + tlv.value.len();
    }
    None
}

#[cfg(test)]
mod tests;
