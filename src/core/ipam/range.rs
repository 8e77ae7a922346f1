//! Ranges of addresses as text: a CIDR, `first-last`, or one address.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

/// IPv4 or IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Family {
    /// IPv4.
    #[serde(rename = "IPv4")]
    V4,
    /// IPv6.
    #[serde(rename = "IPv6")]
    V6,
}

impl Family {
    /// The family of an address.
    #[must_use]
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// `IPv4` or `IPv6`, as Kubernetes writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }

    /// The address with this number; an IPv4 number above 32 bits is cut.
    #[must_use]
    pub(super) const fn address(self, number: u128) -> IpAddr {
        match self {
            Self::V4 => IpAddr::V4(Ipv4Addr::from_bits(number as u32)),
            Self::V6 => IpAddr::V6(Ipv6Addr::from_bits(number)),
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An address as a number within its family.
#[must_use]
pub(super) const fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(ip) => ip.to_bits() as u128,
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

/// Addresses of one family from `first` to `last`, both included. Its text is a CIDR where it is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Range {
    family: Family,
    first: u128,
    last: u128,
}

/// A text that is no range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// Not even an address.
    #[error(
        "{0:?} is no range of addresses: a CIDR as 198.51.100.0/24, first-last as 198.51.100.10-198.51.100.20, or one address"
    )]
    NotARange(String),
    /// A prefix length beyond the family's.
    #[error("{text:?} has a prefix length of more than {max} bits")]
    PrefixLength {
        /// What was written.
        text: String,
        /// 32 or 128.
        max: u8,
    },
    /// A CIDR whose address is not the network's.
    #[error("{text:?} has host bits: write {network}")]
    HostBits {
        /// What was written.
        text: String,
        /// What was probably meant.
        network: IpNetwork,
    },
    /// A range that goes downwards.
    #[error("{0:?} goes backwards: the first address must be the lower one")]
    Backwards(String),
    /// The two ends are of two families.
    #[error("{0:?} mixes IPv4 and IPv6")]
    MixedFamilies(String),
    /// An IPv4 address in IPv6's clothes.
    #[error("{text:?} is an IPv4-mapped address: write {address}")]
    Mapped {
        /// What was written.
        text: String,
        /// The IPv4 address.
        address: Ipv4Addr,
    },
}

impl Range {
    /// The range from one address to another.
    ///
    /// # Errors
    /// [`RangeError::MixedFamilies`], [`RangeError::Backwards`].
    pub fn between(first: IpAddr, last: IpAddr) -> Result<Self, RangeError> {
        let family = Family::of(first);
        if family != Family::of(last) {
            return Err(RangeError::MixedFamilies(format!("{first}-{last}")));
        }
        if number(first) > number(last) {
            return Err(RangeError::Backwards(format!("{first}-{last}")));
        }
        Ok(Self { family, first: number(first), last: number(last) })
    }

    /// Its family.
    #[must_use]
    pub const fn family(&self) -> Family {
        self.family
    }

    /// Its lowest address.
    #[must_use]
    pub const fn first(&self) -> IpAddr {
        self.family.address(self.first)
    }

    /// Its highest address.
    #[must_use]
    pub const fn last(&self) -> IpAddr {
        self.family.address(self.last)
    }

    /// Whether an address is in it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        Family::of(address) == self.family && (self.first..=self.last).contains(&number(address))
    }

    /// Whether it shares an address with another range.
    #[must_use]
    pub const fn overlaps(&self, other: &Self) -> bool {
        matches!((self.family, other.family), (Family::V4, Family::V4) | (Family::V6, Family::V6))
            && self.first <= other.last
            && other.first <= self.last
    }

    /// Its ends as numbers.
    pub(super) const fn numbers(&self) -> (u128, u128) {
        (self.first, self.last)
    }
}

impl FromStr for Range {
    type Err = RangeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some((address, length)) = text.split_once('/') {
            return cidr(text, plain(address, text)?, length);
        }
        match text.split_once('-') {
            Some((first, last)) => Self::between(plain(first, text)?, plain(last, text)?),
            None => plain(text, text).and_then(|address| Self::between(address, address)),
        }
    }
}

fn plain(part: &str, text: &str) -> Result<IpAddr, RangeError> {
    match part.parse() {
        Ok(IpAddr::V6(ip)) => match ip.to_ipv4_mapped() {
            Some(address) => Err(RangeError::Mapped { text: text.to_owned(), address }),
            None => Ok(IpAddr::V6(ip)),
        },
        Ok(ip) => Ok(ip),
        Err(_) => Err(RangeError::NotARange(text.to_owned())),
    }
}

