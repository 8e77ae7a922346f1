//! Records of comma-separated values (RFC 4180): quoted fields may hold commas, quotes and line ends.

/// The records of a text, each with the number of the line it begins on, from 1.
///
/// A quote inside an unquoted field is kept as it stands, and a quoted field that never ends runs to the text's end:
/// the reader of the fields sees that the record is wrong and knows its line.
#[must_use]
pub fn records(text: &str) -> Records<'_> {
    Records { rest: text.strip_prefix('\u{feff}').unwrap_or(text), line: 1 }
}

/// See [`records`].
#[derive(Debug, Clone)]
pub struct Records<'a> {
    rest: &'a str,
    line: usize,
}

impl Iterator for Records<'_> {
    type Item = (usize, Vec<String>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let start = self.line;
        let mut fields = Vec::new();
        loop {
            let (field, ends_record) = self.field();
            fields.push(field);
            if ends_record {
                return Some((start, fields));
            }
        }
    }
}

impl Records<'_> {
    /// The next field, and whether it is its record's last.
    fn field(&mut self) -> (String, bool) {
        let quoted = match self.rest.strip_prefix('"') {
            Some(rest) => {
                self.rest = rest;
                self.quoted()
            }
            None => String::new(),
        };
        let end = self.rest.find([',', '\n']).unwrap_or(self.rest.len());
        let (plain, rest) = self.rest.split_at(end);
        let ends_record = !rest.starts_with(',');
        self.rest = rest.get(1..).unwrap_or_default();
        let plain = if ends_record { plain.strip_suffix('\r').unwrap_or(plain) } else { plain };
        if ends_record {
            self.line += 1;
        }
        (quoted + plain, ends_record)
    }

    /// The inside of a quoted field, up to and over the quote that ends it.
    fn quoted(&mut self) -> String {
        let mut inside = String::new();
        loop {
            let (part, rest) = self.rest.split_once('"').unwrap_or((self.rest, ""));
            inside.push_str(part);
            self.line += part.matches('\n').count();
            self.rest = rest;
            match rest.strip_prefix('"') {
                Some(rest) => {
                    inside.push('"');
                    self.rest = rest;
                }
                None => return inside,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Vec<(usize, Vec<String>)> {
        records(text).collect()
    }

    #[test]
    fn quotes_commas_and_line_ends_are_inside_quoted_fields() {
        let text = "\u{feff}a,b\r\n\"x, \"\"y\"\"\",\"1\r\n2\"\n,\nlast";
        let expected: Vec<(usize, Vec<String>)> =
            [(1, vec!["a", "b"]), (2, vec!["x, \"y\"", "1\r\n2"]), (4, vec!["", ""]), (5, vec!["last"])]
                .into_iter()
                .map(|(line, fields)| (line, fields.into_iter().map(str::to_owned).collect()))
                .collect();
        assert_eq!(read(text), expected);
        assert!(read("").is_empty());
        assert_eq!(read("\"never ends, \n"), [(1, vec!["never ends, \n".to_owned()])]);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(rows in prop::collection::vec(
            prop::collection::vec("[a-c,\"\n é]{0,6}", 1..4), 1..5)) {
            let text: String = rows.iter().map(|row| {
                let fields: Vec<String> = row.iter().map(|f| format!("\"{}\"", f.replace('"', "\"\""))).collect();
                fields.join(",") + "\r\n"
            }).collect();
            let back: Vec<Vec<String>> = read(&text).into_iter().map(|(_, fields)| fields).collect();
            prop_assert_eq!(back, rows);
        }

        #[test]
        fn every_text_ends(text in "[\"\n,\r a]{0,60}") {
            prop_assert!(read(&text).len() <= text.len() + 1);
        }
    }
}
