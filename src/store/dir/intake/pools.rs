//! Pools are judged together: none may overlap another.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::accept::digest;
use super::{Found, key_of};
use crate::api::kind::Kind;
use crate::api::manifest::{ClashKind, Manifest, ObjectRef, Problem, clashes};
use crate::store::dir::Shared;

/// The pools' manifests.
#[derive(Debug, Default)]
pub(super) struct Pools {
    found: BTreeMap<(ObjectRef, PathBuf), Manifest>,
    /// Whether something changed since they were judged.
    changed: bool,
    /// What is wrong with those that overlap another.
    pub(super) overlaps: Vec<Problem>,
}

impl Pools {
    pub(super) fn insert(&mut self, path: &Path, manifest: &Manifest) {
        self.changed = true;
        self.found.insert((manifest.object.clone(), path.to_owned()), manifest.clone());
    }

    pub(super) fn remove(&mut self, path: &Path, object: &ObjectRef) {
        self.changed |= self.found.remove(&(object.clone(), path.to_owned())).is_some();
    }

    /// The pools that may be in force, if anything changed. One that is in force as it stands goes before one that is
    /// new or edited, and of these the older before the younger: an edit never turns out another pool.
    pub(super) fn judge(&mut self, shared: &Shared) -> Vec<Found> {
        if !std::mem::take(&mut self.changed) {
            return Vec::new();
        }
        let mut ordered: Vec<(bool, String, Found)> = Vec::new();
        for ((object, path), manifest) in &self.found {
            let stored = shared.index.read(Kind::AddressPool, &key_of(object)).ok().flatten();
            let source = stored.as_ref().and_then(|stored| stored.record.source.as_ref());
            let in_force = source.is_some_and(|source| source.digest == digest(&manifest.body));
            let created = stored
                .and_then(|stored| Some(stored.record.object.as_ref()?["metadata"]["creationTimestamp"].to_string()));
            // `~` goes after every time.
            ordered.push((!in_force, created.unwrap_or_else(|| "~".to_owned()), (path.clone(), manifest.clone())));
        }
        ordered.sort_by(|one, other| (one.0, &one.1).cmp(&(other.0, &other.1)));
        let (paths, manifests): (Vec<PathBuf>, Vec<Manifest>) = ordered.into_iter().map(|(_, _, found)| found).unzip();
        let overlaps: Vec<_> =
            clashes(&manifests).into_iter().filter(|clash| clash.kind == ClashKind::Overlap).collect();
        let refused: BTreeSet<usize> = overlaps.iter().map(|clash| clash.at).collect();
        self.overlaps = overlaps.into_iter().map(|clash| clash.problem).collect();
        let found = paths.into_iter().zip(manifests).enumerate();
        found.filter(|(at, _)| !refused.contains(at)).map(|(_, found)| found).collect()
    }
}
