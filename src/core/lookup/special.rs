//! Domain names and autonomous systems that no registry has a holder for: documents set them apart, so that nothing goes
//! out to ask about them.

use super::domain::Domain;

/// A block that a document sets apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Special {
    /// What it is for.
    pub name: &'static str,
    /// The document.
    pub reference: &'static str,
}

const fn special(name: &'static str, reference: &'static str) -> Special {
    Special { name, reference }
}

/// Names that are set apart with all below them (RFC 6761 and its registry, and what ICANN reserved for private use).
const DOMAINS: &[(&str, Special)] = &[
    ("test", special("for testing", "RFC 6761")),
    ("example", special("for documentation", "RFC 6761")),
    ("invalid", special("never a name", "RFC 6761")),
    ("localhost", special("loopback", "RFC 6761")),
    ("local", special("multicast DNS", "RFC 6762")),
    ("onion", special("Tor services", "RFC 7686")),
    ("alt", special("names outside the DNS", "RFC 9476")),
    ("internal", special("private use", "ICANN SAC113")),
    ("home.arpa", special("home networks", "RFC 8375")),
];

/// Numbers that are set apart, as first and last (IANA Special-Purpose AS Numbers).
const NUMBERS: &[(u32, u32, Special)] = &[
    (0, 0, special("reserved: never routed", "RFC 7607")),
    (112, 112, special("AS112 project: sinks for misdirected DNS queries", "RFC 7534")),
    (23456, 23456, special("AS_TRANS: stands for a four-octet number", "RFC 6793")),
    (64496, 64511, special("for documentation", "RFC 5398")),
    (64512, 65534, special("private use", "RFC 6996")),
    (65535, 65535, special("reserved", "RFC 7300")),
    (65536, 65551, special("for documentation", "RFC 5398")),
    (65552, 131_071, special("reserved", "IANA")),
    (4_200_000_000, 4_294_967_294, special("private use", "RFC 6996")),
    (u32::MAX, u32::MAX, special("reserved", "RFC 7300")),
];

/// What a name is set apart for.
#[must_use]
pub fn domain(domain: &Domain) -> Option<&'static Special> {
    domain.suffixes().find_map(|suffix| DOMAINS.iter().find(|(name, _)| *name == suffix)).map(|(_, special)| special)
}

/// What a number is set apart for.
#[must_use]
pub fn asn(number: u32) -> Option<&'static Special> {
    NUMBERS.iter().find(|(first, last, _)| (*first..=*last).contains(&number)).map(|(_, _, special)| special)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_documents_set_apart_is_known() {
        let of = |text: &str| domain(&Domain::parse(text).unwrap()).map(|special| special.reference);
        assert_eq!(of("www.printer.local"), Some("RFC 6762"));
        assert_eq!(of("a.home.arpa"), Some("RFC 8375"));
        assert_eq!(of("example.com"), None, "registered like any other");
        assert_eq!(of("1.in-addr.arpa"), None);
        for (number, reference) in
            [(0, Some("RFC 7607")), (64496, Some("RFC 5398")), (4_200_000_000, Some("RFC 6996")), (13335, None)]
        {
            assert_eq!(asn(number).map(|special| special.reference), reference, "{number}");
        }
        assert!(NUMBERS.windows(2).all(|pair| pair[0].1 < pair[1].0), "in order and disjoint");
    }
}
