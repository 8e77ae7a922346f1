//! The name of a segment: one L2 network is named by its lowest on-link prefix, so that every node on it comes to the
//! same name by itself.

use std::net::{IpAddr, Ipv6Addr};

use ipnetwork::{IpNetwork, Ipv6Network};

/// Whether a prefix can name a segment: not link-local, which every link has, and wider than one address.
#[must_use]
pub fn is_on_link(prefix: IpNetwork) -> bool {
    match prefix {
        IpNetwork::V4(v4) => v4.prefix() < 32 && !v4.ip().is_link_local() && !v4.ip().is_loopback(),
        IpNetwork::V6(v6) => v6.prefix() < 128 && !v6.ip().is_unicast_link_local() && !v6.ip().is_loopback(),
    }
}

/// The prefix that names the segment of an interface with these prefixes: the lowest by family (IPv4 first), network
/// address and length; host bits do not count. `None` if none of them can name a segment.
#[must_use]
pub fn lowest_prefix(prefixes: impl IntoIterator<Item = IpNetwork>) -> Option<IpNetwork> {
    prefixes
        .into_iter()
        .filter(|prefix| is_on_link(*prefix))
        .filter_map(without_host_bits)
        .min_by_key(|prefix| (prefix.is_ipv6(), prefix.network(), prefix.prefix()))
}

/// The prefix with its host bits cleared.
#[must_use]
pub fn without_host_bits(prefix: IpNetwork) -> Option<IpNetwork> {
    IpNetwork::new(prefix.network(), prefix.prefix()).ok()
}

/// The name of the segment that a prefix names, and so of its `FailoverView`; a valid name of a Kubernetes object.
///
/// `198.51.100.0/24` is `198.51.100.0-24`; `2001:db8:1::/64` is `2001-db8-1-0-0-0-0-0-64`.
#[must_use]
pub fn segment_name(prefix: IpNetwork) -> String {
    match prefix.network() {
        IpAddr::V4(ip) => format!("{ip}-{}", prefix.prefix()),
        IpAddr::V6(ip) => {
            let groups = ip.segments().map(|group| format!("{group:x}"));
            format!("{}-{}", groups.join("-"), prefix.prefix())
        }
    }
}

/// The prefix that a segment's name stands for; `None` for a name that a person chose (`--segment NAME=INTERFACE`).
#[must_use]
pub fn segment_prefix(name: &str) -> Option<IpNetwork> {
    let (network, length) = name.rsplit_once('-')?;
    let length = length.parse().ok()?;
    let parsed = if network.contains('-') {
        let ip: Ipv6Addr = network.replace('-', ":").parse().ok()?;
        IpNetwork::V6(Ipv6Network::new(ip, length).ok()?)
    } else {
        IpNetwork::new(network.parse::<IpAddr>().ok()?, length).ok()?
    };
    (segment_name(parsed) == name).then_some(parsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_valid_in_kubernetes_and_can_be_read_back() {
        for (prefix, name) in [
            ("198.51.100.0/24", "198.51.100.0-24"),
            ("198.51.100.7/24", "198.51.100.0-24"),
            ("2001:db8:1::/64", "2001-db8-1-0-0-0-0-0-64"),
            ("::/0", "0-0-0-0-0-0-0-0-0"),
        ] {
            let prefix: IpNetwork = prefix.parse().unwrap();
            assert_eq!(segment_name(prefix), name);
            assert_eq!(segment_prefix(name), without_host_bits(prefix));
        }
        for chosen in ["uplink", "rack-7", "lan-300", "198.51.100.7-24", "1-2-3-64", ""] {
            assert_eq!(segment_prefix(chosen), None, "{chosen}");
        }
    }

    #[test]
    fn the_lowest_prefix_is_the_same_whatever_the_order_and_the_host() {
        let of = |texts: &[&str]| lowest_prefix(texts.iter().map(|text| text.parse().unwrap())).map(segment_name);
        assert_eq!(of(&["2001:db8::5/64", "203.0.113.9/24", "198.51.100.9/24"]).unwrap(), "198.51.100.0-24");
        assert_eq!(of(&["198.51.100.10/24", "203.0.113.8/24"]).unwrap(), "198.51.100.0-24");
        assert_eq!(of(&["198.51.100.10/25", "198.51.100.10/24"]).unwrap(), "198.51.100.0-24");
        assert_eq!(of(&["fe80::1/64", "169.254.1.1/16", "198.51.100.20/32", "127.0.0.1/8"]), None);
        assert_eq!(of(&["fe80::1/64", "2001:db8::1/64"]).unwrap(), "2001-db8-0-0-0-0-0-0-64");
    }
}
