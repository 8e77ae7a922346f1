//! RDAP: the URL that answers a question (RFC 9082), what the answer says (RFC 9083), and which link of it leads on.

use serde_json::Value;

use super::query::Query;
use super::record::{Record, push, set};
use super::url::Url;

/// The media type of an answer (RFC 7480 4.2).
pub const MEDIA_TYPE: &str = "application/rdap+json";
/// How deep entities inside entities are looked into.
const DEPTH: usize = 3;

/// Path segments of a question below a server's base URL; `None` if RDAP has no such question.
#[must_use]
pub fn path(query: &Query) -> Option<String> {
    match query {
        Query::Ip(ip) => Some(format!("ip/{ip}")),
        Query::Domain(name) => Some(format!("domain/{name}")),
        Query::Asn(number) => Some(format!("autnum/{number}")),
        Query::Mac(_) => None,
    }
}

/// What an answer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Its fields.
    pub record: Record,
    /// Where the registrar of a domain answers the same question; whatever the text says, not checked.
    pub related: Option<String>,
}

/// Reads the answer to a question.
///
/// # Errors
/// Why it is no answer to it.
pub fn parse(query: &Query, body: &[u8]) -> Result<Object, String> {
    let value: Value = serde_json::from_slice(body).map_err(|error| format!("the answer is no JSON: {error}"))?;
    let class = value["objectClassName"].as_str().unwrap_or_default();
    let expected = match query {
        Query::Ip(_) => "ip network",
        Query::Domain(_) => "domain",
        Query::Asn(_) => "autnum",
        Query::Mac(_) => return Err("RDAP knows no hardware addresses".to_owned()),
    };
    if class != expected {
        let class = super::record::one_line(class);
        return Err(format!("the answer is no RDAP object of the class {expected:?} but {class:?}"));
    }
    let related = matches!(query, Query::Domain(_)).then(|| related_link(&value)).flatten();
    Ok(Object { record: record(&value), related })
}

/// The answer's own link to the same object elsewhere (a registrar's, in a registry's answer).
fn related_link(value: &Value) -> Option<String> {
    let links = value["links"].as_array()?;
    let link = links.iter().find(|link| link["rel"] == "related" && link["type"] == MEDIA_TYPE)?;
    link["href"].as_str().map(str::to_owned)
}

fn record(value: &Value) -> Record {
    let mut record = Record::default();
    let text = |name: &str| value[name].as_str().unwrap_or_default();
    set(&mut record.handle, text("handle"));
    for name in ["name", "ldhName"] {
        set(&mut record.name, text(name));
    }
    set(&mut record.country, text("country"));
    for status in list(&value["status"]).iter().filter_map(Value::as_str) {
        push(&mut record.status, status);
    }
    for server in list(&value["nameservers"]) {
        push(&mut record.nameservers, &server["ldhName"].as_str().unwrap_or_default().to_ascii_lowercase());
    }
    set(&mut record.range, &range(value));
    for event in list(&value["events"]) {
        let date = event["eventDate"].as_str().unwrap_or_default();
        match event["eventAction"].as_str().unwrap_or_default() {
            "registration" => set(&mut record.created, date),
            "last changed" => set(&mut record.changed, date),
            "expiration" => set(&mut record.expires, date),
            _ => {}
        }
    }
    entities(&mut record, value, 0);
    record
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// First and last of a block; a block of one number is that number.
fn range(value: &Value) -> String {
    let ends = |first: &str, last: &str| Some((value[first].clone(), value[last].clone()));
    let shown = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    for (first, last) in [("startAddress", "endAddress"), ("startAutnum", "endAutnum")] {
        if let Some((first, last)) = ends(first, last).filter(|(first, last)| !first.is_null() && !last.is_null()) {
            return if first == last { shown(&first) } else { format!("{} - {}", shown(&first), shown(&last)) };
        }
    }
    String::new()
}

/// Takes holder, registrar and where to complain from the entities by their roles.
fn entities(record: &mut Record, value: &Value, depth: usize) {
    for entity in list(&value["entities"]) {
        let roles: Vec<&str> = list(&entity["roles"]).iter().filter_map(Value::as_str).collect();
        let name = card(entity, "org").or_else(|| card(entity, "fn"));
        if roles.contains(&"registrant") {
            set(&mut record.organization, name.as_deref().unwrap_or_default());
        }
        if roles.contains(&"registrar") {
            set(&mut record.registrar, card(entity, "fn").or(name).as_deref().unwrap_or_default());
        }
        if roles.contains(&"abuse") {
            set(&mut record.abuse, &card(entity, "email").unwrap_or_default());
        }
        if depth < DEPTH {
            entities(record, entity, depth + 1);
        }
    }
}

/// A property of an entity's jCard (RFC 7095): the fourth member of the array whose first is its name.
fn card(entity: &Value, property: &str) -> Option<String> {
    let rows = list(entity.get("vcardArray")?.get(1)?);
    let value = rows.iter().find(|row| row.get(0).is_some_and(|name| name == property))?.get(3)?;
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(parts) => parts.first()?.as_str().map(str::to_owned),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
    }
    .filter(|text| !text.trim().is_empty())
}

