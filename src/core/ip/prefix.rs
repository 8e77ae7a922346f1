//! What a prefix holds: its addresses, its parts, what it is part of. All lazy, all exact from /0 to /32 or /128.

use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::IpError;
use super::number::{Count, Family, number};

/// The family of a prefix.
#[must_use]
pub fn family(prefix: IpNetwork) -> Family {
    Family::of(prefix.ip())
}

/// The lowest and the highest address of a prefix as numbers.
#[must_use]
pub fn bounds(prefix: IpNetwork) -> (u128, u128) {
    (number(prefix.network()), number(prefix.broadcast()))
}

/// The prefix without the bits of its address beyond its length: 192.0.2.127/25 is 192.0.2.0/25.
#[must_use]
pub fn masked(prefix: IpNetwork) -> IpNetwork {
    IpNetwork::new(prefix.network(), prefix.prefix()).unwrap_or(prefix)
}

/// How many addresses a prefix has, network and broadcast counted.
#[must_use]
pub fn size(prefix: IpNetwork) -> Count {
    Count::power_of_two(family(prefix).bits() - prefix.prefix())
}

/// Whether every address of `inner` is in `outer`. A prefix of the other family never is.
#[must_use]
pub fn contains(outer: IpNetwork, inner: IpNetwork) -> bool {
    outer.prefix() <= inner.prefix() && outer.contains(inner.ip())
}

/// All addresses of a prefix, upwards.
#[must_use]
pub fn all(prefix: IpNetwork) -> Addresses {
    let (first, last) = bounds(prefix);
    Addresses { family: family(prefix), rest: Some((first, last)) }
}

/// The addresses that hosts may have: of an IPv4 prefix shorter than /31 neither the network's nor the broadcast's
/// (RFC 1122 3.2.1.3; both ends of a /31 by RFC 3021), of any other prefix all.
#[must_use]
pub fn usable(prefix: IpNetwork) -> Addresses {
    let mut hosts = all(prefix);
    if prefix.is_ipv4() && prefix.prefix() < 31 {
        hosts.next();
        hosts.next_back();
    }
    hosts
}

/// The addresses from `first` to `last`, both counted.
///
/// # Errors
/// [`IpError::Families`], or [`IpError::Backwards`] if `last` is lower.
pub fn range(first: IpAddr, last: IpAddr) -> Result<Addresses, IpError> {
    let family = Family::of(first);
    if family != Family::of(last) {
        return Err(IpError::Families(first, last));
    }
    if last < first {
        return Err(IpError::Backwards { first, last });
    }
    Ok(Addresses { family, rest: Some((number(first), number(last))) })
}

/// Consecutive addresses of one family, upwards; nothing is computed before it is asked for, and `nth` takes no longer
/// than `next`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    family: Family,
    /// Lowest and highest that were not given out yet.
    rest: Option<(u128, u128)>,
}

impl Addresses {
    /// How many are left.
    #[must_use]
    pub fn remaining(&self) -> Count {
        self.rest.map_or(Count::Exactly(0), |(first, last)| Count::between(first, last))
    }

    /// The lowest and the highest that are left.
    #[must_use]
    pub fn ends(&self) -> Option<(IpAddr, IpAddr)> {
        let (first, last) = self.rest?;
        Some((self.family.address(first)?, self.family.address(last)?))
    }

    /// Leaves out the next `count`, be they fewer or more than there are.
    pub fn skip_ahead(&mut self, count: u128) {
        self.rest = self.rest.and_then(|(first, last)| {
            let first = first.checked_add(count).filter(|first| *first <= last)?;
            Some((first, last))
        });
    }
}

impl Iterator for Addresses {
    type Item = IpAddr;

    fn next(&mut self) -> Option<IpAddr> {
        let (first, _) = self.rest?;
        self.skip_ahead(1);
        self.family.address(first)
    }

    fn nth(&mut self, n: usize) -> Option<IpAddr> {
        self.skip_ahead(n as u128);
        self.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        hint(self.remaining())
    }
}

impl DoubleEndedIterator for Addresses {
    fn next_back(&mut self) -> Option<IpAddr> {
        let (first, last) = self.rest?;
        self.rest = last.checked_sub(1).filter(|last| *last >= first).map(|last| (first, last));
        self.family.address(last)
    }
}

