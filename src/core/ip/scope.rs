//! What an address is for: IANA's special-purpose address registries, with the RFCs that say so.
//!
//! The tables hold the IANA IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890, RFC 8190), and beside them the
//! multicast, site-local and global unicast blocks, so that every address has a [`Scope`]. The longest block that
//! contains an address decides.
//!
//! Languages disagree about "private" and "global", because their tables are of different years and they take 1918
//! literally or not. [`is_private`] has Go's meaning; the registry's answer stands beside it:
//!
//! | address | Go 1.26 `IsPrivate` | Python 3.11 `is_private`, `is_global` | Rust `is_private` or `is_unique_local` | [`is_private`] | [`Scope::global`] |
//! |---|---|---|---|---|---|
//! | 10.0.0.1 | true | true, false | true | true | no |
//! | fd00::1 | true | true, false | true | true | no |
//! | 192.0.2.1 | false | true, false | false | false | no (documentation) |
//! | 100.64.0.1 | false | false, false | false | false | no (shared) |
//! | 192.0.0.9 | false | false, true | false | false | yes (anycast) |
//! | 169.254.1.1 | false | true, false | false | false | no (link-local) |
//! | 127.0.0.1 | false | true, false | false | false | no (loopback) |
//! | 198.18.0.1 | false | true, false | false | false | no (benchmarking) |
//! | 240.0.0.1 | false | true, false | false | false | no (reserved) |
//! | 64:ff9b:1::1 | false | false, true | false | false | no (local translation) |
//! | 2001:db8::1 | false | true, false | false | false | no (documentation) |
//! | ::ffff:10.0.0.1 | true | true, false | false | true | no (mapped) |
//! | fec0::1 | false | false, true | false | false | no (site-local) |
//! | 224.0.0.1 | false | false, true | false | false | no (local multicast) |

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use ipnetwork::IpNetwork;
use serde::Serialize;

use super::table::Table;

/// A block of addresses with one purpose. The four questions are the registry's columns; `None` is its "N/A".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Scope {
    /// The block's first address.
    pub network: IpAddr,
    /// The block's prefix length in bits.
    pub length: u8,
    /// The registry's name for it.
    pub name: &'static str,
    /// The document that sets it apart, as `RFC 1918`; several are joined by `, `.
    pub rfc: &'static str,
    /// Whether such an address may be the source of a packet.
    pub source: Option<bool>,
    /// Whether such an address may be the destination of a packet.
    pub destination: Option<bool>,
    /// Whether a router may forward a packet to it between external interfaces.
    pub forwardable: Option<bool>,
    /// Whether it is reachable beyond an administrative domain.
    pub global: Option<bool>,
}

const YES: Option<bool> = Some(true);
const NO: Option<bool> = Some(false);
const ANY: Option<bool> = None;

/// Source, destination, forwardable, global.
type Columns = [Option<bool>; 4];
const NOWHERE: Columns = [NO, NO, NO, NO];
const GLOBAL: Columns = [YES, YES, YES, YES];
const LOCAL: Columns = [YES, YES, YES, NO];
const ON_LINK: Columns = [YES, YES, NO, NO];
const SOURCE_ONLY: Columns = [YES, NO, NO, NO];
const WITHDRAWN: Columns = [ANY, ANY, ANY, ANY];
const GROUP: Columns = [NO, YES, ANY, ANY];
const LOCAL_GROUP: Columns = [NO, YES, NO, NO];

const fn v4(octets: [u8; 4], length: u8, name: &'static str, rfc: &'static str, columns: Columns) -> Scope {
    let [a, b, c, d] = octets;
    scope_of(IpAddr::V4(Ipv4Addr::new(a, b, c, d)), length, name, rfc, columns)
}

const fn v6(segments: [u16; 4], length: u8, name: &'static str, rfc: &'static str, columns: Columns) -> Scope {
    let [a, b, c, d] = segments;
    scope_of(IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0)), length, name, rfc, columns)
}

