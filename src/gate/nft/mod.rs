//! The gate as nftables rules, where BPF is not allowed: each segment has an element with a timeout, which a packet with
//! the segment's mark refreshes on its way out.
//!
//! The timeout is relative: a process that is stopped between its check and its send may refresh it once more when it
//! wakes, so two nodes may claim an address for at most that timeout. It is never refreshed by a transaction, for those
//! wait behind others' (kube-proxy's take up to 0.4 s).
//!
//! Where the kernel can (6.9), nobody but this process changes the table, and it stays after the process has ended, for
//! the next one. Elsewhere what others change (`nft flush ruleset`) is put back as soon as the kernel tells of it.

mod alive;
mod former;
mod keeping;
mod message;
mod rules;
pub(super) mod trace;
mod watch;
mod whole;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::time::Duration;

use self::alive::{Alive, Step};
use self::former::Former;
pub use self::keeping::Ownership;
use self::message::{Attributes, Batch, Socket, Verb};
use self::rules::TABLE;
use self::watch::Watch;
use super::{Entry, GateError};
use crate::clock;
use crate::core::time::Time;

/// The abstract name (unix(7)) that one process of a network namespace can have.
const LOCK: &str = "vipkeeper-gate-nft";

/// The gate of a network namespace.
#[derive(Debug)]
pub struct Nft {
    socket: Socket,
    _lock: UnixListener,
    /// How long an element lives after a marked packet.
    timeout: Duration,
    entries: BTreeMap<IpAddr, Entry>,
    /// The segments that have chains.
    segments: BTreeSet<u16>,
    links: BTreeSet<u32>,
    /// What keeps each segment open.
    alive: BTreeMap<u16, Alive>,
    /// Tells what others change; `None` where they cannot.
    watch: Option<Watch>,
    /// The table may not be as it should be.
    stale: bool,
    /// How often it was put back because others had changed it, since that was asked last.
    restored: u64,
}

impl Nft {
    /// Opens the gate of the calling thread's network namespace. What a former process left stays in force, links
    /// included; a segment's addresses pass for `timeout` (whole milliseconds) after each packet with its mark. Of a table
    /// of another form or timeout the addresses and links are kept, and nothing passes before the first such packet.
    ///
    /// # Errors
    /// [`GateError`]: another agent has it, or the kernel's reason.
    pub fn open(timeout: Duration, ownership: Ownership) -> Result<Self, GateError> {
        let lock =
            SocketAddr::from_abstract_name(LOCK).and_then(|name| UnixListener::bind_addr(&name)).map_err(|error| {
                match error.kind() {
                    io::ErrorKind::AddrInUse => GateError::Locked(format!("@{LOCK}").into()),
                    _ => GateError::kernel("take the lock of the gate")(error),
                }
            })?;
        let socket = Socket::open().map_err(GateError::kernel("open a netlink socket"))?;
        // Before the table is looked at, so that nothing is missed.
        let watch = Watch::open(&socket).map_err(GateError::kernel("watch over nf_tables"))?;
        let (now, former) = keeping::former(&socket, timeout)?;
        let settled = keeping::settle(&socket, &former, (timeout, now), ownership);
        let (owned, put) = settled.map_err(GateError::kernel("make the table"))?;
        let mut gate = Self {
            socket,
            _lock: lock,
            timeout,
            segments: if former.fits { former.segments } else { whole::segments_of(&former.entries) },
            entries: former.entries,
            links: former.links.into_keys().collect(),
            alive: keeping::adopted(former.fits, &former.alive, now),
            watch: (!owned).then_some(watch),
            stale: false,
            restored: 0,
        };
        gate.all_done(put)?;
        Ok(gate)
    }

    /// Whether an agent has left a table in the calling thread's network namespace.
    ///
    /// # Errors
    /// The kernel's reason.
    pub fn is_there() -> Result<bool, GateError> {
        let socket = Socket::open().map_err(GateError::kernel("open a netlink socket"))?;
        Former::exists(&socket).map_err(GateError::kernel("look for the table of a former process"))
    }

    /// The mark (`SO_MARK`, socket(7)) of packets that keep a segment's addresses passing, from whichever link of
    /// [`Self::links`] they leave.
    #[must_use]
    pub const fn mark(segment: u16) -> u32 {
        rules::MARK | segment as u32
    }

    /// Puts the gate on a link; once is enough, twice is no error.
    ///
    /// # Errors
    /// The kernel's reason, such as that the link is gone.
    pub fn attach(&mut self, link: u32) -> Result<(), GateError> {
        if self.links.contains(&link) {
            return Ok(());
        }
        let what = "put the gate on a link";
        let device = self.socket.name_of(link).map_err(GateError::kernel(what))?;
        self.commit(what, &whole::attach(Batch::new(), link, &device))?;
        self.links.insert(link);
        Ok(())
    }

    /// Takes the gate off a link, or forgets a link that is gone.
    ///
    /// # Errors
    /// The kernel's reason.
    pub fn detach(&mut self, link: u32) -> Result<(), GateError> {
        if !self.links.remove(&link) {
            return Ok(());
        }
        let chains = [true, false].map(|ingress| rules::base_name(link, ingress));
        let batch = chains.iter().fold(Batch::new(), |batch, name| {
            batch.change(Verb::DelChain, &Attributes::default().text(1, TABLE).text(3, name))
        });
        match self.socket.commit(&batch) {
            // The chains went with their link.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result.map_err(GateError::kernel("take the gate off a link")),
        }
    }

