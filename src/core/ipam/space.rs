//! Sets of addresses as intervals: what a pool has, and what is in use.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::count::Count;
use super::range::{Family, Range, number};

/// The addresses of a pool: ranges without exclusions, as disjoint intervals in order, so that nothing is ever
/// enumerated.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Space {
    v4: Vec<(u128, u128)>,
    v6: Vec<(u128, u128)>,
    avoid_buggy: bool,
}

impl Space {
    /// The addresses of `ranges` without those of `exclude`; with `avoid_buggy` also without the IPv4 addresses that
    /// end in .0 or .255, which some old equipment takes for a network or a broadcast address.
    #[must_use]
    pub fn new(ranges: &[Range], exclude: &[Range], avoid_buggy: bool) -> Self {
        let of = |family| subtract(merge(family, ranges), &merge(family, exclude));
        Self { v4: of(Family::V4), v6: of(Family::V6), avoid_buggy }
    }

    fn intervals(&self, family: Family) -> &[(u128, u128)] {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }

    /// Whether it has any address of a family.
    #[must_use]
    pub fn has(&self, family: Family) -> bool {
        self.next(family, 0).is_some()
    }

    /// Whether an address belongs to it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.next(Family::of(address), number(address)) == Some(number(address))
    }

    /// How many addresses it has.
    #[must_use]
    pub fn total(&self) -> Count {
        let sum = |intervals: &[(u128, u128)]| {
            intervals.iter().fold(Count::ZERO, |sum, (first, last)| sum.plus(Count::between(*first, *last)))
        };
        let buggy = |(first, last): &(u128, u128)| buggy_up_to(*last) - first.checked_sub(1).map_or(0, buggy_up_to);
        let avoided = if self.avoid_buggy { self.v4.iter().map(buggy).sum() } else { 0 };
        sum(&self.v4).plus(sum(&self.v6)).minus(Count::from(avoided))
    }

    /// The lowest address of it that is at least `from`.
    fn next(&self, family: Family, from: u128) -> Option<u128> {
        let intervals = self.intervals(family);
        let mut at = intervals.partition_point(|(_, last)| *last < from);
        let mut candidate = from;
        while let Some((first, last)) = intervals.get(at) {
            candidate = candidate.max(*first);
            if self.avoid_buggy && family == Family::V4 {
                candidate = match candidate % 256 {
                    0 => candidate + 1,
                    255 => candidate + 2,
                    _ => candidate,
                };
            }
            if candidate <= *last {
                return Some(candidate);
            }
            at += 1;
        }
        None
    }

    /// The lowest address of it that is at least `from` and not in use.
    pub(super) fn next_free(&self, family: Family, from: u128, used: &Used) -> Option<u128> {
        let mut from = from;
        loop {
            let candidate = self.next(family, from)?;
            match used.end_of_run(family, candidate) {
                None => return Some(candidate),
                Some(end) => from = end.checked_add(1)?,
            }
        }
    }

    /// Whether it shares an address with another; exclusions count, `avoid_buggy` does not.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        [Family::V4, Family::V6].into_iter().any(|family| meet(self.intervals(family), other.intervals(family)))
    }
}

/// How many of the IPv4 addresses 0 to `last` end in .0 or .255.
fn buggy_up_to(last: u128) -> u64 {
    u64::try_from(last / 256 + 1 + (last + 1) / 256).unwrap_or(u64::MAX)
}

/// The ranges of a family, in order, overlapping and adjacent ones joined.
fn merge(family: Family, ranges: &[Range]) -> Vec<(u128, u128)> {
    let mut sorted: Vec<_> = ranges.iter().filter(|range| range.family() == family).map(Range::numbers).collect();
    sorted.sort_unstable();
    let mut merged: Vec<(u128, u128)> = Vec::with_capacity(sorted.len());
    for (first, last) in sorted {
        match merged.last_mut() {
            Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
            _ => merged.push((first, last)),
        }
    }
    merged
}

/// `from` without `holes`; both in order and disjoint.
fn subtract(from: Vec<(u128, u128)>, holes: &[(u128, u128)]) -> Vec<(u128, u128)> {
    let mut left = Vec::with_capacity(from.len() + holes.len());
    for (first, last) in from {
        let mut start = Some(first);
        let skip = holes.partition_point(|(_, end)| *end < first);
        for (hole, end) in holes.iter().skip(skip).take_while(|(hole, _)| *hole <= last) {
            if let Some(start) = start
                && start < *hole
            {
                left.push((start, *hole - 1));
            }
            start = end.checked_add(1);
        }
        if let Some(start) = start.filter(|start| *start <= last) {
            left.push((start, last));
        }
    }
    left
}

/// Whether two ordered lists of disjoint intervals share a number.
fn meet(a: &[(u128, u128)], b: &[(u128, u128)]) -> bool {
    a.iter().any(|(first, last)| {
        let at = b.partition_point(|(_, end)| *end < *first);
        b.get(at).is_some_and(|(start, _)| start <= last)
    })
}

