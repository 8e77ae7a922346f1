//! WHOIS (RFC 3912): what to send to which server, what its text says, and whom it refers to.
//!
//! The protocol has no format and no referrals; what stands here are the conventions of the registries, and of each only
//! as much as may be believed: a line counts where it begins, a referral only from a server whose office it is to refer.

use std::fmt;

use super::domain::is_host_name;
use super::query::Query;
use super::record::{Record, is_unsafe, push, set};

/// The port of WHOIS.
pub const PORT: u16 = 43;
/// The port of RWhois (RFC 2167), which answers the same question.
pub const RWHOIS_PORT: u16 = 4321;

/// A WHOIS server.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Server {
    /// Host name, or an address if an operator configured one.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// The host, with the port if it is not 43.
impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host)?;
        if self.port == PORT { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

/// The office of a server: whose word on referrals it may give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Office {
    /// IANA, where a chain begins: names the registry.
    Root,
    /// A registry that the root named for a domain: may name the registrar.
    Registry,
    /// A registry of addresses or numbers, or a registrar: the end, except for ARIN's referrals.
    End,
}

/// Where a text leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Referral {
    /// Nowhere.
    None,
    /// To another server.
    To(Server),
    /// To something that is no public WHOIS server by its form; what the text names.
    Blocked(String),
}

/// What a WHOIS text is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// A record, or at least something that could be one.
    Record,
    /// The server knows of nothing.
    NotFound,
    /// The server says that too much was asked.
    Denied,
    /// Nothing but comments, blank lines and referrals.
    Empty,
}

/// The line to send, with its CR LF. Nothing in a [`Query`] can end the line early or begin with a flag.
#[must_use]
pub fn request(server: &Server, query: &Query) -> String {
    let plain = query.to_string();
    let line = match (server.host.as_str(), query) {
        ("whois.arin.net", Query::Ip(ip)) => format!("n + {ip}"),
        ("whois.arin.net", Query::Asn(number)) => format!("a + {number}"),
        ("whois.denic.de", Query::Domain(name)) => format!("-T dn,ace {name}"),
        ("whois.verisign-grs.com" | "whois.crsnic.net", Query::Domain(name)) => format!("domain {name}"),
        ("whois.jprs.jp" | "whois.nic.ad.jp", _) => format!("{plain}/e"),
        // Without -r an answer carries people's records, of which a day has few (RIPE database, acceptable use policy).
        ("whois.ripe.net" | "whois.apnic.net" | "whois.afrinic.net", _) => format!("-r {plain}"),
        _ => plain,
    };
    line + "\r\n"
}

/// The bytes of an answer as text: UTF-8, else Latin-1; lines end in LF; nothing left that a terminal would obey.
///
/// # Errors
/// Says what it is, if it is no text.
pub fn decode(bytes: &[u8]) -> Result<String, &'static str> {
    let controls = bytes.iter().filter(|b| b.is_ascii_control() && !b.is_ascii_whitespace()).count();
    if bytes.contains(&0) || (controls > 4 && controls * 20 > bytes.len()) {
        return Err("the answer is binary, not text");
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().copied().map(char::from).collect(),
    };
    let mut clean = String::with_capacity(text.len());
    let mut last_was_return = false;
    for c in text.chars() {
        match c {
            '\n' if last_was_return => {}
            '\r' | '\n' => clean.push('\n'),
            '\t' => clean.push('\t'),
            c if is_unsafe(c) => {}
            c => clean.push(c),
        }
        last_was_return = c == '\r';
    }
    clean.truncate(clean.trim_end().len());
    if !clean.is_empty() {
        clean.push('\n');
    }
    Ok(clean)
}

/// The `key: value` lines that are no comments; keys in lower case.
fn fields(text: &str) -> impl Iterator<Item = (String, &str)> {
    text.lines().map(str::trim).filter(|line| !line.starts_with(['%', '#', '>'])).filter_map(|line| {
        let (key, value) = line.split_once(':')?;
        let (key, value) = (key.trim_end_matches('.').trim(), value.trim());
        (!key.is_empty() && key.len() <= 60 && !value.is_empty()).then(|| (key.to_ascii_lowercase(), value))
    })
}

/// Whom a server of this office refers to for this question.
#[must_use]
pub fn referral(server: &Server, office: Office, text: &str) -> Referral {
    let anchored = |name: &'static str| {
        text.lines().filter_map(move |line| {
            let rest = line.get(name.len()..)?.strip_prefix(':')?;
            line.get(..name.len())?.eq_ignore_ascii_case(name).then(|| rest.trim())
        })
    };
    let value = match office {
        Office::Root => anchored("refer").find(|value| !value.is_empty()),
        Office::Registry => {
            let mut keys =
                fields(text).filter(|(key, _)| matches!(key.as_str(), "registrar whois server" | "whois server"));
            keys.next().map(|(_, value)| value)
        }
        // From the less to the more specific network, so the last one is nearest (ARIN's order of records).
        Office::End if server.host == "whois.arin.net" => anchored("ReferralServer").rfind(|value| !value.is_empty()),
        Office::End => None,
    };
    value.map_or(Referral::None, parse_referral)
}

