//! A question, typed before anything goes out.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use super::domain::{Domain, DomainError};
use super::mac::{Mac, MacError};

/// What somebody wants to know about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Query {
    /// A hardware address: who made it, whose it is.
    Mac(Mac),
    /// An address; one of IPv4 inside IPv6 (`::ffff:192.0.2.1`) is the IPv4 address.
    Ip(IpAddr),
    /// A domain name.
    Domain(Domain),
    /// An autonomous system.
    Asn(u32),
}

/// Name and value of a parameter of a query string, decoded.
pub type Parameter<'a> = (Cow<'a, str>, Cow<'a, str>);

/// The parameters that name what is asked about.
pub const PARAMETERS: [&str; 4] = ["mac", "ip", "domain", "asn"];

/// Why a question cannot be asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// No parameter with a value.
    #[error("say what to look up with one of mac, ip, domain and asn, as in /lookup?ip=192.0.2.1")]
    Nothing,
    /// More than one parameter with a value.
    #[error("only one of mac, ip, domain and asn can be looked up at a time; there are {0}")]
    Several(String),
    /// A parameter that is not known.
    #[error("the parameter {0:?} is not known; there are mac, ip, domain, asn and format")]
    Unknown(String),
    /// A parameter that stands there twice.
    #[error("the parameter {0:?} is given more than once")]
    Repeated(String),
    /// `format` is none that there is.
    #[error("format {0:?} is not known; there are text, json and html")]
    Format(String),
    /// Percent-encoding that does not decode to UTF-8.
    #[error("the query string does not decode: {0:?}")]
    Encoding(String),
    /// Not a hardware address.
    #[error("mac {value:?}: {reason}; as in 68:b5:99:fc:d1:df or 68b5.99fc.d1df")]
    Mac {
        /// As given.
        value: String,
        /// The rule it breaks.
        reason: MacError,
    },
    /// Not an IP address.
    #[error("ip {value:?} is no IPv4 or IPv6 address; as in 192.0.2.1 or 2001:db8::1")]
    Ip {
        /// As given.
        value: String,
    },
    /// Not a domain name.
    #[error("domain {value:?}: {reason}; as in example.com")]
    Domain {
        /// As given.
        value: String,
        /// The rule it breaks.
        reason: DomainError,
    },
    /// Not a number of an autonomous system.
    #[error("asn {value:?} is no number from 0 to 4294967295; as in 64496 or AS64496")]
    Asn {
        /// As given.
        value: String,
    },
}

impl QueryError {
    /// The error's `code` in a JSON answer.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Nothing
            | Self::Several(_)
            | Self::Unknown(_)
            | Self::Repeated(_)
            | Self::Format(_)
            | Self::Encoding(_) => "bad_request",
            Self::Mac { .. } => "invalid_mac",
            Self::Ip { .. } => "invalid_ip",
            Self::Domain { .. } => "invalid_domain",
            Self::Asn { .. } => "invalid_asn",
        }
    }
}

impl Query {
    /// Reads the value of a parameter; `None` if the parameter does not name anything to look up.
    #[must_use]
    pub fn parse(parameter: &str, value: &str) -> Option<Result<Self, QueryError>> {
        let value = value.trim();
        Some(match parameter {
            "mac" => Mac::parse(value).map(Self::Mac).map_err(|reason| QueryError::Mac { value: shown(value), reason }),
            "ip" => value
                .parse::<IpAddr>()
                .map(|ip| Self::Ip(ip.to_canonical()))
                .map_err(|_| QueryError::Ip { value: shown(value) }),
            "domain" => Domain::parse(value)
                .map(Self::Domain)
                .map_err(|reason| QueryError::Domain { value: shown(value), reason }),
            "asn" => parse_asn(value).map(Self::Asn).ok_or_else(|| QueryError::Asn { value: shown(value) }),
            _ => return None,
        })
    }

    /// The parameter's name.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Mac(_) => "mac",
            Self::Ip(_) => "ip",
            Self::Domain(_) => "domain",
            Self::Asn(_) => "asn",
        }
    }
}

/// The value in its canonical form.
impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mac(mac) => mac.fmt(f),
            Self::Ip(ip) => ip.fmt(f),
            Self::Domain(domain) => domain.fmt(f),
            Self::Asn(asn) => write!(f, "AS{asn}"),
        }
    }
}

fn parse_asn(text: &str) -> Option<u32> {
    let digits = match text.get(..2) {
        Some(prefix) if prefix.eq_ignore_ascii_case("as") => text.get(2..)?,
        _ => text,
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) { None } else { digits.parse().ok() }
}

/// A value as an error may repeat it: short.
fn shown(value: &str) -> String {
    const LONGEST: usize = 80;
    match value.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", value.get(..end).unwrap_or_default()),
        None => value.to_owned(),
    }
}

/// How an answer shall be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Lines for a person or a shell.
    Text,
    /// The whole answer.
    Json,
    /// A page.
    Html,
}

impl Format {
    /// The format that an `Accept` field asks for; text if it asks for nothing we have.
    #[must_use]
    pub fn from_accept(accept: &str) -> Self {
        let mut best = (Self::Text, 0.0);
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let format = match parts.next().unwrap_or_default() {
                "application/json" | "application/problem+json" => Self::Json,
                "text/html" | "application/xhtml+xml" => Self::Html,
                "text/plain" => Self::Text,
                _ => continue,
            };
            let quality = parts.find_map(|part| part.strip_prefix("q=")).map_or(1.0, |q| q.parse().unwrap_or(0.0));
            if quality > best.1 {
                best = (format, quality);
            }
        }
        best.0
    }
}

