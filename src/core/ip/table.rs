//! Which networks contain an address, each with a value: the longest, and all of them.
//!
//! The prefixes are flattened once into consecutive ranges, each owned by the longest prefix over it, and every prefix
//! knows the next shorter one around it. A look-up is one step by the highest bits, only where these do not settle it a
//! binary search among the ranges that share them, and a walk upwards if all are wanted. A table does not change: build a
//! new one and swap it.

use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::IpError;
use super::prefix::{bounds, masked};

/// No entry.
const NONE: u32 = u32::MAX;
/// No one owner: the ranges have to be searched.
const SEVERAL: u32 = u32::MAX - 1;
/// Up to so many parts an index has many for each range, so that most parts have one owner; half a megabyte.
const FINE_PARTS: usize = 1 << 16;

/// A prefix and what was said of it.
#[derive(Debug, Clone)]
pub struct Entry<T> {
    /// The prefix, without host bits.
    pub prefix: IpNetwork,
    /// Its value.
    pub value: T,
    parent: u32,
}

/// Prefixes with values; see the module.
#[derive(Debug, Clone)]
pub struct Table<T> {
    entries: Vec<Entry<T>>,
    v4: Flat<u32>,
    v6: Flat<u128>,
}

/// Ranges that follow each other without a gap: where each begins and who owns it, with an index by the highest bits, so
/// that a look-up compares only the few ranges that share them, if there are several.
#[derive(Debug, Clone)]
struct Flat<N> {
    ranges: Vec<(N, u32)>,
    /// One for each `1 << shift` numbers from the first start on, and one for the end.
    index: Vec<Part>,
    shift: u32,
}

/// What is known of the numbers that have the highest bits in common.
#[derive(Debug, Clone, Copy)]
struct Part {
    /// How many ranges begin before it.
    before: u32,
    /// Who owns all of it; else [`SEVERAL`].
    owner: u32,
}

/// The bits of an address.
trait Bits: Copy + Ord {
    /// How many parts of `1 << shift` lie between `from`, which is not greater, and this number.
    fn parts(self, from: Self, shift: u32) -> usize;
    /// Whether this number is the first of its part.
    fn begins_part(self, from: Self, shift: u32) -> bool;
    /// How many bits the distance from `from` has.
    fn distance_bits(self, from: Self) -> u32;
}

macro_rules! bits {
    ($number:ty) => {
        impl Bits for $number {
            #[inline]
            fn parts(self, from: Self, shift: u32) -> usize {
                usize::try_from((self - from) >> shift).unwrap_or(usize::MAX)
            }

            fn begins_part(self, from: Self, shift: u32) -> bool {
                (self - from).trailing_zeros() >= shift
            }

            fn distance_bits(self, from: Self) -> u32 {
                Self::BITS - (self - from).leading_zeros()
            }
        }
    };
}
bits!(u32);
bits!(u128);

impl<N: Bits> Flat<N> {
    const fn new() -> Self {
        Self { ranges: Vec::new(), index: Vec::new(), shift: 0 }
    }

    /// The range from `start` on belongs to `owner`; starts never go downwards, and the last word on one counts.
    fn begin(&mut self, start: N, owner: u32) {
        if self.ranges.last().is_some_and(|(last, _)| *last == start) {
            self.ranges.pop();
        }
        if self.ranges.last().is_none_or(|(_, last)| *last != owner) {
            self.ranges.push((start, owner));
        }
    }

    /// Makes the index, once all ranges are there: one or two parts for each range, of few ranges eight times as many.
    fn finish(&mut self) {
        let (Some((first, _)), Some((last, _))) = (self.ranges.first().copied(), self.ranges.last().copied()) else {
            return;
        };
        let count = self.ranges.len() * 2;
        let wanted = (count * 8).min(FINE_PARTS).max(count).ilog2();
        self.shift = last.distance_bits(first).saturating_sub(wanted);
        self.index = Vec::with_capacity(last.parts(first, self.shift) + 2);
        let mut reaching = NONE;
        for (before, (start, owner)) in (0_u32..).zip(&self.ranges) {
            let part = start.parts(first, self.shift);
            if let Some(part) = self.index.get_mut(part) {
                part.owner = SEVERAL;
            } else {
                self.index.resize(part, Part { before, owner: reaching });
                let owner = if start.begins_part(first, self.shift) { *owner } else { SEVERAL };
                self.index.push(Part { before, owner });
            }
            reaching = *owner;
        }
        self.index.push(Part { before: self.ranges.len() as u32, owner: NONE });
    }

