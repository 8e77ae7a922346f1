//! Neighbour solicitations and advertisements with their IPv6 header: RFC 4861 sections 4.3, 4.4 and 4.6.1.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |  6    | Traffic class |              Flow label               |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |        Payload length         | Next h. (58)  | Hop limit 255 |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! /                   Source, destination (16 octets each)        /
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |  Type 135/136 |   Code (0)    |           Checksum            |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |R|S|O|                     Reserved                            |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! /                   Target address (16 octets)                  /
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |   Type 1/2    |  Length (1)   |     Link-layer address …      |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                   … link-layer address                        |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```
//! The flags are an advertisement's only: router, solicited, override.

use std::net::Ipv6Addr;

/// Octets of the longest packet that [`Ndp::write`] makes.
pub const MAX_LEN: usize = HEADER + MESSAGE + OPTION;

const HEADER: usize = 40;
const MESSAGE: usize = 24;
const OPTION: usize = 8;
const ICMPV6: u8 = 58;
const HOP_LIMIT: u8 = 255;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
const SOURCE_LINK_LAYER: u8 = 1;
const TARGET_LINK_LAYER: u8 = 2;
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;

/// All nodes of a link (RFC 4291 section 2.7.1).
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// A message with the addresses it travels between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ndp {
    /// Who sends; `::` while it asks whether an address is free (RFC 4862 section 5.4.2).
    pub source: Ipv6Addr,
    /// Who shall take it.
    pub destination: Ipv6Addr,
    /// The address that the message is about.
    pub target: Ipv6Addr,
    /// The source's (solicitation) or the target's (advertisement) Ethernet address, where it is given.
    pub mac: Option<[u8; 6]>,
    /// Solicitation or advertisement.
    pub kind: Kind,
}

/// Which of the two messages it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// "Who has the target?"
    Solicitation,
    /// "The target is here."
    Advertisement {
        /// It answers a solicitation.
        solicited: bool,
        /// What is cached shall be replaced.
        overrides: bool,
    },
}

/// A payload that is no valid neighbour solicitation or advertisement (RFC 4861 sections 7.1.1 and 7.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NdpError {
    /// It ends before the message or one of its options does.
    #[error("cut off after {0} octets")]
    Short(usize),
    /// Not IPv6 with ICMPv6 as its first payload, or another message.
    #[error("neither a neighbour solicitation nor an advertisement")]
    Other,
    /// It came through a router.
    #[error("its hop limit is {0} and not 255, so it is not from this link")]
    HopLimit(u8),
    /// The checksum is wrong.
    #[error("its checksum is wrong")]
    Checksum,
    /// A field has a value that the RFC forbids; the text says which.
    #[error("{0}")]
    Forbidden(&'static str),
}

impl Ndp {
    /// The multicast group that whoever has `ip` listens to (RFC 4291 section 2.7.1).
    #[must_use]
    pub const fn solicited_node(ip: Ipv6Addr) -> Ipv6Addr {
        let [.., high, low] = ip.segments();
        Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | (high & 0xff), low)
    }

    /// The Ethernet address of a multicast group (RFC 2464 section 7).
    #[must_use]
    pub const fn multicast_mac(group: Ipv6Addr) -> [u8; 6] {
        let [.., a, b, c, d] = group.octets();
        [0x33, 0x33, a, b, c, d]
    }

    /// Reads the payload of an Ethernet frame; what follows the packet is padding and is not looked at.
    ///
    /// # Errors
    /// [`NdpError`], the first thing that is wrong.
    pub fn read(payload: &[u8]) -> Result<Self, NdpError> {
        let (header, rest) = payload.split_first_chunk::<HEADER>().ok_or(NdpError::Short(payload.len()))?;
        if header[0] >> 4 != 6 || header[6] != ICMPV6 {
            return Err(NdpError::Other);
        }
        let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
        let message = rest.get(..length).ok_or(NdpError::Short(payload.len()))?;
        let (fixed, options) = message.split_first_chunk::<MESSAGE>().ok_or(NdpError::Short(payload.len()))?;
        if !matches!(fixed[0], SOLICITATION | ADVERTISEMENT) {
            return Err(NdpError::Other);
        }
        if header[7] != HOP_LIMIT {
            return Err(NdpError::HopLimit(header[7]));
        }
        let (source, destination) = (ip(header, 8), ip(header, 24));
        if checksum(source, destination, message) != 0 {
            return Err(NdpError::Checksum);
        }
        let solicitation = fixed[0] == SOLICITATION;
        let wanted = if solicitation { SOURCE_LINK_LAYER } else { TARGET_LINK_LAYER };
        let ndp = Self {
            source,
            destination,
            target: ip(fixed, 8),
            mac: link_layer(options, wanted)?,
            kind: if solicitation {
                Kind::Solicitation
            } else {
                Kind::Advertisement { solicited: fixed[4] & SOLICITED != 0, overrides: fixed[4] & OVERRIDE != 0 }
            },
        };
        if fixed[1] != 0 {
            return Err(NdpError::Forbidden("its code is not 0"));
        }
        ndp.check()?;
        Ok(ndp)
    }

    fn check(&self) -> Result<(), NdpError> {
        let probe = self.source.is_unspecified();
        match self.kind {
            _ if self.target.is_multicast() => Err(NdpError::Forbidden("its target is a multicast address")),
            Kind::Solicitation if probe && self.mac.is_some() => {
                Err(NdpError::Forbidden("it has no source address but a source link-layer address"))
            }
            Kind::Solicitation if probe && self.destination != Self::solicited_node(self.target) => {
                Err(NdpError::Forbidden("it has no source address and does not go to the target's multicast group"))
            }
            Kind::Advertisement { solicited: true, .. } if self.destination.is_multicast() => {
                Err(NdpError::Forbidden("it goes to a multicast group and says that it was solicited"))
            }
            Kind::Solicitation | Kind::Advertisement { .. } => Ok(()),
        }
    }

    /// Writes the packet, with its checksum, at the start of `bytes`, and returns how many octets it has.
    pub fn write(&self, bytes: &mut [u8; MAX_LEN]) -> usize {
        let length = MESSAGE + if self.mac.is_some() { OPTION } else { 0 };
        let (header, message) = bytes.split_at_mut(HEADER);
        let message = &mut message[..length];
        header.fill(0);
        message.fill(0);
        header[0] = 6 << 4;
        header[5] = u8::try_from(length).expect("at most 32");
        header[6] = ICMPV6;
        header[7] = HOP_LIMIT;
        header[8..24].copy_from_slice(&self.source.octets());
        header[24..].copy_from_slice(&self.destination.octets());
        let option = match self.kind {
            Kind::Solicitation => {
                message[0] = SOLICITATION;
                SOURCE_LINK_LAYER
            }
            Kind::Advertisement { solicited, overrides } => {
                message[0] = ADVERTISEMENT;
                message[4] = if solicited { SOLICITED } else { 0 } | if overrides { OVERRIDE } else { 0 };
                TARGET_LINK_LAYER
            }
        };
        message[8..24].copy_from_slice(&self.target.octets());
        if let Some(mac) = self.mac {
            message[24] = option;
            message[25] = 1;
            message[26..].copy_from_slice(&mac);
        }
        let sum = checksum(self.source, self.destination, message);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        HEADER + length
    }
}

fn ip<const N: usize>(bytes: &[u8; N], at: usize) -> Ipv6Addr {
    let octets: [u8; 16] = std::array::from_fn(|n| bytes[at + n]);
    octets.into()
}

/// The Ethernet address in the first option of this type. Options of other types are passed over (RFC 4861 4.6).
fn link_layer(mut options: &[u8], wanted: u8) -> Result<Option<[u8; 6]>, NdpError> {
    let mut found = None;
    while let [kind, units, ..] = *options {
        if units == 0 {
            return Err(NdpError::Forbidden("it has an option of length 0"));
        }
        let (option, rest) =
            options.split_at_checked(usize::from(units) * 8).ok_or(NdpError::Forbidden("an option is cut off"))?;
        if kind == wanted && found.is_none() && option.len() == OPTION {
            found = Some(std::array::from_fn(|n| option[2 + n]));
        }
        options = rest;
    }
    if options.is_empty() { Ok(found) } else { Err(NdpError::Forbidden("an option is cut off")) }
}

/// The ICMPv6 checksum over pseudo-header and message (RFC 4443 section 2.3, RFC 1071); 0 over a message that has the
/// right one.
fn checksum(source: Ipv6Addr, destination: Ipv6Addr, message: &[u8]) -> u16 {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let words = source.segments().into_iter().chain(destination.segments()).map(u32::from);
    let pseudo = words.sum::<u32>() + (length >> 16) + (length & 0xffff) + u32::from(ICMPV6);
    let mut sum = message.chunks(2).fold(u64::from(pseudo), |sum, pair| {
        sum + u64::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]))
    });
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).expect("folded to 16 bits")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(ndp: &Ndp) -> Vec<u8> {
        let mut bytes = [0xaa; MAX_LEN];
        let length = ndp.write(&mut bytes);
        bytes[..length].to_vec()
    }

    fn advertisement() -> Ndp {
        let ip = "2001:db8:1::20".parse().unwrap();
        Ndp {
            source: ip,
            destination: ALL_NODES,
            target: ip,
            mac: Some([2, 0, 0, 0, 0, 1]),
            kind: Kind::Advertisement { solicited: false, overrides: true },
        }
    }

    /// Recomputes the checksum after an octet of the message was changed.
    fn resum(bytes: &mut [u8]) {
        bytes[42..44].fill(0);
        let sum = checksum(
            ip::<16>(bytes[8..24].try_into().unwrap(), 0),
            ip::<16>(bytes[24..40].try_into().unwrap(), 0),
            &bytes[40..],
        );
        bytes[42..44].copy_from_slice(&sum.to_be_bytes());
    }

    #[test]
    fn the_bytes_of_an_advertisement() {
        // The checksum was computed apart from this code.
        let text = "60000000 0020 3a ff 20010db8000100000000000000000020 ff020000000000000000000000000001 \
                    88 00 f8ea 20000000 20010db8000100000000000000000020 02 01 020000000001";
        let hex: String = written(&advertisement()).iter().map(|octet| format!("{octet:02x}")).collect();
        assert_eq!(hex, text.replace(' ', ""));
    }

    #[test]
    fn groups_and_their_ethernet_addresses() {
        let group = Ndp::solicited_node("2001:db8::1:800:200e:8c6c".parse().unwrap());
        assert_eq!(group.to_string(), "ff02::1:ff0e:8c6c", "the example of RFC 4291");
        assert_eq!(Ndp::multicast_mac(group), [0x33, 0x33, 0xff, 0x0e, 0x8c, 0x6c]);
    }

    #[test]
    fn what_rfc_4861_forbids_is_refused() {
        let good = written(&advertisement());
        let change = |at: usize, to: u8| {
            let mut bytes = good.clone();
            bytes[at] = to;
            if at >= 8 {
                resum(&mut bytes);
            }
            Ndp::read(&bytes)
        };
        assert_eq!(change(0, 0x40), Err(NdpError::Other));
        assert_eq!(change(6, 17), Err(NdpError::Other));
        assert_eq!(change(7, 254), Err(NdpError::HopLimit(254)));
        assert_eq!(change(40, 134), Err(NdpError::Other));
        for (at, to) in [(41, 1), (44, 0x60), (48, 0xff), (65, 0), (65, 2)] {
            assert!(matches!(change(at, to), Err(NdpError::Forbidden(_))), "octet {at} is {to}");
        }
        let mut broken = good.clone();
        broken[50] ^= 1;
        assert_eq!(Ndp::read(&broken), Err(NdpError::Checksum));
        for length in 0..good.len() {
            assert!(Ndp::read(&good[..length]).is_err(), "{length} octets");
        }
        let probe = Ndp {
            source: Ipv6Addr::UNSPECIFIED,
            destination: Ndp::solicited_node(advertisement().target),
            kind: Kind::Solicitation,
            mac: None,
            ..advertisement()
        };
        assert_eq!(Ndp::read(&written(&probe)), Ok(probe));
        for wrong in [Ndp { mac: Some([2; 6]), ..probe }, Ndp { destination: ALL_NODES, ..probe }] {
            assert!(matches!(Ndp::read(&written(&wrong)), Err(NdpError::Forbidden(_))));
        }
    }

    fn any_ndp() -> impl Strategy<Value = Ndp> {
        let kind = prop_oneof![
            Just(Kind::Solicitation),
            any::<bool>().prop_map(|overrides| Kind::Advertisement { solicited: false, overrides }),
        ];
        (any::<[u16; 8]>(), any::<[u16; 8]>(), any::<[u16; 8]>(), any::<Option<[u8; 6]>>(), kind).prop_map(
            |(source, destination, target, mac, kind)| {
                let unicast = |mut words: [u16; 8]| {
                    words[0] = 0x2000 | words[0] >> 4;
                    words.into()
                };
                Ndp { source: unicast(source), destination: destination.into(), target: unicast(target), mac, kind }
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(ndp in any_ndp(), padding: Vec<u8>) {
            prop_assert_eq!(Ndp::read(&[written(&ndp), padding].concat()), Ok(ndp));
        }

        #[test]
        fn any_single_changed_octet_of_the_message_is_noticed(ndp in any_ndp(), at in 40..64usize, bit in 0..8u8) {
            let mut bytes = written(&ndp);
            bytes[at] ^= 1 << bit;
            prop_assert_ne!(Ndp::read(&bytes), Ok(ndp));
        }

        #[test]
        fn nothing_panics(bytes: Vec<u8>, ndp in any_ndp(), changes in proptest::collection::vec((0..72usize, any::<u8>()), 0..6)) {
            let _ = Ndp::read(&bytes);
            let mut bytes = written(&ndp);
            for (at, to) in changes {
                if let Some(octet) = bytes.get_mut(at) {
                    *octet = to;
                }
            }
            if bytes.len() >= 64 {
                resum(&mut bytes);
            }
            let _ = Ndp::read(&bytes);
        }
    }
}
