//! Socket addresses as the kernel writes them: `sockaddr_in` and `sockaddr_in6` (ip(7), ipv6(7)).

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// Octets of the longest address, `sockaddr_in6`.
pub(super) const LEN: usize = 28;

/// An address in the kernel's form.
#[derive(Debug, Clone, Copy)]
pub(super) struct RawAddress {
    pub(super) octets: [u8; LEN],
    pub(super) len: usize,
}

fn put<const N: usize>(octets: &mut [u8], at: usize, value: [u8; N]) {
    if let Some(place) = octets.get_mut(at..at + N) {
        place.copy_from_slice(&value);
    }
}

fn take<const N: usize>(octets: &[u8], at: usize) -> Option<[u8; N]> {
    octets.get(at..)?.first_chunk().copied()
}

impl RawAddress {
    pub(super) const EMPTY: Self = Self { octets: [0; LEN], len: LEN };

    /// For a socket of the family that `ipv6` says; an IPv6 socket names IPv4 addresses as `::ffff:a.b.c.d`.
    pub(super) fn new(address: SocketAddr, ipv6: bool) -> Self {
        let mut octets = [0; LEN];
        let len = match (address, ipv6) {
            (SocketAddr::V4(address), false) => {
                put(&mut octets, 0, (libc::AF_INET as u16).to_ne_bytes());
                put(&mut octets, 2, address.port().to_be_bytes());
                put(&mut octets, 4, address.ip().octets());
                16
            }
            (SocketAddr::V4(address), true) => {
                put_ipv6(&mut octets, SocketAddrV6::new(address.ip().to_ipv6_mapped(), address.port(), 0, 0))
            }
            (SocketAddr::V6(address), _) => put_ipv6(&mut octets, address),
        };
        Self { octets, len }
    }

    /// The address, IPv4 inside IPv6 as IPv4; `None` if the kernel gave none.
    pub(super) fn read(octets: &[u8]) -> Option<SocketAddr> {
        let family = i32::from(u16::from_ne_bytes(take(octets, 0)?));
        let port = u16::from_be_bytes(take(octets, 2)?);
        match family {
            libc::AF_INET => Some(SocketAddrV4::new(Ipv4Addr::from(take::<4>(octets, 4)?), port).into()),
            libc::AF_INET6 => {
                let ip = Ipv6Addr::from(take::<16>(octets, 8)?);
                let scope = u32::from_ne_bytes(take(octets, 24)?);
                Some(match ip.to_ipv4_mapped() {
                    Some(ip) => SocketAddrV4::new(ip, port).into(),
                    None => SocketAddrV6::new(ip, port, 0, scope).into(),
                })
            }
            _ => None,
        }
    }
}

fn put_ipv6(octets: &mut [u8], address: SocketAddrV6) -> usize {
    put(octets, 0, (libc::AF_INET6 as u16).to_ne_bytes());
    put(octets, 2, address.port().to_be_bytes());
    put(octets, 8, address.ip().octets());
    put(octets, 24, address.scope_id().to_ne_bytes());
    LEN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_and_mapped_ones_come_back_as_ipv4() {
        for text in ["192.0.2.1:7", "[2001:db8::1]:65535", "[fe80::1%3]:9"] {
            let address: SocketAddr = text.parse().unwrap();
            let raw = RawAddress::new(address, address.is_ipv6());
            assert_eq!(RawAddress::read(&raw.octets[..raw.len]), Some(address));
        }
        let address: SocketAddr = "192.0.2.1:7".parse().unwrap();
        let mapped = RawAddress::new(address, true);
        assert_eq!((mapped.len, RawAddress::read(&mapped.octets)), (LEN, Some(address)));
        assert_eq!(RawAddress::read(&[0; LEN]), None);
        assert_eq!(RawAddress::read(&[]), None);
    }
}