const fn host6(segments: [u16; 8], length: u8, name: &'static str, rfc: &'static str, columns: Columns) -> Scope {
    let [a, b, c, d, e, f, g, h] = segments;
    scope_of(IpAddr::V6(Ipv6Addr::new(a, b, c, d, e, f, g, h)), length, name, rfc, columns)
}

const fn scope_of(network: IpAddr, length: u8, name: &'static str, rfc: &'static str, columns: Columns) -> Scope {
    let [source, destination, forwardable, global] = columns;
    Scope { network, length, name, rfc, source, destination, forwardable, global }
}

/// Every block of IPv4, the longest first; the last one is the whole family.
pub static IPV4: &[Scope] = &[
    v4([0, 0, 0, 0], 32, "This host on this network", "RFC 1122", SOURCE_ONLY),
    v4([192, 0, 0, 8], 32, "IPv4 dummy address", "RFC 7600", SOURCE_ONLY),
    v4([192, 0, 0, 9], 32, "Port Control Protocol Anycast", "RFC 7723", GLOBAL),
    v4([192, 0, 0, 10], 32, "Traversal Using Relays around NAT Anycast", "RFC 8155", GLOBAL),
    v4([192, 0, 0, 170], 32, "NAT64/DNS64 Discovery", "RFC 8880, RFC 7050", NOWHERE),
    v4([192, 0, 0, 171], 32, "NAT64/DNS64 Discovery", "RFC 8880, RFC 7050", NOWHERE),
    v4([192, 88, 99, 2], 32, "6a44-relay anycast address", "RFC 6751", LOCAL),
    v4([255, 255, 255, 255], 32, "Limited Broadcast", "RFC 8190, RFC 919", LOCAL_GROUP),
    v4([192, 0, 0, 0], 29, "IPv4 Service Continuity Prefix", "RFC 7335", LOCAL),
    v4([192, 0, 0, 0], 24, "IETF Protocol Assignments", "RFC 6890", NOWHERE),
    v4([192, 0, 2, 0], 24, "Documentation (TEST-NET-1)", "RFC 5737", NOWHERE),
    v4([192, 31, 196, 0], 24, "AS112-v4", "RFC 7535", GLOBAL),
    v4([192, 52, 193, 0], 24, "AMT", "RFC 7450", GLOBAL),
    v4([192, 88, 99, 0], 24, "Deprecated (6to4 Relay Anycast)", "RFC 7526", WITHDRAWN),
    v4([192, 175, 48, 0], 24, "Direct Delegation AS112 Service", "RFC 7534", GLOBAL),
    v4([198, 51, 100, 0], 24, "Documentation (TEST-NET-2)", "RFC 5737", NOWHERE),
    v4([203, 0, 113, 0], 24, "Documentation (TEST-NET-3)", "RFC 5737", NOWHERE),
    v4([224, 0, 0, 0], 24, "Multicast, Local Network Control", "RFC 5771", LOCAL_GROUP),
    v4([169, 254, 0, 0], 16, "Link-Local", "RFC 3927", ON_LINK),
    v4([192, 168, 0, 0], 16, "Private-Use", "RFC 1918", LOCAL),
    v4([198, 18, 0, 0], 15, "Benchmarking", "RFC 2544", LOCAL),
    v4([172, 16, 0, 0], 12, "Private-Use", "RFC 1918", LOCAL),
    v4([100, 64, 0, 0], 10, "Shared Address Space", "RFC 6598", LOCAL),
    v4([0, 0, 0, 0], 8, "This network", "RFC 791", SOURCE_ONLY),
    v4([10, 0, 0, 0], 8, "Private-Use", "RFC 1918", LOCAL),
    v4([127, 0, 0, 0], 8, "Loopback", "RFC 1122", NOWHERE),
    v4([239, 0, 0, 0], 8, "Multicast, Administratively Scoped", "RFC 2365", [NO, YES, ANY, NO]),
    v4([224, 0, 0, 0], 4, "Multicast", "RFC 5771", GROUP),
    v4([240, 0, 0, 0], 4, "Reserved", "RFC 1112", NOWHERE),
    v4([0, 0, 0, 0], 0, "Global Unicast", "RFC 791", GLOBAL),
];

