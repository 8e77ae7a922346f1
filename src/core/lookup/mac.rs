//! Hardware addresses as people write them.
//!
//! Accepted: octets separated by `:`, `-` or `.` (one or two hexadecimal digits each), groups of four digits separated by
//! `.`, and bare digits; 3 to 6 octets, 8 (EUI-64) or 20 (IP over InfiniBand, RFC 4391, whose last 8 are an EUI-64). A
//! bare assignment of 6, 7 or 9 digits and a prefix length `/24` to `/48` are accepted too, as the registries write them.

use std::fmt::{self, Write as _};

/// A hardware address, or the beginning of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac {
    octets: [u8; 8],
    bits: u8,
}

/// Why a text is no hardware address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MacError {
    /// Something else than digits and one kind of separator.
    #[error("it has characters other than hexadecimal digits and one kind of separator")]
    Characters,
    /// A group between separators has the wrong number of digits.
    #[error("a group has too few or too many digits")]
    Group,
    /// Not a number of octets or digits that an address or assignment has.
    #[error("it has neither 3 to 6, 8 nor 20 octets")]
    Length,
    /// The number after `/` is no prefix length of what stands before it.
    #[error("the prefix length is not a number from 24 to the number of bits given, 48 at most")]
    Prefix,
}

impl Mac {
    /// Reads an address or prefix in any of the notations above.
    ///
    /// # Errors
    /// Which rule the text breaks.
    pub fn parse(text: &str) -> Result<Self, MacError> {
        let (digits, prefix) = match text.split_once('/') {
            Some((digits, prefix)) => (digits, Some(prefix)),
            None => (text, None),
        };
        let mac = Self::parse_digits(digits)?;
        match prefix {
            Some(prefix) => mac.shortened(prefix),
            None => Ok(mac),
        }
    }

    fn parse_digits(text: &str) -> Result<Self, MacError> {
        let text = text.as_bytes();
        let Some(separator) = text.iter().copied().find(|byte| !byte.is_ascii_hexdigit()) else {
            return Self::from_bare(text.iter().copied(), text.len());
        };
        let alike = text.iter().all(|byte| byte.is_ascii_hexdigit() || *byte == separator);
        if !matches!(separator, b':' | b'-' | b'.') || !alike {
            return Err(MacError::Characters);
        }
        let groups = || text.split(|byte| *byte == separator);
        if separator == b'.' && groups().all(|group| group.len() == 4) {
            return Self::from_bare(groups().flatten().copied(), groups().count() * 4);
        }
        let mut octets = Octets::default();
        for group in groups() {
            octets.push(match group {
                [low] => octet(b'0', *low)?,
                [high, low] => octet(*high, *low)?,
                _ => return Err(MacError::Group),
            });
        }
        octets.address()
    }

    fn from_bare(mut digits: impl Iterator<Item = u8>, count: usize) -> Result<Self, MacError> {
        let bits = match count {
            6 | 7 | 9 => count * 4,
            12 | 16 | 40 => 0,
            _ => return Err(MacError::Length),
        };
        let mut octets = Octets::default();
        while let Some(high) = digits.next() {
            octets.push(octet(high, digits.next().unwrap_or(b'0'))?);
        }
        let mac = octets.address()?;
        Ok(if bits == 0 { mac } else { Self { bits: bits as u8, ..mac } })
    }

    fn shortened(self, prefix: &str) -> Result<Self, MacError> {
        let digits = !prefix.is_empty() && prefix.len() <= 2 && prefix.bytes().all(|b| b.is_ascii_digit());
        let bits: u8 = prefix.parse().ok().filter(|_| digits).ok_or(MacError::Prefix)?;
        if !(24..=48).contains(&bits) || bits > self.bits {
            return Err(MacError::Prefix);
        }
        Ok(self.truncated(bits))
    }

    /// Its first `bits` bits, or as many as it has.
    #[must_use]
    pub const fn truncated(self, bits: u8) -> Self {
        let bits = if bits < self.bits { bits } else { self.bits };
        let kept = match u64::MAX.checked_shl(64 - bits as u32) {
            Some(mask) => self.value() & mask,
            None => 0,
        };
        Self { octets: kept.to_be_bytes(), bits }
    }

    /// The address of these six octets.
    #[must_use]
    pub const fn from_eui48(octets: [u8; 6]) -> Self {
        let [a, b, c, d, e, f] = octets;
        Self { octets: [a, b, c, d, e, f, 0, 0], bits: 48 }
    }

    /// How many bits are known: 24 to 48, or 64.
    #[must_use]
    pub const fn bits(&self) -> u8 {
        self.bits
    }

    /// The bits, the first one the highest, the unknown ones zero.
    #[must_use]
    pub const fn value(&self) -> u64 {
        u64::from_be_bytes(self.octets)
    }

    /// Whether it names a group of stations (I/G bit, IEEE 802 8.2).
    #[must_use]
    pub const fn is_group(&self) -> bool {
        self.octets[0] & 1 != 0
    }

    /// Whether whoever runs the network chose it (U/L bit), so that no registry knows it.
    #[must_use]
    pub const fn is_local(&self) -> bool {
        self.octets[0] & 2 != 0
    }

    /// Its octets, and always how many bits of them are known: `68:b5:99/24`.
    #[must_use]
    pub fn with_length(&self) -> String {
        let mut text = String::with_capacity(TEXT + 3);
        // Writing to a text does not fail.
        let _ = self.write_octets(&mut text).and_then(|()| write!(text, "/{}", self.bits));
        text
    }

