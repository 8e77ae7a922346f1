//! Addresses: one IP, by itself or with a prefix length.

use std::net::IpAddr;

use super::{Rule, Twin, text};

/// An address in any form.
pub const ADDRESS_FORM: Rule = Rule {
    cel: "isIP(self) || isCIDR(self)",
    message: "must be an IP address, alone or with a prefix length: 198.51.100.20, 2001:db8::20, 198.51.100.20/32",
    field: "",
    twin: Twin::Value(|value| parse_address(text(value)).is_some()),
};

/// An address in the text that everything else prints it in.
pub const ADDRESS_CANONICAL: Rule = Rule {
    cel: "!(isIP(self) || isCIDR(self)) || ip.isCanonical(self.split('/')[0])",
    message: "must be in canonical text (RFC 5952: lower case, no leading zeros, the longest run of zeros as ::)",
    field: "",
    twin: Twin::Value(|value| is_canonical(text(value))),
};

/// An address that a host can have.
pub const ADDRESS_UNICAST: Rule = Rule {
    cel: "!(isIP(self) || isCIDR(self)) || (ip(self.split('/')[0]).isGlobalUnicast() && !self.startsWith('0.'))",
    message: "must be a unicast address: not unspecified, loopback, link-local, multicast or broadcast",
    field: "",
    twin: Twin::Value(|value| parse_address(text(value)).is_none_or(|(ip, _)| is_unicast(ip))),
};

/// With a prefix length, an address that is not the network's own.
pub const ADDRESS_HOST: Rule = Rule {
    cel: "!isCIDR(self) || cidr(self).prefixLength() >= (self.contains(':') ? 127 : 31) \
          || !(cidr(self) == cidr(self).masked())",
    message: "must be one address: this names a whole network",
    field: "",
    twin: Twin::Value(|value| parse_cidr(text(value)).is_none_or(|(ip, prefix)| is_host(ip, prefix))),
};

/// An address that stays as it is.
pub const ADDRESS_IMMUTABLE: Rule = Rule {
    cel: "!has(oldSelf.address) || (has(self.address) && self.address == oldSelf.address)",
    message: "is immutable once set: make a new VirtualIP and delete this one",
    field: ".address",
    twin: Twin::Change(|old, new| {
        let old = old.get("address").filter(|address| !address.is_null());
        old.is_none() || new.get("address") == old
    }),
};

/// An address of its own, or a pool to take one from.
pub const ADDRESS_OR_POOL: Rule = Rule {
    cel: "!has(self.address) || !has(self.pool)",
    message: "must not be given together with address: a pool is where an address is taken from if none is given",
    field: ".pool",
    twin: Twin::Value(|spec| spec.get("address").is_none() || spec.get("pool").is_none()),
};

/// A family that is the address's.
pub const FAMILY_OF_ADDRESS: Rule = Rule {
    cel: "!has(self.address) || !has(self.ipFamily) || (self.ipFamily == 'IPv6') == self.address.contains(':')",
    message: "must be the family of address; leave it out where an address is given",
    field: ".ipFamily",
    twin: Twin::Value(|spec| match (spec.get("address"), spec.get("ipFamily")) {
        (Some(address), Some(family)) => (text(family) == "IPv6") == text(address).contains(':'),
        _ => true,
    }),
};

/// An address as Kubernetes' CEL `ip()` reads it: no zone, no leading zeros, no IPv4 address in IPv6 clothes
/// (`::ffff:0:0/96`).
#[must_use]
pub fn parse_ip(text: &str) -> Option<IpAddr> {
    match text.parse().ok()? {
        IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some() => None,
        ip => Some(ip),
    }
}

/// An address with a prefix length as Kubernetes' CEL `cidr()` reads it; host bits may be set.
#[must_use]
pub fn parse_cidr(text: &str) -> Option<(IpAddr, u8)> {
    let (ip, prefix) = text.split_once('/')?;
    let ip = parse_ip(ip)?;
    if prefix.is_empty() || !prefix.bytes().all(|b| b.is_ascii_digit()) || (prefix.len() > 1 && prefix.starts_with('0'))
    {
        return None;
    }
    let prefix: u8 = prefix.parse().ok()?;
    (prefix <= bits(ip)).then_some((ip, prefix))
}

/// An address, alone or with its prefix length, as `spec.address` of a VirtualIP has it. An address alone has the
/// longest prefix, 32 or 128.
#[must_use]
pub fn parse_address(text: &str) -> Option<(IpAddr, u8)> {
    parse_ip(text).map(|ip| (ip, bits(ip))).or_else(|| parse_cidr(text))
}

