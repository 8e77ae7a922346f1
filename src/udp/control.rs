//! Control messages beside a datagram (cmsg(3)), read and written octet by octet.
//!
//! ```text
//! struct cmsghdr { size_t len; int level; int type; }, then the value, then up to the next multiple of size_t
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const WORD: usize = size_of::<usize>();
const HEADER: usize = WORD + 8;
/// Octets of a `struct timespec`.
const TIMESPEC: usize = size_of::<libc::timespec>();

/// `ee_origin` of a timestamp in the error queue, and of ICMP errors (linux/errqueue.h).
const ORIGIN_ICMP: u8 = 2;
const ORIGIN_ICMP6: u8 = 3;
const ORIGIN_TIMESTAMPING: u8 = 4;
/// Octets of a `struct sock_extended_err`.
const EXTENDED_ERR: usize = 16;

/// What the kernel said beside a datagram.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Control {
    /// When it came in, or went out.
    pub(super) stamp: Option<u64>,
    /// The destination in its header.
    pub(super) asked: Option<IpAddr>,
    /// The address of ours from which to answer it.
    pub(super) local: Option<IpAddr>,
    /// The interface that it came in on.
    pub(super) interface: u32,
    /// Time to live, or hop limit.
    pub(super) ttl: Option<u8>,
    /// Type of service, or traffic class.
    pub(super) tos: u8,
    /// An entry of the error queue.
    pub(super) error: Option<ExtendedError>,
}

/// An entry of the error queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ExtendedError {
    /// A datagram went out; it was the one with this number.
    Sent(u32),
    /// An ICMP error, as an error number of the system.
    Icmp { errno: i32 },
}

fn take<const N: usize>(octets: &[u8], at: usize) -> Option<[u8; N]> {
    octets.get(at..)?.first_chunk().copied()
}

fn int(octets: &[u8], at: usize) -> Option<i32> {
    take(octets, at).map(i32::from_ne_bytes)
}

impl Control {
    /// Reads the control messages; what is not known is passed over.
    pub(super) fn read(mut octets: &[u8]) -> Self {
        let mut control = Self::default();
        while let Some(len) = take(octets, 0).map(usize::from_ne_bytes).filter(|len| *len >= HEADER) {
            let (Some(level), Some(kind)) = (int(octets, WORD), int(octets, WORD + 4)) else { break };
            let Some(value) = octets.get(HEADER..len) else { break };
            // A message that is too short for its type says nothing.
            let _ = control.take(level, kind, value);
            octets = octets.get(len.next_multiple_of(WORD)..).unwrap_or_default();
        }
        control
    }

    fn take(&mut self, level: i32, kind: i32, value: &[u8]) -> Option<()> {
        match (level, kind) {
            (libc::SOL_SOCKET, libc::SCM_TIMESTAMPING) => {
                let seconds = i64::from_ne_bytes(take(value, 0)?);
                let nanos = i64::from_ne_bytes(take(value, TIMESPEC / 2)?);
                let stamp = seconds.checked_mul(1_000_000_000)?.checked_add(nanos)?;
                self.stamp = u64::try_from(stamp).ok().filter(|stamp| *stamp != 0);
            }
            (libc::SOL_IP, libc::IP_PKTINFO) => {
                self.interface = u32::from_ne_bytes(take(value, 0)?);
                self.local = Some(Ipv4Addr::from(take::<4>(value, 4)?).into());
                self.asked = Some(Ipv4Addr::from(take::<4>(value, 8)?).into());
            }
            // Beside an IPv4 datagram on an IPv6 socket both come; the other one says more.
            (libc::SOL_IPV6, libc::IPV6_PKTINFO) if self.asked.is_none() => {
                let address = Ipv6Addr::from(take::<16>(value, 0)?);
                if address.to_ipv4_mapped().is_none() {
                    self.asked = Some(address.into());
                    self.local = self.asked;
                    self.interface = u32::from_ne_bytes(take(value, 16)?);
                }
            }
            (libc::SOL_IP, libc::IP_TTL) | (libc::SOL_IPV6, libc::IPV6_HOPLIMIT) => {
                self.ttl = u8::try_from(int(value, 0)?).ok();
            }
            (libc::SOL_IP, libc::IP_TOS) => self.tos = *value.first()?,
            (libc::SOL_IPV6, libc::IPV6_TCLASS) => self.tos = int(value, 0)? as u8,
            (libc::SOL_IP, libc::IP_RECVERR) | (libc::SOL_IPV6, libc::IPV6_RECVERR) => {
                let [origin, ..] = take::<4>(value, 4)?;
                let data = u32::from_ne_bytes(take(value, EXTENDED_ERR - 4)?);
                self.error = match origin {
                    ORIGIN_TIMESTAMPING => Some(ExtendedError::Sent(data)),
                    ORIGIN_ICMP | ORIGIN_ICMP6 => Some(ExtendedError::Icmp { errno: int(value, 0)? }),
                    _ => None,
                };
            }
            _ => {}
        }
        Some(())
    }
}

