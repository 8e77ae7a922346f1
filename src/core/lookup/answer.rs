//! What is known about what was asked, with who says so: as text for a person or a shell, as JSON for a program.

use std::fmt::{self, Write as _};
use std::net::IpAddr;
use std::sync::Arc;

use serde::Serialize;

use super::chain::{Failure, Hop, Registration};
use super::error::LookupError;
use super::mac::Mac;
use super::owners::{Network, Owner};
use super::query::Query;
use super::special::Special;
use super::vendor::Assignment;
use super::{special, wellknown};
use crate::core::ip::scope;

/// Something that an answer rests on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Source {
    /// A file's name, a registry's host, `resources` for our own, `standards` for what documents set apart.
    pub name: Arc<str>,
    /// As of when (RFC 3339), if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub date: Option<Arc<str>>,
}

/// Who made a piece of hardware.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Vendor {
    /// The assigned block.
    pub prefix: String,
    /// To whom it is assigned; rarely to several.
    pub names: Vec<String>,
}

/// A purpose that a document sets a block, name or number apart for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Purpose {
    /// What it is for.
    pub name: &'static str,
    /// The document.
    pub reference: &'static str,
    /// The block of addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
}

/// Where an address is said to be used.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Geo {
    /// The network that the database has a record of.
    pub network: String,
    /// Continent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub continent: Option<String>,
    /// ISO 3166-1 code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country_code: Option<String>,
    /// Country.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    /// The largest division of the country.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// City.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub city: Option<String>,
    /// Time zone, as the tz database names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// Degrees north.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latitude: Option<f64>,
    /// Degrees east.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub longitude: Option<f64>,
    /// Number of the autonomous system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub as_number: Option<u32>,
    /// Who runs the autonomous system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub as_organization: Option<String>,
}

impl Geo {
    /// What `other` knows and this does not is taken over; the network of the first stays.
    pub fn fill(&mut self, other: Self) {
        let pairs = [
            (&mut self.continent, other.continent),
            (&mut self.country_code, other.country_code),
            (&mut self.country, other.country),
            (&mut self.region, other.region),
            (&mut self.city, other.city),
            (&mut self.time_zone, other.time_zone),
            (&mut self.as_organization, other.as_organization),
        ];
        for (mine, theirs) in pairs {
            if mine.is_none() {
                *mine = theirs;
            }
        }
        self.latitude = self.latitude.or(other.latitude);
        self.longitude = self.longitude.or(other.longitude);
        self.as_number = self.as_number.or(other.as_number);
    }

    fn to_line(&self) -> String {
        let place: Vec<&str> = [&self.city, &self.region, &self.country, &self.continent]
            .into_iter()
            .filter_map(|part| part.as_deref())
            .collect();
        let mut line = place.join(", ");
        if let Some(number) = self.as_number {
            let separator = if line.is_empty() { "" } else { "; " };
            line.push_str(&format!("{separator}AS{number} {}", self.as_organization.as_deref().unwrap_or_default()));
        }
        line.trim_end().to_owned()
    }
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Answer {
    /// `mac`, `ip`, `domain` or `asn`.
    pub kind: &'static str,
    /// What was asked about, in its canonical form.
    pub query: String,
    /// Who made the hardware.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vendor: Option<Vendor>,
    /// What it is set apart for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub special: Option<Purpose>,
    /// Which of our resources it belongs to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<Owner>,
    /// The configured networks that it lies in, the longest prefix first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<Network>,
    /// Where it is said to be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub geo: Option<Box<Geo>>,
    /// What the registries say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registration: Option<Arc<Registration>>,
    /// Whether a registry that should have been asked gave no answer.
    pub partial: bool,
    /// The registries that were asked, in order.
    #[serde(skip_serializing_if = "<[Hop]>::is_empty")]
    pub hops: Arc<[Hop]>,
    /// What the answer rests on.
    pub sources: Vec<Source>,
}

impl Answer {
    /// An answer that knows nothing but what documents set apart.
    #[must_use]
    pub fn new(query: &Query) -> Self {
        let special = purpose(query);
        let sources = special.iter().map(|_| Source { name: "standards".into(), date: None }).collect::<Vec<_>>();
        Self {
            kind: query.kind(),
            query: query.to_string(),
            vendor: None,
            special,
            resources: Vec::new(),
            networks: Vec::new(),
            geo: None,
            registration: None,
            partial: false,
            hops: Arc::default(),
            sources,
        }
    }

