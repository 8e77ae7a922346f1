//! What kube calls of the crate of this name: a kubeconfig, and what a credential plugin prints, from YAML into types.
//! The parser is the one that the crate itself stands on; what is not here is its other half a megabyte: snippets in
//! error messages, options, and a copy of its machinery for each type.

mod de;
mod node;

use std::fmt;

use serde::de::DeserializeOwned;

/// Why a text was not read.
#[derive(Debug)]
pub struct Error {
    message: String,
    /// The line that it is about, from 1, once that is known.
    line: Option<usize>,
}

impl Error {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), line: None }
    }

    /// The same about a line, unless it is about a line within that already.
    fn at(mut self, line: usize) -> Self {
        self.line.get_or_insert(line);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for Error {}

impl serde::de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }
}

/// The value of each document that is not empty.
///
/// # Errors
/// The first thing that is no YAML, or not of the type.
pub fn from_multiple<T: DeserializeOwned>(text: &str) -> Result<Vec<T>, Error> {
    let documents = node::documents(text)?;
    documents.into_iter().filter(|document| !document.is_null()).map(T::deserialize).collect()
}

/// The value of a text's only document.
///
/// # Errors
/// As [`from_multiple`]; also if there is no document, or more than one.
pub fn from_slice<T: DeserializeOwned>(text: &[u8]) -> Result<T, Error> {
    let text = std::str::from_utf8(text).map_err(|error| Error::new(error.to_string()))?;
    let mut documents = node::documents(text)?.into_iter();
    match (documents.next(), documents.next()) {
        (Some(only), None) => T::deserialize(only),
        (None, _) => Err(Error::new("there is nothing in it")),
        (Some(_), Some(_)) => Err(Error::new("there is more than one document in it")),
    }
}
