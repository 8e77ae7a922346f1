//! Every IPv4 prefix of lengths 0 to 8, and random ones of all lengths of both families, against a slow reference that
//! works on single bits.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use proptest::prelude::*;
use vipkeeper::core::ip::info::PrefixFacts;
use vipkeeper::core::ip::number::{Count, Family, number};
use vipkeeper::core::ip::{prefix, set, table::Table};

/// A prefix as bits, the highest first.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Slow {
    bits: Vec<bool>,
    length: usize,
}

impl Slow {
    fn of(prefix: IpNetwork) -> Self {
        Self { bits: bits(prefix.ip()), length: prefix.prefix().into() }
    }

    fn filled(&self, with: bool) -> Vec<bool> {
        self.bits.iter().enumerate().map(|(at, bit)| if at < self.length { *bit } else { with }).collect()
    }

    /// Decimal digits of the number of addresses, by doubling on paper.
    fn size(&self) -> String {
        let mut digits = vec![1_u8];
        for _ in self.length..self.bits.len() {
            let mut carry = 0;
            for digit in &mut digits {
                let double = *digit * 2 + carry;
                *digit = double % 10;
                carry = double / 10;
            }
            digits.extend((carry > 0).then_some(carry));
        }
        digits.iter().rev().map(|digit| char::from(b'0' + digit)).collect()
    }

    fn contains(&self, other: &Self) -> bool {
        self.bits.len() == other.bits.len()
            && self.length <= other.length
            && self.bits[..self.length] == other.bits[..self.length]
    }
}

fn bits(address: IpAddr) -> Vec<bool> {
    let width = usize::from(Family::of(address).bits());
    let text = format!("{:0width$b}", number(address));
    text.bytes().map(|bit| bit == b'1').collect()
}

fn short_prefixes() -> Vec<IpNetwork> {
    (0_u8..=8)
        .flat_map(|length| (0..1_u32 << length).map(move |top| (length, top)))
        .map(|(length, top)| {
            let bits = u32::try_from(u64::from(top) << (32 - length)).unwrap();
            IpNetwork::new(Family::V4.address(bits.into()).unwrap(), length).unwrap()
        })
        .collect()
}

fn check_one(prefix: IpNetwork) {
    let slow = Slow::of(prefix);
    let facts = PrefixFacts::of(prefix);
    assert_eq!(bits(facts.network), slow.filled(false), "{prefix}");
    assert_eq!(bits(prefix::all(prefix).ends().unwrap().1), slow.filled(true), "{prefix}");
    assert_eq!(facts.size.to_string(), slow.size(), "{prefix}");
    let ones = Slow { bits: vec![true; slow.bits.len()], length: slow.length };
    assert_eq!(bits(facts.mask), ones.filled(false), "{prefix}");
    let (first, last) = (slow.filled(false), slow.filled(true));
    let spared = prefix.is_ipv4() && slow.length < 31;
    let (mut low, mut high) = (first, last.clone());
    if spared {
        *low.last_mut().unwrap() = true;
        *high.last_mut().unwrap() = false;
    }
    assert_eq!((facts.first.map(bits), facts.last.map(bits)), (Some(low), Some(high)), "{prefix}");
    assert_eq!(facts.broadcast.map(bits), spared.then_some(last), "{prefix}");
    let host = number(facts.last.unwrap()) - number(facts.first.unwrap());
    assert_eq!(facts.count, host.checked_add(1).map_or(Count::All, Count::Exactly), "{prefix}");
    for length in 0..prefix.prefix() {
        let around = Slow::of(prefix::supernet(prefix, length).unwrap());
        let expected = Slow { length: length.into(), ..slow.clone() };
        assert_eq!((around.bits, around.length), (expected.filled(false), length.into()), "{prefix}");
    }
    if slow.length < slow.bits.len() {
        let halves: Vec<_> = prefix::subnets(prefix, prefix.prefix() + 1).unwrap().collect();
        assert_eq!(halves.len(), 2, "{prefix}");
        for (half, bit) in halves.iter().zip([false, true]) {
            let mut expected = slow.filled(false);
            expected[slow.length] = bit;
            assert_eq!((bits(half.ip()), usize::from(half.prefix())), (expected, slow.length + 1), "{prefix}");
        }
        assert_eq!(set::aggregate(halves), [prefix::masked(prefix)]);
    }
    let ends = prefix::all(prefix).ends().unwrap();
    assert_eq!(set::range_to_prefixes(ends.0, ends.1).unwrap().collect::<Vec<_>>(), [prefix::masked(prefix)]);
}

fn check_pair(a: IpNetwork, b: IpNetwork) {
    let (slow_a, slow_b) = (Slow::of(a), Slow::of(b));
    assert_eq!(prefix::contains(a, b), slow_a.contains(&slow_b), "{a} {b}");
    if slow_a.bits.len() != slow_b.bits.len() {
        assert!(prefix::common(a, b).is_err());
        return;
    }
    let same = slow_a.bits.iter().zip(&slow_b.bits).take_while(|(x, y)| x == y).count();
    let length = same.min(slow_a.length).min(slow_b.length);
    let both = prefix::common(a, b).unwrap();
    let expected = Slow { length, ..slow_a };
    assert_eq!((bits(both.ip()), usize::from(both.prefix())), (expected.filled(false), length), "{a} {b}");
}

#[test]
fn every_ipv4_prefix_of_lengths_0_to_8() {
    let all = short_prefixes();
    assert_eq!(all.len(), 511);
    all.iter().for_each(|prefix| check_one(*prefix));
    for a in &all {
        for b in &all {
            check_pair(*a, *b);
        }
    }
}

#[test]
fn a_table_of_every_short_prefix_knows_all_nine_around_an_address() {
    let all = short_prefixes();
    let table = Table::new(all.iter().map(|prefix| (*prefix, ()))).unwrap();
    for top in 0..=255_u32 {
        for low in [0, 1, 0xff_ffff] {
            let address = Family::V4.address((top << 24 | low).into()).unwrap();
            let found: Vec<_> = table.containing(address).map(|entry| entry.prefix).collect();
            let inner = Slow { bits: bits(address), length: 32 };
            let mut expected: Vec<_> = all.iter().copied().filter(|p| Slow::of(*p).contains(&inner)).collect();
            expected.sort_by_key(|prefix| std::cmp::Reverse(prefix.prefix()));
            assert_eq!(expected.len(), 9);
            assert_eq!(found, expected, "{address}");
        }
    }
}

fn any_prefix() -> impl Strategy<Value = IpNetwork> {
    (any::<u128>(), 0_u8..=128, any::<bool>()).prop_map(|(bits, length, v4)| {
        let family = if v4 { Family::V4 } else { Family::V6 };
        let address = family.address(bits & family.max()).unwrap();
        IpNetwork::new(address, length.min(family.bits())).unwrap()
    })
}

proptest! {
    #[test]
    fn random_prefixes_of_all_lengths(a in any_prefix(), b in any_prefix(), flip in 0_u32..128) {
        check_one(a);
        check_pair(a, b);
        // A neighbour that shares most bits.
        let family = Family::of(a.ip());
        let bit = 1_u128 << (flip % u32::from(family.bits()));
        let near = IpNetwork::new(family.address(number(a.ip()) ^ bit).unwrap(), a.prefix()).unwrap();
        check_pair(a, near);
        check_pair(near, a);
    }
}