    fn write_octets(&self, to: &mut impl fmt::Write) -> fmt::Result {
        let digit = |value: u8| char::from_digit(value.into(), 16).map_or(b'0', |digit| digit as u8);
        let mut text = [b':'; TEXT];
        for (octet, place) in self.octets.iter().zip(text.chunks_mut(3)) {
            if let [high, low, ..] = place {
                (*high, *low) = (digit(octet >> 4), digit(octet & 0xf));
            }
        }
        let length = usize::from(self.bits.div_ceil(8)) * 3;
        let shown = text.get(..length.saturating_sub(1)).and_then(|shown| str::from_utf8(shown).ok());
        to.write_str(shown.unwrap_or_default())
    }
}

/// The longest text of octets: eight, with separators.
const TEXT: usize = 8 * 3 - 1;

/// Octets as they are read.
#[derive(Default)]
struct Octets {
    first: [u8; 20],
    count: usize,
}

impl Octets {
    fn push(&mut self, octet: u8) {
        if let Some(place) = self.first.get_mut(self.count) {
            *place = octet;
        }
        self.count += 1;
    }

    fn address(&self) -> Result<Mac, MacError> {
        let used = match self.count {
            3..=6 | 8 => self.first.get(..self.count),
            20 => self.first.get(12..),
            _ => None,
        };
        let used = used.ok_or(MacError::Length)?;
        let mut octets = [0; 8];
        for (place, octet) in octets.iter_mut().zip(used) {
            *place = *octet;
        }
        Ok(Mac { octets, bits: (used.len() * 8) as u8 })
    }
}

/// Lower case, octets separated by colons; with `/bits` where the last octet is not whole.
impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_octets(f)?;
        if self.bits.is_multiple_of(8) { Ok(()) } else { write!(f, "/{}", self.bits) }
    }
}

fn octet(high: u8, low: u8) -> Result<u8, MacError> {
    let digit = |digit: u8| char::from(digit).to_digit(16).ok_or(MacError::Characters);
    Ok((digit(high)? * 16 + digit(low)?) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(text: &str) -> String {
        Mac::parse(text).map_or_else(|error| format!("{error:?}"), |mac| mac.to_string())
    }

    #[test]
    fn every_notation_of_one_address_is_the_same_address() {
        for text in [
            "68:b5:99:fc:d1:df",
            "68-B5-99-FC-D1-DF",
            "68b5.99fc.d1df",
            "68b599fcd1df",
            "68.b5.99.fc.d1.df",
            "68B5.99FC.D1DF",
        ] {
            assert_eq!(shown(text), "68:b5:99:fc:d1:df", "{text}");
        }
        assert_eq!(shown("8:0:20:1:2:3"), "08:00:20:01:02:03");
    }

    #[test]
    fn prefixes_and_longer_addresses_are_read() {
        assert_eq!(shown("68:b5:99"), "68:b5:99");
        assert_eq!(shown("68B599"), "68:b5:99");
        assert_eq!(shown("70B3D5F2F"), "70:b3:d5:f2:f0/36");
        assert_eq!(shown("70:B3:D5:F2:F0:00/36"), "70:b3:d5:f2:f0/36");
        assert_eq!(shown("0055DA0"), "00:55:da:00/28");
        assert_eq!(shown("68:b5:99:ff:fe:fc:d1:df"), "68:b5:99:ff:fe:fc:d1:df");
        assert_eq!(
            shown("80:00:00:48:fe:80:00:00:00:00:00:00:00:02:c9:03:00:0a:0b:0c"),
            "00:02:c9:03:00:0a:0b:0c",
            "InfiniBand: the port's EUI-64"
        );
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_reason() {
        for (text, reason) in [
            ("", "Length"),
            ("68:b5-99:fc:d1:df", "Characters"),
            ("68:b5:99:fc:d1:dg", "Characters"),
            ("68:b5:99:fc:d1:ddf", "Group"),
            ("68::b5:99:fc:d1", "Group"),
            ("68b5.99fc", "Length"),
            ("68:b5", "Length"),
            ("68:b5:99:fc:d1:df:01", "Length"),
            ("68:b5:99/28", "Prefix"),
            ("68:b5:99:fc:d1:df/+4", "Prefix"),
            ("68:b5:99:fc:d1:df/64", "Prefix"),
            ("68:b5:99:fc:d1:d\u{e9}", "Characters"),
            ("68 b5 99 fc d1 df", "Characters"),
        ] {
            assert_eq!(shown(text), reason, "{text}");
        }
    }

    #[test]
    fn the_two_lowest_bits_of_the_first_octet_say_what_kind_it_is() {
        let broadcast = Mac::from_eui48([0xff; 6]);
        assert!(broadcast.is_group() && broadcast.is_local());
        let container = Mac::parse("02:42:ac:11:00:02").unwrap();
        assert!(container.is_local() && !container.is_group());
        let sold = Mac::parse("68:b5:99:fc:d1:df").unwrap();
        assert!(!sold.is_local() && !sold.is_group());
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(octets in any::<[u8; 6]>(), bits in 24u8..=48) {
            let mac = Mac::from_eui48(octets);
            prop_assert_eq!(Mac::parse(&mac.to_string()), Ok(mac));
            let prefix = Mac::parse(&format!("{mac}/{bits}")).unwrap();
            prop_assert_eq!(prefix.bits(), bits);
            prop_assert_eq!(prefix.value() >> (64 - bits), mac.value() >> (64 - bits));
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,40}") {
            let _ = Mac::parse(&text);
        }
    }
}
