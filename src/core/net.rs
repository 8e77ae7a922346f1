//! What a node's kernel has: links and the addresses on them, as decisions see them.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

/// The `IFA_PROTO` of addresses that the agent holds (kernel 5.18 and newer; see `ip-address(8)`, `proto`).
/// Only addresses with this mark are ever changed or removed by an agent.
pub const PROTO_AGENT: u8 = 0x56;

/// The `IFA_PROTO` of addresses that `vipkeeper vip` holds; an agent leaves them alone.
pub const PROTO_COMMAND: u8 = 0x57;

/// An Ethernet address; its text is six lower-case pairs joined by `:`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// The broadcast address.
    pub const BROADCAST: Self = Self([0xff; 6]);
    /// No address: the target of an ARP request.
    pub const ZERO: Self = Self([0; 6]);
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is no Ethernet address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an Ethernet address: six pairs of hexadecimal digits joined by ':', as 02:00:00:00:00:01")]
pub struct MacError(String);

impl FromStr for Mac {
    type Err = MacError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut octets = [0; 6];
        let mut parts = text.split(':');
        for octet in &mut octets {
            *octet = parts
                .next()
                .filter(|part| part.len() == 2 && part.bytes().all(|digit| digit.is_ascii_hexdigit()))
                .and_then(|part| u8::from_str_radix(part, 16).ok())
                .ok_or_else(|| MacError(text.to_owned()))?;
        }
        if parts.next().is_some() { Err(MacError(text.to_owned())) } else { Ok(Self(octets)) }
    }
}

impl TryFrom<String> for Mac {
    type Error = MacError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> Self {
        mac.to_string()
    }
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The kernel's number for it; a name may come back under another index.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its Ethernet address; `None` on a link without one (a tunnel).
    pub mac: Option<Mac>,
    /// Whether it is administratively up (`IFF_UP`).
    pub up: bool,
    /// Whether it can carry frames (`IFF_LOWER_UP` and an operational state that is up or unknown).
    pub carrier: bool,
    /// Whether it is a loopback link.
    pub loopback: bool,
    /// Whether neighbours are resolved on it (`IFF_NOARP` is not set and it has an Ethernet address).
    pub arp: bool,
    /// Largest packet, in bytes.
    pub mtu: u32,
}

/// An address on a link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// The link's index.
    pub link: u32,
    /// The address.
    pub ip: IpAddr,
    /// Its prefix length in bits.
    pub prefix: u8,
    /// Who put it there (`IFA_PROTO`), `None` where the kernel does not say.
    pub protocol: Option<u8>,
    /// How long it stays if nobody refreshes it; `None` for ever.
    pub valid: Option<Duration>,
    /// IPv6 only: not chosen as a source address (`IFA_F_DEPRECATED`, preferred lifetime zero).
    pub deprecated: bool,
    /// IPv6 only: duplicate address detection has not finished, or has failed.
    pub tentative: bool,
}

impl Address {
    /// Whether an agent put it there.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.protocol == Some(PROTO_AGENT)
    }

    /// Whether it is as `spec` wants it, but for the time that is left of its lifetime.
    #[must_use]
    pub fn satisfies(&self, spec: &AddressSpec) -> bool {
        let limited = matches!(spec.lifetime, Lifetime::Limited { .. });
        let deprecated = matches!(spec.lifetime, Lifetime::Limited { deprecated: true, .. }) && self.ip.is_ipv6();
        (self.link, self.ip, self.prefix, self.protocol) == (spec.link, spec.ip, spec.prefix, Some(spec.protocol))
            && self.valid.is_some() == limited
            && self.deprecated == deprecated
            && !self.tentative
    }
}

/// How long an address stays if the agent that refreshes it is gone: the janitor, not the fence.
pub const JANITOR: Duration = Duration::from_secs(300);

/// How often the lifetimes of held addresses are refreshed.
pub const REFRESH: Duration = Duration::from_secs(100);

/// Up to how many IPv6 addresses of one node are installed with a lifetime and deprecated at once. Each such install
/// costs the kernel time in proportion to the addresses that are there (1,000 take 1.2 to 7 s, 100 about 30 ms), so
/// beyond this number an address is installed for ever first and given its lifetime later, a few a second.
pub const LIMITED_IPV6: usize = 100;

/// How long an address shall stay in the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lifetime {
    /// Until somebody removes it.
    Forever,
    /// Until it was not refreshed for `valid` (whole seconds, at least one; the kernel is up to 1.2 s late).
    Limited {
        /// Time from now.
        valid: Duration,
        /// IPv6 only: the node does not choose it as the source of what it sends (preferred lifetime zero).
        deprecated: bool,
    },
}

impl Lifetime {
    /// The lifetime to install `ip` with on a node that already holds `held_ipv6` virtual IPv6 addresses.
    #[must_use]
    pub fn at_install(ip: IpAddr, held_ipv6: usize) -> Self {
        if ip.is_ipv6() && held_ipv6 >= LIMITED_IPV6 { Self::Forever } else { Self::held(ip) }
    }

    /// The lifetime that a held address has after every refresh.
    #[must_use]
    pub fn held(ip: IpAddr) -> Self {
        Self::Limited { valid: JANITOR, deprecated: ip.is_ipv6() }
    }
}

/// An address as it shall be on a link. It is always added without a route for its prefix (`noprefixroute`) and, for
/// IPv6, without duplicate address detection (`nodad`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressSpec {
    /// The link's index.
    pub link: u32,
    /// The address.
    pub ip: IpAddr,
    /// Its prefix length in bits.
    pub prefix: u8,
    /// The mark to put on it (`IFA_PROTO`), which is also the mark an address that is there already must have.
    pub protocol: u8,
    /// How long it shall stay.
    pub lifetime: Lifetime,
}

impl AddressSpec {
    /// A virtual address: a /32 or /128, so that no other address of the link depends on it.
    #[must_use]
    pub fn virtual_ip(link: u32, ip: IpAddr, protocol: u8, lifetime: Lifetime) -> Self {
        Self { link, ip, prefix: if ip.is_ipv4() { 32 } else { 128 }, protocol, lifetime }
    }
}

/// A route of the main table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// The index of the link it leaves by.
    pub link: u32,
    /// Where it leads; prefix length 0 is the default route.
    pub destination: IpNetwork,
    /// The next hop, if it is not the destination itself.
    pub gateway: Option<IpAddr>,
    /// The smaller wins.
    pub metric: u32,
}

/// A neighbour whose Ethernet address the kernel knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Neighbour {
    /// The link's index.
    pub link: u32,
    /// Its address.
    pub ip: IpAddr,
    /// Its Ethernet address.
    pub mac: Mac,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_reads_what_it_writes_and_refuses_the_rest() {
        let mac = Mac([2, 0, 0xab, 0, 0, 1]);
        assert_eq!(mac.to_string(), "02:00:ab:00:00:01");
        assert_eq!(mac.to_string().parse(), Ok(mac));
        for wrong in [
            "",
            "02:00:ab:00:00",
            "02:00:ab:00:00:01:02",
            "2:00:ab:00:00:01",
            "02-00-ab-00-00-01",
            "zz:00:ab:00:00:01",
            "+1:00:ab:00:00:01",
        ] {
            assert_eq!(wrong.parse::<Mac>(), Err(MacError(wrong.to_owned())));
        }
    }
}
