//! The manifests of a directory: every `.yaml`, `.yml` and `.json` file below it.
//!
//! Hidden names are not looked at, which leaves out editors' swap and lock files (`.web.yaml.swp`, `.#web.yaml`), the
//! inner folders of a mounted ConfigMap (`..data`) and our own state. Symbolic links are followed, but never round. What
//! cannot be read is a [`Problem`] of its own and stops nothing else.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::api::manifest::{self, MAX_FILE, Problem, Reading};

/// The deepest folder below the one that was asked for.
const MAX_DEPTH: usize = 16;
/// The most files of one directory.
const MAX_FILES: usize = 100_000;

/// What a walk has found.
#[derive(Debug, Clone, Default)]
pub struct Walk {
    /// The manifests' files, in the order of their paths.
    pub files: Vec<PathBuf>,
    /// The folders, the first one included: where changes are to be watched.
    pub folders: Vec<PathBuf>,
    /// What could not be looked into.
    pub problems: Vec<Problem>,
}

/// Whether a file of this name is read as a manifest.
#[must_use]
pub fn is_manifest(path: &Path) -> bool {
    !is_hidden(path)
        && path.extension().is_some_and(|extension| {
            ["yaml", "yml", "json"].iter().any(|known| extension.as_bytes().eq_ignore_ascii_case(known.as_bytes()))
        })
}

/// Whether a name is not looked at.
#[must_use]
pub fn is_hidden(path: &Path) -> bool {
    path.file_name().is_none_or(|name| name.as_bytes().starts_with(b"."))
}

/// Finds the manifests below a folder, without reading them.
#[must_use]
pub fn walk(folder: &Path) -> Walk {
    let mut walk = Walk::default();
    match fs::metadata(folder) {
        Ok(metadata) => walk.enter(folder, &metadata, &mut Vec::new()),
        Err(error) => walk.problems.push(unreadable(folder, &error)),
    }
    walk.files.sort();
    walk.folders.sort();
    walk
}

/// Reads every manifest below a folder. The paths of its files begin with the folder's.
#[must_use]
pub fn read_folder(folder: &Path) -> Reading {
    let walk = walk(folder);
    let mut reading = Reading { problems: walk.problems, ..Reading::default() };
    for file in &walk.files {
        reading.extend(read_file(file));
    }
    reading
}

/// Reads one file, whatever its name.
#[must_use]
pub fn read_file(path: &Path) -> Reading {
    match content(path) {
        Ok(bytes) => manifest::read(&path.to_string_lossy(), &bytes),
        Err(error) => Reading { problems: vec![unreadable(path, &error)], ..Reading::default() },
    }
}

/// The content of a regular file, at most one byte more than a manifest may have.
fn content(path: &Path) -> io::Result<Vec<u8>> {
    // A pipe would keep us waiting for a writer.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    read_limited(file)
}

