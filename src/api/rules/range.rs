//! Ranges of addresses: a CIDR, or the first and the last address joined by `-`.

use std::net::IpAddr;

use schemars::{Schema, SchemaGenerator, json_schema};

use super::address::{bits, is_unicast, network, parse_cidr, parse_ip};
use super::{Rule, Twin, text, to_schema};

/// A CIDR, or first and last.
pub const RANGE_FORM: Rule = Rule {
    cel: "isCIDR(self) || (self.split('-').size() == 2 && self.split('-').all(a, isIP(a)))",
    message: "must be a CIDR (198.51.100.0/24), or first and last address (198.51.100.10-198.51.100.20)",
    field: "",
    twin: Twin::Value(|value| Range::read(text(value)).is_some_and(|range| !range.is_single(text(value)))),
};

/// A single address, a CIDR, or first and last.
pub const EXCLUDE_FORM: Rule = Rule {
    cel: "isIP(self) || isCIDR(self) || (self.split('-').size() == 2 && self.split('-').all(a, isIP(a)))",
    message: "must be an address, a CIDR (198.51.100.0/28), or first and last address (198.51.100.1-198.51.100.9)",
    field: "",
    twin: Twin::Value(|value| Range::read(text(value)).is_some()),
};

/// A CIDR that is written as its first address.
pub const RANGE_HOST_BITS: Rule = Rule {
    cel: "!isCIDR(self) || cidr(self) == cidr(self).masked()",
    message: "must have no host bits: a CIDR begins with the network's first address, such as 198.51.100.0/24",
    field: "",
    twin: Twin::Value(|value| parse_cidr(text(value)).is_none_or(|(ip, prefix)| network(ip, prefix) == ip)),
};

/// First and last of one family.
pub const RANGE_ONE_FAMILY: Rule = Rule {
    cel: "!(self.split('-').size() == 2 && self.split('-').all(a, isIP(a))) \
          || ip(self.split('-')[0]).family() == ip(self.split('-')[1]).family()",
    message: "must have first and last address of one family",
    field: "",
    twin: Twin::Value(|value| {
        Range::read(text(value)).is_none_or(|range| range.first.is_ipv4() == range.last.is_ipv4())
    }),
};

/// The text that everything else prints.
pub const RANGE_CANONICAL: Rule = Rule {
    cel: "!(isIP(self) || isCIDR(self) || (self.split('-').size() == 2 && self.split('-').all(a, isIP(a)))) \
          || [self.split('-')[0].split('/')[0], self.contains('-') ? self.split('-')[1] : '::'].all(a, ip.isCanonical(a))",
    message: "must be in canonical text (RFC 5952: lower case, no leading zeros, the longest run of zeros as ::)",
    field: "",
    twin: Twin::Value(|value| {
        Range::read(text(value)).is_none()
            || text(value).split('-').all(|part| {
                let ip = part.split('/').next().unwrap_or_default();
                parse_ip(ip).is_some_and(|parsed| parsed.to_string() == ip)
            })
    }),
};

