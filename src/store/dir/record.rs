//! What a version file holds.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::api::kind::Kind;
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

/// What a watch needs of a [`Record`]: the rest is passed over unread.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Glance {
    /// See [`Record::born`].
    #[serde(default)]
    pub(super) born: u64,
    /// See [`Record::object`].
    #[serde(default)]
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

    /// Whether this record says the same as another one, whoever committed it.
    pub(super) fn says_the_same(&self, other: &Self) -> bool {
        self.object == other.object && self.managers == other.managers && self.source == other.source
    }
}

impl Stored {
    /// The object as the seam has it; `None` if it was deleted.
    pub(super) fn object(&self, kind: Kind, key: &Key) -> Option<Object> {
        Some(object(kind, key, self.version, self.record.object.clone()?))
    }
}

/// The object of this body as the seam has it.
pub(super) fn object(kind: Kind, key: &Key, version: u64, mut body: Value) -> Object {
    body["metadata"]["resourceVersion"] = Value::String(version.to_string());
    Object { kind, key: key.clone(), body }
}
