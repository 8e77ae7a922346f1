//! Where the gate is kept: pins under a bpffs, one folder for each network namespace.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags, flock, statfs};

use super::{Direction, sys};
use crate::gate::GateError;

/// What statfs(2) says of a bpffs (`BPF_FS_MAGIC` of linux/magic.h).
const MAGIC: u64 = 0xcafe_4a11;

/// The form of maps and pins; another form stands beside this one, in a folder of its own.
const VERSION: &str = "v1";

/// Whether a bpffs is mounted there; the folder itself may be a plain one of sysfs.
pub(super) fn is_bpffs(path: &Path) -> bool {
    statfs(path).is_ok_and(|info| u64::try_from(info.f_type).is_ok_and(|kind| kind == MAGIC))
}

/// Where the pins of a network namespace are.
pub(super) fn folder(bpffs: &Path, namespace: u64) -> PathBuf {
    bpffs.join("vipkeeper").join(namespace.to_string()).join(VERSION)
}

/// The inode of the calling thread's network namespace; a thread may be in another one than its process.
pub(super) fn namespace() -> Result<u64, GateError> {
    let found = fs::metadata("/proc/thread-self/ns/net").map_err(GateError::kernel("find the network namespace"))?;
    Ok(found.ino())
}

pub(super) fn lock(folder: &Path) -> Result<OwnedFd, GateError> {
    let opened = rustix::fs::open(folder, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|error| GateError::kernel("open the folder of pins")(error.into()))?;
    flock(&opened, FlockOperation::NonBlockingLockExclusive).map_err(|error| match error {
        rustix::io::Errno::WOULDBLOCK => GateError::Locked(folder.to_owned()),
        error => GateError::kernel("lock the folder of pins")(error.into()),
    })?;
    Ok(opened)
}

pub(super) fn pin_path(folder: &Path, link: u32, direction: Direction) -> PathBuf {
    let name = match direction {
        Direction::Ingress => "ingress",
        Direction::Egress => "egress",
    };
    folder.join(format!("{name}-{link}"))
}

/// The programs that are attached to links and pinned here; pins of links that are gone are removed.
pub(super) fn pinned_links(folder: &Path) -> Result<BTreeMap<(u32, Direction), OwnedFd>, GateError> {
    let mut found = BTreeMap::new();
    for name in names(folder)? {
        let Some((direction, link)) = name.split_once('-') else { continue };
        let direction = match direction {
            "ingress" => Direction::Ingress,
            "egress" => Direction::Egress,
            _ => continue,
        };
        let path = folder.join(&name);
        let attached = sys::open(&path).map_err(GateError::kernel("open a pinned program"))?;
        let alive = sys::attached_to(&attached).map_err(GateError::kernel("read a pinned program"))?;
        if alive != 0 && link.parse() == Ok(alive) {
            found.insert((alive, direction), attached);
        } else {
            remove_file(&path)?;
        }
    }
    Ok(found)
}

/// The map that is pinned here, if it has this shape, or a new one in its place.
pub(super) fn pinned_map(path: &Path, shape: sys::Shape, label: &str) -> Result<OwnedFd, GateError> {
    match sys::open(path) {
        Ok(map) if sys::shape(&map).map_err(GateError::kernel("read a pinned map"))? == shape => return Ok(map),
        Ok(_) => return Err(GateError::Foreign(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(GateError::kernel("open a pinned map")(error)),
    }
    let map = sys::create_map(shape, label).map_err(GateError::kernel("make a map"))?;
    sys::pin(&map, path).map_err(GateError::kernel("pin a map"))?;
    Ok(map)
}

pub(super) fn names(folder: &Path) -> Result<Vec<String>, GateError> {
    let list = fs::read_dir(folder).and_then(|entries| {
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect::<io::Result<Vec<_>>>()
    });
    list.map_err(GateError::kernel("list the pins"))
}

pub(super) fn remove_pins(folder: &Path) -> Result<(), GateError> {
    // Programs before maps: an attached program without its pin is off its link.
    let mut names = names(folder)?;
    names.sort_by_key(|name| !name.contains('-'));
    names.iter().try_for_each(|name| remove_file(&folder.join(name)))
}

/// Removes the pins and the folders that are empty then.
pub(super) fn remove_all(folder: &Path) -> Result<(), GateError> {
    remove_pins(folder)?;
    // Those of the form, of the namespace and of all.
    for folder in folder.ancestors().take(3) {
        match fs::remove_dir(folder) {
            Err(error) if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty) => {
                return Err(GateError::kernel("remove the folder of pins")(error));
            }
            _ => {}
        }
    }
    Ok(())
}

pub(super) fn remove_file(path: &Path) -> Result<(), GateError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(GateError::kernel("remove a pin")(error)),
        _ => Ok(()),
    }
}