/// How many bits an address has, 32 or 128.
#[must_use]
pub const fn bits(ip: IpAddr) -> u8 {
    match ip {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// The first address of a network.
#[must_use]
pub fn network(ip: IpAddr, prefix: u8) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => {
            let mask = u32::MAX.checked_shl(32_u32.saturating_sub(prefix.into())).unwrap_or(0);
            IpAddr::V4((ip.to_bits() & mask).into())
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX.checked_shl(128_u32.saturating_sub(prefix.into())).unwrap_or(0);
            IpAddr::V6((ip.to_bits() & mask).into())
        }
    }
}

/// Whether a host can have the address: Go's `IsGlobalUnicast`, without 0.0.0.0/8.
#[must_use]
pub fn is_unicast(ip: IpAddr) -> bool {
    if ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() {
        return false;
    }
    match ip {
        IpAddr::V4(ip) => !ip.is_broadcast() && !ip.is_link_local() && ip.octets().first() != Some(&0),
        IpAddr::V6(ip) => !ip.is_unicast_link_local(),
    }
}

fn is_canonical(text: &str) -> bool {
    let ip = text.split('/').next().unwrap_or_default();
    parse_address(text).is_none_or(|(parsed, _)| parsed.to_string() == ip)
}

fn is_host(ip: IpAddr, prefix: u8) -> bool {
    prefix >= bits(ip).saturating_sub(1) || network(ip, prefix) != ip
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn keeps(rule: &Rule, value: Value) -> bool {
        match rule.twin {
            Twin::Value(twin) => twin(&value),
            Twin::Change(_) => panic!("a rule about a change"),
        }
    }

    #[test]
    fn addresses_are_read_as_the_api_server_reads_them() {
        for good in ["198.51.100.20", "2001:db8::20", "198.51.100.20/24", "198.51.100.20/32", "2001:db8::20/0"] {
            assert!(keeps(&ADDRESS_FORM, json!(good)), "{good}");
        }
        for bad in [
            "",
            "198.51.100",
            "198.51.100.020",
            "198.51.100.20/33",
            "198.51.100.20/024",
            "198.51.100.20/+4",
            "198.51.100.20/",
            "::ffff:198.51.100.20",
            "fe80::1%eth0",
            "2001:db8::20/129",
            " 198.51.100.20",
            "web",
            "1.2.3.4/24/24",
        ] {
            assert!(!keeps(&ADDRESS_FORM, json!(bad)), "{bad}");
        }
    }

    #[test]
    fn only_canonical_unicast_host_addresses_pass() {
        for (rule, bad) in [
            (&ADDRESS_CANONICAL, "2001:DB8::1"),
            (&ADDRESS_CANONICAL, "2001:db8:0:0::1"),
            (&ADDRESS_CANONICAL, "64:ff9b::198.51.100.20"),
            (&ADDRESS_UNICAST, "224.0.0.18"),
            (&ADDRESS_UNICAST, "ff02::12"),
            (&ADDRESS_UNICAST, "127.0.0.1"),
            (&ADDRESS_UNICAST, "0.1.2.3"),
            (&ADDRESS_UNICAST, "169.254.1.1"),
            (&ADDRESS_UNICAST, "fe80::1"),
            (&ADDRESS_UNICAST, "::"),
            (&ADDRESS_UNICAST, "255.255.255.255"),
            (&ADDRESS_HOST, "198.51.100.0/24"),
            (&ADDRESS_HOST, "2001:db8::/64"),
        ] {
            assert!(!keeps(rule, json!(bad)), "{bad}");
        }
        for good in ["198.51.100.20/24", "198.51.100.0/31", "198.51.100.0", "2001:db8::/127", "10.0.0.1", "fd00::1"] {
            for rule in [&ADDRESS_CANONICAL, &ADDRESS_UNICAST, &ADDRESS_HOST] {
                assert!(keeps(rule, json!(good)), "{good}");
            }
        }
    }

    #[test]
    fn an_address_may_be_set_but_not_changed() {
        let Twin::Change(may) = ADDRESS_IMMUTABLE.twin else { panic!("not about a change") };
        let with = |address: &str| json!({"address": address});
        assert!(may(&json!({}), &with("198.51.100.1")));
        assert!(may(&with("198.51.100.1"), &with("198.51.100.1")));
        assert!(!may(&with("198.51.100.1"), &with("198.51.100.2")));
        assert!(!may(&with("198.51.100.1"), &json!({})));
    }
}