fn read_limited(file: File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(MAX_FILE as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn unreadable(path: &Path, error: &io::Error) -> Problem {
    Problem::unreadable(path.to_string_lossy(), format!("cannot be read: {error}"))
}

impl Walk {
    /// Looks into a folder. `above` identifies the folders that lead to it, by device and inode.
    fn enter(&mut self, folder: &Path, metadata: &Metadata, above: &mut Vec<(u64, u64)>) {
        let id = (metadata.dev(), metadata.ino());
        if above.contains(&id) {
            self.problems
                .push(Problem::of_file(folder.to_string_lossy(), "leads back to a folder above it: remove the link"));
            return;
        }
        if above.len() > MAX_DEPTH {
            let message = format!("is more than {MAX_DEPTH} folders deep");
            self.problems.push(Problem::of_file(folder.to_string_lossy(), message));
            return;
        }
        above.push(id);
        self.folders.push(folder.to_owned());
        match fs::read_dir(folder) {
            Ok(entries) => entries.for_each(|entry| match entry {
                Ok(entry) => self.take(&entry.path(), above),
                Err(error) => self.problems.push(unreadable(folder, &error)),
            }),
            Err(error) => self.problems.push(unreadable(folder, &error)),
        }
        above.pop();
    }

    fn take(&mut self, path: &Path, above: &mut Vec<(u64, u64)>) {
        if is_hidden(path) {
            return;
        }
        let metadata = match fs::metadata(path) {
            Ok(metadata) => metadata,
            // It went while we looked; or a link that leads nowhere, which only matters if it stands for a manifest.
            Err(error) => {
                let gone = error.kind() == io::ErrorKind::NotFound && fs::symlink_metadata(path).is_err();
                if is_manifest(path) && !gone {
                    self.problems.push(unreadable(path, &error));
                }
                return;
            }
        };
        if metadata.is_dir() {
            self.enter(path, &metadata, above);
        } else if is_manifest(path) {
            if self.files.len() == MAX_FILES {
                let message = format!("is one of more than {MAX_FILES} files: the rest is not read");
                self.problems.push(Problem::of_file(path.to_string_lossy(), message));
            }
            if self.files.len() <= MAX_FILES {
                self.files.push(path.to_owned());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    const POOL: &str = "apiVersion: vipkeeper.dev/v1alpha1\nkind: AddressPool\nmetadata: {name: public}\n\
                        spec: {ranges: [198.51.100.0/24]}\n";

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
            fs::write(path, text).expect("a file");
        }
        folder
    }

    fn names(folder: &Path, paths: &[PathBuf]) -> Vec<String> {
        paths.iter().map(|path| path.strip_prefix(folder).unwrap_or(path).display().to_string()).collect()
    }

    #[test]
    fn manifests_are_found_and_what_editors_leave_is_not() {
        let folder = folder(&[
            ("b.yaml", POOL),
            ("a/c.yml", POOL),
            ("a/d.JSON", POOL),
            (".b.yaml.swp", "x"),
            ("b.yaml~", "x"),
            ("#b.yaml#", "x"),
            (".#b.yaml", "x"),
            ("b.yaml.orig", "x"),
            ("4913", "x"),
            ("README.md", "x"),
            (".vipkeeper/nodes/a.yaml", "x"),
            ("..data/b.yaml", "x"),
        ]);
        let walk = walk(folder.path());
        assert_eq!(names(folder.path(), &walk.files), ["a/c.yml", "a/d.JSON", "b.yaml"]);
        assert_eq!(names(folder.path(), &walk.folders), ["", "a"]);
        assert_eq!(walk.problems, []);
    }

    #[test]
    fn links_are_followed_but_not_round() {
        let folder = folder(&[("a/x.yaml", POOL)]);
        symlink("../a", folder.path().join("a/again")).expect("a link");
        symlink("a/x.yaml", folder.path().join("y.yaml")).expect("a link");
        symlink("self.yaml", folder.path().join("self.yaml")).expect("a link");
        symlink("nowhere", folder.path().join("lost.yaml")).expect("a link");
        symlink("nowhere", folder.path().join("lost")).expect("a link");
        let walk = walk(folder.path());
        assert_eq!(names(folder.path(), &walk.files), ["a/x.yaml", "y.yaml"]);
        let mut at: Vec<_> = walk.problems.iter().map(|problem| PathBuf::from(&problem.file)).collect();
        at.sort();
        assert_eq!(names(folder.path(), &at), ["a/again", "lost.yaml", "self.yaml"]);
    }

    #[test]
    fn what_cannot_be_read_stops_nothing() {
        let folder = folder(&[("a.yaml", POOL), ("locked/b.yaml", POOL), ("z.yaml", "a: [")]);
        let pipe = folder.path().join("pipe.yaml");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0)
            .expect("a pipe");
        fs::set_permissions(folder.path().join("locked"), fs::Permissions::from_mode(0o0)).expect("permissions");
        let reading = read_folder(folder.path());
        assert!(reading.manifests.iter().any(|manifest| manifest.file.ends_with("/a.yaml")));
        assert!(
            reading.problems.iter().any(|p| p.file.ends_with("pipe.yaml") && p.unreadable),
            "{:?}",
            reading.problems
        );
        assert!(reading.problems.iter().any(|p| p.file.ends_with("z.yaml") && p.line.is_some()));
        fs::set_permissions(folder.path().join("locked"), fs::Permissions::from_mode(0o755)).expect("permissions");
        let missing = read_folder(&folder.path().join("missing"));
        assert!(missing.problems.iter().all(|p| p.unreadable) && missing.problems.len() == 1);
    }
}
