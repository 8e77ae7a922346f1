//! The gate as two BPF programs at tcx of every link (kernel 6.6 and newer), kept under a bpffs.

mod asm;
mod pins;
mod program;
mod sys;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use self::pins::{
    folder, is_bpffs, lock, names, namespace, pin_path, pinned_links, pinned_map, remove_all, remove_file, remove_pins,
};
pub use self::program::Direction;
use super::{Entry, GateError, State};
use crate::core::time::Time;

/// Entries of the map of addresses, at most.
const ADDRESSES: u32 = 1 << 16;

/// Words of the shared value: the deadlines by number, and in place 0 whether any address is hard.
const WORDS: usize = program::LAST_SEGMENT as usize + 1;

/// The deadlines of the segments, in memory that the kernel reads: a store is all it takes to extend or to shut. Clones
/// are the same memory; it outlives the process.
#[derive(Debug, Clone)]
pub struct Deadlines(Arc<sys::Shared>);

impl Deadlines {
    /// Lets the segment's addresses pass until `deadline`, on `CLOCK_BOOTTIME`; `None` without end. A number that is not
    /// in [`super::SEGMENTS`] changes nothing.
    pub fn set(&self, segment: u16, deadline: Option<Time>) {
        let nanos = deadline.map_or(u64::MAX, |at| u64::try_from(at.0.as_nanos()).unwrap_or(u64::MAX - 1));
        if let Some(word) = self.word(segment) {
            word.store(nanos, Ordering::SeqCst);
        }
    }

    /// Until when the segment's addresses pass; `None` without end.
    #[must_use]
    pub fn get(&self, segment: u16) -> Option<Time> {
        let nanos = self.word(segment).map_or(0, |word| word.load(Ordering::SeqCst));
        (nanos != u64::MAX).then(|| Time(Duration::from_nanos(nanos)))
    }

    fn word(&self, segment: u16) -> Option<&std::sync::atomic::AtomicU64> {
        self.0.words().get(usize::from(segment)).filter(|_| super::SEGMENTS.contains(&segment))
    }
}

/// The gate of a network namespace.
#[derive(Debug)]
pub struct Bpf {
    folder: PathBuf,
    /// The inode of the network namespace.
    namespace: u64,
    /// The folder itself, locked while this process lives.
    _lock: OwnedFd,
    addresses: OwnedFd,
    deadlines: Deadlines,
    ingress: OwnedFd,
    egress: OwnedFd,
    links: BTreeSet<u32>,
    hard: BTreeSet<IpAddr>,
}

impl Bpf {
    /// Opens the gate of the calling thread's network namespace, as a former process left it under `bpffs`, or makes it.
    ///
    /// # Errors
    /// [`GateError`]: no bpffs there, another agent has it, or the kernel's reason.
    pub fn open(bpffs: &Path) -> Result<Self, GateError> {
        if !is_bpffs(bpffs) {
            return Err(GateError::NoBpffs(bpffs.to_owned()));
        }
        let namespace = namespace()?;
        let folder = folder(bpffs, namespace);
        fs::create_dir_all(&folder).map_err(GateError::kernel("make the folder of pins"))?;
        let lock = lock(&folder)?;
        let pinned = pinned_links(&folder)?;
        if pinned.is_empty() {
            // Nothing of what may lie here is in force any more; the namespace may even be another one.
            remove_pins(&folder)?;
        }
        let addresses = pinned_map(&folder.join("addresses"), sys::hash(16, 4, ADDRESSES), "vipkeeper_vips")?;
        let value = u32::try_from(WORDS * 8).expect("a page");
        let shared = pinned_map(&folder.join("deadlines"), sys::shared(value), "vipkeeper_dead")?;
        let load = |direction, name| {
            let code = program::program(direction, sys::raw(&addresses), sys::raw(&shared));
            sys::load(&code, name).map_err(GateError::kernel("load a program"))
        };
        let (ingress, egress) = (load(Direction::Ingress, "vipkeeper_in")?, load(Direction::Egress, "vipkeeper_out")?);
        let words = sys::Shared::map(&shared, WORDS).map_err(GateError::kernel("map the deadlines into memory"))?;
        let mut gate = Self {
            folder,
            namespace,
            _lock: lock,
            addresses,
            deadlines: Deadlines(Arc::new(words)),
            ingress,
            egress,
            links: BTreeSet::new(),
            hard: BTreeSet::new(),
        };
        for ((link, direction), attached) in &pinned {
            sys::replace(attached, gate.program(*direction)).map_err(GateError::kernel("replace a program"))?;
            let both =
                pinned.contains_key(&(*link, Direction::Ingress)) && pinned.contains_key(&(*link, Direction::Egress));
            if both {
                gate.links.insert(*link);
            }
        }
        gate.hard = gate.entries()?.into_iter().filter(|(_, entry)| entry.hard).map(|(ip, _)| ip).collect();
        gate.tell_hard();
        Ok(gate)
    }

    const fn program(&self, direction: Direction) -> &OwnedFd {
        match direction {
            Direction::Ingress => &self.ingress,
            Direction::Egress => &self.egress,
        }
    }

    /// Puts the gate on a link, before all programs that are there; once is enough, twice is no error.
    ///
    /// # Errors
    /// [`GateError::Namespace`]; the kernel's reason, such as that the link is gone.
    pub fn attach(&mut self, link: u32) -> Result<(), GateError> {
        if self.links.contains(&link) {
            return Ok(());
        }
        if namespace()? != self.namespace {
            return Err(GateError::Namespace);
        }
        for direction in [Direction::Ingress, Direction::Egress] {
            let path = pin_path(&self.folder, link, direction);
            // A pin without a living link behind it, or half of a pair.
            remove_file(&path)?;
            let attached = sys::attach(self.program(direction), link, direction)
                .map_err(GateError::kernel("attach a program to a link"))?;
            sys::pin(&attached, &path).map_err(GateError::kernel("pin an attached program"))?;
        }
        self.links.insert(link);
        Ok(())
    }