    #[inline]
    fn owner(&self, number: N) -> u32 {
        let Some((first, _)) = self.ranges.first().filter(|(first, _)| *first <= number) else { return NONE };
        let at = number.parts(*first, self.shift).min(self.index.len().saturating_sub(2));
        match self.index.get(at) {
            Some(part) if part.owner == SEVERAL => self.search(number, at),
            Some(part) => part.owner,
            None => NONE,
        }
    }

    /// The owner of a number in a part of several.
    fn search(&self, number: N, part: usize) -> u32 {
        let (Some(here), Some(next)) = (self.index.get(part), self.index.get(part + 1)) else { return NONE };
        let sharing = self.ranges.get(here.before as usize..next.before as usize).unwrap_or_default();
        let after = here.before as usize + sharing.partition_point(|(start, _)| *start <= number);
        after.checked_sub(1).and_then(|at| self.ranges.get(at)).map_or(NONE, |(_, owner)| *owner)
    }
}

impl<T> Table<T> {
    /// Builds a table. Of prefixes that are the same without their host bits the last one counts.
    ///
    /// # Errors
    /// [`IpError::TooMany`] from 2³¹ prefixes on.
    pub fn new(prefixes: impl IntoIterator<Item = (IpNetwork, T)>) -> Result<Self, IpError> {
        let mut entries: Vec<Entry<T>> =
            prefixes.into_iter().map(|(prefix, value)| Entry { prefix: masked(prefix), value, parent: NONE }).collect();
        // The sort is stable and the later of two equals must win: turn round, sort, keep the first.
        entries.reverse();
        entries.sort_by_key(|entry| (entry.prefix.ip(), entry.prefix.prefix()));
        entries.dedup_by(|later, kept| later.prefix == kept.prefix);
        // Each prefix makes two ranges at most, and ranges are counted in 32 bits.
        if entries.len() >= 1 << 31 {
            return Err(IpError::TooMany);
        }
        let mut table = Self { entries, v4: Flat::new(), v6: Flat::new() };
        table.flatten();
        Ok(table)
    }

    fn flatten(&mut self) {
        // The prefixes that are open where the sweep stands, the longest last: number and highest address.
        let mut open: Vec<(u32, bool, u128)> = Vec::new();
        for (at, id) in (0..self.entries.len()).zip(0_u32..) {
            let Some(entry) = self.entries.get(at) else { continue };
            let v4 = entry.prefix.is_ipv4();
            let (first, last) = bounds(entry.prefix);
            while let Some((_, family, end)) = open.pop_if(|(_, family, end)| *family != v4 || *end < first) {
                self.close(family, end, &open);
            }
            let parent = open.last().map_or(NONE, |(parent, _, _)| *parent);
            if let Some(entry) = self.entries.get_mut(at) {
                entry.parent = parent;
            }
            self.begin(v4, first, id);
            open.push((id, v4, last));
        }
        while let Some((_, v4, end)) = open.pop() {
            self.close(v4, end, &open);
        }
        self.v4.finish();
        self.v6.finish();
    }

    /// What follows a prefix that ends belongs to the one around it.
    fn close(&mut self, v4: bool, end: u128, open: &[(u32, bool, u128)]) {
        let owner = open.last().map_or(NONE, |(id, _, _)| *id);
        if let Some(start) = end.checked_add(1) {
            self.begin(v4, start, owner);
        }
    }

    fn begin(&mut self, v4: bool, start: u128, owner: u32) {
        if !v4 {
            self.v6.begin(start, owner);
        } else if let Ok(start) = u32::try_from(start) {
            self.v4.begin(start, owner);
        }
    }

    /// The longest prefix that contains the address.
    #[must_use]
    pub fn longest(&self, address: IpAddr) -> Option<&Entry<T>> {
        let owner = match address {
            IpAddr::V4(v4) => self.v4.owner(v4.to_bits()),
            IpAddr::V6(v6) => self.v6.owner(v6.to_bits()),
        };
        self.entry(owner)
    }

