//! Which RDAP server knows what: IANA's bootstrap registries (RFC 9224).

use std::collections::BTreeMap;

use ipnetwork::IpNetwork;
use serde::Deserialize;

use super::query::Query;
use crate::core::ip::table::Table;

/// One of IANA's registries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Top-level domains.
    Dns,
    /// IPv4 blocks.
    Ipv4,
    /// IPv6 blocks.
    Ipv6,
    /// Autonomous system numbers.
    Asn,
}

impl Kind {
    /// The registry that knows about a question; `None` if none does.
    #[must_use]
    pub const fn of(query: &Query) -> Option<Self> {
        match query {
            Query::Domain(_) => Some(Self::Dns),
            Query::Ip(std::net::IpAddr::V4(_)) => Some(Self::Ipv4),
            Query::Ip(std::net::IpAddr::V6(_)) => Some(Self::Ipv6),
            Query::Asn(_) => Some(Self::Asn),
            Query::Mac(_) => None,
        }
    }

    /// The registry's file name.
    #[must_use]
    pub const fn file(self) -> &'static str {
        match self {
            Self::Dns => "dns.json",
            Self::Ipv4 => "ipv4.json",
            Self::Ipv6 => "ipv6.json",
            Self::Asn => "asn.json",
        }
    }
}

/// A registry that has been read.
#[derive(Debug, Clone)]
pub struct Registry {
    /// When it was published, in its own words.
    pub publication: String,
    servers: Vec<Vec<String>>,
    domains: BTreeMap<String, usize>,
    blocks: Table<usize>,
    /// First, last, servers; in order.
    numbers: Vec<(u32, u32, usize)>,
}

#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    publication: String,
    /// Each a list of keys and a list of base URLs.
    services: Vec<(Vec<String>, Vec<String>)>,
}

impl Registry {
    /// Reads a registry's file. A key that is no domain, prefix or range of numbers is passed over.
    ///
    /// # Errors
    /// Why it is none.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let document: Document =
            serde_json::from_slice(text).map_err(|error| format!("not a bootstrap registry (RFC 9224): {error}"))?;
        let mut servers = Vec::new();
        let mut domains = BTreeMap::new();
        let mut blocks: Vec<(IpNetwork, usize)> = Vec::new();
        let mut numbers = Vec::new();
        for (id, (keys, urls)) in document.services.into_iter().enumerate() {
            servers.push(urls);
            for key in keys {
                if let Some((first, last)) = parse_range(&key) {
                    numbers.push((first, last, id));
                } else if let Ok(prefix) = key.parse() {
                    blocks.push((prefix, id));
                } else {
                    domains.insert(key.to_ascii_lowercase(), id);
                }
            }
        }
        numbers.sort_unstable();
        let blocks = Table::new(blocks).map_err(|error| error.to_string())?;
        let publication = super::record::one_line(&document.publication);
        Ok(Self { publication, servers, domains, blocks, numbers })
    }

    /// The base URLs of the servers that know about a question: of the longest domain or prefix, or of the range that
    /// holds the number. Empty if there is none.
    #[must_use]
    pub fn bases(&self, query: &Query) -> &[String] {
        let id = match query {
            Query::Domain(name) => name.suffixes().find_map(|suffix| self.domains.get(suffix)).copied(),
            Query::Ip(ip) => self.blocks.longest(*ip).map(|entry| entry.value),
            Query::Asn(number) => {
                let after = self.numbers.partition_point(|(first, _, _)| first <= number);
                let nearest = after.checked_sub(1).and_then(|at| self.numbers.get(at));
                nearest.filter(|(_, last, _)| number <= last).map(|(_, _, id)| *id)
            }
            Query::Mac(_) => None,
        };
        id.and_then(|id| self.servers.get(id)).map(Vec::as_slice).unwrap_or_default()
    }
}

/// A number or `first-last`.
fn parse_range(key: &str) -> Option<(u32, u32)> {
    let (first, last) = key.split_once('-').unwrap_or((key, key));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(first) || !digits(last) {
        return None;
    }
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bases(registry: &Registry, kind: &str, value: &str) -> String {
        registry.bases(&Query::parse(kind, value).unwrap().unwrap()).join(" ")
    }

    #[test]
    fn the_longest_match_names_the_servers() {
        let text = br#"{"version": "1.0", "publication": "2026-11-01T00:00:00Z", "services": [
            [["com", "net"], ["https://a.example/"]],
            [["co.uk"], ["https://b.example/"]],
            [["1.0.0.0/8", "2001:200::/23"], ["https://c.example/"]],
            [["1.1.1.0/24"], ["https://d.example/", "http://d.example/"]],
            [["1-1876", "2047"], ["https://e.example/"]]
        ]}"#;
        let registry = Registry::parse(text).unwrap();
        for (kind, value, servers) in [
            ("domain", "www.Example.COM", "https://a.example/"),
            ("domain", "example.co.uk", "https://b.example/"),
            ("domain", "example.org", ""),
            ("ip", "1.2.3.4", "https://c.example/"),
            ("ip", "1.1.1.1", "https://d.example/ http://d.example/"),
            ("ip", "2001:200::1", "https://c.example/"),
            ("ip", "9.9.9.9", ""),
            ("asn", "1876", "https://e.example/"),
            ("asn", "2047", "https://e.example/"),
            ("asn", "1877", ""),
        ] {
            assert_eq!(bases(&registry, kind, value), servers, "{value}");
        }
        assert!(Registry::parse(b"{}").is_err());
        assert!(Registry::parse(b"[]").is_err());
    }
}
