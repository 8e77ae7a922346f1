//! As much of a URL as RDAP and our own service need (RFC 3986): scheme, host, port, path with query.

use std::fmt;
use std::net::IpAddr;

use super::domain::is_host_name;

/// An `http` or `https` URL without user and fragment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Url {
    /// Whether it is `https`.
    pub tls: bool,
    /// Host name in lower case, or an address without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Path and query, from the `/`.
    pub path: String,
}

impl Url {
    /// Reads an absolute URL; `None` if it is none, or has what a URL of ours never has (a user, blanks, controls).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.trim().split_once("://")?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let rest = rest.split('#').next()?;
        let at = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(at);
        let (host, port) = split_port(authority)?;
        let port = match port {
            Some(port) => port.parse().ok().filter(|port| *port != 0)?,
            None if tls => 443,
            None => 80,
        };
        let known = host.parse::<IpAddr>().is_ok() || is_host_name(&host) || host == "localhost" || is_label(&host);
        let visible = path.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'<' | b'>' | b'\\' | b'`'));
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        (known && visible && path.len() <= 2000).then_some(Self { tls, host, port, path })
    }

    /// This URL's path extended by segments; a `/` stands between.
    #[must_use]
    pub fn join(&self, segments: &str) -> Self {
        let path = format!("{}/{segments}", self.path.trim_end_matches('/'));
        Self { path, ..self.clone() }
    }

    /// Where a `Location` field leads from here: an absolute URL, or an absolute path of the same server.
    #[must_use]
    pub fn follow(&self, location: &str) -> Option<Self> {
        let location = location.trim();
        if location.starts_with('/') && !location.starts_with("//") {
            let scheme = if self.tls { "https" } else { "http" };
            return Self::parse(&format!("{scheme}://{}{location}", self.authority()));
        }
        Self::parse(location)
    }

    /// Host and port as the `Host` field has them.
    #[must_use]
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let usual = if self.tls { 443 } else { 80 };
        if self.port == usual { host } else { format!("{host}:{}", self.port) }
    }

    /// Whether a stranger's word may lead here by its form: `https` to a name, on its port.
    #[must_use]
    pub fn may_be_referred_to(&self) -> bool {
        self.tls && self.port == 443 && is_host_name(&self.host)
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", if self.tls { "https" } else { "http" }, self.authority(), self.path)
    }
}

/// Whether a host is a single label, as the names of Services in a cluster are.
fn is_label(host: &str) -> bool {
    is_host_name(&format!("{host}.example"))
}

/// Host and port of `host`, `host:port`, `[v6]` and `[v6]:port`.
fn split_port(authority: &str) -> Option<(String, Option<&str>)> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        let host: std::net::Ipv6Addr = host.parse().ok()?;
        return match rest.strip_prefix(':') {
            Some(port) => Some((host.to_string(), Some(port))),
            None => rest.is_empty().then(|| (host.to_string(), None)),
        };
    }
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    (!host.is_empty()).then(|| (host.to_ascii_lowercase(), port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn urls_are_read_and_written() {
        for (text, shown) in [
            ("https://rdap.example.net", "https://rdap.example.net/"),
            ("HTTPS://RDAP.Example.net:443/x/?a=b#c", "https://rdap.example.net/x/?a=b"),
            ("http://127.0.0.1:8080/a", "http://127.0.0.1:8080/a"),
            ("http://[::1]:8080", "http://[::1]:8080/"),
            ("http://lookup:8080", "http://lookup:8080/"),
        ] {
            assert_eq!(Url::parse(text).unwrap().to_string(), shown);
        }
        for text in [
            "ftp://a.example",
            "https://user@a.example/",
            "https://a.example:0/",
            "https://a.example:70000/",
            "https:///x",
            "https://a.example/a b",
            "https://a.example/a\r\nHost: b",
            "https://[::1/",
            "//a.example",
        ] {
            assert_eq!(Url::parse(text), None, "{text}");
        }
        let base = Url::parse("https://rdap.example.net/v1/").unwrap();
        assert_eq!(base.join("ip/192.0.2.1").to_string(), "https://rdap.example.net/v1/ip/192.0.2.1");
        assert_eq!(base.follow("/v2").unwrap().to_string(), "https://rdap.example.net/v2");
        assert_eq!(base.follow("//evil.example/"), None);
    }

    #[test]
    fn only_https_names_may_be_referred_to() {
        let may = |text: &str| Url::parse(text).unwrap().may_be_referred_to();
        assert!(may("https://rdap.example.net/x"));
        for text in [
            "http://rdap.example.net/",
            "https://169.254.169.254/",
            "https://localhost/",
            "https://rdap.example.net:6443/",
            "https://[fd00::1]/",
            "https://kubernetes/",
        ] {
            assert!(!may(text), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(text in "https?://[a-z0-9.\\[\\]:-]{1,20}(/[ -~]{0,20})?") {
            if let Some(url) = Url::parse(&text) {
                prop_assert_eq!(Url::parse(&url.to_string()), Some(url));
            }
        }
    }
}
