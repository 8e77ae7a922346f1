//! Tables as kubectl prints them: the printer columns of a CRD, ages, cells under their headings.

use std::io::{self, Write};

use jiff::Timestamp;
use serde_json::Value;

use crate::api::crd;
use crate::api::kind::Kind;
use crate::store::Object;

/// Rows below a heading; columns are three spaces apart.
#[derive(Debug, Default)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new<S: Into<String>>(heading: impl IntoIterator<Item = S>) -> Self {
        Self { rows: vec![heading.into_iter().map(Into::into).collect()] }
    }

    pub(super) fn push(&mut self, row: Vec<String>) {
        self.rows.push(row);
    }

    /// Prints it, each line after `indent`.
    pub(super) fn print(&self, out: &mut impl Write, indent: &str) -> io::Result<()> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let width = |column: usize| {
            self.rows
                .iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or_default()
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in &self.rows {
            let mut line = indent.to_owned();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(&format!("{cell:width$}   "));
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// A table of objects with the printer columns of their kind; `wide` has those of a lower priority too.
pub(super) fn table(kind: Kind, objects: &[Object], namespaces: bool, wide: bool, now: Timestamp) -> Table {
    let columns: Vec<&Value> = crd::of(kind)
        .and_then(|definition| definition.body["spec"]["versions"][0]["additionalPrinterColumns"].as_array())
        .into_iter()
        .flatten()
        .filter(|column| wide || column["priority"].as_i64().unwrap_or_default() == 0)
        .collect();
    let text = |column: &Value, field: &str| column[field].as_str().unwrap_or_default().to_owned();
    let mut heading: Vec<String> = if namespaces { vec!["NAMESPACE".to_owned()] } else { Vec::new() };
    heading.push("NAME".to_owned());
    heading.extend(columns.iter().map(|column| text(column, "name").to_uppercase()));
    let mut table = Table::new(heading);
    for object in objects {
        let mut row = Vec::new();
        if namespaces {
            row.push(object.key.namespace.clone().unwrap_or_default());
        }
        row.push(object.key.name.clone());
        for column in &columns {
            let value = find(&object.body, &text(column, "jsonPath"));
            row.push(cell(value, column["type"] == "date", now));
        }
        table.push(row);
    }
    table
}

fn cell(value: Option<&Value>, is_date: bool, now: Timestamp) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) if is_date => age(text, now),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// What a printer column's path leads to: fields (`.status.address`) and the item of a list that has a field with a
/// value (`.status.conditions[?(@.type=="Ready")].status`), which is all that our columns use.
fn find<'a>(body: &'a Value, path: &str) -> Option<&'a Value> {
    let mut value = body;
    let mut rest = path;
    while !rest.is_empty() {
        if let Some(filter) = rest.strip_prefix("[?(@.") {
            let (filter, after) = filter.split_once(")]")?;
            let (field, wanted) = filter.split_once("==")?;
            let wanted = wanted.trim().trim_matches(['"', '\'']);
            value = value.as_array()?.iter().find(|item| item[field.trim()] == wanted)?;
            rest = after;
        } else {
            let field = rest.strip_prefix('.')?;
            let end = field.find(['.', '[']).unwrap_or(field.len());
            value = value.get(&field[..end])?;
            rest = &field[end..];
        }
    }
    Some(value)
}

/// How long ago a time of RFC 3339 was, as kubectl says it: `<unknown>` if it is none.
pub(super) fn age(time: &str, now: Timestamp) -> String {
    match time.parse::<Timestamp>() {
        Ok(time) => span(now.duration_since(time).as_secs()),
        Err(_) => "<unknown>".to_owned(),
    }
}

/// Seconds as kubectl shortens them (`HumanDuration` of k8s.io/apimachinery): two digits of sense, `4m5s`, `3h`, `2d4h`.
pub(super) fn span(seconds: i64) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    const YEAR: i64 = 365 * DAY;
    let two = |big: i64, big_name: &str, small: i64, small_name: &str| match small {
        0 => format!("{big}{big_name}"),
        _ => format!("{big}{big_name}{small}{small_name}"),
    };
    match seconds {
        ..-1 => "<invalid>".to_owned(),
        -1..0 => "0s".to_owned(),
        _ if seconds < 2 * MINUTE => format!("{seconds}s"),
        _ if seconds < 10 * MINUTE => two(seconds / MINUTE, "m", seconds % MINUTE, "s"),
        _ if seconds < 3 * HOUR => format!("{}m", seconds / MINUTE),
        _ if seconds < 8 * HOUR => two(seconds / HOUR, "h", seconds % HOUR / MINUTE, "m"),
        _ if seconds < 2 * DAY => format!("{}h", seconds / HOUR),
        _ if seconds < 8 * DAY => two(seconds / DAY, "d", seconds % DAY / HOUR, "h"),
        _ if seconds < 2 * YEAR => format!("{}d", seconds / DAY),
        _ if seconds < 8 * YEAR => two(seconds / YEAR, "y", seconds % YEAR / DAY, "d"),
        _ => format!("{}y", seconds / YEAR),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn spans_are_as_short_as_kubectls() {
        let cases = [
            (-5, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (599, "9m59s"),
            (600, "10m"),
            (10_799, "179m"),
            (10_800, "3h"),
            (11_100, "3h5m"),
            (28_800, "8h"),
            (172_799, "47h"),
            (172_800, "2d"),
            (176_400, "2d1h"),
            (691_200, "8d"),
            (63_072_000, "2y"),
            (63_158_400, "2y1d"),
            (252_288_000, "8y"),
        ];
        for (seconds, text) in cases {
            assert_eq!(span(seconds), text, "{seconds}");
        }
    }

    #[test]
    fn every_printer_column_of_ours_has_a_path_that_is_followed() {
        let body = json!({
            "metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"ranges": ["192.0.2.0/24"], "autoAssign": true, "priority": 3, "counter": 2},
            "status": {
                "address": "192.0.2.1", "holder": {"node": "a"},
                "conditions": [{"type": "Allocated", "status": "True"}, {"type": "Ready", "status": "False"}],
            },
        });
        assert_eq!(find(&body, ".status.holder.node"), Some(&json!("a")));
        assert_eq!(find(&body, r#".status.conditions[?(@.type=="Ready")].status"#), Some(&json!("False")));
        assert_eq!(find(&body, ".status.lastFailover.at"), None);
        for definition in crd::all() {
            let columns = &definition.body["spec"]["versions"][0]["additionalPrinterColumns"];
            for column in columns.as_array().unwrap() {
                let path = column["jsonPath"].as_str().unwrap();
                let plain = path.replace(r#"[?(@.type=="Ready")]"#, "");
                assert!(plain.split('.').skip(1).all(|part| part.chars().all(char::is_alphanumeric)), "{path}");
            }
        }
    }
}