fn parse_referral(value: &str) -> Referral {
    let (rest, default) = match value.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("whois") => (rest, PORT),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("rwhois") => (rest, RWHOIS_PORT),
        // A web page: nothing to ask on port 43.
        Some((scheme, _)) if scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https") => {
            return Referral::None;
        }
        Some(_) => return Referral::Blocked(super::record::one_line(value)),
        None => (value, PORT),
    };
    let authority = rest.split(['/', '?', ' ', '\t']).next().unwrap_or_default();
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, port.parse().ok()),
        None => (authority, Some(default)),
    };
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    match port {
        Some(port @ (PORT | RWHOIS_PORT)) if is_host_name(&host) => Referral::To(Server { host, port }),
        _ => Referral::Blocked(super::record::one_line(value)),
    }
}

/// How a line begins that says: no such record.
const NOTHING: &[&str] = &[
    "no match",
    "not found",
    "no entries found",
    "no data found",
    "no object found",
    "no such domain",
    "no found",
    "nothing found",
    "domain not found",
    "domain name not found",
    "object does not exist",
    "object_not_found",
    "the queried object does not exist",
    "error:101",
    "status: free",
    "status: available",
    "domain status: available",
    "domain status: free",
];

/// How a line begins that says: you ask too much.
const DENIED: &[&str] = &[
    "error:201",
    "error:202",
    "error:203",
    "quota exceeded",
    "query rate limit exceeded",
    "rate limit exceeded",
    "whois limit exceeded",
    "query limit exceeded",
    "access denied",
    "you have been banned",
    "number of allowed queries exceeded",
    "too many queries",
    "excessive querying",
];

/// What a text is, of a server of this office.
#[must_use]
pub fn verdict(office: Office, text: &str) -> Verdict {
    // Notices that end an answer speak of limits and of names not found too: only the beginning counts.
    let beginning = || {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty()).take(40);
        lines.map(|line| line.trim_start_matches(['%', '#', '>', '"', '*', ' ', '[']).to_ascii_lowercase())
    };
    let begins = |phrases: &[&str]| {
        beginning().any(|line| {
            let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
            phrases.iter().any(|phrase| line.starts_with(phrase))
        })
    };
    let has_record = fields(text).any(|(key, _)| {
        matches!(
            key.as_str(),
            "inetnum" | "inet6num" | "netrange" | "aut-num" | "asnumber" | "domain name" | "registrar" | "created"
        )
    });
    if !has_record && begins(DENIED) {
        return Verdict::Denied;
    }
    if !has_record && begins(NOTHING) {
        return Verdict::NotFound;
    }
    let pointers = |key: &str| match office {
        Office::Root => false,
        Office::Registry => matches!(key, "registrar whois server" | "whois server"),
        Office::End => key == "referralserver",
    };
    if fields(text).any(|(key, _)| !pointers(&key)) { Verdict::Record } else { Verdict::Empty }
}

/// What can be read out of a text by the keys that registries use.
#[must_use]
pub fn record(text: &str) -> Record {
    let mut record = Record::default();
    for (key, value) in fields(text) {
        match key.as_str() {
            "nethandle" | "registry domain id" | "nic-hdl" => set(&mut record.handle, value),
            "netname" | "domain" | "domain name" | "as-name" | "asname" | "ashandle" => set(&mut record.name, value),
            "inetnum" | "inet6num" | "netrange" | "aut-num" | "asnumber" | "as-block" => set(&mut record.range, value),
            "org-name"
            | "orgname"
            | "organization"
            | "organisation"
            | "owner"
            | "registrant organization"
            | "custname" => set(&mut record.organization, value),
            "descr" => set(&mut record.organization, value),
            "country" | "registrant country" => set(&mut record.country, value),
            "registrar" | "registrar name" | "sponsoring registrar" => set(&mut record.registrar, value),
            "orgabuseemail" | "registrar abuse contact email" | "abuse-mailbox" => set(&mut record.abuse, value),
            "regdate" | "created" | "creation date" | "registered on" | "registered" => set(&mut record.created, value),
            "updated" | "updated date" | "last-modified" | "changed" | "last updated" => {
                set(&mut record.changed, value)
            }
            "registry expiry date"
            | "registrar registration expiration date"
            | "expiry date"
            | "expires"
            | "paid-till" => {
                set(&mut record.expires, value);
            }
            "status" | "domain status" => push(&mut record.status, value.split_whitespace().next().unwrap_or_default()),
            "name server" | "nserver" | "nameserver" | "nameservers" => {
                push(
                    &mut record.nameservers,
                    &value.split_whitespace().next().unwrap_or_default().to_ascii_lowercase(),
                );
            }
            _ => {}
        }
    }
    record
}

#[cfg(test)]
mod tests;
