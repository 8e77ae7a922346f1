//! Names into addresses, by the system's resolver.

use std::fmt;
use std::net::{IpAddr, SocketAddr, SocketAddrV6, ToSocketAddrs};

/// Which addresses may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Either.
    Any,
    /// IPv4 only.
    Ipv4,
    /// IPv6 only.
    Ipv6,
}

/// A name or an address, and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    name: String,
    /// The interface of a link-local address.
    scope: u32,
    port: u16,
}

impl Host {
    /// `NAME`, `ADDRESS`, `NAME:PORT`, `IPV4:PORT` or `[IPV6]:PORT`; `port` where none is named.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn parse(text: &str, port: u16) -> Result<Self, String> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            let scope = if let SocketAddr::V6(address) = address { address.scope_id() } else { 0 };
            return Ok(Self { name: address.ip().to_string(), scope, port: address.port() });
        }
        let (name, port) = match text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(inner) => (inner, port),
            None if text.matches(':').count() == 1 => {
                let (name, number) = text.split_once(':').unwrap_or((text, ""));
                let number = number.parse().map_err(|_| format!("{text:?}: {number:?} is no port: 1 to 65535"))?;
                (name, number)
            }
            None => (text, port),
        };
        if name.is_empty() || port == 0 {
            return Err(format!("{text:?} names no target: NAME, ADDRESS, NAME:PORT or [IPV6]:PORT"));
        }
        let (name, scope) = match name.split_once('%') {
            Some((address, interface)) => (address, index_of(interface)?),
            None => (name, 0),
        };
        Ok(Self { name: name.to_owned(), scope, port })
    }

    /// Whether it is an address, which needs no looking up.
    #[must_use]
    pub fn is_address(&self) -> bool {
        self.name.parse::<IpAddr>().is_ok()
    }

    /// The port and scope with one of its addresses.
    #[must_use]
    pub fn at(&self, ip: IpAddr) -> SocketAddr {
        match ip {
            IpAddr::V6(ip) => SocketAddrV6::new(ip, self.port, 0, self.scope).into(),
            IpAddr::V4(_) => SocketAddr::new(ip, self.port),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// The index of an interface, by name or number.
fn index_of(interface: &str) -> Result<u32, String> {
    if let Ok(index) = interface.parse() {
        return Ok(index);
    }
    let path = format!("/sys/class/net/{}/ifindex", interface.replace('/', ""));
    let index = std::fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok());
    index.ok_or_else(|| format!("there is no interface {interface:?}"))
}

/// The addresses of a host that may be used, in the resolver's order. Blocks as long as the resolver does.
///
/// # Errors
/// What the resolver says, or that there is none of the family.
pub fn resolve(host: &Host, family: Family) -> Result<Vec<IpAddr>, String> {
    let found = (host.name.as_str(), host.port).to_socket_addrs().map_err(|error| format!("{host}: {error}"))?;
    let fits = |ip: &IpAddr| match family {
        Family::Any => true,
        Family::Ipv4 => ip.is_ipv4(),
        Family::Ipv6 => ip.is_ipv6(),
    };
    let addresses: Vec<IpAddr> = found.map(|address| address.ip()).filter(fits).collect();
    if addresses.is_empty() {
        return Err(format!("{host}: no address of the family that was asked for"));
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_names_or_addresses_with_or_without_a_port() {
        let at = |text: &str| Host::parse(text, 7).map(|host| host.at("192.0.2.1".parse().unwrap()).port());
        for (text, port) in [
            ("db", 7),
            ("db:9", 9),
            ("192.0.2.1", 7),
            ("192.0.2.1:9", 9),
            ("2001:db8::1", 7),
            ("[2001:db8::1]", 7),
            ("[2001:db8::1]:9", 9),
            ("fe80::1%3", 7),
        ] {
            assert_eq!(at(text), Ok(port), "{text}");
        }
        for text in ["", ":9", "db:", "db:x", "db:0", "[]", "fe80::1%nosuch", "db:70000"] {
            assert!(at(text).is_err(), "{text}");
        }
        let scoped = Host::parse("fe80::1%3", 7).unwrap();
        assert_eq!(scoped.at("fe80::1".parse().unwrap()).to_string(), "[fe80::1%3]:7");
    }

    #[test]
    fn a_family_without_addresses_is_an_error() {
        let host = Host::parse("192.0.2.1", 7).unwrap();
        assert!(resolve(&host, Family::Ipv6).is_err());
        assert_eq!(resolve(&host, Family::Any), Ok(vec!["192.0.2.1".parse().unwrap()]));
    }
}
