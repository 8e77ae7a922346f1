//! Names: of objects, interfaces, hosts and paths.

use super::address::parse_ip;
use super::{Rule, Twin, text};

/// The name of an object of Kubernetes.
pub const OBJECT_NAME: Rule = Rule {
    cel: "self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",
    message: "must be an object's name (RFC 1123): a-z, 0-9, '-' and '.', with a letter or digit at both ends",
    field: "",
    twin: Twin::Value(|value| is_subdomain(text(value))),
};

/// The name of an interface, or a glob.
pub const INTERFACE: Rule = Rule {
    cel: "self.matches('^[A-Za-z0-9_.@+?*~-]+$') && self.replace('*', '').size() <= 15 && !(self in ['.', '..'])",
    message: "must be an interface's name of at most 15 characters, or a glob with * and ?: eth0, eth*, bond?.100",
    field: "",
    twin: Twin::Value(|value| is_interface(text(value))),
};

/// An address or a DNS name.
pub const HOST: Rule = Rule {
    cel: "isIP(self) || (!self.matches('^[0-9.]+$') && self.matches(\
          '^[A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?(\\\\.[A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?)*$'))",
    message: "must be an IP address or a DNS name, without a port",
    field: "",
    twin: Twin::Value(|value| is_host(text(value))),
};

/// The path of a URL.
pub const HTTP_PATH: Rule = Rule {
    cel: "self.matches('^/[!-~]*$')",
    message: "must begin with '/' and have no spaces; what is not ASCII is percent-encoded",
    field: "",
    twin: Twin::Value(|value| text(value).starts_with('/') && text(value).bytes().all(|byte| byte.is_ascii_graphic())),
};

/// Whether a text is a label of RFC 1123, as a namespace's name is: at most 63 of a-z, 0-9 and `-`, with a letter or digit
/// at both ends.
#[must_use]
pub fn is_label(text: &str) -> bool {
    let inner = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-';
    !text.is_empty()
        && text.len() <= 63
        && text.as_bytes().iter().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// Whether a text is a subdomain of RFC 1123 as Kubernetes has it for names: at most 253 characters, labels of any length
/// joined by `.`.
#[must_use]
pub fn is_subdomain(text: &str) -> bool {
    text.len() <= 253
        && text.split('.').all(|label| {
            let end = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
            let bytes = label.as_bytes();
            end(bytes.first())
                && end(bytes.last())
                && bytes.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-')
        })
}

fn is_interface(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.@+?*~-".contains(&byte))
        && text.bytes().filter(|byte| *byte != b'*').count() <= 15
        && !matches!(text, "." | "..")
}

fn is_host(text: &str) -> bool {
    parse_ip(text).is_some()
        || (text.bytes().any(|byte| !byte.is_ascii_digit() && byte != b'.')
            && text.split('.').all(|label| {
                let bytes = label.as_bytes();
                bytes.len() <= 63
                    && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
                    && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
                    && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
            }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["a", "web", "web-1.shop", "0"] {
            assert!(is_subdomain(good), "{good}");
        }
        for bad in ["", "Web", "-web", "web-", "a..b", "../web", "a/b", "web\n", ".", "a_b", &"a".repeat(254)] {
            assert!(!is_subdomain(bad), "{bad}");
        }
        assert!(is_label("shop") && !is_label("shop.eu") && !is_label(&"a".repeat(64)) && !is_label(""));
    }

    #[test]
    fn interfaces() {
        for good in ["eth0", "eth*", "*", "bond?.100", "veth0@if2", "abcdefghijklmno*"] {
            assert!(is_interface(good), "{good}");
        }
        for bad in ["", ".", "..", "eth 0", "eth/0", "eth[01]", "abcdefghijklmnop", "eth0\n", "ëth0"] {
            assert!(!is_interface(bad), "{bad}");
        }
    }

    #[test]
    fn hosts() {
        for good in ["192.0.2.1", "2001:db8::1", "web", "web.example.com", "Web-1.example"] {
            assert!(is_host(good), "{good}");
        }
        for bad in ["", "192.0.2.256", "192.0.2", "web:80", "web.", "-web", "http://web", "a b", &"a".repeat(64)] {
            assert!(!is_host(bad), "{bad}");
        }
    }
}
