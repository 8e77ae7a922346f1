//! How many addresses: a number that can be 2^128, and more where a pool has both families.

use std::fmt;

/// A number of addresses, from 0 to a little more than 2^128 (all of IPv6 and all of IPv4); exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Count {
    /// How often 2^128.
    high: u8,
    /// What is above that.
    low: u128,
}

/// 2^128 = 3 · 10^38 + this.
const REST: u128 = 40_282_366_920_938_463_463_374_607_431_768_211_456;
const TEN_38: u128 = 100_000_000_000_000_000_000_000_000_000_000_000_000;

impl Count {
    /// None.
    pub const ZERO: Self = Self { high: 0, low: 0 };

    /// The addresses from `first` to `last`, both included; none if `last` is lower.
    #[must_use]
    pub const fn between(first: u128, last: u128) -> Self {
        match last.checked_sub(first) {
            None => Self::ZERO,
            Some(u128::MAX) => Self { high: 1, low: 0 },
            Some(difference) => Self { high: 0, low: difference + 1 },
        }
    }

    /// Both together. A sum of disjoint sets of addresses never overflows.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        let (low, carry) = self.low.overflowing_add(other.low);
        Self { high: self.high.saturating_add(other.high).saturating_add(carry as u8), low }
    }

    /// What is left without `other`; none if `other` is more.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        let (low, borrow) = self.low.overflowing_sub(other.low);
        match self.high.checked_sub(other.high) {
            Some(high) if high >= borrow as u8 => Self { high: high - borrow as u8, low },
            Some(_) | None => Self::ZERO,
        }
    }

    /// The nearest floating point number, for a gauge.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a gauge has 53 bits")]
    pub const fn to_f64(self) -> f64 {
        self.high as f64 * (u128::MAX as f64) + self.low as f64
    }

    /// The number, if 64 bits hold it.
    #[must_use]
    pub fn to_u64(self) -> Option<u64> {
        if self.high == 0 { u64::try_from(self.low).ok() } else { None }
    }
}

impl From<u64> for Count {
    fn from(number: u64) -> Self {
        Self { high: 0, low: u128::from(number) }
    }
}

/// In decimal digits, all of them.
impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.high == 0 {
            return write!(f, "{}", self.low);
        }
        let high = u128::from(self.high);
        let rest = REST * high.min(2) + self.low % TEN_38;
        let front = 3 * high + self.low / TEN_38 + rest / TEN_38;
        write!(f, "{front}{:038}", rest % TEN_38)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_sets_count_exactly() {
        let all_v6 = Count::between(0, u128::MAX);
        let all_v4 = Count::between(0, u128::from(u32::MAX));
        assert_eq!(all_v4.to_string(), "4294967296");
        assert_eq!(all_v6.to_string(), "340282366920938463463374607431768211456");
        assert_eq!(all_v6.plus(all_v4).to_string(), "340282366920938463463374607436063178752");
        assert_eq!(all_v6.plus(all_v4).minus(all_v6), all_v4);
        assert_eq!(all_v6.minus(Count::from(1)).to_string(), u128::MAX.to_string());
        assert_eq!(Count::between(1, u128::MAX).plus(Count::from(1)), all_v6);
        assert_eq!(all_v6.plus(Count::between(1, u128::MAX)).to_string(), "680564733841876926926749214863536422911");
        assert_eq!(all_v4.to_u64(), Some(1 << 32));
        assert_eq!(all_v6.to_u64(), None);
    }

    #[test]
    fn it_never_wraps_below_zero() {
        assert_eq!(Count::from(3).minus(Count::from(4)), Count::ZERO);
        assert_eq!(Count::between(5, 4), Count::ZERO);
        assert!(Count::between(0, u128::MAX) > Count::between(1, u128::MAX));
    }
}