    /// Says that the answer rests on this too.
    pub fn add_source(&mut self, name: impl Into<Arc<str>>, date: Option<Arc<str>>) {
        self.sources.push(Source { name: name.into(), date });
    }

    /// Whether registries know about such things: not about hardware, and not about what documents set apart.
    #[must_use]
    pub fn concerns_registries(&self) -> bool {
        self.kind != "mac" && self.special.is_none()
    }

    /// Takes what a table of assignments says.
    pub fn set_vendor(&mut self, assignment: &Assignment<'_>) {
        let names = assignment.owners.iter().map(|owner| (*owner).to_owned()).collect();
        self.vendor = Some(Vendor { prefix: assignment.prefix.with_length(), names });
    }

    /// Whether anything is known.
    #[must_use]
    pub const fn is_useful(&self) -> bool {
        self.vendor.is_some()
            || self.special.is_some()
            || !self.resources.is_empty()
            || !self.networks.is_empty()
            || self.geo.is_some()
            || self.registration.is_some()
    }

    /// The answer as text: what is known here as `key: value` lines, then the registry's own words, then, after `%`, who
    /// was asked and what all this rests on. For a hardware address the first line is the maker's name and nothing else.
    #[must_use]
    pub fn to_text(&self) -> String {
        let known = self.registration.as_ref().map_or(0, |registration| registration.text.len());
        let mut text = String::with_capacity(known + 256);
        // Writing to a text does not fail.
        let _ = self.write_text(&mut text);
        text
    }

    fn write_text(&self, text: &mut String) -> fmt::Result {
        if let Some(vendor) = &self.vendor {
            for (number, name) in vendor.names.iter().enumerate() {
                text.push_str(if number == 0 { "" } else { " / " });
                text.push_str(name);
            }
            text.push('\n');
        }
        if let Some(special) = &self.special {
            if let Some(network) = &special.network {
                write!(text, "{network} ")?;
            }
            push_line(text, &[special.name, " (", special.reference, ")"]);
        }
        for owner in &self.resources {
            writeln!(text, "{}", owner.to_line())?;
        }
        for network in &self.networks {
            text.push_str(format!("network: {} {}", network.prefix, network.name).trim_end());
            text.push('\n');
        }
        if let Some(geo) = &self.geo {
            writeln!(text, "location: {}", geo.to_line())?;
        }
        if let Some(registration) = &self.registration {
            text.push_str(&registration.text);
            if !registration.text.ends_with('\n') {
                text.push('\n');
            }
        }
        self.footnotes(text)
    }

