//! Which link of a node a VIP goes to.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::net::{Link, Route};
use super::plan::{Observed, host_prefix};

/// Why no link fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoLink {
    /// No link has such a name; the links that could carry an address are named.
    NoMatch {
        /// The name or glob asked for.
        wanted: String,
        /// The links there are.
        links: Vec<String>,
    },
    /// The address is in no link's subnet, and there is no default route of its family.
    NoSubnet(IpAddr),
}

impl fmt::Display for NoLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMatch { wanted, links } if links.is_empty() => {
                write!(f, "no interface matches {wanted:?}: there is none that could carry an address")
            }
            Self::NoMatch { wanted, links } => {
                write!(f, "no interface matches {wanted:?}: there are {}", links.join(", "))
            }
            Self::NoSubnet(ip) => write!(f, "no interface's subnet contains {ip}, and there is no default route"),
        }
    }
}

/// A network that a link is on by an address that is not ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnet {
    /// The link's index.
    pub link: u32,
    /// The network, host bits and all.
    pub network: IpNetwork,
}

/// The networks that a node is on: there are few of them however many addresses it holds, so they are kept apart.
#[must_use]
pub fn subnets(observed: &Observed) -> Vec<Subnet> {
    observed
        .values()
        .filter(|address| !address.is_ours() && address.prefix < host_prefix(address.ip))
        .filter_map(|address| {
            let network = IpNetwork::new(address.ip, address.prefix).ok()?;
            Some(Subnet { link: address.link, network })
        })
        .collect()
}

/// The link for an address: of the links that match `wanted` (a name, or a glob with `*` and `?`; all if absent) the one
/// with the longest prefix around the address, else that of the best default route, else, where a name was given, the
/// first that matches. Links that carry traffic come before those that do not; ties go to the lowest index.
///
/// # Errors
/// [`NoLink`] if nothing matches; loopback links and links without neighbour resolution never do.
pub fn select(
    wanted: Option<&str>,
    ip: IpAddr,
    links: &BTreeMap<u32, Link>,
    subnets: &[Subnet],
    routes: &[Route],
) -> Result<u32, NoLink> {
    let usable = |link: &&Link| !link.loopback && link.arp;
    let matching: BTreeMap<u32, &Link> = links
        .values()
        .filter(usable)
        .filter(|link| wanted.is_none_or(|glob| matches(glob, &link.name)))
        .map(|link| (link.index, link))
        .collect();
    if let (Some(wanted), true) = (wanted, matching.is_empty()) {
        let links = links.values().filter(usable).map(|link| link.name.clone()).collect();
        return Err(NoLink::NoMatch { wanted: wanted.to_owned(), links });
    }
    let dead = |index: u32| matching.get(&index).is_none_or(|link| !(link.up && link.carrier));
    let by_subnet = matching
        .keys()
        .filter_map(|&index| subnet_around(ip, index, subnets).map(|length| (dead(index), u8::MAX - length, index)))
        .min();
    let by_route = routes
        .iter()
        .filter(|route| route.destination.prefix() == 0 && route.destination.is_ipv4() == ip.is_ipv4())
        .filter(|route| matching.contains_key(&route.link))
        .map(|route| (route.metric, route.link))
        .min();
    let by_name = wanted.and_then(|_| matching.keys().map(|&index| (dead(index), index)).min());
    by_subnet
        .map(|(.., index)| index)
        .or(by_route.map(|(_, index)| index))
        .or(by_name.map(|(_, index)| index))
        .ok_or(NoLink::NoSubnet(ip))
}

fn subnet_around(ip: IpAddr, link: u32, subnets: &[Subnet]) -> Option<u8> {
    let around = |subnet: &&Subnet| subnet.link == link && subnet.network.contains(ip);
    subnets.iter().filter(around).map(|subnet| subnet.network.prefix()).max()
}