    /// All prefixes that contain the address, the longest first.
    pub fn containing(&self, address: IpAddr) -> impl Iterator<Item = &Entry<T>> {
        std::iter::successors(self.longest(address), |entry| self.entry(entry.parent))
    }

    /// Whether any prefix contains the address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.longest(address).is_some()
    }

    /// All entries, by address and then by length.
    #[must_use]
    pub fn entries(&self) -> &[Entry<T>] {
        &self.entries
    }

    fn entry(&self, id: u32) -> Option<&Entry<T>> {
        self.entries.get(usize::try_from(id).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::ip::number::Family;
    use proptest::prelude::*;

    fn net(text: &str) -> IpNetwork {
        text.parse().unwrap()
    }

    #[test]
    fn all_networks_around_an_address_are_found_and_twins_once() {
        let table = Table::new(
            [
                "100.64.0.0/16",
                "127.0.0.0/8",
                "172.16.0.0/16",
                "192.0.2.0/24",
                "192.0.2.0/24",
                "192.0.2.0/25",
                "192.0.2.127/25",
            ]
            .into_iter()
            .enumerate()
            .map(|(at, prefix)| (net(prefix), at)),
        )
        .unwrap();
        let found: Vec<_> =
            table.containing("192.0.2.18".parse().unwrap()).map(|e| (e.prefix.to_string(), e.value)).collect();
        assert_eq!(found, [("192.0.2.0/25".to_owned(), 6), ("192.0.2.0/24".to_owned(), 4)]);
        assert!(table.contains("127.0.0.1".parse().unwrap()));
        assert!(!table.contains("::ffff:127.0.0.1".parse().unwrap()));
        assert_eq!(table.entries().len(), 5);
    }

    #[test]
    fn the_ends_of_both_families_belong_to_whoever_is_there() {
        let all = ["0.0.0.0/0", "255.255.255.255/32", "::/0", "ffff::/16", "::/128"];
        let table = Table::new(all.map(|prefix| (net(prefix), ()))).unwrap();
        let longest = |address: &str| table.longest(address.parse().unwrap()).unwrap().prefix.to_string();
        for (address, prefix) in [
            ("0.0.0.0", "0.0.0.0/0"),
            ("255.255.255.255", "255.255.255.255/32"),
            ("255.255.255.254", "0.0.0.0/0"),
            ("::", "::/128"),
            ("::1", "::/0"),
            ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff::/16"),
        ] {
            assert_eq!(longest(address), prefix, "{address}");
        }
        let none = Table::<()>::new([]).unwrap();
        assert!(none.longest("0.0.0.0".parse().unwrap()).is_none());
    }

    proptest! {
        #[test]
        fn a_table_says_what_a_scan_of_the_list_says(
            list in proptest::collection::vec((any::<u8>(), 0_u8..=8, any::<bool>(), any::<bool>()), 0..40),
            addresses in proptest::collection::vec((any::<u8>(), any::<bool>(), any::<bool>()), 1..40),
        ) {
            // Only the highest or only the lowest octet varies, so that prefixes nest and meet often, and also where the
            // index does not tell them apart.
            let address = |octet: u8, v4: bool, low: bool| {
                let family = if v4 { Family::V4 } else { Family::V6 };
                family.address(u128::from(octet) << if low { 0 } else { family.bits() - 8 }).unwrap()
            };
            let prefixes: Vec<_> = list.into_iter()
                .map(|(octet, length, v4, low)| {
                    let above = if low { if v4 { 24 } else { 120 } } else { 0 };
                    IpNetwork::new(address(octet, v4, low), above + length).unwrap()
                }).collect();
            let table = Table::new(prefixes.iter().copied().zip(0..)).unwrap();
            for (octet, v4, low) in addresses {
                let address = address(octet, v4, low);
                let mut scan: Vec<_> = prefixes.iter().map(|p| masked(*p)).zip(0..).filter(|(p, _)| p.contains(address)).collect();
                scan.reverse();
                scan.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.prefix()));
                scan.dedup_by_key(|(prefix, _)| *prefix);
                let found: Vec<_> = table.containing(address).map(|entry| (entry.prefix, entry.value)).collect();
                prop_assert_eq!(found, scan);
            }
        }
    }
}
