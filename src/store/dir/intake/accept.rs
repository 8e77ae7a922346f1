//! One manifest on its way into the store, and one object on its way out.
//!
//! The decision is made where the write is made, after the stored version was read and just before its successor is
//! linked, and only if the file is still the one that was read. So a process that slept anywhere never puts an old
//! manifest over a newer one: whoever read the newer one committed it after our look at the file, and our link fails.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::catalog::Print;
use crate::api::kind::Kind;
use crate::api::manifest::{Manifest, Problem, check_change};
use crate::store::dir::change::{self, Birth};
use crate::store::dir::commit::Verdict;
use crate::store::dir::record::{Record, Source, Stored};
use crate::store::{Key, StoreError};

/// What became of a manifest.
#[derive(Debug, Default)]
pub(super) enum Fate {
    /// It is in force.
    #[default]
    Accepted,
    /// The change it makes is not allowed.
    Refused(Vec<Problem>),
    /// The object belongs to this other file; the problem if that file still has it.
    Elsewhere(PathBuf, Box<Problem>),
    /// The file is not the one that was read.
    Stale,
}

/// The other file that has the object, if the one of this stored name does, or may.
pub(super) type KeptBy = Box<dyn Fn(&str) -> Option<PathBuf> + Send>;

/// A manifest that is to be in force.
pub(super) struct Acceptance {
    pub(super) key: Key,
    pub(super) manifest: Manifest,
    pub(super) path: PathBuf,
    /// The path relative to the directory, as it is stored.
    pub(super) file: String,
    pub(super) print: Option<Print>,
    pub(super) birth: Birth,
    /// Asked for the file that the object came from so far.
    pub(super) kept_by: KeptBy,
}

impl Acceptance {
    /// What the store is to write, and why.
    pub(super) fn decide(&self, stored: Option<&Stored>) -> Result<(Verdict, Fate), StoreError> {
        let kind = self.manifest.object.kind;
        if Print::of(&self.path) != self.print {
            return Ok((Verdict::Keep, Fate::Stale));
        }
        let digest = digest(&self.manifest.body);
        let source = Some(Source { file: self.file.clone(), digest: digest.clone() });
        let Some((stored, object)) = stored.and_then(|s| Some((s, s.record.object.as_ref()?))) else {
            let verdict = change::create(kind, &self.key, &self.birth, self.manifest.body.clone(), None)?;
            return Ok((from_manifest(verdict, source), Fate::Accepted));
        };
        if let Some(from) = stored.record.source.as_ref().filter(|from| from.file != self.file)
            && let Some(other) = (self.kept_by)(&from.file)
        {
            let message = format!("stands twice: {} has it already", other.display());
            let problem = self.manifest.problem("metadata.name", message);
            return Ok((Verdict::Keep, Fate::Elsewhere(other, Box::new(problem))));
        }
        // What is being deleted is let go; what the manifest says is made anew after that.
        if !object["metadata"]["deletionTimestamp"].is_null() || stored.record.source == source {
            return Ok((Verdict::Keep, Fate::Accepted));
        }
        let problems = check_change(object, &self.manifest);
        if !problems.is_empty() {
            return Ok((Verdict::Keep, Fate::Refused(problems)));
        }
        let verdict = change::update(kind, &self.key, merged(object, &self.manifest.body), stored)?;
        let verdict = match verdict {
            Verdict::Keep => Verdict::Write(Box::new(stored.record.clone())),
            write @ Verdict::Write(_) => write,
        };
        Ok((from_manifest(verdict, source), Fate::Accepted))
    }
}

fn from_manifest(verdict: Verdict, source: Option<Source>) -> Verdict {
    match verdict {
        Verdict::Write(record) => Verdict::Write(Box::new(Record { source, ..*record })),
        Verdict::Keep => Verdict::Keep,
    }
}

/// The stored object with what the manifest says of it.
fn merged(object: &Value, manifest: &Value) -> Value {
    let mut body = object.clone();
    body["spec"] = manifest["spec"].clone();
    if let Some(metadata) = body["metadata"].as_object_mut() {
        for field in ["labels", "annotations"] {
            match manifest["metadata"].get(field) {
                Some(value) => metadata.insert(field.to_owned(), value.clone()),
                None => metadata.remove(field),
            };
        }
    }
    body
}

/// What tells one content of a manifest from another.
pub(super) fn digest(body: &Value) -> String {
    let text = serde_json::to_vec(body).unwrap_or_default();
    crate::store::dir::hex(&Sha256::digest(&text)[..16])
}

/// An object whose manifest is gone: deleted if the file that it came from is still without it.
pub(super) fn remove(
    kind: Kind,
    key: &Key,
    root: &Path,
    file: &str,
    print: Option<&Print>,
    stored: Option<&Stored>,
) -> Result<Verdict, StoreError> {
    let ours = stored.is_some_and(|stored| stored.record.source.as_ref().is_some_and(|source| source.file == file));
    if !ours || Print::of(&root.join(file)).as_ref() != print {
        return Ok(Verdict::Keep);
    }
    change::delete(kind, key, Timestamp::now(), stored)
}
