//! Whose an address is by our own resources: which VirtualIP, pool and node.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnetwork::IpNetwork;
use serde::Serialize;

use crate::core::ip::scope::unmapped;
use crate::core::ipam::Range;

/// A resource that an address belongs to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Owner {
    /// `VirtualIP`, `AddressPool` or `Node`.
    pub kind: &'static str,
    /// Its namespace, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// The pool that a VirtualIP's address was taken from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// The node that holds a VirtualIP now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holder: Option<String>,
    /// The interface that it is held on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// The Ethernet address that it is announced with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
}

impl Owner {
    /// The owner as a line of text.
    #[must_use]
    pub fn to_line(&self) -> String {
        let name = match &self.namespace {
            Some(namespace) => format!("{namespace}/{}", self.name),
            None => self.name.clone(),
        };
        let mut line = format!("{}: {name}", self.kind);
        if let Some(holder) = &self.holder {
            line.push_str(&format!(", held by {holder}"));
        } else if self.kind == "VirtualIP" {
            line.push_str(", held by nobody");
        }
        if let Some(interface) = &self.interface {
            line.push_str(&format!(" on {interface}"));
        }
        if let Some(pool) = &self.pool {
            line.push_str(&format!(", of the pool {pool}"));
        }
        line
    }
}

/// What one resource covers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Covers {
    /// Single addresses.
    pub addresses: Vec<IpAddr>,
    /// Ranges.
    pub ranges: Vec<Range>,
    /// Parts of the ranges that are not covered.
    pub excluded: Vec<Range>,
}

/// Every resource by a key of the caller's; see the module.
#[derive(Debug, Clone)]
pub struct Owners<K> {
    resources: BTreeMap<K, (Owner, Covers)>,
    by_address: BTreeMap<IpAddr, Vec<K>>,
}

impl<K> Default for Owners<K> {
    fn default() -> Self {
        Self { resources: BTreeMap::new(), by_address: BTreeMap::new() }
    }
}

impl<K: Ord + Clone> Owners<K> {
    /// Adds a resource, or puts it in place of the one of the same key.
    pub fn apply(&mut self, key: K, owner: Owner, covers: Covers) {
        self.delete(&key);
        for address in &covers.addresses {
            self.by_address.entry(unmapped(*address)).or_default().push(key.clone());
        }
        self.resources.insert(key, (owner, covers));
    }

    /// Forgets a resource.
    pub fn delete(&mut self, key: &K) {
        let Some((_, covers)) = self.resources.remove(key) else { return };
        for address in &covers.addresses {
            let address = unmapped(*address);
            if let Some(keys) = self.by_address.get_mut(&address) {
                keys.retain(|other| other != key);
                if keys.is_empty() {
                    self.by_address.remove(&address);
                }
            }
        }
    }

    /// Forgets every resource whose key does not satisfy `keep`.
    pub fn retain(&mut self, keep: impl Fn(&K) -> bool) {
        let gone: Vec<K> = self.resources.keys().filter(|key| !keep(key)).cloned().collect();
        gone.iter().for_each(|key| self.delete(key));
    }

    /// The pools that an address lies in, by their keys' order.
    fn pools(&self, address: IpAddr) -> impl Iterator<Item = &Owner> {
        let within = move |ranges: &[Range]| ranges.iter().any(|range| range.contains(address));
        let covering = self.resources.values().filter(|(_, covers)| !covers.ranges.is_empty());
        covering.filter(move |(_, covers)| within(&covers.ranges) && !within(&covers.excluded)).map(|(owner, _)| owner)
    }

    /// Whose an address is. A VirtualIP whose pool is not named gets the one pool that has its address.
    #[must_use]
    pub fn of(&self, address: IpAddr) -> Vec<Owner> {
        let address = unmapped(address);
        let keys = self.by_address.get(&address).map(Vec::as_slice).unwrap_or_default();
        let mut found: Vec<Owner> =
            keys.iter().filter_map(|key| self.resources.get(key)).map(|(owner, _)| owner.clone()).collect();
        let pools: Vec<&Owner> = self.pools(address).collect();
        if let [pool] = pools.as_slice() {
            for owner in found.iter_mut().filter(|owner| owner.kind == "VirtualIP" && owner.pool.is_none()) {
                owner.pool = Some(pool.name.clone());
            }
        }
        found.extend(pools.into_iter().cloned());
        found.sort_by_key(|owner| match owner.kind {
            "VirtualIP" => 0,
            "Node" => 1,
            _ => 2,
        });
        found
    }
}

