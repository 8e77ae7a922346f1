//! What is wrong with a manifest, and where.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::api::kind::Kind;

/// The name of an object within everything.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ObjectRef {
    /// Its kind.
    #[serde(serialize_with = "kind_name")]
    pub kind: Kind,
    /// Its namespace; `None` for a cluster-scoped kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn kind_name<S: Serializer>(kind: &Kind, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(kind.name())
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.kind.name(), self.name),
            None => write!(f, "{} {}", self.kind.name(), self.name),
        }
    }
}

/// Something wrong in a file: one line for a person, and the same in parts for a program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file, as its path was given.
    pub file: String,
    /// The line, from 1; `None` if the whole file is at fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// Which of the file's documents, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document: Option<u32>,
    /// The object, if that much could be read.
    #[serde(flatten)]
    pub object: Option<ObjectRef>,
    /// The path of the field, as `spec.ranges[0]`; empty if no field is at fault.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub field: String,
    /// What stands there, as JSON, shortened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// What would be right.
    pub message: String,
    /// Whether the file could not be read at all, so that nobody knows what is in it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unreadable: bool,
}

impl Problem {
    /// A problem of a whole file.
    #[must_use]
    pub fn of_file(file: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            file: file.into(),
            line: None,
            document: None,
            object: None,
            field: String::new(),
            value: None,
            message: message.into(),
            unreadable: false,
        }
    }

    /// A file that could not be read.
    #[must_use]
    pub fn unreadable(file: impl Into<String>, message: impl Into<String>) -> Self {
        Self { unreadable: true, ..Self::of_file(file, message) }
    }
}

impl fmt::Display for Problem {
    /// `FILE:LINE: document N, KIND NAMESPACE/NAME: FIELD: VALUE: MESSAGE`, without the parts that are not known.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        f.write_str(": ")?;
        match (self.document, &self.object) {
            (Some(document), Some(object)) => write!(f, "document {document}, {object}: ")?,
            (Some(document), None) => write!(f, "document {document}: ")?,
            (None, Some(object)) => write!(f, "{object}: ")?,
            (None, None) => {}
        }
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        if let Some(value) = &self.value {
            write!(f, "{value}: ")?;
        }
        f.write_str(&self.message)
    }
}

/// Something wrong within a document, before it is known whose document it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) line: u32,
    pub(super) field: String,
    pub(super) value: Option<String>,
    pub(super) message: String,
}

impl Fault {
    pub(super) fn new(line: u32, field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { line, field: field.into(), value: None, message: message.into() }
    }

    pub(super) fn with_value(self, value: impl Into<String>) -> Self {
        Self { value: Some(value.into()), ..self }
    }
}