    fn footnotes(&self, text: &mut String) -> fmt::Result {
        if let Some(vendor) = &self.vendor {
            push_line(text, &["% block: ", &vendor.prefix]);
        }
        for hop in self.hops.iter() {
            writeln!(text, "% hop: {} {}", hop.server, hop.error.as_deref().unwrap_or(hop.result))?;
        }
        if self.partial {
            text.push_str("% partial: a registry that should have been asked gave no answer\n");
        }
        for source in &self.sources {
            match &source.date {
                Some(date) => push_line(text, &["% source: ", &source.name, " of ", date]),
                None => push_line(text, &["% source: ", &source.name]),
            }
        }
        Ok(())
    }
}

fn push_line(text: &mut String, parts: &[&str]) {
    parts.iter().for_each(|part| text.push_str(part));
    text.push('\n');
}

/// What documents set the asked-about apart for.
fn purpose(query: &Query) -> Option<Purpose> {
    let of = |special: &Special| Purpose { name: special.name, reference: special.reference, network: None };
    match query {
        Query::Mac(mac) => mac_purpose(*mac),
        Query::Ip(ip) => ip_purpose(*ip),
        Query::Domain(name) => special::domain(name).map(of),
        Query::Asn(number) => special::asn(*number).map(of),
    }
}

fn ip_purpose(ip: IpAddr) -> Option<Purpose> {
    let scope = scope::scope(ip);
    if scope::is_public(ip) {
        return None;
    }
    Some(Purpose {
        name: scope.name,
        reference: scope.rfc,
        network: Some(format!("{}/{}", scope.network, scope.length)),
    })
}

fn mac_purpose(mac: Mac) -> Option<Purpose> {
    let known = wellknown::find(mac).map(|block| (block.name, block.reference));
    let by_bits = if mac.is_group() {
        Some(("a group of stations, no single one", "IEEE 802"))
    } else if mac.is_local() {
        Some(("locally administered: no maker, whoever runs the network chose it", "IEEE 802"))
    } else {
        None
    };
    let (name, reference) = known.or(by_bits)?;
    Some(Purpose { name, reference, network: None })
}

/// The answer, if it is one after the registries ended so; else why there is none.
///
/// # Errors
/// [`LookupError::NotFound`] or [`LookupError::Upstream`].
pub fn settle(mut answer: Answer, failure: Option<Failure>, not_found: bool) -> Result<Answer, LookupError> {
    if answer.is_useful() {
        answer.partial = failure.is_some();
        return Ok(answer);
    }
    let (value, hops) = (answer.query, answer.hops);
    match failure {
        Some(failure) if !not_found => Err(LookupError::Upstream { value, failure, hops }),
        Some(_) | None => {
            let because = hops.last().map(|hop| format!(", says {}", hop.server)).unwrap_or_default();
            Err(LookupError::NotFound { value, because, hops })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::lookup::chain::Protocol;
    use crate::core::lookup::record::Record;

    fn answer(kind: &str, value: &str) -> Answer {
        Answer::new(&Query::parse(kind, value).unwrap().unwrap())
    }

    #[test]
    fn the_first_line_about_hardware_is_the_makers_name() {
        let mut answer = answer("mac", "68b5.99fc.d1df");
        let prefix = Mac::parse("68b599").unwrap();
        answer.set_vendor(&Assignment { prefix, owners: vec!["Hewlett Packard"] });
        answer.add_source("oui.csv", Some("2022-08-27".into()));
        assert_eq!(answer.to_text(), "Hewlett Packard\n% block: 68:b5:99/24\n% source: oui.csv of 2022-08-27\n");
        let json = serde_json::to_value(&answer).unwrap();
        assert_eq!(json["vendor"]["names"][0], "Hewlett Packard");
        assert!(json.get("geo").is_none());
    }

    #[test]
    fn what_documents_set_apart_is_answered_without_asking() {
        for (kind, value, line) in [
            ("ip", "10.1.2.3", "10.0.0.0/8 Private-Use (RFC 1918)"),
            ("ip", "2001:db8::1", "2001:db8::/32 Documentation (RFC 3849)"),
            ("domain", "printer.local", "multicast DNS (RFC 6762)"),
            ("asn", "64512", "private use (RFC 6996)"),
            (
                "mac",
                "02:00:00:00:00:01",
                "locally administered: no maker, whoever runs the network chose it (IEEE 802)",
            ),
            ("mac", "00:00:5e:00:01:07", "virtual router, VRRP for IPv4 (last octet: VRID) (RFC 9568)"),
        ] {
            let query = Query::parse(kind, value).unwrap().unwrap();
            let answer = Answer::new(&query);
            assert!(!answer.concerns_registries(), "{value}");
            assert_eq!(answer.to_text().lines().next(), Some(line));
        }
        assert!(answer("ip", "1.1.1.1").concerns_registries());
    }

    #[test]
    fn a_registrys_words_are_repeated_as_they_are() {
        let mut answer = answer("domain", "example.com");
        let text = "Domain Name: EXAMPLE.COM\n100% %s %n\n".to_owned();
        let server = "whois.example.net".to_owned();
        answer.registration = Some(Arc::new(Registration {
            protocol: Protocol::Whois,
            server: server.clone(),
            record: Record::default(),
            text,
        }));
        answer.hops = [Hop { protocol: Protocol::Whois, server, result: "answer", error: None }].into();
        let settled = settle(answer, Some(Failure::Timeout("the answer")), false).unwrap();
        assert!(settled.partial);
        let shown = settled.to_text();
        assert!(
            shown.starts_with("Domain Name: EXAMPLE.COM\n100% %s %n\n% hop: whois.example.net answer\n% partial"),
            "{shown}"
        );
    }

    #[test]
    fn nothing_known_is_not_found_or_a_failure() {
        let none = || answer("ip", "1.1.1.1");
        assert_eq!(settle(none(), None, true).unwrap_err().code(), "not_found");
        assert_eq!(settle(none(), Some(Failure::Timeout("x")), false).unwrap_err().code(), "upstream_timeout");
        assert_eq!(settle(none(), Some(Failure::Timeout("x")), true).unwrap_err().code(), "not_found");
    }
}