fn cidr(text: &str, address: IpAddr, length: &str) -> Result<Range, RangeError> {
    let max = if address.is_ipv4() { 32 } else { 128 };
    let is_number = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number || (length.len() > 1 && length.starts_with('0')) {
        return Err(RangeError::NotARange(text.to_owned()));
    }
    let too_long = || RangeError::PrefixLength { text: text.to_owned(), max };
    let network = length.parse().ok().and_then(|length| IpNetwork::new(address, length).ok()).ok_or_else(too_long)?;
    if network.network() != address {
        let network = IpNetwork::new(network.network(), network.prefix()).unwrap_or(network);
        return Err(RangeError::HostBits { text: text.to_owned(), network });
    }
    Range::between(network.network(), network.broadcast())
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = if self.family == Family::V4 { 32 } else { 128 };
        let span = self.last - self.first;
        if span == 0 {
            return write!(f, "{}", self.first());
        }
        let host_bits = 128 - span.leading_zeros();
        let is_block = span.count_ones() == host_bits && self.first & span == 0;
        if is_block {
            write!(f, "{}/{}", self.first(), bits - host_bits)
        } else {
            write!(f, "{}-{}", self.first(), self.last())
        }
    }
}

impl TryFrom<String> for Range {
    type Error = RangeError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Range> for String {
    fn from(range: Range) -> Self {
        range.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_notation_reads_and_writes_back() {
        for (text, first, last, canonical) in [
            ("198.51.100.0/24", "198.51.100.0", "198.51.100.255", "198.51.100.0/24"),
            ("198.51.100.7/32", "198.51.100.7", "198.51.100.7", "198.51.100.7"),
            ("198.51.100.7", "198.51.100.7", "198.51.100.7", "198.51.100.7"),
            ("0.0.0.0/0", "0.0.0.0", "255.255.255.255", "0.0.0.0/0"),
            ("198.51.100.9-198.51.100.12", "198.51.100.9", "198.51.100.12", "198.51.100.9-198.51.100.12"),
            ("198.51.100.8-198.51.100.15", "198.51.100.8", "198.51.100.15", "198.51.100.8/29"),
            ("2001:db8:1::10-2001:db8:1::ff", "2001:db8:1::10", "2001:db8:1::ff", "2001:db8:1::10-2001:db8:1::ff"),
            ("::/0", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::/0"),
        ] {
            let range: Range = text.parse().unwrap();
            assert_eq!((range.first().to_string(), range.last().to_string()), (first.to_owned(), last.to_owned()));
            assert_eq!(range.to_string(), canonical);
            assert_eq!(canonical.parse(), Ok(range));
        }
    }

    #[test]
    fn each_mistake_has_its_own_error() {
        let error = |text: &str| text.parse::<Range>().unwrap_err();
        assert!(matches!(error("198.51.100.0/33"), RangeError::PrefixLength { max: 32, .. }));
        assert!(matches!(error("2001:db8::/129"), RangeError::PrefixLength { max: 128, .. }));
        assert!(error("198.51.100.7/24").to_string().ends_with("write 198.51.100.0/24"));
        assert!(matches!(error("198.51.100.9-198.51.100.8"), RangeError::Backwards(_)));
        assert!(matches!(error("198.51.100.9-2001:db8::1"), RangeError::MixedFamilies(_)));
        assert!(error("::ffff:192.0.2.1").to_string().ends_with("write 192.0.2.1"));
        for text in [
            "",
            "x",
            "198.51.100",
            "198.51.100.0/",
            "198.51.100.0/+8",
            "198.51.100.0/08",
            "1.2.3.4 - 1.2.3.5",
            "1.2.3.4-",
        ] {
            assert_eq!(error(text), RangeError::NotARange(text.to_owned()));
        }
    }

    #[test]
    fn overlap_is_by_family() {
        let range = |text: &str| text.parse::<Range>().unwrap();
        assert!(range("198.51.100.0/24").overlaps(&range("198.51.100.255-198.51.101.3")));
        assert!(!range("198.51.100.0/24").overlaps(&range("198.51.101.0/24")));
        assert!(!range("0.0.0.0/0").overlaps(&range("::/0")));
        assert!(range("::/0").contains("2001:db8::1".parse().unwrap()));
        assert!(!range("::/0").contains("192.0.2.1".parse().unwrap()));
    }
}
