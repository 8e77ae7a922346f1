//! All that can be said of an address or a prefix without asking anybody.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use serde::Serialize;

use super::number::{Count, Family, number};
use super::scope::{self, Scope};
use super::{prefix, text};

/// What there is to say of an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AddressFacts {
    /// The address in its canonical form (RFC 5952).
    pub address: IpAddr,
    /// `IPv4` or `IPv6`.
    pub family: String,
    /// The IPv4 address inside an IPv4-mapped one, else the address.
    pub unmapped: IpAddr,
    /// RFC 1918 or RFC 4193, as Go says; see [`scope::is_private`].
    pub private: bool,
    /// Whether it is a multicast group.
    pub multicast: bool,
    /// Whether it is link-local.
    pub link_local: bool,
    /// Whether it is loopback.
    pub loopback: bool,
    /// What the registries say of it.
    pub scope: &'static Scope,
    /// The name of its PTR record.
    pub reverse: String,
    /// With all its digits (IPv6).
    pub exploded: String,
    /// As a hexadecimal number.
    pub hex: String,
    /// As a decimal number, in text.
    pub decimal: String,
    /// In binary.
    pub binary: String,
}

/// What there is to say of a prefix, beside what is said of its address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PrefixFacts {
    /// The prefix without host bits.
    pub prefix: IpNetwork,
    /// Its length in bits.
    pub length: u8,
    /// Its mask, as an address.
    pub mask: IpAddr,
    /// Its lowest address.
    pub network: IpAddr,
    /// Its highest address, which is the broadcast address in IPv4 below /31; IPv6 has none (RFC 4291 2).
    pub broadcast: Option<IpAddr>,
    /// Its first address for a host.
    pub first: Option<IpAddr>,
    /// Its last address for a host.
    pub last: Option<IpAddr>,
    /// How many addresses hosts may have.
    pub count: Count,
    /// How many addresses it has.
    pub size: Count,
}

impl AddressFacts {
    /// The facts of an address.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        Self {
            address,
            family: Family::of(address).to_string(),
            unmapped: scope::unmapped(address),
            private: scope::is_private(address),
            multicast: scope::is_multicast(address),
            link_local: scope::is_link_local(address),
            loopback: scope::is_loopback(address),
            scope: scope::scope(address),
            reverse: text::reverse_name(address),
            exploded: text::exploded(address),
            hex: text::hex(address),
            decimal: number(address).to_string(),
            binary: text::binary(address),
        }
    }
}

impl PrefixFacts {
    /// The facts of a prefix.
    #[must_use]
    pub fn of(prefix: IpNetwork) -> Self {
        let hosts = prefix::usable(prefix);
        let ends = hosts.ends();
        let has_broadcast = prefix.is_ipv4() && prefix.prefix() < 31;
        Self {
            prefix: prefix::masked(prefix),
            length: prefix.prefix(),
            mask: prefix.mask(),
            network: prefix.network(),
            broadcast: has_broadcast.then(|| prefix.broadcast()),
            first: ends.map(|(first, _)| first),
            last: ends.map(|(_, last)| last),
            count: hosts.remaining(),
            size: prefix::size(prefix),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_facts_of_a_prefix_are_those_of_the_original_programs() {
        let facts = PrefixFacts::of("198.51.100.0/24".parse().unwrap());
        let (first, last) = (facts.first.unwrap(), facts.last.unwrap());
        assert_eq!((first.to_string(), last.to_string()), ("198.51.100.1".to_owned(), "198.51.100.254".to_owned()));
        assert_eq!((facts.count, facts.size), (Count::Exactly(254), Count::Exactly(256)));
        let facts = PrefixFacts::of("2001:db8:a0b:12f0::1/32".parse().unwrap());
        assert_eq!(facts.prefix.to_string(), "2001:db8::/32");
        assert_eq!((facts.broadcast, facts.count), (None, Count::Exactly(1 << 96)));
        let facts = AddressFacts::of("::ffff:192.0.2.1".parse().unwrap());
        assert_eq!(facts.unmapped.to_string(), "192.0.2.1");
    }
}