/// The addresses in use, with adjacent ones joined to runs, so that a full stretch is skipped in one step.
#[derive(Debug, Clone, Default)]
pub(super) struct Used {
    v4: BTreeMap<u128, u128>,
    v6: BTreeMap<u128, u128>,
}

impl Used {
    fn runs(&self, family: Family) -> &BTreeMap<u128, u128> {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }

    /// The last address of the run that contains this one; `None` if it is free.
    fn end_of_run(&self, family: Family, address: u128) -> Option<u128> {
        let (_, end) = self.runs(family).range(..=address).next_back()?;
        (*end >= address).then_some(*end)
    }

    /// Marks an address that is free as used.
    pub(super) fn insert(&mut self, address: IpAddr) {
        let at = number(address);
        let runs = match Family::of(address) {
            Family::V4 => &mut self.v4,
            Family::V6 => &mut self.v6,
        };
        let end = at.checked_add(1).and_then(|next| runs.remove(&next)).unwrap_or(at);
        match runs.range_mut(..at).next_back() {
            Some((_, before)) if before.checked_add(1) == Some(at) => *before = end,
            _ => {
                runs.insert(at, end);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn space(ranges: &[&str], exclude: &[&str], avoid_buggy: bool) -> Space {
        let parse = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<Range>>();
        Space::new(&parse(ranges), &parse(exclude), avoid_buggy)
    }

    #[test]
    fn totals_of_huge_spaces_are_exact() {
        let total = |ranges: &[&str], exclude: &[&str], buggy| space(ranges, exclude, buggy).total().to_string();
        assert_eq!(total(&["::/0"], &[], true), "340282366920938463463374607431768211456");
        assert_eq!(total(&["::/0", "0.0.0.0/0"], &[], false), "340282366920938463463374607436063178752");
        assert_eq!(total(&["0.0.0.0/0"], &[], true), (254_u64 << 24).to_string());
        assert_eq!(total(&["198.51.100.0/24"], &["198.51.100.1"], true), "253");
        assert_eq!(total(&["198.51.100.0/24", "198.51.100.128/25"], &["::/0"], false), "256");
        assert_eq!(total(&["::/0"], &["::/0"], false), "0");
        assert_eq!(total(&["198.51.100.255-198.51.101.0"], &[], true), "0");
    }

    #[test]
    fn the_ends_of_a_family_do_not_overflow() {
        let all = space(&["::/0", "0.0.0.0/0"], &[], true);
        let mut used = Used::default();
        used.insert("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff".parse().unwrap());
        assert_eq!(all.next_free(Family::V6, u128::MAX, &used), None);
        assert_eq!(all.next_free(Family::V4, u128::from(u32::MAX), &used), None);
        assert_eq!(all.next_free(Family::V4, 0, &used), Some(1));
    }

    fn ranges() -> impl Strategy<Value = Vec<Range>> {
        prop::collection::vec((0u32..1500, 0u32..400), 0..5).prop_map(|list| {
            list.into_iter()
                .map(|(first, length)| {
                    let ip = |number: u32| IpAddr::V4(std::net::Ipv4Addr::from_bits(0xc633_6400 + number));
                    Range::between(ip(first), ip(first + length)).unwrap()
                })
                .collect()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn intervals_say_the_same_as_enumeration(ranges in ranges(), exclude in ranges(), buggy: bool, used in ranges()) {
            let space = Space::new(&ranges, &exclude, buggy);
            let all: Vec<u128> = (0xc633_6400_u128 - 10..0xc633_6400 + 2000).collect();
            let inside = |set: &[Range], at: u128| set.iter().any(|range| range.contains(Family::V4.address(at)));
            let members: BTreeSet<u128> = all
                .iter()
                .copied()
                .filter(|at| inside(&ranges, *at) && !inside(&exclude, *at))
                .filter(|at| !buggy || !matches!(at % 256, 0 | 255))
                .collect();
            prop_assert_eq!(space.total(), Count::from(members.len() as u64));
            for at in &all {
                prop_assert_eq!(space.contains(Family::V4.address(*at)), members.contains(at));
            }
            let mut runs = Used::default();
            let taken: Vec<u128> = all.iter().copied().filter(|at| inside(&used, *at)).collect();
            for at in taken.iter().rev() {
                runs.insert(Family::V4.address(*at));
            }
            let free = members.iter().copied().find(|at| !taken.contains(at));
            prop_assert_eq!(space.next_free(Family::V4, 0, &runs), free);
            let other = Space::new(&used, &exclude, false);
            let shared = all.iter().any(|at| inside(&ranges, *at) && inside(&used, *at) && !inside(&exclude, *at));
            prop_assert_eq!(space.overlaps(&other), shared);
        }
    }
}
