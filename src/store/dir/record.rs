//! What a version file holds.

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::api::kind::Kind;
use crate::store::body::{Body, member};
use crate::store::{Key, Object};

/// How many commits a record remembers: so many others may overtake a writer between its commit and its look at the
/// outcome, and it still learns what became of it.
const REMEMBERED: usize = 16;

/// One object at one version. A record without an object is what remains of a deleted one: versions of a name only ever
/// go up, hence a writer that slept through a deletion never wins.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Record {
    /// The ids of the last commits, this one's first.
    #[serde(default)]
    pub(super) commits: Vec<String>,
    /// The version at which the object was made.
    #[serde(default)]
    pub(super) born: u64,
    /// The manifest that it comes from; none for an object that was made through the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) source: Option<Source>,
    /// Who applied what of the status, in the order of the last change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) managers: Vec<(String, Value)>,
    /// The object, without its `resourceVersion`, which is the version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) object: Option<Value>,
}

/// A document of the user's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Source {
    /// The file, relative to the directory of manifests.
    pub(super) file: String,
    /// A hash of the document as it was accepted.
    pub(super) digest: String,
}

/// A record and the version it has.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Stored {
    /// Its version: 1 for the first of its name.
    pub(super) version: u64,
    /// What is stored.
    pub(super) record: Record,
}

impl Record {
    /// The same record as the commit `id` on top of `base`.
    pub(super) fn committed(mut self, id: String, base: Option<&Self>) -> Self {
        let before = base.map(|base| base.commits.as_slice()).unwrap_or_default();
        self.commits = std::iter::once(id).chain(before.iter().take(REMEMBERED - 1).cloned()).collect();
        self
    }

    /// The same record with another object.
    pub(super) fn with(&self, object: Value) -> Self {
        Self {
            commits: self.commits.clone(),
            born: self.born,
            source: self.source.clone(),
            managers: self.managers.clone(),
            object: Some(object),
        }
    }

    /// Whether this record says the same as another one, whoever committed it.
    pub(super) fn says_the_same(&self, other: &Self) -> bool {
        self.object == other.object && self.managers == other.managers && self.source == other.source
    }
}

impl Stored {
    /// The object as the seam has it; `None` if it was deleted.
    pub(super) fn object(&self, kind: Kind, key: &Key) -> Option<Object> {
        let mut body = self.record.object.clone()?;
        body["metadata"]["resourceVersion"] = Value::String(self.version.to_string());
        Some(Object { kind, key: key.clone(), body: body.into() })
    }
}

/// What a watch needs of a [`Record`]: the rest is passed over.
#[derive(Debug, Clone)]
pub(super) struct Glance {
    /// The version of the object.
    pub(super) version: u64,
    /// See [`Record::born`].
    pub(super) born: u64,
    /// See [`Record::object`].
    pub(super) body: Option<Body>,
}

/// A [`Record`], of which only the form is looked at.
#[derive(Deserialize)]
struct Outline {
    #[serde(default)]
    born: u64,
    #[serde(default)]
    object: Option<IgnoredAny>,
}

impl Glance {
    /// The glance at the text of a record of this version.
    pub(super) fn at(text: &str, version: u64) -> Result<Self, serde_json::Error> {
        let Outline { born, object } = serde_json::from_str(text)?;
        let body = match object {
            Some(IgnoredAny) => {
                let body = member(text, "object").and_then(|object| Body::at_version(object, version));
                Some(body.ok_or_else(|| serde::de::Error::custom("the object has no metadata"))?)
            }
            None => None,
        };
        Ok(Self { version, born, body })
    }

    /// The object as the seam has it; `None` if it was deleted.
    pub(super) fn object(self, kind: Kind, key: &Key) -> Option<Object> {
        Some(Object { kind, key: key.clone(), body: self.body? })
    }
}
