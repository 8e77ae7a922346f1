//! Where the store keeps its state, and whether it can be kept there at all.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::name;
use crate::api::kind::Kind;
use crate::store::StoreError;

/// The layout of the state folder that this version writes.
const FORMAT: u32 = 1;
/// The folder of drafts: files that a writer links to their place when they are durable.
const DRAFTS: &str = "drafts";
/// How old a draft must be to be taken for one that a killed process left.
const DRAFT_AGE: Duration = Duration::from_secs(3600);
/// The state folder within the directory of manifests, if no other is given.
const DEFAULT_STATE: &str = ".vipkeeper";

/// The file systems whose files other machines share (`f_type` of statfs(2)): there inotify does not tell of others'
/// changes, and link(2) may succeed and say that it failed.
const NETWORK: &[(i64, &str)] = &[
    (0x6969, "NFS"),
    (0xFF53_4D42, "CIFS"),
    (0xFE53_4D42, "SMB2"),
    (0x517B, "SMB"),
    (0x00C3_6400, "Ceph"),
    (0x5346_414F, "AFS"),
    (0x6B41_4653, "AFS"),
    (0x0102_1997, "9p"),
    (0x7375_7245, "Coda"),
    (0x0BD0_0BD0, "Lustre"),
    (0x0116_1970, "GFS2"),
    (0x7461_636F, "OCFS2"),
    (0x4750_4653, "GPFS"),
    (0x6573_5546, "FUSE"),
];

/// The directory of manifests and the state folder.
#[derive(Debug)]
pub(super) struct Place {
    manifests: PathBuf,
    state: PathBuf,
}

/// The file `machine`: which machine's state this is.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Machine {
    format: u32,
    /// None if the machine has no id, as a container from scratch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    machine: Option<String>,
}

impl Place {
    /// Looks at both folders; writes nothing.
    pub(super) fn open(manifests: &Path, state: Option<&Path>) -> Result<Self, StoreError> {
        let manifests = fs::canonicalize(manifests)
            .map_err(|error| StoreError::Unusable(format!("dir:{}: {error}", manifests.display())))?;
        if !manifests.is_dir() {
            return Err(StoreError::Unusable(format!("dir:{}: not a directory", manifests.display())));
        }
        let state = match state {
            Some(state) => std::path::absolute(state).map_err(|error| fault("find", state, &error))?,
            None => manifests.join(DEFAULT_STATE),
        };
        let place = Self { manifests, state };
        place.refuse_among_manifests()?;
        refuse_network(&place.manifests)?;
        let nearest = place.state.ancestors().find(|folder| folder.exists()).unwrap_or(&place.manifests);
        refuse_network(nearest)?;
        place.check_machine(machine_mark())?;
        Ok(place)
    }

    /// The user's manifests.
    pub(super) fn manifests(&self) -> &Path {
        &self.manifests
    }

    /// The state folder.
    pub(super) fn state(&self) -> &Path {
        &self.state
    }

    /// The folder of a kind.
    pub(super) fn folder(&self, kind: Kind) -> PathBuf {
        self.state.join(name::folder(kind))
    }

    /// A draft of this name.
    pub(super) fn draft(&self, name: &str) -> PathBuf {
        self.state.join(DRAFTS).join(name)
    }

    /// The folder of the events of a kind's objects.
    pub(super) fn events(&self, kind: Kind) -> PathBuf {
        self.state.join("events").join(name::folder(kind))
    }

    /// Makes the folders, so that everything after is a write of a file, and marks them as this machine's.
    pub(super) fn prepare(&self) -> Result<(), StoreError> {
        let make = |path: &Path, mode: u32| {
            fs::DirBuilder::new().recursive(true).mode(mode).create(path).map_err(|error| fault("make", path, &error))
        };
        make(&self.state, 0o755)?;
        make(&self.state.join(DRAFTS), 0o700)?;
        for kind in Kind::ALL {
            make(&self.folder(kind), if kind == Kind::Secret { 0o700 } else { 0o755 })?;
            make(&self.events(kind), 0o755)?;
        }
        self.mark_machine()?;
        self.sweep();
        Ok(())
    }

    /// What is stored would be read as manifests.
    fn refuse_among_manifests(&self) -> Result<(), StoreError> {
        let state = fs::canonicalize(&self.state).unwrap_or_else(|_| self.state.clone());
        match state.strip_prefix(&self.manifests) {
            Ok(within) if !within.iter().any(|part| part.as_encoded_bytes().starts_with(b".")) => {
                Err(StoreError::Unusable(format!(
                    "--state-dir {} is among the manifests: choose a folder elsewhere, or one whose name begins with a \
                     dot",
                    self.state.display()
                )))
            }
            _ => Ok(()),
        }
    }

