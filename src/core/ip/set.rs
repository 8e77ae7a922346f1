//! Sets of addresses: the fewest prefixes that say them, and ranges.
//!
//! Unions and differences are [`iprange`]'s; order in, order out: results are sorted, IPv4 first.

use std::net::IpAddr;

use ipnet::{Ipv4Net, Ipv6Net};
use ipnetwork::IpNetwork;
use iprange::IpRange;

use super::IpError;
use super::number::Family;
use super::prefix::{self, Addresses, bounds};

/// A set of addresses of both families.
#[derive(Debug, Clone, Default)]
pub struct AddressSet {
    v4: IpRange<Ipv4Net>,
    v6: IpRange<Ipv6Net>,
}

impl AddressSet {
    /// Adds all addresses of a prefix.
    pub fn add(&mut self, prefix: IpNetwork) {
        // A prefix that exists has a length that its family allows, so neither conversion can fail.
        match prefix {
            IpNetwork::V4(v4) => {
                let _ = Ipv4Net::new(v4.network(), v4.prefix()).map(|net| self.v4.add(net));
            }
            IpNetwork::V6(v6) => {
                let _ = Ipv6Net::new(v6.network(), v6.prefix()).map(|net| self.v6.add(net));
            }
        }
    }

    /// Whether every address of the prefix is in the set. Exact after [`AddressSet::simplified`].
    #[must_use]
    pub fn contains(&self, prefix: IpNetwork) -> bool {
        match prefix {
            IpNetwork::V4(v4) => Ipv4Net::new(v4.network(), v4.prefix()).is_ok_and(|net| self.v4.contains(&net)),
            IpNetwork::V6(v6) => Ipv6Net::new(v6.network(), v6.prefix()).is_ok_and(|net| self.v6.contains(&net)),
        }
    }

    /// The same set in as few prefixes as can be.
    #[must_use]
    pub fn simplified(mut self) -> Self {
        self.v4.simplify();
        self.v6.simplify();
        self
    }

    /// The addresses of this set that are not in the other.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        Self { v4: self.v4.exclude(&other.v4), v6: self.v6.exclude(&other.v6) }.simplified()
    }

    /// The prefixes of the set, upwards.
    #[must_use]
    pub fn prefixes(&self) -> Vec<IpNetwork> {
        let v4 = self.v4.iter().map(|net| (IpAddr::V4(net.network()), net.prefix_len()));
        let v6 = self.v6.iter().map(|net| (IpAddr::V6(net.network()), net.prefix_len()));
        let mut prefixes: Vec<_> =
            v4.chain(v6).filter_map(|(network, length)| IpNetwork::new(network, length).ok()).collect();
        prefixes.sort_unstable_by_key(|prefix| (prefix.ip(), prefix.prefix()));
        prefixes
    }
}

impl FromIterator<IpNetwork> for AddressSet {
    fn from_iter<I: IntoIterator<Item = IpNetwork>>(prefixes: I) -> Self {
        let mut set = Self::default();
        prefixes.into_iter().for_each(|prefix| set.add(prefix));
        set.simplified()
    }
}

/// The fewest prefixes with the same addresses.
#[must_use]
pub fn aggregate(prefixes: impl IntoIterator<Item = IpNetwork>) -> Vec<IpNetwork> {
    prefixes.into_iter().collect::<AddressSet>().prefixes()
}

/// The fewest prefixes from `first` to `last`, both counted, upwards.
///
/// # Errors
/// [`IpError::Families`], or [`IpError::Backwards`] if `last` is lower.
pub fn range_to_prefixes(first: IpAddr, last: IpAddr) -> Result<RangePrefixes, IpError> {
    prefix::range(first, last).map(RangePrefixes)
}

/// The prefixes of a range; lazy, at most 254 of them.
#[derive(Debug, Clone)]
pub struct RangePrefixes(Addresses);

impl Iterator for RangePrefixes {
    type Item = IpNetwork;

    fn next(&mut self) -> Option<IpNetwork> {
        let (first, last) = self.0.ends()?;
        let family = Family::of(first);
        let (low, high) = (super::number::number(first), super::number::number(last));
        // The block is bounded by how `low` is aligned and by what is left.
        let aligned = low.trailing_zeros().min(u32::from(family.bits()));
        let left = (high - low).checked_add(1).map_or(128, u128::ilog2);
        let host_bits = aligned.min(left);
        match 1_u128.checked_shl(host_bits) {
            Some(size) => self.0.skip_ahead(size),
            None => self.0 = empty(&self.0),
        }
        IpNetwork::new(first, family.bits() - u8::try_from(host_bits).ok()?).ok()
    }
}

fn empty(addresses: &Addresses) -> Addresses {
    let mut none = addresses.clone();
    none.skip_ahead(u128::MAX);
    none.next();
    none
}

