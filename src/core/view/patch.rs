//! RFC 6902 patches of a view, as typed operations.

use json_patch::{AddOperation, PatchOperation, RemoveOperation, ReplaceOperation, TestOperation};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::View;

/// Where the view stands within the `FailoverView` object.
pub const ROOT: &str = "/spec";

/// One operation; its path is an RFC 6901 pointer relative to the view.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub enum Op {
    /// The patch fails unless the value at the path is this one.
    Test {
        /// Where.
        path: String,
        /// What must be there.
        value: Value,
    },
    /// Sets the value at the path, whether something is there or not; the parent must be there.
    Add {
        /// Where.
        path: String,
        /// What.
        value: Value,
    },
    /// Sets the value at the path, which must be there.
    Replace {
        /// Where.
        path: String,
        /// What.
        value: Value,
    },
    /// Removes the value at the path, which must be there.
    Remove {
        /// Where.
        path: String,
    },
}

/// Operations that apply as a whole or not at all.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Patch(pub Vec<Op>);

/// Why a patch does not apply. Nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the patch does not apply: {0}")]
pub struct PatchError(String);

/// A path from its parts, each escaped by RFC 6901 section 3 (`~` as `~0`, `/` as `~1`).
#[must_use]
pub fn pointer(parts: &[&str]) -> String {
    let mut path = String::new();
    for part in parts {
        path.push('/');
        path.push_str(&part.replace('~', "~0").replace('/', "~1"));
    }
    path
}

impl Patch {
    /// The array of operations as the store wants it, for the object whose view stands at `root` (mostly [`ROOT`]).
    #[must_use]
    pub fn to_value(&self, root: &str) -> Value {
        let rooted = |op: &Op| {
            let mut op = op.clone();
            match &mut op {
                Op::Test { path, .. } | Op::Add { path, .. } | Op::Replace { path, .. } | Op::Remove { path } => {
                    path.insert_str(0, root);
                }
            }
            // Strings and JSON values always serialise.
            serde_json::to_value(op).unwrap_or(Value::Null)
        };
        Value::Array(self.0.iter().map(rooted).collect())
    }

    /// The view after this patch.
    ///
    /// # Errors
    /// A `test` fails, a path is not there, or the outcome is no view.
    pub fn apply(&self, view: &View) -> Result<View, PatchError> {
        let mut value = serde_json::to_value(view).map_err(|error| fault(&error))?;
        self.apply_to(&mut value)?;
        serde_json::from_value(value).map_err(|error| fault(&error))
    }

    /// Changes the JSON of a view.
    ///
    /// # Errors
    /// A `test` fails, or a path is not there; nothing is changed then.
    pub fn apply_to(&self, view: &mut Value) -> Result<(), PatchError> {
        let operations: Result<Vec<PatchOperation>, PatchError> = self.0.iter().map(operation).collect();
        json_patch::patch(view, &operations?).map_err(|error| fault(&error))
    }

    pub(super) fn test(&mut self, parts: &[&str], value: impl Into<Value>) {
        self.0.push(Op::Test { path: pointer(parts), value: value.into() });
    }

    pub(super) fn add(&mut self, parts: &[&str], value: impl Into<Value>) {
        self.0.push(Op::Add { path: pointer(parts), value: value.into() });
    }

    pub(super) fn replace(&mut self, parts: &[&str], value: impl Into<Value>) {
        self.0.push(Op::Replace { path: pointer(parts), value: value.into() });
    }

    pub(super) fn remove(&mut self, parts: &[&str]) {
        self.0.push(Op::Remove { path: pointer(parts) });
    }
}

fn fault(error: &dyn std::fmt::Display) -> PatchError {
    PatchError(error.to_string())
}

/// The operation as the crate for RFC 6902 wants it.
fn operation(op: &Op) -> Result<PatchOperation, PatchError> {
    let (Op::Test { path, .. } | Op::Add { path, .. } | Op::Replace { path, .. } | Op::Remove { path }) = op;
    let path = path.parse().map_err(|error: json_patch::jsonptr::ParseError| fault(&error))?;
    Ok(match op {
        Op::Test { value, .. } => PatchOperation::Test(TestOperation { path, value: value.clone() }),
        Op::Add { value, .. } => PatchOperation::Add(AddOperation { path, value: value.clone() }),
        Op::Replace { value, .. } => PatchOperation::Replace(ReplaceOperation { path, value: value.clone() }),
        Op::Remove { .. } => PatchOperation::Remove(RemoveOperation { path }),
    })
}