/// First not after last. CEL compares no addresses: of two that differ, the lower one has a zero in the first bit in
/// which they differ. So there is a length at which the network of the first address holds the last one too, but with a
/// bit more does not, and begins with the longer one. It is written for the API server's estimate of costs, which knows
/// no size of what `string()` makes or of a list within a list.
pub const RANGE_UPWARDS: Rule = Rule {
    cel: "!(self.split('-').size() == 2 && self.split('-').all(a, isIP(a))) \
          || !(ip(self.split('-')[0]).family() == ip(self.split('-')[1]).family()) \
          || ip(self.split('-')[0]) == ip(self.split('-')[1]) \
          || [ip(self.split('-')[1])].exists(last, [\
          '0/1','1/2','2/3','3/4','4/5','5/6','6/7','7/8','8/9','9/10','10/11','11/12','12/13','13/14', \
          '14/15','15/16','16/17','17/18','18/19','19/20','20/21','21/22','22/23','23/24','24/25','25/26', \
          '26/27','27/28','28/29','29/30','30/31','31/32','32/33','33/34','34/35','35/36','36/37','37/38', \
          '38/39','39/40','40/41','41/42','42/43','43/44','44/45','45/46','46/47','47/48','48/49','49/50', \
          '50/51','51/52','52/53','53/54','54/55','55/56','56/57','57/58','58/59','59/60','60/61','61/62', \
          '62/63','63/64','64/65','65/66','66/67','67/68','68/69','69/70','70/71','71/72','72/73','73/74', \
          '74/75','75/76','76/77','77/78','78/79','79/80','80/81','81/82','82/83','83/84','84/85','85/86', \
          '86/87','87/88','88/89','89/90','90/91','91/92','92/93','93/94','94/95','95/96','96/97','97/98', \
          '98/99','99/100','100/101','101/102','102/103','103/104','104/105','105/106','106/107','107/108', \
          '108/109','109/110','110/111','111/112','112/113','113/114','114/115','115/116','116/117','117/118', \
          '118/119','119/120','120/121','121/122','122/123','123/124','124/125','125/126','126/127','127/128'\
          ].exists(p, isCIDR(self.split('-')[0] + p.substring(p.indexOf('/'))) \
          && [cidr(self.split('-')[0] + '/' + p.substring(0, p.indexOf('/')))].exists(wide, \
          [cidr(self.split('-')[0] + p.substring(p.indexOf('/')))].exists(narrow, wide.containsIP(last) \
          && !narrow.containsIP(last) && narrow.containsIP(wide.masked().ip())))))",
    message: "must go upwards: the first address is the lower one",
    field: "",
    twin: Twin::Value(|value| {
        Range::read(text(value))
            .is_none_or(|range| range.first.is_ipv4() != range.last.is_ipv4() || range.first <= range.last)
    }),
};

/// Addresses that hosts can have.
pub const RANGE_UNICAST: Rule = Rule {
    cel: "(!isCIDR(self) || ['0.0.0.0/8', '127.0.0.0/8', '169.254.0.0/16', '224.0.0.0/4', '255.255.255.255/32', \
          '::/127', 'fe80::/10', 'ff00::/8'].all(s, !cidr(s).containsCIDR(cidr(self)) \
          && !cidr(self).containsCIDR(cidr(s)))) \
          && (!(self.split('-').size() == 2 && self.split('-').all(a, isIP(a))) \
          || self.split('-').all(a, ip(a).isGlobalUnicast() && !a.startsWith('0.')))",
    message: "must hold unicast addresses only: none unspecified, loopback, link-local, multicast or broadcast",
    field: "",
    twin: Twin::Value(|value| Range::read(text(value)).is_none_or(|range| range.is_unicast(text(value)))),
};

const NO_UNICAST: [(&str, &str); 8] = [
    ("0.0.0.0", "0.255.255.255"),
    ("127.0.0.0", "127.255.255.255"),
    ("169.254.0.0", "169.254.255.255"),
    ("224.0.0.0", "239.255.255.255"),
    ("255.255.255.255", "255.255.255.255"),
    ("::", "::1"),
    ("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
];

/// Addresses from a first to a last one, both included, as read from a text. Nothing says that they are of one family
/// or in order: the rules do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The first address.
    pub first: IpAddr,
    /// The last address.
    pub last: IpAddr,
}

impl Range {
    /// Reads a CIDR (its host bits ignored), `FIRST-LAST`, or one address.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        if let Some((first, last)) = text.split_once('-') {
            return Some(Self { first: parse_ip(first)?, last: parse_ip(last)? });
        }
        if let Some((ip, prefix)) = parse_cidr(text) {
            return Some(Self { first: network(ip, prefix), last: last_of(ip, prefix) });
        }
        parse_ip(text).map(|ip| Self { first: ip, last: ip })
    }

    /// Whether the two have an address in common.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.first.is_ipv4() == other.first.is_ipv4() && self.first <= other.last && other.first <= self.last
    }

    fn is_single(&self, text: &str) -> bool {
        parse_ip(text).is_some()
    }

    fn is_unicast(&self, text: &str) -> bool {
        if text.contains('-') {
            return is_unicast(self.first) && is_unicast(self.last);
        }
        parse_cidr(text).is_none()
            || !NO_UNICAST.iter().any(|(first, last)| match (parse_ip(first), parse_ip(last)) {
                (Some(first), Some(last)) => self.overlaps(&Self { first, last }),
                _ => false,
            })
    }
}