/// The parts of a prefix that are `length` bits long, upwards. A prefix is the one part of its own length.
///
/// # Errors
/// [`IpError::Length`] if the length is shorter than the prefix's or too long for the family.
pub fn subnets(prefix: IpNetwork, length: u8) -> Result<Subnets, IpError> {
    let family = family(prefix);
    let (least, most) = (prefix.prefix(), family.bits());
    if !(least..=most).contains(&length) {
        return Err(IpError::Length { prefix, length, least, most });
    }
    let (first, last) = bounds(prefix);
    // 2^(most − length), and for a whole family any number: there is only one part then.
    let step = 1_u128.checked_shl(u32::from(most - length)).unwrap_or(0);
    Ok(Subnets { family, length, step, parts: length - least, rest: Some((first, last)) })
}

/// Consecutive prefixes of one length; lazy, and `nth` takes no longer than `next`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subnets {
    family: Family,
    length: u8,
    step: u128,
    parts: u8,
    /// Where the next part begins, and where the last one ends.
    rest: Option<(u128, u128)>,
}

impl Subnets {
    /// How many parts the prefix has, given out or not.
    #[must_use]
    pub const fn total(&self) -> Count {
        Count::power_of_two(self.parts)
    }

    /// Leaves out the next `count`, be they fewer or more than there are.
    pub fn skip_ahead(&mut self, count: u128) {
        let step = self.step;
        self.rest = self.rest.and_then(|(first, last)| {
            if count > 0 && step == 0 {
                return None;
            }
            let first = step.checked_mul(count)?.checked_add(first).filter(|first| *first <= last)?;
            Some((first, last))
        });
    }
}

impl Iterator for Subnets {
    type Item = IpNetwork;

    fn next(&mut self) -> Option<IpNetwork> {
        let (first, _) = self.rest?;
        self.skip_ahead(1);
        IpNetwork::new(self.family.address(first)?, self.length).ok()
    }

    fn nth(&mut self, n: usize) -> Option<IpNetwork> {
        self.skip_ahead(n as u128);
        self.next()
    }
}

/// The prefix of `length` bits that contains `prefix`.
///
/// # Errors
/// [`IpError::Length`] if the length is longer than the prefix's.
pub fn supernet(prefix: IpNetwork, length: u8) -> Result<IpNetwork, IpError> {
    let most = prefix.prefix();
    let error = IpError::Length { prefix, length, least: 0, most };
    if length > most {
        return Err(error);
    }
    IpNetwork::new(prefix.ip(), length).map(masked).map_err(|_| error)
}

/// The longest prefix that contains both.
///
/// # Errors
/// [`IpError::Families`] if no prefix can.
pub fn common(a: IpNetwork, b: IpNetwork) -> Result<IpNetwork, IpError> {
    let family = family(a);
    if family != self::family(b) {
        return Err(IpError::Families(a.ip(), b.ip()));
    }
    let differing = 128 - (number(a.ip()) ^ number(b.ip())).leading_zeros();
    let shared = u32::from(family.bits()).saturating_sub(differing);
    let length = a.prefix().min(b.prefix()).min(u8::try_from(shared).unwrap_or(u8::MAX));
    supernet(a, length)
}