/// Appends a control message.
fn put(octets: &mut Vec<u8>, level: i32, kind: i32, value: &[u8]) {
    octets.extend_from_slice(&(HEADER + value.len()).to_ne_bytes());
    octets.extend_from_slice(&level.to_ne_bytes());
    octets.extend_from_slice(&kind.to_ne_bytes());
    octets.extend_from_slice(value);
    octets.resize(octets.len().next_multiple_of(WORD), 0);
}

/// Appends the source address of a datagram; an interface only where the address means nothing without it.
pub(super) fn put_source(octets: &mut Vec<u8>, source: IpAddr, interface: u32) {
    match source {
        IpAddr::V4(source) => {
            let mut value = [0; 12];
            value[4..8].copy_from_slice(&source.octets());
            put(octets, libc::SOL_IP, libc::IP_PKTINFO, &value);
        }
        IpAddr::V6(source) => {
            let mut value = [0; 20];
            value[..16].copy_from_slice(&source.octets());
            let interface = if source.is_unicast_link_local() { interface } else { 0 };
            value[16..].copy_from_slice(&interface.to_ne_bytes());
            put(octets, libc::SOL_IPV6, libc::IPV6_PKTINFO, &value);
        }
    }
}

/// Appends the type of service, or traffic class, of a datagram to an address of the family that `ipv4` says.
pub(super) fn put_tos(octets: &mut Vec<u8>, tos: u8, ipv4: bool) {
    let (level, kind) = if ipv4 { (libc::SOL_IP, libc::IP_TOS) } else { (libc::SOL_IPV6, libc::IPV6_TCLASS) };
    put(octets, level, kind, &i32::from(tos).to_ne_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut octets = Vec::new();
        put_source(&mut octets, "2001:db8::7".parse().unwrap(), 3);
        put_tos(&mut octets, 0xb8, false);
        assert_eq!(octets.len() % WORD, 0);
        let control = Control::read(&octets);
        assert_eq!((control.asked, control.tos, control.interface), ("2001:db8::7".parse().ok(), 0xb8, 0));
        let mut octets = Vec::new();
        put_source(&mut octets, "192.0.2.7".parse().unwrap(), 3);
        assert_eq!(Control::read(&octets).local, "192.0.2.7".parse().ok());
    }

    #[test]
    fn a_stamp_of_the_error_queue_names_its_datagram() {
        let mut octets = Vec::new();
        let mut stamps = [0; 3 * TIMESPEC];
        stamps[..8].copy_from_slice(&1_700_000_000i64.to_ne_bytes());
        stamps[8..16].copy_from_slice(&5i64.to_ne_bytes());
        put(&mut octets, libc::SOL_SOCKET, libc::SCM_TIMESTAMPING, &stamps);
        let mut error = [0; EXTENDED_ERR];
        error[4] = ORIGIN_TIMESTAMPING;
        error[12..].copy_from_slice(&77u32.to_ne_bytes());
        put(&mut octets, libc::SOL_IP, libc::IP_RECVERR, &error);
        let control = Control::read(&octets);
        assert_eq!((control.stamp, control.error), (Some(1_700_000_000_000_000_005), Some(ExtendedError::Sent(77))));
    }

    proptest! {
        #[test]
        fn any_octets_are_read(octets in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Control::read(&octets);
        }

        #[test]
        fn any_value_is_read(
            level in prop::sample::select(vec![libc::SOL_SOCKET, libc::SOL_IP, libc::SOL_IPV6]),
            kind in 0i32..80,
            value in prop::collection::vec(any::<u8>(), 0..64),
        ) {
            let mut octets = Vec::new();
            put(&mut octets, level, kind, &value);
            let _ = Control::read(&octets);
        }
    }
}
