//! That the table stays as this process made it, whatever others do to nftables.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use super::alive::{Alive, Step};
use super::former::Former;
use super::message::{Batch, Socket, Verb};
use super::watch::Told;
use super::whole::{self, Whole};
use super::{Nft, rules};
use crate::clock;
use crate::core::time::Time;
use crate::gate::GateError;

/// How long a process that has just been killed may still own the table: the kernel closes its sockets one by one.
const OWNER: Duration = Duration::from_secs(1);
const AGAIN: Duration = Duration::from_millis(1);

/// Whether others are kept from changing the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ownership {
    /// Where the kernel can.
    WherePossible,
    /// As with a kernel that cannot (before 6.9).
    Never,
}

/// The table that a former process left, and an instant before it was read.
pub(super) fn former(socket: &Socket, timeout: Duration) -> Result<(Time, Former), GateError> {
    let end = clock::now() + OWNER;
    loop {
        let now = clock::now();
        let read = Former::read(socket, timeout);
        let former = read.map_err(GateError::kernel("read the table of a former process"))?;
        if !former.owned {
            return Ok((now, former));
        }
        if now >= end {
            return Err(GateError::Locked(format!("table netdev {}", rules::TABLE).into()));
        }
        std::thread::sleep(AGAIN);
    }
}

/// What is known of the segments' elements in the table as it was found.
pub(super) fn adopted(fits: bool, alive: &BTreeMap<u16, Option<Duration>>, now: Time) -> BTreeMap<u16, Alive> {
    // An element's time left is counted from before it was read: it is never taken to be there for longer.
    let adopted = |left: &Option<Duration>| Alive::adopted(left.map(|left| now + left));
    alive.iter().filter(|_| fits).map(|(segment, left)| (*segment, adopted(left))).collect()
}

/// Makes the table what it is to be, with what it says. Whether it is owned then, and what that did to the elements.
pub(super) fn settle(
    socket: &Socket,
    former: &Former,
    (timeout, now): (Duration, Time),
    ownership: Ownership,
) -> io::Result<(bool, BTreeMap<u16, Step>)> {
    let alive = adopted(former.fits, &former.alive, now);
    let alive: BTreeMap<_, _> =
        alive.into_iter().map(|(segment, alive)| (segment, alive.again(clock::now()))).collect();
    let segments = if former.fits { former.segments.clone() } else { whole::segments_of(&former.entries) };
    let anew = |owned| {
        let (links, entries) = (&former.links, &former.entries);
        Whole { timeout, owned, links, segments: &segments, entries, alive: &alive }.batch()
    };
    if ownership == Ownership::WherePossible {
        let as_it_is = former.fits && former.persists;
        let batch = if as_it_is { Batch::new().change(Verb::NewTable, &rules::own()) } else { anew(true) };
        match socket.commit(&batch) {
            Ok(()) if as_it_is => return Ok((true, BTreeMap::new())),
            Ok(()) => return Ok((true, alive)),
            // One of both flags without the other is never asked for: an owned table that does not stay opens the gate
            // when its process ends.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EINVAL)) => {}
            Err(error) => return Err(error),
        }
    }
    if former.fits {
        return Ok((false, BTreeMap::new()));
    }
    socket.commit(&anew(false))?;
    Ok((false, alive))
}

impl Nft {
    /// Tells, by being readable, that [`Self::look`] may have something to do; `None` where nobody else can change the
    /// table.
    #[must_use]
    pub fn watched(&self) -> Option<BorrowedFd<'_>> {
        self.watch.as_ref().map(|watch| std::os::fd::AsFd::as_fd(watch.socket()))
    }

    /// Puts the table back if anybody else has changed it or taken it away, and says how often that was since this was
    /// asked last.
    ///
    /// # Errors
    /// The kernel's reason; then the next look tries again.
    pub fn look(&mut self) -> Result<u64, GateError> {
        self.keep()?;
        Ok(std::mem::take(&mut self.restored))
    }

    /// [`Self::look`]; whether the table was put back now.
    fn keep(&mut self) -> Result<bool, GateError> {
        let Some(watch) = &mut self.watch else { return Ok(false) };
        let told = watch.read();
        self.restored += u64::from(told == Told::Changed);
        self.stale |= told != Told::Nothing;
        if self.stale {
            let put = self.put_back().map_err(GateError::kernel("put the table back"))?;
            self.stale = false;
            self.all_done(put)?;
            return Ok(true);
        }
        Ok(false)
    }

    /// Makes the table anew from what this process knows. What that did to the elements.
    fn put_back(&mut self) -> io::Result<BTreeMap<u16, Step>> {
        let now = clock::now();
        let named = |link: &u32| Some((*link, self.socket.name_of(*link).ok()?));
        let links = self.links.iter().filter_map(named).collect();
        let alive: BTreeMap<u16, Step> =
            self.alive.iter().map(|(segment, alive)| (*segment, alive.again(now))).collect();
        let (segments, entries) = (&self.segments, &self.entries);
        let whole = Whole { timeout: self.timeout, owned: false, links: &links, segments, entries, alive: &alive };
        self.socket.commit(&whole.batch())?;
        Ok(alive)
    }

    /// These steps have been done, all together.
    pub(super) fn all_done(&mut self, steps: BTreeMap<u16, Step>) -> Result<(), GateError> {
        steps.into_iter().try_for_each(|(segment, step)| {
            let alive = self.alive.get(&segment).copied();
            alive.map_or(Ok(()), |alive| self.done(segment, alive, step))
        })
    }

    /// Makes the changes of a batch. What others have done to the table is set right first if they fail for it.
    pub(super) fn commit(&mut self, what: &'static str, batch: &Batch) -> Result<(), GateError> {
        match self.socket.commit(batch) {
            Err(_) if self.keep()? => self.socket.commit(batch),
            result => result,
        }
        .map_err(GateError::kernel(what))
    }
}
