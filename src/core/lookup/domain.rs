//! Domain names, as they go to a registry: letters, digits and hyphens only, in lower case.

use std::fmt;

/// A name of at least two labels in ASCII form (RFC 5890), without the last dot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Domain(String);

/// Why a text is no domain name that a registry could know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DomainError {
    /// Not letters, digits and hyphens, nor convertible to them (UTS 46).
    #[error("it has characters that no registered name has, or a label that is empty, too long or ends in a hyphen")]
    Label,
    /// More than 253 octets.
    #[error("it is longer than 253 characters")]
    Length,
    /// A single label, or a number at the end.
    #[error("it has no top-level domain")]
    TopLevel,
}

impl Domain {
    /// Reads a name; one that is not ASCII is turned into its `xn--` form.
    ///
    /// # Errors
    /// Which rule the text breaks.
    pub fn parse(text: &str) -> Result<Self, DomainError> {
        let text = text.strip_suffix('.').unwrap_or(text);
        if text.len() > 1024 {
            return Err(DomainError::Length);
        }
        let ascii = idna::domain_to_ascii_cow(text.as_bytes(), idna::AsciiDenyList::STD3)
            .map_err(|_| DomainError::Label)?
            .into_owned();
        if ascii.len() > 253 {
            return Err(DomainError::Length);
        }
        if !ascii.split('.').all(is_label) {
            return Err(DomainError::Label);
        }
        let top = ascii.rsplit('.').next().unwrap_or_default();
        if !ascii.contains('.') || !top.bytes().any(|b| b.is_ascii_alphabetic()) {
            return Err(DomainError::TopLevel);
        }
        Ok(Self(ascii))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last label.
    #[must_use]
    pub fn top_level(&self) -> &str {
        self.0.rsplit('.').next().unwrap_or_default()
    }

    /// The name and those that contain it, longest first: `a.b.c`, `b.c`, `c`.
    pub fn suffixes(&self) -> impl Iterator<Item = &str> {
        let mut rest = Some(self.0.as_str());
        std::iter::from_fn(move || {
            let now = rest?;
            rest = now.split_once('.').map(|(_, parent)| parent);
            Some(now)
        })
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a text is one label of letters, digits and inner hyphens, 1 to 63 long (RFC 1123 2.1).
fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// Whether a text is a host name that a referral may name: at least two labels, none of them only digits at the end.
#[must_use]
pub fn is_host_name(text: &str) -> bool {
    Domain::parse(text).is_ok_and(|domain| domain.as_str() == text.trim_end_matches('.').to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_folded_to_their_ascii_form() {
        for (given, ascii) in [
            ("Example.COM", "example.com"),
            ("example.com.", "example.com"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("BÜCHER.example", "xn--bcher-kva.example"),
            ("bu\u{308}cher.example", "xn--bcher-kva.example"),
            ("例え。テスト", "xn--r8jz45g.xn--zckzah"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ] {
            assert_eq!(Domain::parse(given).map(|d| d.to_string()), Ok(ascii.to_owned()), "{given}");
        }
    }

    #[test]
    fn what_could_inject_or_never_be_registered_is_refused() {
        for text in [
            "",
            ".",
            "example",
            "a..b",
            "-a.example",
            "a-.example",
            "exa mple.com",
            "example.com\r\nEVIL",
            "-r example.com",
            "example.com/e",
            "127.0.0.1",
            "a%0d%0a.example",
            "under_score.example",
            "xn--\u{0}.example",
            "xn--zzzzzzzzzz999.example",
        ] {
            assert!(Domain::parse(text).is_err(), "{text:?}");
        }
        assert_eq!(Domain::parse(&format!("{}.example", "a".repeat(64))), Err(DomainError::Label));
        assert_eq!(Domain::parse(&"a.".repeat(200)), Err(DomainError::Length));
    }

    #[test]
    fn a_name_lists_those_that_contain_it() {
        let domain = Domain::parse("www.example.co.uk").unwrap();
        let suffixes: Vec<&str> = domain.suffixes().collect();
        assert_eq!(suffixes, ["www.example.co.uk", "example.co.uk", "co.uk", "uk"]);
        assert_eq!(domain.top_level(), "uk");
    }

    proptest! {
        #[test]
        fn a_name_that_is_accepted_is_safe_on_a_line(text in "\\PC{0,60}") {
            if let Ok(domain) = Domain::parse(&text) {
                prop_assert!(domain.as_str().bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.'));
                prop_assert!(!domain.as_str().starts_with('-'));
                let again = Domain::parse(domain.as_str());
                prop_assert_eq!(again, Ok(domain));
            }
        }
    }
}
