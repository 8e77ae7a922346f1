//! Addresses as numbers: next, previous, sums, differences and counts, all exact.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Serialize, Serializer};

use super::IpError;

/// An address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// 32 bits.
    V4,
    /// 128 bits.
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

    /// Bits of an address: 32 or 128.
    #[must_use]
    pub const fn bits(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }

    /// The highest address as a number.
    #[must_use]
    pub const fn max(self) -> u128 {
        match self {
            Self::V4 => u32::MAX as u128,
            Self::V6 => u128::MAX,
        }
    }

    /// The address of this number; `None` if the family does not go so far.
    #[must_use]
    pub fn address(self, number: u128) -> Option<IpAddr> {
        match self {
            Self::V4 => u32::try_from(number).ok().map(|bits| Ipv4Addr::from_bits(bits).into()),
            Self::V6 => Some(Ipv6Addr::from_bits(number).into()),
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// An address as a number, 0 to 2³² − 1 or 2¹²⁸ − 1.
#[must_use]
pub const fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_bits() as u128,
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// A signed distance between addresses, from −(2¹²⁸ − 1) to 2¹²⁸ − 1: one bit more than an `i128` has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offset {
    negative: bool,
    magnitude: u128,
}

impl Offset {
    /// One address upwards.
    pub const ONE: Self = Self { negative: false, magnitude: 1 };

    /// A distance; zero has no sign.
    #[must_use]
    pub const fn new(negative: bool, magnitude: u128) -> Self {
        Self { negative: negative && magnitude != 0, magnitude }
    }

    /// The same distance the other way.
    #[must_use]
    pub const fn reversed(self) -> Self {
        Self::new(!self.negative, self.magnitude)
    }

    /// Whether it goes downwards.
    #[must_use]
    pub const fn is_negative(self) -> bool {
        self.negative
    }

    /// How far it goes, without the sign.
    #[must_use]
    pub const fn magnitude(self) -> u128 {
        self.magnitude
    }
}

impl From<u32> for Offset {
    fn from(magnitude: u32) -> Self {
        Self::new(false, magnitude.into())
    }
}

impl FromStr for Offset {
    type Err = IpError;

    /// Reads a whole decimal number with an optional sign.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let wrong = || IpError::Offset { text: text.to_owned() };
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(wrong());
        }
        digits.parse().map(|magnitude| Self::new(negative, magnitude)).map_err(|_| wrong())
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad_integral(!self.negative, "", &self.magnitude.to_string())
    }
}

impl Serialize for Offset {
    /// As decimal text: a JSON number would lose digits.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A number of addresses, 0 to 2¹²⁸: one more than a `u128` counts, for there are so many in `::/0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Count {
    /// Fewer than 2¹²⁸.
    Exactly(u128),
    /// All 2¹²⁸ of IPv6.
    All,
}

impl Count {
    /// 2 to the power of `bits`, for 0 to 128.
    #[must_use]
    pub const fn power_of_two(bits: u8) -> Self {
        match 1_u128.checked_shl(bits as u32) {
            Some(count) => Self::Exactly(count),
            None => Self::All,
        }
    }

    /// How many numbers there are from `first` to `last`, both counted.
    #[must_use]
    pub(crate) const fn between(first: u128, last: u128) -> Self {
        match last.checked_sub(first) {
            None => Self::Exactly(0),
            Some(u128::MAX) => Self::All,
            Some(distance) => Self::Exactly(distance + 1),
        }
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(count) => fmt::Display::fmt(count, f),
            Self::All => f.pad("340282366920938463463374607431768211456"),
        }
    }
}

