//! The dead man's hand: what this node says about its virtual addresses passes only until an absolute deadline, which the
//! kernel itself looks at, frame by frame. Whoever extends it may be stopped or killed: the gate shuts all the same.
//!
//! It stands on every link of the node that has ARP, for with default sysctls Linux answers on any link for an address of
//! any other. An address that it knows nothing of passes as if there were no gate. What it drops is ARP and neighbour
//! discovery that asks for (in) or speaks for (out) an address; for a hard address all IP traffic of it too.
//!
//! One process at a time keeps the gate of a network namespace; the next one finds it by its path and goes on.

mod bpf;
mod former;
mod nft;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::bpf::{Bpf, Deadlines, Direction};
pub use self::former::{is_left, take_down};
pub use self::nft::{Nft, Ownership};
use crate::core::time::Time;
use crate::core::view::Gate as Kind;

/// The numbers that segments may have here.
pub const SEGMENTS: RangeInclusive<u16> = 1..=511;

/// What becomes of an address at the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The number of its segment, whose deadline counts.
    pub segment: u16,
    /// What passes before that deadline.
    pub state: State,
    /// Whether IP packets to and from the address are gated too.
    pub hard: bool,
}

/// What passes of an address before its segment's deadline; after it nothing does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum State {
    /// Nothing.
    Shut,
    /// IP packets, but no ARP and no neighbour discovery: the address serves and is claimed by another node.
    Accept,
    /// Everything.
    Claim,
}

/// Which kind of gate is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// BPF, or nftables where BPF is not allowed or not there.
    Auto,
    /// BPF only.
    Bpf,
    /// nftables only.
    Nft,
}

/// A gate of either kind. What keeps it open until its deadlines differs: nothing more, or packets with [`Gate::mark`].
#[derive(Debug)]
pub enum Gate {
    /// At tcx; never late.
    Bpf(Bpf),
    /// In nftables; may be late by its timeout after a stop at the wrong moment.
    Nft(Nft),
}

impl Gate {
    /// Opens the gate of the calling thread's network namespace: BPF kept under `bpffs`, or nftables with `timeout`. What
    /// a former process left of the other kind is taken over, and taken down only when all of it stands here. The second
    /// value is why it is not the first kind, where [`Choice::Auto`] had to fall back.
    ///
    /// # Errors
    /// [`GateError`], of the last kind that was tried; [`GateError::Unread`] when the other kind has left something that
    /// cannot be read ([`take_down`]), [`GateError::OutOfReach`] when it is not even to be seen.
    pub fn open(choice: Choice, bpffs: &Path, timeout: Duration) -> Result<(Self, Option<GateError>), GateError> {
        let nft = || Self::open_nft(bpffs, timeout);
        match choice {
            Choice::Nft => Ok((nft()?, None)),
            Choice::Bpf | Choice::Auto => match Bpf::open(bpffs) {
                Ok(bpf) => {
                    // It serves those who cannot see the bpffs; the gate is the same without.
                    let _no_nftables = nft::trace::leave();
                    Ok((former::from_nft(Self::Bpf(bpf), timeout)?, None))
                }
                Err(why) if choice == Choice::Auto && why.is_unavailable() => Ok((nft()?, Some(why))),
                Err(error) => Err(error),
            },
        }
    }

    fn open_nft(bpffs: &Path, timeout: Duration) -> Result<Self, GateError> {
        former::from_bpf(Self::Nft(Nft::open(timeout, Ownership::WherePossible)?), bpffs)
    }