    fn check_machine(&self, ours: Option<String>) -> Result<(), StoreError> {
        let path = self.state.join("machine");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(fault("read", &path, &error)),
        };
        let found: Machine = serde_json::from_str(&text)
            .map_err(|error| StoreError::Unusable(format!("{} is damaged: {error}", path.display())))?;
        if found.format != FORMAT {
            return Err(StoreError::Unusable(format!(
                "{} has layout {}, and this vipkeeper knows layout {FORMAT}",
                self.state.display(),
                found.format
            )));
        }
        if let (Some(found), Some(ours)) = (found.machine, ours)
            && found != ours
        {
            return Err(StoreError::Unusable(format!(
                "{} is another machine's state: a directory store serves one machine. Use --state-dir for a folder of \
                 this machine's own, or remove the folder if it was copied here",
                self.state.display()
            )));
        }
        Ok(())
    }

    /// Two processes may come here at once: the file is linked, not written, and who comes second reads the first's.
    fn mark_machine(&self) -> Result<(), StoreError> {
        let path = self.state.join("machine");
        if !path.exists() {
            let draft = self.draft(&format!("machine-{}", super::fresh_id()));
            let mark = Machine { format: FORMAT, machine: machine_mark() };
            // Texts and a number always serialise.
            let text = serde_json::to_vec(&mark).unwrap_or_default();
            let written = write_new(&draft, &text, 0o644).and_then(|file| file.sync_all()).and_then(|()| {
                match fs::hard_link(&draft, &path) {
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
                    _ => Ok(()),
                }
            });
            let _ = fs::remove_file(&draft);
            written.map_err(|error| fault("write", &path, &error))?;
        }
        self.check_machine(machine_mark())
    }

    /// Removes the drafts of processes that were killed. A process that only slept finds its draft gone and writes again.
    fn sweep(&self) {
        let old = |entry: &fs::DirEntry| {
            let modified = entry.metadata().and_then(|meta| meta.modified());
            modified.is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|age| age > DRAFT_AGE))
        };
        for entry in fs::read_dir(self.state.join(DRAFTS)).into_iter().flatten().flatten().filter(old) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Writes a file that is not there yet.
pub(super) fn write_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<fs::File> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(bytes)?;
    Ok(file)
}

/// The store's error for one of the file system's.
pub(super) fn fault(verb: &str, path: &Path, error: &io::Error) -> StoreError {
    let text = format!("cannot {verb} {}: {error}", path.display());
    match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => StoreError::Forbidden(text),
        _ => StoreError::Unavailable(text),
    }
}

fn refuse_network(folder: &Path) -> Result<(), StoreError> {
    let stat = rustix::fs::statfs(folder)
        .map_err(|errno| fault("look at the file system of", folder, &io::Error::from(errno)))?;
    #[expect(clippy::useless_conversion, reason = "the type of f_type differs between architectures")]
    match network_name(stat.f_type.into()) {
        None => Ok(()),
        Some(name) => Err(StoreError::Unusable(format!(
            "{} is on a network file system ({name}): a directory store needs a local one, for the directory and for \
             --state-dir",
            folder.display()
        ))),
    }
}

/// The name of a file system that other machines may share.
fn network_name(f_type: i64) -> Option<&'static str> {
    // Magic numbers are 32 bits wide; where f_type is signed, some of them come out negative.
    NETWORK.iter().find(|(magic, _)| *magic == f_type & 0xFFFF_FFFF).map(|(_, name)| *name)
}

/// A text that is this machine's and does not give its id away (machine-id(5) asks for that); `None` if it has no id.
fn machine_mark() -> Option<String> {
    let id = ["/etc/machine-id", "/var/lib/dbus/machine-id"].iter().find_map(|path| fs::read_to_string(path).ok())?;
    let id = Some(id.trim()).filter(|id| !id.is_empty() && *id != "uninitialized")?;
    let mut hash = Sha256::new();
    hash.update(b"vipkeeper directory store");
    hash.update(id.as_bytes());
    Some(super::hex(&hash.finalize()[..16]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_systems_that_machines_share_are_known_by_their_magic_signed_or_not() {
        assert_eq!(network_name(0x6969), Some("NFS"));
        assert_eq!(network_name(i64::from(0xFF53_4D42_u32.cast_signed())), Some("CIFS"));
        assert_eq!(network_name(0xEF53), None, "ext4");
        assert_eq!(network_name(0x0102_1994), None, "tmpfs");
    }

    #[test]
    fn the_state_of_another_machine_is_refused_and_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::open(folder.path(), None).unwrap();
        place.prepare().unwrap();
        Place::open(folder.path(), None).unwrap();
        let is = |text: &str| fs::write(place.state().join("machine"), text).unwrap();
        is(r#"{"format":1,"machine":"0123"}"#);
        place.check_machine(Some("0123".to_owned())).unwrap();
        place.check_machine(None).unwrap();
        let error = place.check_machine(Some("4567".to_owned())).unwrap_err().to_string();
        assert!(error.contains("another machine's state") && error.contains("--state-dir"), "{error}");
        is(r#"{"format":7}"#);
        let error = Place::open(folder.path(), None).unwrap_err().to_string();
        assert!(error.contains("layout 7"), "{error}");
    }

    #[test]
    fn a_state_folder_among_the_manifests_is_refused_unless_it_is_hidden() {
        let folder = tempfile::tempdir().unwrap();
        let open = |state: &str| Place::open(folder.path(), Some(&folder.path().join(state)));
        assert!(open("state").unwrap_err().to_string().contains("among the manifests"));
        assert!(open("").is_err());
        open(".state").unwrap();
        open(".state/inner").unwrap();
        Place::open(folder.path(), Some(&folder.path().with_extension("state"))).unwrap();
    }

    #[test]
    fn looking_at_a_place_writes_nothing_there() {
        let folder = tempfile::tempdir().unwrap();
        Place::open(folder.path(), None).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        assert!(Place::open(&folder.path().join("missing"), None).is_err());
    }
}