/// The last address of a network.
fn last_of(ip: IpAddr, prefix: u8) -> IpAddr {
    let free = u32::from(bits(ip).saturating_sub(prefix));
    match network(ip, prefix) {
        IpAddr::V4(ip) => IpAddr::V4((ip.to_bits() | !u32::MAX.checked_shl(free).unwrap_or(0)).into()),
        IpAddr::V6(ip) => IpAddr::V6((ip.to_bits() | !u128::MAX.checked_shl(free).unwrap_or(0)).into()),
    }
}

/// The schema of `ranges`.
pub(in crate::api) fn ranges_schema(_: &mut SchemaGenerator) -> Schema {
    list_schema(1, &RANGE_FORM)
}

/// The schema of `exclude`.
pub(in crate::api) fn exclude_schema(_: &mut SchemaGenerator) -> Schema {
    list_schema(0, &EXCLUDE_FORM)
}

fn list_schema(least: u32, form: &Rule) -> Schema {
    json_schema!({
        "type": "array",
        "minItems": least,
        "maxItems": 64,
        "items": {
            "type": "string",
            "minLength": 1,
            "maxLength": 79,
            "x-kubernetes-validations":
                to_schema(&[form, &RANGE_CANONICAL, &RANGE_HOST_BITS, &RANGE_ONE_FAMILY, &RANGE_UPWARDS, &RANGE_UNICAST]),
        },
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn keeps(rule: &Rule, text: &str) -> bool {
        match rule.twin {
            Twin::Value(twin) => twin(&json!(text)),
            Twin::Change(_) => panic!("a rule about a change"),
        }
    }

    #[test]
    fn each_rule_finds_its_fault() {
        for (rule, bad) in [
            (&RANGE_FORM, "198.51.100.1"),
            (&RANGE_FORM, "198.51.100.0/33"),
            (&RANGE_FORM, "198.51.100.1-198.51.100.2-198.51.100.3"),
            (&RANGE_FORM, "198.51.100.1 - 198.51.100.2"),
            (&RANGE_FORM, "-"),
            (&EXCLUDE_FORM, "web"),
            (&RANGE_HOST_BITS, "198.51.100.1/24"),
            (&RANGE_HOST_BITS, "2001:db8::1/64"),
            (&RANGE_CANONICAL, "2001:DB8::/32"),
            (&RANGE_CANONICAL, "2001:db8::1-2001:db8::0fff"),
            (&RANGE_CANONICAL, "64:ff9b::198.51.100.20-64:ff9b::ffff:ffff"),
            (&RANGE_ONE_FAMILY, "198.51.100.1-2001:db8::1"),
            (&RANGE_UPWARDS, "198.51.100.20-198.51.100.10"),
            (&RANGE_UPWARDS, "2001:db8::20-2001:db8::1f"),
            (&RANGE_UNICAST, "0.0.0.0/0"),
            (&RANGE_UNICAST, "239.0.0.0/24"),
            (&RANGE_UNICAST, "fe80::/64"),
            (&RANGE_UNICAST, "::/0"),
            (&RANGE_UNICAST, "224.0.0.1-224.0.0.9"),
        ] {
            assert!(!keeps(rule, bad), "{bad}");
        }
    }

    #[test]
    fn good_ranges_pass_every_rule() {
        for good in [
            "198.51.100.0/24",
            "198.51.100.7/32",
            "198.51.100.9-198.51.100.10",
            "2001:db8:1::10-2001:db8:1::ff",
            "10.0.0.0/8",
        ] {
            for rule in
                [&RANGE_FORM, &RANGE_CANONICAL, &RANGE_HOST_BITS, &RANGE_ONE_FAMILY, &RANGE_UPWARDS, &RANGE_UNICAST]
            {
                assert!(keeps(rule, good), "{good}");
            }
        }
        assert!(keeps(&EXCLUDE_FORM, "198.51.100.1"));
    }

    #[test]
    fn a_cidr_is_its_first_and_last_address() {
        let range = |text| Range::read(text).map(|r| (r.first.to_string(), r.last.to_string()));
        let pair = |first: &str, last: &str| Some((first.to_owned(), last.to_owned()));
        assert_eq!(range("198.51.100.0/24"), pair("198.51.100.0", "198.51.100.255"));
        assert_eq!(range("0.0.0.0/0"), pair("0.0.0.0", "255.255.255.255"));
        assert_eq!(range("2001:db8::/127"), pair("2001:db8::", "2001:db8::1"));
        assert_eq!(range("198.51.100.7/32"), pair("198.51.100.7", "198.51.100.7"));
    }
}