    /// The links that the gate is on.
    #[must_use]
    pub const fn links(&self) -> &BTreeSet<u32> {
        &self.links
    }

    /// Says what becomes of an address from now on.
    ///
    /// # Errors
    /// [`GateError::Segment`]; the kernel's reason.
    pub fn set(&mut self, ip: IpAddr, entry: Entry) -> Result<(), GateError> {
        self.set_all(&[(ip, entry)])
    }

    /// Says what becomes of addresses from now on, of all or of none.
    ///
    /// # Errors
    /// [`GateError::Segment`]; the kernel's reason.
    pub fn set_all(&mut self, entries: &[(IpAddr, Entry)]) -> Result<(), GateError> {
        if let Some((_, entry)) = entries.iter().find(|(_, entry)| !super::SEGMENTS.contains(&entry.segment)) {
            return Err(GateError::Segment(entry.segment));
        }
        // Of one that is given twice the last counts.
        let mut wanted: BTreeMap<IpAddr, Entry> = entries.iter().copied().collect();
        wanted.retain(|ip, entry| self.entries.get(ip) != Some(entry));
        if wanted.is_empty() {
            return Ok(());
        }
        let mut segments = whole::segments_of(&wanted);
        segments.retain(|segment| !self.segments.contains(segment));
        let mut batch = segments.iter().copied().fold(Batch::new(), rules::segment);
        for (ip, entry) in &wanted {
            // The kernel keeps what an element has: a change takes it away and puts it back, in one transaction.
            batch = whole::add(whole::remove(batch, *ip, self.entries.get(ip).copied()), *ip, *entry);
        }
        self.commit("set addresses", &batch)?;
        self.segments.append(&mut segments);
        self.entries.append(&mut wanted);
        Ok(())
    }

    /// Lets an address pass as if there were no gate.
    ///
    /// # Errors
    /// The kernel's reason.
    pub fn remove(&mut self, ip: IpAddr) -> Result<(), GateError> {
        if let Some(before) = self.entries.get(&ip).copied() {
            self.commit("remove an address", &whole::remove(Batch::new(), ip, Some(before)))?;
            self.entries.remove(&ip);
        }
        Ok(())
    }

    /// All addresses that something is said of.
    #[must_use]
    pub const fn entries(&self) -> &BTreeMap<IpAddr, Entry> {
        &self.entries
    }

    /// Lets the segment's addresses pass until `deadline` as far as packets are marked, by [`Self::mark_now`]; without
    /// one without end and without packets.
    ///
    /// # Errors
    /// The kernel's reason; then the deadline is as it was.
    pub fn extend(&mut self, segment: u16, deadline: Option<Time>) -> Result<(), GateError> {
        let (now, timeout) = (clock::now(), self.timeout);
        let mut alive = self.alive.get(&segment).copied().unwrap_or(Alive::NONE);
        let step = alive.set(deadline, now, timeout);
        self.carry_out(segment, alive, step)
    }

    /// Keeps the segment open until its deadline without any packet: for the next process, before this one ends.
    ///
    /// # Errors
    /// The kernel's reason.
    pub fn leave(&mut self, segment: u16) -> Result<(), GateError> {
        let Some(mut alive) = self.alive.get(&segment).copied() else { return Ok(()) };
        let step = alive.leave(clock::now());
        self.carry_out(segment, alive, step)
    }

    /// Until when the segment's addresses may pass; `None` without end.
    #[must_use]
    pub fn deadline(&self, segment: u16) -> Option<Time> {
        self.alive.get(&segment).unwrap_or(&Alive::NONE).deadline()
    }

    /// The mark of a packet that is sent at once: 0 if it must not keep the segment open.
    #[must_use]
    pub fn mark_now(&mut self, segment: u16) -> u32 {
        let (now, timeout) = (clock::now(), self.timeout);
        let marked = self.alive.get_mut(&segment).is_some_and(|alive| alive.mark(now, timeout));
        if marked { Self::mark(segment) } else { 0 }
    }

    fn carry_out(&mut self, segment: u16, alive: Alive, step: Step) -> Result<(), GateError> {
        self.put(segment, step)?;
        self.done(segment, alive, step)
    }

    /// A step has been done to the segment's element, of which this is known.
    fn done(&mut self, segment: u16, mut alive: Alive, step: Step) -> Result<(), GateError> {
        if alive.done(step, clock::now(), self.timeout) {
            // This process did not run meanwhile: what it put there counts from too late an instant.
            self.put(segment, Step::Shut)?;
            alive.done(Step::Shut, clock::now(), self.timeout);
        }
        self.alive.insert(segment, alive);
        Ok(())
    }

    /// Does a step to the segment's element. One that is there keeps its timeout, so it is taken away first; for that it
    /// must be there.
    fn put(&mut self, segment: u16, step: Step) -> Result<(), GateError> {
        let element = whole::alive(segment, None);
        let gone = Batch::new().change(Verb::NewElements, &element).change(Verb::DelElements, &element);
        let batch = match step {
            Step::Nothing => return Ok(()),
            Step::Shut => gone,
            Step::Forever => gone.change(Verb::NewElements, &element),
            Step::For(left) => gone.change(Verb::NewElements, &whole::alive(segment, Some(left))),
        };
        self.commit("keep a segment's time", &batch)
    }

    /// Removes the table: every address passes then.
    ///
    /// # Errors
    /// The kernel's reason.
    pub fn dismantle(self) -> Result<(), GateError> {
        self.socket.commit(&rules::no_table(TABLE)).map_err(GateError::kernel("remove the table"))
    }
}