fn hint(count: Count) -> (usize, Option<usize>) {
    match count {
        Count::Exactly(count) => usize::try_from(count).map_or((usize::MAX, None), |count| (count, Some(count))),
        Count::All => (usize::MAX, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn net(text: &str) -> IpNetwork {
        text.parse().unwrap()
    }

    fn texts<T: ToString>(items: impl IntoIterator<Item = T>) -> Vec<String> {
        items.into_iter().map(|item| item.to_string()).collect()
    }

    #[test]
    fn sizes_are_exact_from_nothing_to_everything() {
        assert_eq!(size(net("0.0.0.0/0")), Count::Exactly(1 << 32));
        assert_eq!(size(net("::/0")), Count::All);
        assert_eq!(size(net("::/1")), Count::Exactly(1 << 127));
        assert_eq!(usable(net("0.0.0.0/0")).remaining(), Count::Exactly((1 << 32) - 2));
        assert_eq!(usable(net("::/0")).remaining(), Count::All);
        for (prefix, count) in [("198.51.100.0/24", 254), ("10.0.0.0/30", 2), ("10.0.0.0/31", 2), ("10.0.0.0/32", 1)] {
            assert_eq!(usable(net(prefix)).remaining(), Count::Exactly(count), "{prefix}");
        }
    }

    #[test]
    fn the_ends_of_the_space_are_given_out_once() {
        assert_eq!(texts(all(net("255.255.255.254/31"))), ["255.255.255.254", "255.255.255.255"]);
        assert_eq!(texts(all(net("::/127")).rev()), ["::1", "::"]);
        assert_eq!(texts(all(net("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128"))).len(), 1);
        let mut everything = all(net("::/0"));
        everything.skip_ahead(u128::MAX);
        assert_eq!(texts(everything.clone()), ["ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"]);
        everything.skip_ahead(1);
        assert_eq!((everything.next(), everything.remaining()), (None, Count::Exactly(0)));
    }

    #[test]
    fn subnets_reach_from_one_whole_to_two_to_the_128_parts() {
        assert_eq!(texts(subnets(net("192.0.2.0/24"), 26).unwrap()).last().unwrap(), "192.0.2.192/26");
        assert_eq!(texts(subnets(net("::/0"), 0).unwrap()), ["::/0"]);
        assert_eq!(texts(subnets(net("0.0.0.0/0"), 1).unwrap()), ["0.0.0.0/1", "128.0.0.0/1"]);
        let mut hosts = subnets(net("::/0"), 128).unwrap();
        assert_eq!(hosts.total(), Count::All);
        hosts.skip_ahead(u128::MAX);
        assert_eq!(texts(hosts), ["ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128"]);
        let error = subnets(net("192.0.2.0/24"), 23).unwrap_err().to_string();
        assert_eq!(error, "length 23 does not suit 192.0.2.0/24: it must be from 24 to 32");
        assert!(subnets(net("192.0.2.0/24"), 33).is_err());
    }

    #[test]
    fn what_contains_both_is_as_long_as_can_be() {
        for (a, b, both) in [
            ("192.0.2.0/25", "192.0.2.128/25", "192.0.2.0/24"),
            ("192.0.2.0/24", "192.0.2.7/32", "192.0.2.0/24"),
            ("0.0.0.0/32", "255.255.255.255/32", "0.0.0.0/0"),
            ("::/128", "8000::/128", "::/0"),
            ("2001:db8::1/128", "2001:db8::1/128", "2001:db8::1/128"),
        ] {
            assert_eq!(common(net(a), net(b)).unwrap(), net(both));
        }
        assert!(common(net("::/0"), net("0.0.0.0/0")).is_err());
        assert_eq!(supernet(net("192.0.2.127/25"), 24).unwrap(), net("192.0.2.0/24"));
        assert!(supernet(net("192.0.2.0/24"), 25).is_err());
    }

    proptest! {
        #[test]
        fn what_is_given_out_is_what_there_is(bits: u128, length in 120_u8..=128, skip in 0_u128..300) {
            let prefix = IpNetwork::new(Family::V6.address(bits).unwrap(), length).unwrap();
            let (first, last) = bounds(prefix);
            let expected: Vec<u128> = (first..=last).collect();
            prop_assert_eq!(all(prefix).map(number).collect::<Vec<_>>(), expected.clone());
            let mut later = all(prefix);
            later.skip_ahead(skip);
            prop_assert_eq!(later.remaining(), Count::Exactly((expected.len() as u128).saturating_sub(skip)));
            prop_assert_eq!(later.map(number).collect::<Vec<_>>(),
                expected.into_iter().skip(usize::try_from(skip).unwrap()).collect::<Vec<_>>());
        }

        #[test]
        fn parts_fill_the_whole_without_a_gap(bits: u32, length in 0_u8..=32, more in 0_u8..=8) {
            let prefix = IpNetwork::new(Family::V4.address(bits.into()).unwrap(), length).unwrap();
            let parts: Vec<_> = subnets(prefix, (length + more).min(32)).unwrap().collect();
            let (first, last) = bounds(prefix);
            prop_assert_eq!(bounds(parts[0]).0, first);
            prop_assert_eq!(bounds(parts[parts.len() - 1]).1, last);
            prop_assert!(parts.windows(2).all(|pair| bounds(pair[0]).1 + 1 == bounds(pair[1]).0));
            prop_assert_eq!(subnets(prefix, (length + more).min(32)).unwrap().total(), Count::Exactly(parts.len() as u128));
        }
    }
}