/// The URL of a question at one of these servers; the first with `https`, else the first.
#[must_use]
pub fn url(bases: &[String], query: &Query) -> Option<Url> {
    let path = path(query)?;
    let urls: Vec<Url> = bases.iter().filter_map(|base| Url::parse(base)).collect();
    urls.iter().find(|url| url.tls).or(urls.first()).map(|base| base.join(&path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn query(kind: &str, value: &str) -> Query {
        Query::parse(kind, value).unwrap().unwrap()
    }

    #[test]
    fn each_kind_of_question_has_its_path() {
        assert_eq!(path(&query("ip", "2001:db8::1")).as_deref(), Some("ip/2001:db8::1"));
        assert_eq!(path(&query("asn", "AS64496")).as_deref(), Some("autnum/64496"));
        let bases = ["http://a.example/".to_owned(), "https://b.example/rdap".to_owned()];
        let url = url(&bases, &query("domain", "example.com")).unwrap();
        assert_eq!(url.to_string(), "https://b.example/rdap/domain/example.com");
    }

    #[test]
    fn a_network_and_its_holder_are_read() {
        let body = json!({
            "objectClassName": "ip network", "handle": "NET-1", "name": "EXAMPLE", "country": "AU",
            "startAddress": "1.1.1.0", "endAddress": "1.1.1.255", "status": ["active"],
            "events": [{"eventAction": "registration", "eventDate": "2011-08-10T23:12:35Z"}],
            "entities": [{
                "roles": ["registrant"],
                "vcardArray": ["vcard", [["version", {}, "text", "4.0"], ["fn", {}, "text", "Example\r\nrefer: evil"]]],
                "entities": [{"roles": ["abuse"], "vcardArray": ["vcard", [["email", {}, "text", "abuse@example.net"]]]}],
            }],
        });
        let object = parse(&query("ip", "1.1.1.1"), body.to_string().as_bytes()).unwrap();
        let text = object.record.to_text();
        for line in [
            "name: EXAMPLE",
            "range: 1.1.1.0 - 1.1.1.255",
            "organization: Example refer: evil",
            "abuse: abuse@example.net",
            "created: 2011-08-10T23:12:35Z",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
        }
    }

    #[test]
    fn a_domain_leads_to_its_registrar_by_a_related_link_only() {
        let body = |links: Value| {
            json!({"objectClassName": "domain", "ldhName": "EXAMPLE.COM", "links": links,
                   "entities": [{"roles": ["registrar"], "links": [{"rel": "related", "type": MEDIA_TYPE, "href": "https://x/"}]}]})
            .to_string()
        };
        let links = json!([
            {"rel": "self", "type": MEDIA_TYPE, "href": "https://a.example/"},
            {"rel": "related", "type": "text/html", "href": "https://b.example/"},
            {"rel": "related", "type": MEDIA_TYPE, "href": "https://c.example/"},
        ]);
        let com = query("domain", "example.com");
        assert_eq!(parse(&com, body(links).as_bytes()).unwrap().related.as_deref(), Some("https://c.example/"));
        assert_eq!(parse(&com, body(json!([])).as_bytes()).unwrap().related, None);
    }

    #[test]
    fn what_answers_another_question_is_refused() {
        let domain = br#"{"objectClassName": "domain"}"#;
        assert!(parse(&query("ip", "1.1.1.1"), domain).unwrap_err().contains("ip network"));
        assert!(parse(&query("ip", "1.1.1.1"), b"<html>").unwrap_err().contains("no JSON"));
        let deep = "[".repeat(100_000);
        assert!(parse(&query("ip", "1.1.1.1"), deep.as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn no_shape_of_json_breaks_it(noise in "[\\[\\]{}\",:a-z0-9 ]{0,80}", class in "(domain|autnum|ip network)") {
            let bodies = [noise.clone(), format!("{{\"objectClassName\":\"{class}\",\"entities\":[{{\"roles\":[\"abuse\"],\"vcardArray\":{noise}}}]}}")];
            for body in bodies {
                for query in [query("ip", "1.1.1.1"), query("domain", "a.example"), query("asn", "1")] {
                    let _ = parse(&query, body.as_bytes());
                }
            }
        }
    }
}