/// Every block of IPv6, the longest first; the last one is the whole family.
pub static IPV6: &[Scope] = &[
    v6([0, 0, 0, 0], 128, "Unspecified Address", "RFC 4291", SOURCE_ONLY),
    host6([0, 0, 0, 0, 0, 0, 0, 1], 128, "Loopback Address", "RFC 4291", NOWHERE),
    host6([0x2001, 1, 0, 0, 0, 0, 0, 1], 128, "Port Control Protocol Anycast", "RFC 7723", GLOBAL),
    host6([0x2001, 1, 0, 0, 0, 0, 0, 2], 128, "Traversal Using Relays around NAT Anycast", "RFC 8155", GLOBAL),
    host6([0x2001, 1, 0, 0, 0, 0, 0, 3], 128, "DNS-SD Service Registration Protocol Anycast", "RFC 9665", GLOBAL),
    host6([0, 0, 0, 0, 0, 0xffff, 0, 0], 96, "IPv4-mapped Address", "RFC 4291", NOWHERE),
    v6([0x64, 0xff9b, 0, 0], 96, "IPv4-IPv6 Translation", "RFC 6052", GLOBAL),
    v6([0x100, 0, 0, 0], 64, "Discard-Only Address Block", "RFC 6666", LOCAL),
    v6([0x100, 0, 0, 1], 64, "Dummy IPv6 Prefix", "RFC 9780", SOURCE_ONLY),
    v6([0x64, 0xff9b, 1, 0], 48, "IPv4-IPv6 Translation, local", "RFC 8215", LOCAL),
    v6([0x2001, 2, 0, 0], 48, "Benchmarking", "RFC 5180", LOCAL),
    v6([0x2001, 4, 0x112, 0], 48, "AS112-v6", "RFC 7535", GLOBAL),
    v6([0x2620, 0x4f, 0x8000, 0], 48, "Direct Delegation AS112 Service", "RFC 7534", GLOBAL),
    v6([0x2001, 0, 0, 0], 32, "TEREDO", "RFC 4380, RFC 8190", [YES, YES, YES, ANY]),
    v6([0x2001, 3, 0, 0], 32, "AMT", "RFC 7450", GLOBAL),
    v6([0x2001, 0xdb8, 0, 0], 32, "Documentation", "RFC 3849", NOWHERE),
    v6([0x2001, 0x10, 0, 0], 28, "Deprecated (previously ORCHID)", "RFC 4843", WITHDRAWN),
    v6([0x2001, 0x20, 0, 0], 28, "ORCHIDv2", "RFC 7343", GLOBAL),
    v6([0x2001, 0x30, 0, 0], 28, "Drone Remote ID Protocol Entity Tags", "RFC 9374", GLOBAL),
    v6([0x2001, 0, 0, 0], 23, "IETF Protocol Assignments", "RFC 2928", NOWHERE),
    v6([0x3fff, 0, 0, 0], 20, "Documentation", "RFC 9637", NOWHERE),
    v6([0x2002, 0, 0, 0], 16, "6to4", "RFC 3056", [YES, YES, YES, ANY]),
    v6([0x5f00, 0, 0, 0], 16, "Segment Routing (SRv6) SIDs", "RFC 9602", LOCAL),
    v6([0xff01, 0, 0, 0], 16, "Multicast, Interface-Local", "RFC 4291", LOCAL_GROUP),
    v6([0xff02, 0, 0, 0], 16, "Multicast, Link-Local", "RFC 4291", LOCAL_GROUP),
    v6([0xfe80, 0, 0, 0], 10, "Link-Local Unicast", "RFC 4291", ON_LINK),
    v6([0xfec0, 0, 0, 0], 10, "Deprecated (Site-Local Unicast)", "RFC 3879", LOCAL),
    v6([0xff00, 0, 0, 0], 8, "Multicast", "RFC 4291", GROUP),
    v6([0xfc00, 0, 0, 0], 7, "Unique-Local", "RFC 4193, RFC 8190", LOCAL),
    v6([0x2000, 0, 0, 0], 3, "Global Unicast", "RFC 4291, RFC 3587", GLOBAL),
    v6([0, 0, 0, 0], 0, "Reserved by IETF", "RFC 4291", NOWHERE),
];