/// Whether a name matches a glob: `*` stands for any run of characters, `?` for one.
#[must_use]
pub fn matches(glob: &str, name: &str) -> bool {
    let (glob, name): (Vec<char>, Vec<char>) = (glob.chars().collect(), name.chars().collect());
    let (mut g, mut n) = (0, 0);
    let mut star = None;
    while n < name.len() {
        match glob.get(g) {
            Some('*') => {
                star = Some((g, n));
                g += 1;
            }
            Some(&c) if c == '?' || Some(&c) == name.get(n) => {
                g += 1;
                n += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    g = at + 1;
                    n = from + 1;
                }
                None => return false,
            },
        }
    }
    glob.iter().skip(g).all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::net::{Address, Mac};
    use crate::core::plan::place;

    fn link(index: u32, name: &str) -> (u32, Link) {
        let link = Link {
            index,
            name: name.into(),
            mac: Some(Mac([2, 0, 0, 0, 0, 1])),
            up: true,
            carrier: true,
            loopback: name == "lo",
            arp: name != "lo",
            mtu: 1500,
        };
        (index, link)
    }

    fn address(text: &str, on: u32) -> Address {
        let network: IpNetwork = text.parse().unwrap();
        Address {
            link: on,
            ip: network.ip(),
            prefix: network.prefix(),
            protocol: None,
            valid: None,
            deprecated: false,
            tentative: false,
        }
    }

    fn node() -> (BTreeMap<u32, Link>, Observed, Vec<Route>) {
        let links = BTreeMap::from([link(1, "lo"), link(2, "eth0"), link(3, "eth1"), link(4, "bond0")]);
        let addresses = [
            address("127.0.0.1/8", 1),
            address("198.51.100.1/24", 2),
            address("198.51.100.65/26", 3),
            address("2001:db8::1/64", 3),
            address("203.0.113.1/24", 4),
        ];
        let observed = addresses.into_iter().map(|a| (place(&a), a)).collect();
        (links, observed, vec![Route { link: 4, destination: "0.0.0.0/0".parse().unwrap(), gateway: None, metric: 0 }])
    }

    fn chosen(wanted: Option<&str>, ip: &str) -> Result<u32, NoLink> {
        let (links, observed, routes) = node();
        select(wanted, ip.parse().unwrap(), &links, &subnets(&observed), &routes)
    }

    #[test]
    fn the_longest_subnet_around_the_address_wins_then_the_default_route() {
        assert_eq!(chosen(None, "198.51.100.20"), Ok(2));
        assert_eq!(chosen(None, "198.51.100.70"), Ok(3), "a /26 is longer than a /24");
        assert_eq!(chosen(None, "2001:db8::9"), Ok(3));
        assert_eq!(chosen(None, "192.0.2.1"), Ok(4), "the default route");
        assert_eq!(chosen(None, "2001:db8:1::1"), Err(NoLink::NoSubnet("2001:db8:1::1".parse().unwrap())));
        assert_eq!(chosen(None, "127.0.0.9"), Ok(4), "never the loopback link");
    }

    #[test]
    fn a_name_or_a_glob_narrows_the_choice() {
        assert_eq!(chosen(Some("eth0"), "198.51.100.70"), Ok(2));
        assert_eq!(chosen(Some("eth*"), "198.51.100.70"), Ok(3));
        assert_eq!(chosen(Some("eth*"), "192.0.2.1"), Ok(2), "no subnet, no route: the first that matches");
        let none = chosen(Some("wlan?"), "198.51.100.20").unwrap_err().to_string();
        assert_eq!(none, "no interface matches \"wlan?\": there are eth0, eth1, bond0");
    }

    #[test]
    fn a_dead_link_gives_way_to_a_live_one() {
        let (mut links, mut observed, routes) = node();
        let second = address("198.51.100.2/24", 4);
        observed.insert(place(&second), second);
        links.get_mut(&2).unwrap().carrier = false;
        assert_eq!(select(None, "198.51.100.20".parse().unwrap(), &links, &subnets(&observed), &routes), Ok(4));
    }

    #[test]
    fn globs() {
        for (glob, name, fits) in [
            ("eth0", "eth0", true),
            ("eth0", "eth00", false),
            ("eth*", "eth", true),
            ("*", "anything", true),
            ("e?h*1", "eth0.101", true),
            ("e?h*1", "eth0.102", false),
            ("*a*b", "xaxxb", true),
            ("", "x", false),
        ] {
            assert_eq!(matches(glob, name), fits, "{glob} {name}");
        }
    }
}