impl Serialize for Count {
    /// As decimal text: a JSON number would lose digits.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The address `offset` further.
///
/// # Errors
/// [`IpError::Overflow`] beyond either end of the family.
pub fn add(address: IpAddr, offset: Offset) -> Result<IpAddr, IpError> {
    let family = Family::of(address);
    let start = number(address);
    let sum = if offset.negative { start.checked_sub(offset.magnitude) } else { start.checked_add(offset.magnitude) };
    sum.and_then(|sum| family.address(sum)).ok_or(IpError::Overflow { address, offset, family })
}

/// The address after this one.
///
/// # Errors
/// [`IpError::Overflow`] after the last of the family.
pub fn next(address: IpAddr) -> Result<IpAddr, IpError> {
    add(address, Offset::ONE)
}

/// The address before this one.
///
/// # Errors
/// [`IpError::Overflow`] before the first of the family.
pub fn previous(address: IpAddr) -> Result<IpAddr, IpError> {
    add(address, Offset::ONE.reversed())
}

/// How far it is from `from` to `to`; negative if `to` is lower. `add(from, delta(from, to)?)? == to`.
///
/// # Errors
/// [`IpError::Families`] between families.
pub fn delta(from: IpAddr, to: IpAddr) -> Result<Offset, IpError> {
    if Family::of(from) != Family::of(to) {
        return Err(IpError::Families(from, to));
    }
    let (a, b) = (number(from), number(to));
    Ok(Offset::new(b < a, a.abs_diff(b)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_ends_of_each_family_are_errors_that_say_so() {
        assert_eq!(next(ip("255.255.255.255")).unwrap_err().to_string(), "255.255.255.255 +1 is outside IPv4");
        assert_eq!(previous(ip("0.0.0.0")).unwrap_err().to_string(), "0.0.0.0 -1 is outside IPv4");
        assert!(next(IpAddr::V6(Ipv6Addr::from_bits(u128::MAX))).is_err());
        assert!(previous(ip("::")).is_err());
        assert!(add(ip("0.0.0.0"), Offset::new(false, 1 << 32)).is_err());
        assert_eq!(add(ip("0.0.0.0"), Offset::new(false, (1 << 32) - 1)), Ok(ip("255.255.255.255")));
        assert!(add(ip("::1"), Offset::new(false, u128::MAX)).is_err());
        assert_eq!(add(ip("::"), Offset::new(false, u128::MAX)), Ok(Ipv6Addr::from_bits(u128::MAX).into()));
    }

    #[test]
    fn a_distance_has_a_sign_and_128_bits_of_size() {
        let top: IpAddr = Ipv6Addr::from_bits(u128::MAX).into();
        assert_eq!(delta(ip("::"), top).unwrap().to_string(), u128::MAX.to_string());
        assert_eq!(delta(top, ip("::")).unwrap().to_string(), format!("-{}", u128::MAX));
        assert_eq!(delta(ip("192.0.2.1"), ip("192.0.2.21")), Ok(20.into()));
        assert!(matches!(delta(ip("::1"), ip("0.0.0.1")), Err(IpError::Families(..))));
    }

    #[test]
    fn an_offset_is_a_whole_number_and_nothing_else() {
        for (text, value) in [("0", "0"), ("-0", "0"), ("+7", "7"), ("-20", "-20")] {
            assert_eq!(text.parse::<Offset>().unwrap().to_string(), value);
        }
        for wrong in ["", "-", "+", "+-1", "--1", "1.5", "0x10", " 1", "340282366920938463463374607431768211456"] {
            assert!(wrong.parse::<Offset>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn counts_reach_two_to_the_128() {
        assert_eq!(Count::power_of_two(128), Count::All);
        assert_eq!(Count::between(0, u128::MAX), Count::All);
        assert_eq!(Count::between(1, u128::MAX), Count::Exactly(u128::MAX));
        assert_eq!(Count::between(2, 1), Count::Exactly(0));
        assert_eq!(Count::All.to_string(), "340282366920938463463374607431768211456");
        assert!(Count::All > Count::Exactly(u128::MAX));
    }

    proptest! {
        #[test]
        fn a_sum_and_a_distance_undo_each_other(a: u128, b: u128, v4: bool) {
            let family = if v4 { Family::V4 } else { Family::V6 };
            let (a, b) = (family.address(a & family.max()).unwrap(), family.address(b & family.max()).unwrap());
            let distance = delta(a, b).unwrap();
            prop_assert_eq!(add(a, distance), Ok(b));
            prop_assert_eq!(add(b, distance.reversed()), Ok(a));
            prop_assert_eq!(distance.to_string().parse::<Offset>(), Ok(distance));
            prop_assert_eq!(distance.is_negative(), b < a);
        }
    }
}
