//! YAML text into objects of ours, as strictly as an API server and a little more.
//!
//! [`read`] takes the bytes of one file and gives its objects, with defaults filled in and the line of each field, and a
//! [`Problem`] for whatever is wrong: one bad document never stops the others. What one object can show is checked by
//! the schema of its CRD and the Rust twins of its CEL rules; what spans objects by [`clashes`]; what spans time, such as
//! an immutable field, by [`check_change`].

mod across;
mod node;
mod object;
mod problem;
mod scalar;
mod schema;
mod yaml;

use std::collections::BTreeSet;

use serde_json::Value;

pub use self::across::{Clash, ClashKind, clashes};
use self::problem::Fault;
pub use self::problem::{ObjectRef, Problem};
use self::schema::Lines;
use super::crd;

/// The largest file that is read, in bytes: some 40,000 objects.
pub const MAX_FILE: usize = 8 << 20;

/// An object as a file has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// Which object it is.
    pub object: ObjectRef,
    /// The object, `apiVersion` to `spec`, with the defaults of its kind.
    pub body: Value,
    /// The file, as its path was given.
    pub file: String,
    /// Which of the file's documents, from 1.
    pub document: u32,
    lines: Lines,
}

impl Manifest {
    /// The line that a field stands on; of one that is not written, the line of what would hold it.
    #[must_use]
    pub fn line(&self, field: &str) -> u32 {
        let mut path = field;
        loop {
            if let Some(line) = self.lines.get(path) {
                return *line;
            }
            match path.rfind(['.', '[']) {
                Some(end) => path = path.get(..end).unwrap_or_default(),
                None => return self.lines.values().copied().min().unwrap_or(1),
            }
        }
    }

    /// Something wrong with a field of this object.
    #[must_use]
    pub fn problem(&self, field: &str, message: impl Into<String>) -> Problem {
        let pointer = format!("/{}", field.replace(['.', '['], "/").replace(']', ""));
        let fault = Fault::new(self.line(field), field, message);
        let fault = match self.body.pointer(&pointer) {
            Some(value) => fault.with_value(node::show(value)),
            None => fault,
        };
        locate(fault, &self.file, self.document, Some(&self.object))
    }
}

/// What was read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reading {
    /// The objects in which nothing is wrong, in the order of the text.
    pub manifests: Vec<Manifest>,
    /// What is wrong with the others, in the order of the text.
    pub problems: Vec<Problem>,
    /// How many objects of other groups were passed over.
    pub foreign: usize,
}

impl Reading {
    /// Adds what another reading has.
    pub fn extend(&mut self, other: Self) {
        self.manifests.extend(other.manifests);
        self.problems.extend(other.problems);
        self.foreign += other.foreign;
    }
}

/// Reads the content of a file; `file` is its name for messages.
#[must_use]
pub fn read(file: &str, bytes: &[u8]) -> Reading {
    let mut reading = Reading::default();
    let text = match text_of(bytes) {
        Ok(text) => text,
        Err((line, message)) => {
            reading.problems.push(Problem { line, ..Problem::of_file(file, message) });
            return reading;
        }
    };
    for document in yaml::documents(text) {
        let problem = |fault, object| locate(fault, file, document.number, object);
        let root = document.root.filter(|root| root.data != node::Data::Null);
        let outcome = root.map(|root| object::read(&root)).unwrap_or_default();
        if outcome.foreign {
            reading.foreign += 1;
            continue;
        }
        let broken = !document.faults.is_empty();
        // A value that could not be read was taken as a text: what the schema says about that is of no use.
        let unread: BTreeSet<String> = document.faults.iter().map(|fault| fault.field.clone()).collect();
        let further = outcome.faults.into_iter().filter(|fault| !unread.contains(&fault.field));
        for fault in document.faults.into_iter().chain(further) {
            reading.problems.push(problem(fault, outcome.object.as_ref()));
        }
        if let (false, Some(object), Some(body)) = (broken, outcome.object, outcome.body) {
            let lines = outcome.lines;
            reading.manifests.push(Manifest { object, body, file: file.to_owned(), document: document.number, lines });
        }
    }
    reading
}

/// Checks the step from the object that is stored to a manifest of the same name: what is immutable must be the same.
#[must_use]
pub fn check_change(stored: &Value, new: &Manifest) -> Vec<Problem> {
    let Some(definition) = crd::of(new.object.kind) else { return Vec::new() };
    let mut faults = Vec::new();
    schema::check_change(stored, &new.body, definition.schema(), "", &mut faults);
    let line = |fault: Fault| Fault { line: new.line(&fault.field), ..fault };
    faults.into_iter().map(|fault| locate(line(fault), &new.file, new.document, Some(&new.object))).collect()
}

fn locate(fault: Fault, file: &str, document: u32, object: Option<&ObjectRef>) -> Problem {
    Problem {
        line: Some(fault.line),
        document: Some(document),
        object: object.cloned(),
        field: fault.field,
        value: fault.value,
        ..Problem::of_file(file, fault.message)
    }
}

/// The bytes as text; else the line and the reason why they are none.
fn text_of(bytes: &[u8]) -> Result<&str, (Option<u32>, String)> {
    if bytes.len() > MAX_FILE {
        return Err((None, format!("is larger than {} MiB: no manifest is", MAX_FILE >> 20)));
    }
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err((None, "is UTF-16: save it as UTF-8".to_owned()));
    }
    let line = |end: usize| {
        let lines = bytes.get(..end).unwrap_or_default().iter().filter(|byte| **byte == b'\n').count();
        u32::try_from(lines + 1).ok()
    };
    if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
        return Err((line(end), "is no text: it has a zero byte".to_owned()));
    }
    std::str::from_utf8(bytes).map_err(|error| (line(error.valid_up_to()), "is no UTF-8 text".to_owned()))
}

#[cfg(test)]
mod tests;