/// The ranges that prefixes make together: overlapping and adjacent ones joined, upwards.
#[must_use]
pub fn ranges(prefixes: impl IntoIterator<Item = IpNetwork>) -> Vec<(IpAddr, IpAddr)> {
    let mut joined: Vec<(Family, u128, u128)> = Vec::new();
    for prefix in aggregate(prefixes) {
        let family = prefix::family(prefix);
        let (first, last) = bounds(prefix);
        match joined.last_mut() {
            Some((before, _, end)) if *before == family && end.checked_add(1) == Some(first) => *end = last,
            _ => joined.push((family, first, last)),
        }
    }
    joined
        .into_iter()
        .filter_map(|(family, first, last)| Some((family.address(first)?, family.address(last)?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn net(text: &str) -> IpNetwork {
        text.parse().unwrap()
    }

    fn texts(prefixes: impl IntoIterator<Item = IpNetwork>) -> Vec<String> {
        prefixes.into_iter().map(|prefix| prefix.to_string()).collect()
    }

    #[test]
    fn both_halves_of_everything_are_everything() {
        assert_eq!(texts(aggregate([net("0.0.0.0/1"), net("128.0.0.0/1")])), ["0.0.0.0/0"]);
        assert_eq!(texts(aggregate([net("8000::/1"), net("::/1"), net("10.0.0.7/8")])), ["10.0.0.0/8", "::/0"]);
        assert_eq!(texts(aggregate([net("0.0.0.0/0"), net("10.0.0.0/8")])), ["0.0.0.0/0"]);
        assert_eq!(texts(aggregate([net("10.0.0.0/8"), net("0.0.0.0/0")])), ["0.0.0.0/0"]);
        assert!(aggregate([]).is_empty());
    }

    #[test]
    fn a_difference_leaves_the_rest_and_only_that() {
        let all: AddressSet = [net("0.0.0.0/0")].into_iter().collect();
        let top: AddressSet = [net("128.0.0.0/2"), net("255.255.255.255/32")].into_iter().collect();
        let rest = all.without(&top).prefixes();
        assert_eq!(texts(rest.iter().copied().take(2)), ["0.0.0.0/1", "192.0.0.0/3"]);
        assert_eq!(ranges(rest).last().unwrap().1.to_string(), "255.255.255.254");
        assert!(all.without(&all).prefixes().is_empty());
    }

    #[test]
    fn a_range_is_said_in_the_fewest_prefixes() {
        let prefixes =
            |first: &str, last: &str| texts(range_to_prefixes(first.parse().unwrap(), last.parse().unwrap()).unwrap());
        assert_eq!(prefixes("0.0.0.0", "255.255.255.255"), ["0.0.0.0/0"]);
        assert_eq!(prefixes("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), ["::/0"]);
        assert_eq!(prefixes("255.255.255.255", "255.255.255.255"), ["255.255.255.255/32"]);
        assert_eq!(
            prefixes("198.51.100.1", "198.51.100.6"),
            ["198.51.100.1/32", "198.51.100.2/31", "198.51.100.4/31", "198.51.100.6/32"]
        );
        assert_eq!(prefixes("::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe").len(), 254);
        assert!(range_to_prefixes("10.0.0.2".parse().unwrap(), "10.0.0.1".parse().unwrap()).is_err());
    }

    fn small() -> impl Strategy<Value = Vec<IpNetwork>> {
        // Prefixes of both ends of both families, so that the sets are small enough to be written out.
        let one = (0_u128..256, 0_u8..=8, any::<bool>(), any::<bool>());
        proptest::collection::vec(one, 0..24).prop_map(|all| {
            all.into_iter()
                .map(|(low, host_bits, v4, top)| {
                    let family = if v4 { Family::V4 } else { Family::V6 };
                    let base = if top { family.max() - 255 } else { 0 };
                    IpNetwork::new(family.address(base + low).unwrap(), family.bits() - host_bits).unwrap()
                })
                .collect()
        })
    }

    fn written_out(prefixes: &[IpNetwork]) -> BTreeSet<IpAddr> {
        prefixes.iter().flat_map(|prefix| prefix::all(*prefix)).collect()
    }

    proptest! {
        #[test]
        fn aggregates_have_the_same_addresses_in_the_fewest_prefixes(prefixes in small(), other in small()) {
            let found = aggregate(prefixes.iter().copied());
            let addresses = written_out(&prefixes);
            prop_assert_eq!(&written_out(&found), &addresses);
            // The fewest: what the ranges need, range by range.
            let fewest: Vec<_> = ranges(prefixes.iter().copied())
                .into_iter().flat_map(|(first, last)| range_to_prefixes(first, last).unwrap()).collect();
            prop_assert_eq!(&found, &fewest);
            prop_assert_eq!(&aggregate(found.iter().copied()), &found);
            let mut shuffled = prefixes.clone();
            shuffled.reverse();
            prop_assert_eq!(&aggregate(shuffled), &found);
            let taken = written_out(&other);
            let set: AddressSet = prefixes.iter().copied().collect();
            let rest = set.without(&other.iter().copied().collect());
            prop_assert_eq!(written_out(&rest.prefixes()), addresses.difference(&taken).copied().collect::<BTreeSet<_>>());
            for prefix in other {
                prop_assert_eq!(set.contains(prefix), prefix::all(prefix).all(|address| addresses.contains(&address)));
            }
        }

        #[test]
        fn a_range_comes_back_from_its_prefixes(a: u128, b: u128, v4: bool) {
            let family = if v4 { Family::V4 } else { Family::V6 };
            let first = family.address(a.min(b) & family.max()).unwrap();
            let last = family.address((a.min(b) & family.max()).max(a.max(b) & family.max())).unwrap();
            let prefixes: Vec<_> = range_to_prefixes(first, last).unwrap().collect();
            prop_assert!(prefixes.len() <= 2 * usize::from(family.bits()) - 2 || prefixes.len() == 1);
            prop_assert_eq!(ranges(prefixes), vec![(first, last)]);
        }
    }
}
