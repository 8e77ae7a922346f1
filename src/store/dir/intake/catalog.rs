//! Which file has which objects, valid or not.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::api::manifest::{ObjectRef, Problem};

/// What tells one content of a file from another without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Print {
    inode: (u64, u64),
    size: u64,
    times: [(i64, i64); 2],
}

impl Print {
    /// The print of a file as it is now; `None` if it is not there.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let meta = fs::metadata(path).ok()?;
        Some(Self {
            inode: (meta.dev(), meta.ino()),
            size: meta.size(),
            times: [(meta.mtime(), meta.mtime_nsec()), (meta.ctime(), meta.ctime_nsec())],
        })
    }
}

/// A file as it was read last.
#[derive(Debug, Default)]
pub(super) struct Entry {
    /// What it looked like just before it was read.
    pub(super) print: Option<Print>,
    /// Its objects, valid or not.
    pub(super) objects: BTreeSet<ObjectRef>,
    /// What is wrong in it.
    pub(super) problems: Vec<Problem>,
}

impl Entry {
    /// Whether nobody knows which objects it has.
    fn is_opaque(&self) -> bool {
        self.problems.iter().any(|problem| problem.unreadable || problem.object.is_none())
    }
}

/// Every file that was read.
#[derive(Debug, Default)]
pub(super) struct Catalog {
    files: BTreeMap<PathBuf, Entry>,
    owners: BTreeMap<ObjectRef, BTreeSet<PathBuf>>,
    /// Folders that could not be looked into, and what is wrong with each.
    folders: Vec<(PathBuf, Problem)>,
}

impl Catalog {
    /// Notes what a file has now; returns the objects that it had and has no longer.
    pub(super) fn set(&mut self, path: &Path, entry: Option<Entry>) -> Vec<ObjectRef> {
        let before = self.files.remove(path).unwrap_or_default();
        for object in &before.objects {
            if let Some(owners) = self.owners.get_mut(object) {
                owners.remove(path);
                if owners.is_empty() {
                    self.owners.remove(object);
                }
            }
        }
        let Some(entry) = entry else { return before.objects.into_iter().collect() };
        for object in &entry.objects {
            self.owners.entry(object.clone()).or_default().insert(path.to_owned());
        }
        let gone = before.objects.into_iter().filter(|object| !entry.objects.contains(object)).collect();
        self.files.insert(path.to_owned(), entry);
        gone
    }

    /// Notes which folders could not be looked into.
    pub(super) fn set_folders(&mut self, problems: Vec<Problem>) {
        self.folders = problems.into_iter().map(|problem| (PathBuf::from(&problem.file), problem)).collect();
    }

    /// A file as it was read last.
    pub(super) fn file(&self, path: &Path) -> Option<&Entry> {
        self.files.get(path)
    }

    /// Adds to what is wrong in a file.
    pub(super) fn refuse(&mut self, path: &Path, problem: Problem) {
        if let Some(entry) = self.files.get_mut(path) {
            entry.problems.push(problem);
        }
    }

    /// The files that were read.
    pub(super) fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        self.files.keys()
    }

    /// The files that have an object, valid there or not.
    pub(super) fn owners(&self, object: &ObjectRef) -> impl Iterator<Item = &PathBuf> {
        self.owners.get(object).into_iter().flatten()
    }

    /// Whether the object may be in that file though nobody sees it: the file, or a folder above it, is not readable.
    pub(super) fn hides(&self, path: &Path) -> bool {
        self.files.get(path).is_some_and(Entry::is_opaque)
            || self.folders.iter().any(|(folder, _)| path.starts_with(folder))
    }

    /// Everything that is wrong.
    pub(super) fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.folders.iter().map(|(_, problem)| problem).chain(self.files.values().flat_map(|entry| &entry.problems))
    }
}
