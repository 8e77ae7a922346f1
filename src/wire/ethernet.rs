//! Ethernet II headers (IEEE 802.3 clause 3, RFC 894).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                          Destination                          |
//! +                               +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                               |                               |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+                               +
//! |                            Source                             |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |             Type              |  payload …
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

/// Octets of the header.
pub const LEN: usize = 14;
/// The type of ARP.
pub const ARP: u16 = 0x0806;
/// The type of IPv6.
pub const IPV6: u16 = 0x86dd;
/// The destination that every host takes.
pub const BROADCAST: [u8; 6] = [0xff; 6];

/// A header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ethernet {
    /// Who shall take the frame.
    pub destination: [u8; 6],
    /// Who sent it.
    pub source: [u8; 6],
    /// What follows: [`ARP`], [`IPV6`] or another.
    pub ether_type: u16,
}

/// A frame shorter than its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} octets: an Ethernet header has 14")]
pub struct EthernetError(pub usize);

impl Ethernet {
    /// Reads a frame's header; the second value is its payload, padding included.
    ///
    /// # Errors
    /// [`EthernetError`] when there is no whole header.
    pub fn read(frame: &[u8]) -> Result<(Self, &[u8]), EthernetError> {
        let (header, payload) = frame.split_first_chunk::<LEN>().ok_or(EthernetError(frame.len()))?;
        let [a, b, c, d, e, f, source @ .., high, low] = *header;
        Ok((Self { destination: [a, b, c, d, e, f], source, ether_type: u16::from_be_bytes([high, low]) }, payload))
    }

    /// The header as it goes on the wire.
    #[must_use]
    pub fn to_bytes(self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        bytes[..6].copy_from_slice(&self.destination);
        bytes[6..12].copy_from_slice(&self.source);
        bytes[12..].copy_from_slice(&self.ether_type.to_be_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_frame_without_a_whole_header_is_refused() {
        for len in 0..LEN {
            assert_eq!(Ethernet::read(&vec![0; len]), Err(EthernetError(len)));
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(destination: [u8; 6], source: [u8; 6], ether_type: u16, payload: Vec<u8>) {
            let header = Ethernet { destination, source, ether_type };
            let frame = [header.to_bytes().as_slice(), &payload].concat();
            prop_assert_eq!(Ethernet::read(&frame), Ok((header, payload.as_slice())));
        }
    }
}
