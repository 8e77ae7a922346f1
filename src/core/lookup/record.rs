//! What registries say of a block, a name or a number, in one shape whichever protocol they speak; and how hostile text
//! becomes text that can be shown.

use serde::Serialize;

/// The most characters that are kept of one value.
const LONGEST: usize = 500;
/// The most values that are kept of a list.
const MOST: usize = 64;

/// What was registered. Everything is the registry's word, cleaned of control characters and shortened.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Record {
    /// The registry's own key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handle: Option<String>,
    /// The name: of a network, a domain, an autonomous system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The addresses or numbers that it covers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range: Option<String>,
    /// Who holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organization: Option<String>,
    /// The holder's country.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    /// Through whom a domain was registered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registrar: Option<String>,
    /// Where to complain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub abuse: Option<String>,
    /// When it was registered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// When it was last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changed: Option<String>,
    /// When it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// Status words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub status: Vec<String>,
    /// Name servers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nameservers: Vec<String>,
}

impl Record {
    /// What `other` knows and this record does not is taken over.
    pub fn fill(&mut self, other: Self) {
        let pairs = [
            (&mut self.handle, other.handle),
            (&mut self.name, other.name),
            (&mut self.range, other.range),
            (&mut self.organization, other.organization),
            (&mut self.country, other.country),
            (&mut self.registrar, other.registrar),
            (&mut self.abuse, other.abuse),
            (&mut self.created, other.created),
            (&mut self.changed, other.changed),
            (&mut self.expires, other.expires),
        ];
        for (mine, theirs) in pairs {
            if mine.is_none() {
                *mine = theirs;
            }
        }
        if self.status.is_empty() {
            self.status = other.status;
        }
        if self.nameservers.is_empty() {
            self.nameservers = other.nameservers;
        }
    }

    /// The record as `key: value` lines.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        let single = [
            ("name", &self.name),
            ("range", &self.range),
            ("handle", &self.handle),
            ("organization", &self.organization),
            ("country", &self.country),
            ("registrar", &self.registrar),
            ("created", &self.created),
            ("changed", &self.changed),
            ("expires", &self.expires),
            ("abuse", &self.abuse),
        ];
        for (key, value) in single {
            if let Some(value) = value {
                text.push_str(&format!("{key}: {value}\n"));
            }
        }
        for (key, values) in [("status", &self.status), ("nameserver", &self.nameservers)] {
            for value in values {
                text.push_str(&format!("{key}: {value}\n"));
            }
        }
        text
    }
}

/// Sets a field that has no value yet.
pub(super) fn set(field: &mut Option<String>, value: &str) {
    let value = one_line(value);
    if field.is_none() && !value.is_empty() {
        *field = Some(value);
    }
}

/// Adds a value to a list, unless it is there or the list is long.
pub(super) fn push(list: &mut Vec<String>, value: &str) {
    let value = one_line(value);
    if !value.is_empty() && list.len() < MOST && !list.contains(&value) {
        list.push(value);
    }
}

/// A text in one line, without control characters, of at most 500 characters.
#[must_use]
pub fn one_line(text: &str) -> String {
    let mut line = String::new();
    for word in text.split(|c: char| c.is_whitespace() || is_unsafe(c)).filter(|word| !word.is_empty()) {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
        if line.len() > LONGEST * 4 {
            break;
        }
    }
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => line.get(..end).unwrap_or_default().to_owned() + "…",
        None => line,
    }
}

/// Whether a character could move the cursor, colour the screen or turn the direction of writing of whoever reads it.
#[must_use]
pub fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_can_forge_a_line_or_move_the_cursor() {
        assert_eq!(one_line("a\r\nrefer: evil\u{1b}[2J\u{202e}b"), "a refer: evil [2J b");
        assert_eq!(one_line(&"é".repeat(600)).chars().count(), 501);
        let mut list = Vec::new();
        for n in 0..100 {
            push(&mut list, &n.to_string());
            push(&mut list, "0");
        }
        assert_eq!(list.len(), MOST);
    }

    #[test]
    fn a_record_is_filled_from_the_hop_before() {
        let mut registrar = Record { organization: Some("Example".to_owned()), ..Record::default() };
        let registry = Record {
            organization: Some("withheld".to_owned()),
            created: Some("1995".to_owned()),
            nameservers: vec!["a.example.net".to_owned()],
            ..Record::default()
        };
        registrar.fill(registry);
        assert_eq!(registrar.to_text(), "organization: Example\ncreated: 1995\nnameserver: a.example.net\n");
    }
}
