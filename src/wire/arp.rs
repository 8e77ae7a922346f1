//! ARP for IPv4 on Ethernet: RFC 826, with the probes and announcements of RFC 5227.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |       Hardware type (1)       |     Protocol type (0x0800)    |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! | H. length (6) | P. length (4) |           Operation           |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                    Sender hardware address                    |
//! +                               +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                               |   Sender protocol address …   |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |   … sender protocol address   |   Target hardware address …   |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                  … target hardware address                    |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                    Target protocol address                    |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use std::net::Ipv4Addr;

/// Octets of a packet, without the padding of a short frame.
pub const LEN: usize = 28;

/// What every ARP packet for IPv4 on Ethernet begins with.
const PREFIX: [u8; 6] = [0, 1, 0x08, 0, 6, 4];

/// What a packet is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// "Who has the target's address?"
    Request,
    /// "The sender has the sender's address."
    Reply,
}

/// An ARP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arp {
    /// Request or reply.
    pub operation: Operation,
    /// The Ethernet address that the sender claims its IPv4 address for.
    pub sender_mac: [u8; 6],
    /// The sender's IPv4 address; 0.0.0.0 in a probe (RFC 5227 section 1.1).
    pub sender: Ipv4Addr,
    /// The Ethernet address of the target; zero in a request, which asks for it.
    pub target_mac: [u8; 6],
    /// The target's IPv4 address; the sender's own in an announcement.
    pub target: Ipv4Addr,
}

/// A payload that is no ARP packet for IPv4 on Ethernet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ArpError {
    /// It ends before the packet does.
    #[error("{0} octets: an ARP packet has 28")]
    Short(usize),
    /// It is about other kinds of addresses.
    #[error("not about IPv4 addresses on Ethernet")]
    Other,
    /// Neither request nor reply.
    #[error("operation {0} is neither 1, a request, nor 2, a reply")]
    Operation(u16),
}

impl Arp {
    /// A probe: asks for `target` without claiming anything (RFC 5227 section 2.1.1).
    #[must_use]
    pub const fn probe(mac: [u8; 6], target: Ipv4Addr) -> Self {
        Self::ask(mac, Ipv4Addr::UNSPECIFIED, target)
    }

    /// A request for `target` in the name of `sender`.
    #[must_use]
    pub const fn ask(mac: [u8; 6], sender: Ipv4Addr, target: Ipv4Addr) -> Self {
        Self { operation: Operation::Request, sender_mac: mac, sender, target_mac: [0; 6], target }
    }

    /// An announcement in the form of a request (RFC 5227 section 2.3).
    #[must_use]
    pub const fn announcement(mac: [u8; 6], ip: Ipv4Addr) -> Self {
        Self::ask(mac, ip, ip)
    }

    /// An announcement in the form of a reply. The target's Ethernet address is the sender's: Linux ignores other
    /// gratuitous replies for a second after an update (`arp_is_garp` in net/ipv4/arp.c).
    #[must_use]
    pub const fn announcement_reply(mac: [u8; 6], ip: Ipv4Addr) -> Self {
        Self { operation: Operation::Reply, sender_mac: mac, sender: ip, target_mac: mac, target: ip }
    }

    /// Whether it asks without claiming an address (RFC 5227 section 1.1).
    #[must_use]
    pub fn is_probe(&self) -> bool {
        self.operation == Operation::Request && self.sender.is_unspecified()
    }

    /// Reads the payload of an Ethernet frame; what follows the packet is padding and is not looked at.
    ///
    /// # Errors
    /// [`ArpError`], the first thing that is wrong.
    pub fn read(payload: &[u8]) -> Result<Self, ArpError> {
        let bytes = payload.first_chunk::<LEN>().ok_or(ArpError::Short(payload.len()))?;
        if bytes[..6] != PREFIX {
            return Err(ArpError::Other);
        }
        let operation = match u16::from_be_bytes([bytes[6], bytes[7]]) {
            1 => Operation::Request,
            2 => Operation::Reply,
            other => return Err(ArpError::Operation(other)),
        };
        Ok(Self {
            operation,
            sender_mac: octets(bytes, 8),
            sender: octets::<4>(bytes, 14).into(),
            target_mac: octets(bytes, 18),
            target: octets::<4>(bytes, 24).into(),
        })
    }

    /// The packet as it goes on the wire.
    #[must_use]
    pub fn to_bytes(self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        bytes[..6].copy_from_slice(&PREFIX);
        bytes[7] = match self.operation {
            Operation::Request => 1,
            Operation::Reply => 2,
        };
        bytes[8..14].copy_from_slice(&self.sender_mac);
        bytes[14..18].copy_from_slice(&self.sender.octets());
        bytes[18..24].copy_from_slice(&self.target_mac);
        bytes[24..].copy_from_slice(&self.target.octets());
        bytes
    }
}

/// `N` octets from `at`, which the caller knows to be within the packet.
fn octets<const N: usize>(bytes: &[u8; LEN], at: usize) -> [u8; N] {
    std::array::from_fn(|n| bytes[at + n])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

    #[test]
    fn the_announcements_are_those_of_rfc_5227_and_of_arp_is_garp() {
        let ip = Ipv4Addr::new(198, 51, 100, 20);
        let request = [0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 198, 51, 100, 20, 0, 0, 0, 0, 0, 0, 198, 51, 100, 20];
        assert_eq!(Arp::announcement(MAC, ip).to_bytes(), request);
        let reply = [0, 1, 8, 0, 6, 4, 0, 2, 2, 0, 0, 0, 0, 1, 198, 51, 100, 20, 2, 0, 0, 0, 0, 1, 198, 51, 100, 20];
        assert_eq!(Arp::announcement_reply(MAC, ip).to_bytes(), reply);
        assert!(Arp::probe(MAC, ip).is_probe() && !Arp::announcement(MAC, ip).is_probe());
    }

    #[test]
    fn what_is_not_arp_for_ipv4_on_ethernet_is_refused() {
        let good = Arp::probe(MAC, Ipv4Addr::new(198, 51, 100, 20)).to_bytes();
        for len in 0..LEN {
            assert_eq!(Arp::read(&good[..len]), Err(ArpError::Short(len)));
        }
        for at in 0..6 {
            let mut other = good;
            other[at] ^= 0x40;
            assert_eq!(Arp::read(&other), Err(ArpError::Other));
        }
        for operation in [0, 3, 8, 0x0101] {
            let mut other = good;
            other[6..8].copy_from_slice(&u16::to_be_bytes(operation));
            assert_eq!(Arp::read(&other), Err(ArpError::Operation(operation)));
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            reply: bool, sender_mac: [u8; 6], sender: [u8; 4], target_mac: [u8; 6], target: [u8; 4], padding: Vec<u8>,
        ) {
            let operation = if reply { Operation::Reply } else { Operation::Request };
            let packet = Arp { operation, sender_mac, sender: sender.into(), target_mac, target: target.into() };
            prop_assert_eq!(Arp::read(&[packet.to_bytes().as_slice(), &padding].concat()), Ok(packet));
        }

        #[test]
        fn what_is_read_is_written_and_nothing_panics(bytes: Vec<u8>, good_start: bool) {
            let mut bytes = bytes;
            if good_start && bytes.len() > 7 {
                bytes[..6].copy_from_slice(&PREFIX);
                bytes[6..8].copy_from_slice(&[0, 1]);
            }
            if let Ok(packet) = Arp::read(&bytes) {
                prop_assert_eq!(&packet.to_bytes()[..], &bytes[..LEN]);
            }
        }
    }
}