    /// Takes the gate off a link, or forgets a link that is gone.
    ///
    /// # Errors
    /// The kernel's reason.
    pub fn detach(&mut self, link: u32) -> Result<(), GateError> {
        self.links.remove(&link);
        for direction in [Direction::Ingress, Direction::Egress] {
            remove_file(&pin_path(&self.folder, link, direction))?;
        }
        Ok(())
    }

    /// The links that the gate is on.
    #[must_use]
    pub const fn links(&self) -> &BTreeSet<u32> {
        &self.links
    }

    /// Says what becomes of an address from now on.
    ///
    /// # Errors
    /// [`GateError::Segment`]; the kernel's reason, such as that there are 65,536 addresses already.
    pub fn set(&mut self, ip: IpAddr, entry: Entry) -> Result<(), GateError> {
        if !super::SEGMENTS.contains(&entry.segment) {
            return Err(GateError::Segment(entry.segment));
        }
        let before = self.hard.contains(&ip);
        if entry.hard && self.hard.insert(ip) {
            self.tell_hard();
        }
        sys::update(&self.addresses, &key(ip), &value(entry)).map_err(GateError::kernel("set an address"))?;
        if before && !entry.hard {
            self.hard.remove(&ip);
            self.tell_hard();
        }
        Ok(())
    }

    /// Lets an address pass as if there were no gate.
    ///
    /// # Errors
    /// The kernel's reason.
    pub fn remove(&mut self, ip: IpAddr) -> Result<(), GateError> {
        match sys::delete(&self.addresses, &key(ip)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(GateError::kernel("remove an address")(error));
            }
            _ => {}
        }
        self.hard.remove(&ip);
        self.tell_hard();
        Ok(())
    }

    /// What is said of an address, if anything.
    ///
    /// # Errors
    /// The kernel's reason.
    pub fn get(&self, ip: IpAddr) -> Result<Option<Entry>, GateError> {
        match sys::look_up(&self.addresses, &key(ip)) {
            Ok(octets) => Ok(Some(entry(octets))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(GateError::kernel("read an address")(error)),
        }
    }

    /// All addresses that something is said of.
    ///
    /// # Errors
    /// The kernel's reason.
    pub fn entries(&self) -> Result<BTreeMap<IpAddr, Entry>, GateError> {
        let mut entries = BTreeMap::new();
        let mut at = None;
        while let Some(next) =
            sys::next_key(&self.addresses, at.as_ref()).map_err(GateError::kernel("list the addresses"))?
        {
            let ip = Ipv6Addr::from(next).to_canonical();
            if let Some(entry) = self.get(ip)? {
                entries.insert(ip, entry);
            }
            at = Some(next);
        }
        Ok(entries)
    }

    /// The deadlines, for the thread that extends them.
    #[must_use]
    pub fn deadlines(&self) -> Deadlines {
        self.deadlines.clone()
    }

    /// Whether the gate would let a frame pass now; the frame goes nowhere.
    ///
    /// # Errors
    /// The kernel's reason, such as that the frame is shorter than an Ethernet header.
    pub fn passes(&self, direction: Direction, frame: &[u8]) -> Result<bool, GateError> {
        let verdict =
            sys::test(self.program(direction), frame).map_err(GateError::kernel("try a program on a frame"))?;
        Ok(verdict == program::NEXT)
    }

    /// Whether a former process has left something of this form for the calling thread's network namespace; `None` where
    /// there is no bpffs to look at.
    ///
    /// # Errors
    /// The kernel's reason.
    pub fn find(bpffs: &Path) -> Result<Option<bool>, GateError> {
        if !is_bpffs(bpffs) {
            return Ok(None);
        }
        let folder = folder(bpffs, namespace()?);
        Ok(Some(folder.exists() && !names(&folder)?.is_empty()))
    }

    /// Takes away what a former process left, without any right to use BPF.
    ///
    /// # Errors
    /// [`GateError::Locked`]; the kernel's reason.
    pub fn take_down(bpffs: &Path) -> Result<(), GateError> {
        let folder = folder(bpffs, namespace()?);
        let _lock = lock(&folder)?;
        remove_all(&folder)
    }

    /// Takes the gate off every link and removes its pins: every address passes then.
    ///
    /// # Errors
    /// The kernel's reason.
    pub fn dismantle(self) -> Result<(), GateError> {
        remove_all(&self.folder)
    }

    fn tell_hard(&self) {
        if let Some(word) = self.deadlines.0.words().first() {
            word.store(u64::from(!self.hard.is_empty()), Ordering::SeqCst);
        }
    }
}

/// The key of an address: IPv4 as IPv4-mapped IPv6 (RFC 4291 section 2.5.5.2).
const fn key(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

fn value(entry: Entry) -> [u8; 4] {
    let [low, high] = entry.segment.to_ne_bytes();
    let state = match entry.state {
        State::Shut => program::SHUT,
        State::Accept => program::SHUT + 1,
        State::Claim => program::CLAIM,
    };
    [low, high, state, u8::from(entry.hard)]
}

fn entry([low, high, state, hard]: [u8; 4]) -> Entry {
    let state = match state {
        program::SHUT => State::Shut,
        program::CLAIM => State::Claim,
        _ => State::Accept,
    };
    Entry { segment: u16::from_ne_bytes([low, high]), state, hard: hard != 0 }
}