/// A configured network: a line of a list of prefixes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Network {
    /// The prefix.
    pub prefix: IpNetwork,
    /// What the list says of it.
    pub name: String,
}

/// Reads a list of networks: a prefix or address and a name on each line, `#` begins a comment.
///
/// # Errors
/// The first line that is neither, with its number.
pub fn parse_networks(text: &str) -> Result<Vec<(IpNetwork, String)>, String> {
    let mut networks = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let end = line.find(|c: char| c.is_whitespace() || c == ',').unwrap_or(line.len());
        let (prefix, name) = line.split_at(end);
        let prefix =
            crate::core::ip::text::parse_prefix(prefix).map_err(|error| format!("line {}: {error}", number + 1))?;
        let name = name.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
        networks.push((prefix, super::record::one_line(name)));
    }
    Ok(networks)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn owner(kind: &'static str, name: &str) -> Owner {
        let namespace = (kind == "VirtualIP").then(|| "shop".to_owned());
        Owner { kind, namespace, name: name.to_owned(), pool: None, holder: None, interface: None, mac: None }
    }

    #[test]
    fn an_address_is_a_virtual_ips_a_nodes_and_a_pools() {
        let mut owners = Owners::default();
        let pool = Covers {
            ranges: vec!["198.51.100.0/24".parse().unwrap()],
            excluded: vec!["198.51.100.1".parse().unwrap()],
            ..Covers::default()
        };
        owners.apply("pool", owner("AddressPool", "public"), pool);
        let at = |address: &str| Covers { addresses: vec![ip(address)], ..Covers::default() };
        let held = Owner {
            holder: Some("node-a".to_owned()),
            interface: Some("eth0".to_owned()),
            ..owner("VirtualIP", "web")
        };
        owners.apply("web", held, at("198.51.100.20"));
        owners.apply("node", owner("Node", "node-a"), at("198.51.100.1"));
        let lines = |address: &str| owners.of(ip(address)).iter().map(Owner::to_line).collect::<Vec<_>>();
        assert_eq!(
            lines("198.51.100.20"),
            ["VirtualIP: shop/web, held by node-a on eth0, of the pool public", "AddressPool: public"]
        );
        assert_eq!(lines("::ffff:198.51.100.20").len(), 2);
        assert_eq!(lines("198.51.100.1"), ["Node: node-a"], "excluded from the pool");
        assert_eq!(lines("198.51.100.2"), ["AddressPool: public"]);
        assert!(lines("192.0.2.1").is_empty());

        owners.apply("web", owner("VirtualIP", "web"), at("198.51.100.21"));
        assert_eq!(owners.of(ip("198.51.100.20")).len(), 1, "moved away");
        assert_eq!(
            owners.of(ip("198.51.100.21"))[0].to_line(),
            "VirtualIP: shop/web, held by nobody, of the pool public"
        );
        owners.retain(|key| *key == "node");
        let count = |address: &str| owners.of(ip(address)).len();
        assert_eq!((count("198.51.100.1"), count("198.51.100.21")), (1, 0));
    }

    #[test]
    fn lists_of_networks_are_read() {
        let text = "# ours\n10.0.0.0/8 office, all of it\n\n2001:db8::/32,lab # note\n192.0.2.1 one\n";
        let read = parse_networks(text).unwrap();
        let shown: Vec<String> = read.iter().map(|(prefix, name)| format!("{prefix} {name}")).collect();
        assert_eq!(shown, ["10.0.0.0/8 office, all of it", "2001:db8::/32 lab", "192.0.2.1/32 one"]);
        assert!(parse_networks("10.0.0.0/8 a\nrubbish b\n").unwrap_err().starts_with("line 2: "));
    }
}