/// Both lists, ready to be searched.
static BLOCKS: LazyLock<Table<&'static Scope>> = LazyLock::new(|| {
    let blocks = IPV4.iter().chain(IPV6);
    let prefixes = blocks.filter_map(|block| Some((IpNetwork::new(block.network, block.length).ok()?, block)));
    Table::new(prefixes).expect("some sixty blocks are not too many for a table")
});

/// The scope of an address: the smallest block of the registries that contains it.
#[must_use]
pub fn scope(address: IpAddr) -> &'static Scope {
    BLOCKS.longest(address).expect("each list ends with the whole family").value
}

/// Whether the address is private in the sense of Go's `IsPrivate`: RFC 1918 or RFC 4193 (`fc00::/7`).
/// Like Go since 1.22.4, this and the other yes-or-no questions look through an IPv4-mapped address.
#[must_use]
pub const fn is_private(address: IpAddr) -> bool {
    match unmapped(address) {
        IpAddr::V4(v4) => v4.is_private(),
        IpAddr::V6(v6) => v6.is_unique_local(),
    }
}

/// Whether the address is link-local: 169.254.0.0/16 (RFC 3927) or fe80::/10 (RFC 4291 2.5.6).
#[must_use]
pub const fn is_link_local(address: IpAddr) -> bool {
    match unmapped(address) {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

/// Whether the address is multicast: 224.0.0.0/4 (RFC 5771) or ff00::/8 (RFC 4291 2.7).
#[must_use]
pub const fn is_multicast(address: IpAddr) -> bool {
    unmapped(address).is_multicast()
}

/// Whether the address is loopback: 127.0.0.0/8 (RFC 1122 3.2.1.3) or ::1 (RFC 4291 2.5.3).
#[must_use]
pub const fn is_loopback(address: IpAddr) -> bool {
    unmapped(address).is_loopback()
}

/// The IPv4 address inside an IPv4-mapped IPv6 address (`::ffff:0:0/96`); any other address is itself.
#[must_use]
pub const fn unmapped(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

/// Whether a connection made on a stranger's word may go there: a unicast address that the registries call globally
/// reachable, and whose embedded IPv4 address is so too (NAT64, RFC 6052). Mapped addresses, 6to4 and Teredo are not:
/// they lead wherever their sender likes.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    if scope(address).global != YES || is_multicast(address) {
        return false;
    }
    match address {
        IpAddr::V6(v6) if v6.segments().starts_with(&[0x64, 0xff9b]) => {
            let [.., a, b, c, d] = v6.octets();
            is_public(IpAddr::V4(Ipv4Addr::new(a, b, c, d)))
        }
        IpAddr::V4(_) | IpAddr::V6(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_longest_block_is_found_first_and_blocks_have_no_host_bits() {
        for table in [IPV4, IPV6] {
            assert!(table.is_sorted_by_key(|block| std::cmp::Reverse(block.length)));
            assert_eq!(table.last().unwrap().length, 0);
            for block in table {
                let network = ipnetwork::IpNetwork::new(block.network, block.length).unwrap();
                assert_eq!(network.network(), block.network, "{}", block.name);
                assert!(block.rfc.starts_with("RFC "), "{}", block.name);
            }
        }
    }

    #[test]
    fn the_scope_of_an_address_is_the_smallest_block_around_it() {
        for (address, name, rfc) in [
            ("192.0.0.8", "IPv4 dummy address", "RFC 7600"),
            ("192.0.0.7", "IPv4 Service Continuity Prefix", "RFC 7335"),
            ("192.0.0.11", "IETF Protocol Assignments", "RFC 6890"),
            ("192.0.2.1", "Documentation (TEST-NET-1)", "RFC 5737"),
            ("100.127.255.255", "Shared Address Space", "RFC 6598"),
            ("100.128.0.0", "Global Unicast", "RFC 791"),
            ("172.31.255.255", "Private-Use", "RFC 1918"),
            ("172.32.0.0", "Global Unicast", "RFC 791"),
            ("224.0.0.1", "Multicast, Local Network Control", "RFC 5771"),
            ("255.255.255.255", "Limited Broadcast", "RFC 8190, RFC 919"),
            ("255.255.255.254", "Reserved", "RFC 1112"),
            ("::", "Unspecified Address", "RFC 4291"),
            ("::1", "Loopback Address", "RFC 4291"),
            ("::2", "Reserved by IETF", "RFC 4291"),
            ("::ffff:10.0.0.1", "IPv4-mapped Address", "RFC 4291"),
            ("64:ff9b:1::1", "IPv4-IPv6 Translation, local", "RFC 8215"),
            ("2001:db8::1", "Documentation", "RFC 3849"),
            ("2001:1ff::", "IETF Protocol Assignments", "RFC 2928"),
            ("2001:200::", "Global Unicast", "RFC 4291, RFC 3587"),
            ("3fff:fff::", "Documentation", "RFC 9637"),
            ("fe80:f00d::1", "Link-Local Unicast", "RFC 4291"),
        ] {
            assert_eq!((scope(ip(address)).name, scope(ip(address)).rfc), (name, rfc), "{address}");
        }
    }

    #[test]
    fn where_languages_disagree_private_is_go_s_and_global_is_the_registry_s() {
        for (address, private, global) in [
            ("10.0.0.1", true, NO),
            ("fd00::1", true, NO),
            ("192.0.2.1", false, NO),
            ("100.64.0.1", false, NO),
            ("192.0.0.9", false, YES),
            ("169.254.1.1", false, NO),
            ("127.0.0.1", false, NO),
            ("198.18.0.1", false, NO),
            ("240.0.0.1", false, NO),
            ("64:ff9b:1::1", false, NO),
            ("2001:db8::1", false, NO),
            ("::ffff:10.0.0.1", true, NO),
            ("fec0::1", false, NO),
            ("224.0.0.1", false, NO),
            ("8.8.8.8", false, YES),
            ("2606:4700::1111", false, YES),
        ] {
            assert_eq!((is_private(ip(address)), scope(ip(address)).global), (private, global), "{address}");
        }
    }

    #[test]
    fn a_stranger_s_word_leads_only_to_public_unicast_addresses() {
        for yes in ["8.8.8.8", "192.0.0.9", "2606:4700::1111", "64:ff9b::808:808"] {
            assert!(is_public(ip(yes)), "{yes}");
        }
        for no in [
            "10.0.0.1",
            "127.0.0.1",
            "0.0.0.0",
            "169.254.169.254",
            "100.64.0.1",
            "224.0.0.1",
            "232.1.1.1",
            "240.0.0.1",
            "255.255.255.255",
            "192.88.99.1",
            "::",
            "::1",
            "::8.8.8.8",
            "::ffff:8.8.8.8",
            "::ffff:127.0.0.1",
            "fe80::1",
            "fd00::1",
            "fec0::1",
            "ff02::1",
            "ff0e::1",
            "64:ff9b::7f00:1",
            "64:ff9b::a00:1",
            "64:ff9b:1::808:808",
            "2002:7f00:1::",
            "2001:0:7f00:1::",
            "4000::1",
        ] {
            assert!(!is_public(ip(no)), "{no}");
        }
    }
}
