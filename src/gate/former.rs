//! What a former process left at a gate of the other kind.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use super::nft::trace;
use super::{Bpf, Entry, Gate, GateError, Nft, Ownership, State};

/// Whether a gate of either kind has been left in the calling thread's network namespace.
///
/// # Errors
/// [`GateError::OutOfReach`]; the kernel's reason.
pub fn is_left(bpffs: &Path) -> Result<bool, GateError> {
    Ok(left_bpf(bpffs)? || left_nft()?)
}

/// Takes down whatever was left, without a look at what it says: every address passes then, so none of ours may stand.
/// Needs no right to use BPF.
///
/// # Errors
/// An agent is running here; [`GateError::OutOfReach`]; the kernel's reason.
pub fn take_down(bpffs: &Path) -> Result<(), GateError> {
    if left_bpf(bpffs)? {
        Bpf::take_down(bpffs)?;
        forget_bpf()?;
    }
    // The timeout does not matter: the table goes.
    if left_nft()? { open_nft(Duration::from_millis(1))?.dismantle() } else { Ok(()) }
}

/// Whether there are pins of a BPF gate.
fn left_bpf(bpffs: &Path) -> Result<bool, GateError> {
    match Bpf::find(bpffs)? {
        Some(found) => Ok(found),
        None if trace::is_there()? => Err(GateError::OutOfReach(bpffs.to_owned())),
        None => Ok(false),
    }
}

/// Takes away what says that there is a BPF gate; where it could not be left, it is not there.
pub(super) fn forget_bpf() -> Result<(), GateError> {
    match trace::remove() {
        Err(error) if error.is_unavailable() => Ok(()),
        result => result,
    }
}

/// Whether there is a table; where there can be none, there is none.
fn left_nft() -> Result<bool, GateError> {
    match Nft::is_there() {
        Err(error) if error.is_unavailable() => Ok(false),
        found => found,
    }
}

fn open_nft(timeout: Duration) -> Result<Nft, GateError> {
    Nft::open(timeout, Ownership::WherePossible)
}

pub(super) fn from_nft(gate: Gate, timeout: Duration) -> Result<Gate, GateError> {
    if left_nft()? { adopt(gate, Gate::Nft(open_nft(timeout)?)) } else { Ok(gate) }
}

pub(super) fn from_bpf(gate: Gate, bpffs: &Path) -> Result<Gate, GateError> {
    if !left_bpf(bpffs)? {
        // Whoever removed the pins did not know of the trace.
        forget_bpf()?;
        return Ok(gate);
    }
    match Bpf::open(bpffs) {
        Ok(former) => adopt(gate, Gate::Bpf(former)),
        Err(why) if why.is_unavailable() => Err(GateError::Unread(Box::new(why))),
        Err(error) => Err(error),
    }
}

/// Takes over what stands at `former`, which goes only when all of it stands at `gate` too; meanwhile a frame has to pass
/// both. Where both have something, what `former` says of addresses that `gate` does not know is shut.
fn adopt(mut gate: Gate, former: Gate) -> Result<Gate, GateError> {
    let (known, entries) = (gate.entries()?, former.entries()?);
    for (ip, entry) in entries.iter().filter(|(ip, _)| !known.contains_key(*ip)) {
        let state = if known.is_empty() { entry.state } else { State::Shut };
        gate.set(*ip, Entry { state, ..*entry })?;
    }
    former.links().iter().try_for_each(|link| gate.attach(*link))?;
    if known.is_empty() {
        let segments: BTreeSet<u16> = entries.values().map(|entry| entry.segment).collect();
        for segment in segments {
            gate.extend(segment, former.deadline(segment))?;
            gate.leave(segment)?;
        }
    }
    former.dismantle()?;
    Ok(gate)
}
