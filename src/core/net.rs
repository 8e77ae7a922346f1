//! What a node's kernel has: links and the addresses on them, as decisions see them.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

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
                .filter(|part| part.len() == 2)
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_reads_what_it_writes_and_refuses_the_rest() {
        let mac = Mac([2, 0, 0xab, 0, 0, 1]);
        assert_eq!(mac.to_string(), "02:00:ab:00:00:01");
        assert_eq!(mac.to_string().parse(), Ok(mac));
        for wrong in
            ["", "02:00:ab:00:00", "02:00:ab:00:00:01:02", "2:00:ab:00:00:01", "02-00-ab-00-00-01", "zz:00:ab:00:00:01"]
        {
            assert_eq!(wrong.parse::<Mac>(), Err(MacError(wrong.to_owned())));
        }
    }
}