/// What a query string asks for: one question, and the format if it names one.
///
/// Parameters without a value are as good as absent: the original client sends one along, and so does a form.
///
/// # Errors
/// No question, several, or one that is malformed.
pub fn parse_parameters(
    parameters: &[Parameter<'_>],
) -> (Option<Result<Format, QueryError>>, Result<Query, QueryError>) {
    let mut seen: Vec<&str> = Vec::new();
    let mut asked: Vec<(&str, &str)> = Vec::new();
    let mut format = None;
    let mut wrong = None;
    for (name, value) in parameters.iter().map(|(name, value)| (&**name, &**value)) {
        if seen.contains(&name) {
            wrong = wrong.or(Some(QueryError::Repeated(shown(name))));
        }
        seen.push(name);
        if name == "format" {
            format = Some(parse_format(value));
        } else if !PARAMETERS.contains(&name) {
            wrong = wrong.or(Some(QueryError::Unknown(shown(name))));
        } else if !value.trim().is_empty() {
            asked.push((name, value));
        }
    }
    let query = match (wrong, asked.as_slice()) {
        (Some(wrong), _) => Err(wrong),
        (None, []) => Err(QueryError::Nothing),
        (None, [(name, value)]) => {
            Query::parse(name, value).unwrap_or_else(|| Err(QueryError::Unknown((*name).to_owned())))
        }
        (None, several) => {
            Err(QueryError::Several(several.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")))
        }
    };
    (format, query)
}

fn parse_format(value: &str) -> Result<Format, QueryError> {
    match value {
        "text" => Ok(Format::Text),
        "json" => Ok(Format::Json),
        "html" => Ok(Format::Html),
        _ => Err(QueryError::Format(shown(value))),
    }
}

/// The name and value pairs of a query string, percent-decoded, `+` as a blank (HTML 4.10.21, form encoding).
///
/// # Errors
/// The pair that does not decode to UTF-8.
pub fn decode_query_string(query: &str) -> Result<Vec<Parameter<'_>>, QueryError> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let bad = || QueryError::Encoding(shown(pair));
            Ok((percent_decode(name).ok_or_else(bad)?, percent_decode(value).ok_or_else(bad)?))
        })
        .collect()
}

fn percent_decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains(['%', '+']) {
        return Some(text.into());
    }
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let high = char::from(bytes.next()?).to_digit(16)?;
                let low = char::from(bytes.next()?).to_digit(16)?;
                (high * 16 + low) as u8
            }
            byte => byte,
        });
    }
    String::from_utf8(decoded).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(query: &str) -> Result<Query, QueryError> {
        decode_query_string(query).and_then(|parameters| parse_parameters(&parameters).1)
    }

    fn code(query: &str) -> &'static str {
        ask(query).map_or_else(|error| error.code(), |_| "fine")
    }

    #[test]
    fn one_known_parameter_is_a_question() {
        assert_eq!(ask("mac=68b5.99fc.d1df").unwrap().to_string(), "68:b5:99:fc:d1:df");
        assert_eq!(ask("ip=1.1.1.1&domain=").unwrap(), Query::Ip("1.1.1.1".parse().unwrap()));
        assert_eq!(ask("ip=%3A%3Affff:192.0.2.1").unwrap().to_string(), "192.0.2.1");
        assert_eq!(ask("domain=Example.com").unwrap().to_string(), "example.com");
        assert_eq!(ask("asn=as64496").unwrap(), Query::Asn(64496));
        assert_eq!(ask("asn=4294967295&format=json").unwrap(), Query::Asn(u32::MAX));
    }

    #[test]
    fn anything_else_is_refused_and_says_so() {
        for query in ["", "domain=", "format=json", "ip=1.1.1.1&mac=68b5.99fc.d1df", "ip=1.1.1.1&ip=1.1.1.1", "q=1"] {
            assert_eq!(code(query), "bad_request", "{query}");
        }
        assert_eq!(code("ip=%zz"), "bad_request");
        assert_eq!(code("ip=%ff"), "bad_request");
        for query in ["ip=010.1.1.1", "ip=1.1.1.1/24", "ip=1.1.1.1%0d%0aQUIT", "ip=fe80::1%25eth0", "ip=localhost"] {
            assert_eq!(code(query), "invalid_ip", "{query}");
        }
        assert_eq!(code("domain=a.example%0d%0a-r+b"), "invalid_domain");
        for query in ["asn=-1", "asn=+1", "asn=4294967296", "asn=AS", "asn=1.2"] {
            assert_eq!(code(&query.replace('+', "%2b")), "invalid_asn", "{query}");
        }
        assert_eq!(code("mac=zz"), "invalid_mac");
        let long = ask(&format!("ip={}", "1".repeat(5000))).unwrap_err().to_string();
        assert!(long.len() < 300, "{long}");
    }

    #[test]
    fn the_accept_field_chooses_the_format() {
        assert_eq!(Format::from_accept("*/*"), Format::Text, "curl");
        assert_eq!(Format::from_accept("application/json"), Format::Json);
        assert_eq!(Format::from_accept("text/html,application/xhtml+xml,*/*;q=0.8"), Format::Html, "a browser");
        assert_eq!(Format::from_accept("text/html;q=0.3, application/json;q=0.9"), Format::Json);
        assert_eq!(Format::from_accept("image/png"), Format::Text);
    }
}
