//! The order of addresses and prefixes: IPv4 before IPv6, then by number, then the wider prefix first.
//!
//! It is the order of Go's `netip.Addr.Compare` and of std's `IpAddr`. A single address comes after every prefix that
//! begins with it.

use std::cmp::Ordering;
use std::fmt;
use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::IpError;
use super::number::{Family, number};
use super::text::{parse_address, parse_prefix};

/// Compares two addresses.
#[must_use]
pub fn compare(a: IpAddr, b: IpAddr) -> Ordering {
    (Family::of(a), number(a)).cmp(&(Family::of(b), number(b)))
}

/// The length in a key of a single address: greater than that of any prefix.
const ALONE: u8 = u8::MAX;

/// An IPv4 address or prefix, packed so that the order of the numbers is the order of what they stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key4(pub u64);

/// An IPv6 address or prefix, packed in the same way: address, then length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key6(pub u64, pub u64, pub u8);

/// An address or a prefix of either family, small enough to hold many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// IPv4.
    V4(Key4),
    /// IPv6.
    V6(Key6),
}

impl Key {
    fn new(address: IpAddr, length: u8) -> Self {
        match address {
            IpAddr::V4(v4) => Self::V4(Key4(u64::from(v4.to_bits()) << 8 | u64::from(length))),
            IpAddr::V6(v6) => {
                let bits = v6.to_bits();
                Self::V6(Key6((bits >> 64) as u64, bits as u64, length))
            }
        }
    }

    /// Reads an address, or a prefix, whose host bits it keeps.
    ///
    /// # Errors
    /// [`IpError::Address`] or [`IpError::Prefix`].
    pub fn parse(text: &str) -> Result<Self, IpError> {
        if text.contains('/') {
            parse_prefix(text).map(|prefix| Self::new(prefix.ip(), prefix.prefix()))
        } else {
            parse_address(text).map(|address| Self::new(address, ALONE))
        }
    }

    /// The address, or the address of the prefix.
    #[must_use]
    pub fn address(self) -> IpAddr {
        match self {
            Self::V4(Key4(packed)) => IpAddr::V4(((packed >> 8) as u32).into()),
            Self::V6(Key6(high, low, _)) => IpAddr::V6((u128::from(high) << 64 | u128::from(low)).into()),
        }
    }

    /// The prefix; a single address is one of full length.
    #[must_use]
    pub fn prefix(self) -> IpNetwork {
        let address = self.address();
        IpNetwork::new(address, self.length()).unwrap_or_else(|_| IpNetwork::from(address))
    }

    /// Whether it is an address without a length.
    #[must_use]
    pub const fn is_address(self) -> bool {
        self.length() == ALONE
    }

    const fn length(self) -> u8 {
        match self {
            Self::V4(Key4(packed)) => packed as u8,
            Self::V6(Key6(_, _, length)) => length,
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.address(), f)?;
        if self.is_address() { Ok(()) } else { write!(f, "/{}", self.length()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn families_then_numbers_then_the_wider_prefix() {
        let sorted =
            ["0.0.0.0/0", "9.9.9.9", "10.0.0.0/8", "10.0.0.0/16", "10.0.0.0", "10.0.0.1/8", "::/0", "::", "::1"];
        let keys: Vec<Key> = sorted.iter().map(|text| Key::parse(text).unwrap()).collect();
        assert!(keys.is_sorted());
        assert_eq!(keys.iter().map(ToString::to_string).collect::<Vec<_>>(), sorted);
        assert_eq!(compare("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap()), Ordering::Less);
        assert_eq!(compare("255.255.255.255".parse().unwrap(), "::".parse().unwrap()), Ordering::Less);
    }

    proptest! {
        #[test]
        fn a_key_keeps_what_it_was_made_of_and_orders_as_std_does(a: IpAddr, b: IpAddr) {
            let (x, y) = (Key::parse(&a.to_string()).unwrap(), Key::parse(&b.to_string()).unwrap());
            prop_assert_eq!(x.address(), a);
            prop_assert_eq!(x.cmp(&y), a.cmp(&b));
            prop_assert_eq!(compare(a, b), a.cmp(&b));
        }
    }
}