    /// Which kind it is.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Bpf(_) => Kind::Bpf,
            Self::Nft(_) => Kind::Nft,
        }
    }

    /// Lets a segment's addresses pass until `deadline`, on `CLOCK_BOOTTIME`; without one without end. An earlier deadline
    /// than before is in force when this returns.
    ///
    /// # Errors
    /// The kernel's reason, of nftables only; then the deadline is as it was.
    pub fn extend(&mut self, segment: u16, deadline: Option<Time>) -> Result<(), GateError> {
        match self {
            Self::Bpf(gate) => {
                gate.deadlines().set(segment, deadline);
                Ok(())
            }
            Self::Nft(gate) => gate.extend(segment, deadline),
        }
    }

    /// Until when a segment's addresses may pass; `None` without end.
    #[must_use]
    pub fn deadline(&self, segment: u16) -> Option<Time> {
        match self {
            Self::Bpf(gate) => gate.deadlines().get(segment),
            Self::Nft(gate) => gate.deadline(segment),
        }
    }

    /// Keeps a segment's deadline in force after the end of this process, for the next one.
    ///
    /// # Errors
    /// The kernel's reason.
    pub fn leave(&mut self, segment: u16) -> Result<(), GateError> {
        match self {
            Self::Bpf(_) => Ok(()),
            Self::Nft(gate) => gate.leave(segment),
        }
    }

    /// The mark (`SO_MARK`, socket(7)) of a packet that is sent at once on the segment; 0 for none.
    #[must_use]
    pub fn mark(&mut self, segment: u16) -> u32 {
        match self {
            Self::Bpf(_) => 0,
            Self::Nft(gate) => gate.mark_now(segment),
        }
    }

    /// Puts the gate on a link; once is enough, twice is no error.
    ///
    /// # Errors
    /// The kernel's reason, such as that the link is gone.
    pub fn attach(&mut self, link: u32) -> Result<(), GateError> {
        match self {
            Self::Bpf(gate) => gate.attach(link),
            Self::Nft(gate) => gate.attach(link),
        }
    }

    /// Takes the gate off a link, or forgets a link that is gone.
    ///
    /// # Errors
    /// The kernel's reason.
    pub fn detach(&mut self, link: u32) -> Result<(), GateError> {
        match self {
            Self::Bpf(gate) => gate.detach(link),
            Self::Nft(gate) => gate.detach(link),
        }
    }

    /// The links that the gate is on.
    #[must_use]
    pub const fn links(&self) -> &BTreeSet<u32> {
        match self {
            Self::Bpf(gate) => gate.links(),
            Self::Nft(gate) => gate.links(),
        }
    }

    /// Says what becomes of an address from now on; it holds when this returns.
    ///
    /// # Errors
    /// [`GateError::Segment`]; the kernel's reason.
    pub fn set(&mut self, ip: IpAddr, entry: Entry) -> Result<(), GateError> {
        match self {
            Self::Bpf(gate) => gate.set(ip, entry),
            Self::Nft(gate) => gate.set(ip, entry),
        }
    }

    /// [`Self::set`] of many addresses, which takes hardly longer than of one. After an error some may have been set.
    ///
    /// # Errors
    /// [`GateError::Segment`]; the kernel's reason.
    pub fn set_all(&mut self, entries: &[(IpAddr, Entry)]) -> Result<(), GateError> {
        match self {
            Self::Bpf(gate) => entries.iter().try_for_each(|(ip, entry)| gate.set(*ip, *entry)),
            Self::Nft(gate) => gate.set_all(entries),
        }
    }

    /// Lets an address pass as if there were no gate.
    ///
    /// # Errors
    /// The kernel's reason.
    pub fn remove(&mut self, ip: IpAddr) -> Result<(), GateError> {
        match self {
            Self::Bpf(gate) => gate.remove(ip),
            Self::Nft(gate) => gate.remove(ip),
        }
    }

    /// All addresses that something is said of, by this process or one before it.
    ///
    /// # Errors
    /// The kernel's reason.
    pub fn entries(&self) -> Result<BTreeMap<IpAddr, Entry>, GateError> {
        match self {
            Self::Bpf(gate) => gate.entries(),
            Self::Nft(gate) => Ok(gate.entries().clone()),
        }
    }

    /// Tells, by being readable, that [`Self::look`] may have something to do; `None` where that never is.
    #[must_use]
    pub fn watched(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Bpf(_) => None,
            Self::Nft(gate) => gate.watched(),
        }
    }

    /// Puts the gate back if anybody else has changed it or taken it away, and says how often that was since this was
    /// asked last.
    ///
    /// # Errors
    /// The kernel's reason; then the next look tries again.
    pub fn look(&mut self) -> Result<u64, GateError> {
        match self {
            Self::Bpf(_) => Ok(0),
            Self::Nft(gate) => gate.look(),
        }
    }

    /// Takes the gate away: every address passes then.
    ///
    /// # Errors
    /// The kernel's reason.
    pub fn dismantle(self) -> Result<(), GateError> {
        match self {
            Self::Bpf(gate) => {
                gate.dismantle()?;
                former::forget_bpf()
            }
            Self::Nft(gate) => gate.dismantle(),
        }
    }
}

/// What can go wrong at the gate. Nothing is open that was not open before.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// Nothing could be kept there.
    #[error("{} is no BPF file system; mount one with: mount -t bpf bpf {}", .0.display(), .0.display())]
    NoBpffs(PathBuf),
    /// Another process keeps the gate of this network namespace.
    #[error("another agent of this network namespace is running: it has locked {}", .0.display())]
    Locked(PathBuf),
    /// What is pinned is not of the form that this version makes.
    #[error("{} is of another form than this version's; remove it", .0.display())]
    Foreign(PathBuf),
    /// What a former process left of the other kind cannot be read, and so not be taken over.
    #[error("a former run has left a BPF gate that cannot be read")]
    Unread(#[source] Box<GateError>),
    /// A former process left a BPF gate in this network namespace, whose bpffs is not where it was looked for.
    #[error(
        "a former run has left a BPF gate that drops what this one would say, and {} is not the bpffs that keeps it: give \
         the agent that bpffs (--bpffs; agent.bpffs of the chart), or end the gate on the node with: vipkeeper agent \
         --cleanup --bpffs PATH (or restart the node)",
        .0.display()
    )]
    OutOfReach(PathBuf),
    /// A number that no segment can have.
    #[error("segment number {0} is not from 1 to 511")]
    Segment(u16),
    /// The number of a link means another one there.
    #[error("this thread has entered another network namespace than that of the gate")]
    Namespace,
    /// The kernel refused.
    #[error("cannot {what}")]
    Kernel {
        /// What was tried.
        what: &'static str,
        /// The kernel's reason.
        source: io::Error,
    },
}

impl GateError {
    fn kernel(what: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::Kernel { what, source }
    }

    /// Whether this kernel, or what this process may do, has no such gate at all, so that another kind may serve.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        match self {
            Self::NoBpffs(_) => true,
            Self::Kernel { source, .. } => matches!(
                source.raw_os_error(),
                Some(
                    libc::EPERM | libc::EACCES | libc::EINVAL | libc::ENOSYS | libc::EOPNOTSUPP | libc::EPROTONOSUPPORT
                )
            ),
            Self::Locked(_)
            | Self::Foreign(_)
            | Self::Unread(_)
            | Self::OutOfReach(_)
            | Self::Segment(_)
            | Self::Namespace => false,
        }
    }
}
