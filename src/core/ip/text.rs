//! Addresses and prefixes as text: strict reading, and the forms that DNS and people want.
//!
//! Reading is std's (RFC 4291 2.2, dotted quads without leading zeros): `010.1.1.1` is an error, since inet_aton(3) reads
//! it as octal. A zone (`fe80::1%eth0`, RFC 4007 11) is refused with a message of its own.

use std::fmt::Write;
use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::IpError;
use super::number::{Family, number};

/// Reads an address.
///
/// # Errors
/// [`IpError::Address`], with what would be right.
pub fn parse_address(text: &str) -> Result<IpAddr, IpError> {
    text.parse().map_err(|_| {
        let expected = if text.contains('%') {
            "an address here has no zone; leave out what follows the '%'"
        } else if text.contains('/') {
            "a prefix stands where a single address is wanted; leave out what follows the '/'"
        } else if leading_zero(text) {
            "write its parts without leading zeros"
        } else {
            "write it as 192.0.2.1 or 2001:db8::1"
        };
        IpError::Address { text: text.to_owned(), expected }
    })
}

/// Reads `ADDRESS/LENGTH`, keeping bits of the address beyond the length, or an address as the prefix of it alone.
///
/// # Errors
/// [`IpError::Prefix`] or [`IpError::Address`], with what would be right.
pub fn parse_prefix(text: &str) -> Result<IpNetwork, IpError> {
    let Some((address, length)) = text.split_once('/') else {
        return parse_address(text).map(IpNetwork::from);
    };
    let address = parse_address(address)?;
    let expected = match Family::of(address) {
        Family::V4 => "its length must be a whole number from 0 to 32",
        Family::V6 => "its length must be a whole number from 0 to 128",
    };
    let wrong = || IpError::Prefix { text: text.to_owned(), expected };
    let plain = length.bytes().all(|byte| byte.is_ascii_digit()) && (length == "0" || !length.starts_with('0'));
    let length = length.parse().ok().filter(|_| plain).ok_or_else(wrong)?;
    IpNetwork::new(address, length).map_err(|_| wrong())
}

/// Whether the text would be an IPv4 address but for zeros in front of its parts.
fn leading_zero(text: &str) -> bool {
    let parts: Vec<&str> = text.split('.').collect();
    parts.len() == 4
        && parts.iter().all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
        && parts.iter().any(|part| part.len() > 1 && part.starts_with('0'))
}

/// The name that DNS holds a PTR record under: in-addr.arpa (RFC 1035 3.5) or ip6.arpa (RFC 3596 2.5).
#[must_use]
pub fn reverse_name(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(v6) => {
            let mut name: String = format!("{:032x}", v6.to_bits()).chars().rev().flat_map(|c| [c, '.']).collect();
            name.push_str("ip6.arpa");
            name
        }
    }
}

/// The address as one hexadecimal number, with all its digits: `0xc0000201`.
#[must_use]
pub fn hex(address: IpAddr) -> String {
    let digits = usize::from(Family::of(address).bits() / 4);
    format!("0x{:0digits$x}", number(address))
}

/// The address in binary, in groups as it is written: octets joined by `.`, or 16 bits joined by `:`.
#[must_use]
pub fn binary(address: IpAddr) -> String {
    let mut text = String::new();
    match address {
        IpAddr::V4(v4) => {
            for octet in v4.octets() {
                let _ = write!(text, "{octet:08b}.");
            }
        }
        IpAddr::V6(v6) => {
            for segment in v6.segments() {
                let _ = write!(text, "{segment:016b}:");
            }
        }
    }
    text.pop();
    text
}

/// The IPv6 address with all its digits: `2001:0db8:0000:…`; an IPv4 address as it is.
#[must_use]
pub fn exploded(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => v6.segments().map(|segment| format!("{segment:04x}")).join(":"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_is_strict_and_says_what_would_be_right() {
        for (text, expected) in [
            ("010.1.1.1", "write its parts without leading zeros"),
            ("fe80::1%eth0", "an address here has no zone; leave out what follows the '%'"),
            ("192.0.2.0/24", "a prefix stands where a single address is wanted; leave out what follows the '/'"),
            ("192.0.2", "write it as 192.0.2.1 or 2001:db8::1"),
            ("", "write it as 192.0.2.1 or 2001:db8::1"),
            ("256.0.0.1", "write it as 192.0.2.1 or 2001:db8::1"),
        ] {
            assert_eq!(parse_address(text), Err(IpError::Address { text: text.to_owned(), expected }));
        }
        for text in ["10.0.0.0/33", "10.0.0.0/", "10.0.0.0/+8", "10.0.0.0/08", "10.0.0.0/255.0.0.0", "10.0.0.0/8/8"] {
            assert!(matches!(parse_prefix(text), Err(IpError::Prefix { .. })), "{text}");
        }
        assert!(matches!(parse_prefix("::/129"), Err(IpError::Prefix { .. })));
        assert!(matches!(parse_prefix("10.0.0/8"), Err(IpError::Address { .. })));
        assert_eq!(parse_prefix("192.0.2.127/25").unwrap().to_string(), "192.0.2.127/25");
        assert_eq!(parse_prefix("::1").unwrap().to_string(), "::1/128");
    }

    #[test]
    fn every_form_has_all_its_digits() {
        let (v4, v6) = ("192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap());
        assert_eq!(reverse_name(v4), "1.2.0.192.in-addr.arpa");
        assert_eq!(reverse_name(v6), "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa");
        assert_eq!((hex(v4).as_str(), hex(v6).as_str()), ("0xc0000201", "0x20010db8000000000000000000000001"));
        assert_eq!(binary(v4), "11000000.00000000.00000010.00000001");
        assert_eq!(binary(v6).len(), 128 + 7);
        assert_eq!(exploded(v6), "2001:0db8:0000:0000:0000:0000:0000:0001");
    }
}
