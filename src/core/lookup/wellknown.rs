//! Hardware addresses that no maker has: groups, virtual routers, broadcast.

use super::mac::Mac;

/// A block with a purpose of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WellKnown {
    value: u64,
    bits: u8,
    /// What it is for.
    pub name: &'static str,
    /// Where that is said.
    pub reference: &'static str,
}

const fn block(octets: [u8; 6], bits: u8, name: &'static str, reference: &'static str) -> WellKnown {
    let [a, b, c, d, e, f] = octets;
    WellKnown { value: u64::from_be_bytes([a, b, c, d, e, f, 0, 0]), bits, name, reference }
}

/// Longest first, so that the first that fits is the answer.
const BLOCKS: &[WellKnown] = &[
    block([0xff; 6], 48, "broadcast", "IEEE 802"),
    block([0; 6], 48, "no address", "IEEE 802"),
    block([0x01, 0x80, 0xc2, 0, 0, 0], 48, "spanning tree bridges", "IEEE 802.1D"),
    block([0x01, 0x80, 0xc2, 0, 0, 0x02], 48, "slow protocols (LACP)", "IEEE 802.3 Annex 57A"),
    block([0x01, 0x80, 0xc2, 0, 0, 0x0e], 48, "nearest bridge (LLDP)", "IEEE 802.1AB"),
    block([0, 0, 0x5e, 0, 1, 0], 40, "virtual router, VRRP for IPv4 (last octet: VRID)", "RFC 9568"),
    block([0, 0, 0x5e, 0, 2, 0], 40, "virtual router, VRRP for IPv6 (last octet: VRID)", "RFC 9568"),
    block([0, 0, 0x0c, 0x07, 0xac, 0], 40, "virtual router, HSRP (last octet: group)", "RFC 2281"),
    block([0x01, 0x80, 0xc2, 0, 0, 0], 44, "link-local group of bridges", "IEEE 802.1Q"),
    block([0, 0, 0x0c, 0x9f, 0xf0, 0], 36, "virtual router, HSRP version 2 (last 12 bits: group)", "Cisco"),
    block([0x01, 0, 0x5e, 0, 0, 0], 25, "IPv4 multicast", "RFC 1112"),
    block([0, 0, 0x5e, 0, 0, 0], 24, "assigned by IANA", "RFC 9542"),
    block([0x01, 0, 0x5e, 0, 0, 0], 24, "group assigned by IANA", "RFC 9542"),
    block([0x33, 0x33, 0, 0, 0, 0], 16, "IPv6 multicast", "RFC 2464"),
];

/// The purpose of an address's block, if it has one.
#[must_use]
pub fn find(mac: Mac) -> Option<&'static WellKnown> {
    let mut longest: Option<&'static WellKnown> = None;
    for block in BLOCKS.iter().filter(|block| block.bits <= mac.bits()) {
        let fits = (mac.value() ^ block.value) >> (64 - u32::from(block.bits)) == 0;
        if fits && longest.is_none_or(|known| known.bits < block.bits) {
            longest = Some(block);
        }
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn virtual_routers_and_groups_are_told_from_makers() {
        for (address, reference) in [
            ("00:00:5e:00:01:0a", "RFC 9568"),
            ("00:00:5e:00:02:0a", "RFC 9568"),
            ("00:00:5e:00:03:0a", "RFC 9542"),
            ("01:00:5e:00:00:fb", "RFC 1112"),
            ("01:00:5e:80:00:01", "RFC 9542"),
            ("33:33:00:00:00:01", "RFC 2464"),
            ("ff:ff:ff:ff:ff:ff", "IEEE 802"),
            ("01:80:c2:00:00:00", "IEEE 802.1D"),
            ("01:80:c2:00:00:03", "IEEE 802.1Q"),
        ] {
            assert_eq!(find(Mac::parse(address).unwrap()).map(|known| known.reference), Some(reference), "{address}");
        }
        assert_eq!(find(Mac::parse("68b5.99fc.d1df").unwrap()), None);
        assert_eq!(find(Mac::parse("01:00:5e").unwrap()).map(|known| known.bits), Some(24), "too short to say more");
    }
}
