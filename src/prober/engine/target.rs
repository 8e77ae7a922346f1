//! A target of the engine, and what can happen to it.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::core::probe::{HolderNews, Session, Settings};
use crate::core::time::Time;

/// A target's number within its engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetId(pub(super) u32);

/// What is asked, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetSettings {
    /// Where probes go.
    pub address: SocketAddr,
    /// Octets of a probe's payload; raised to what the format needs.
    pub size: u16,
    /// Type of service or traffic class.
    pub tos: u8,
    /// Whether probes are those of the original program.
    pub legacy: bool,
    /// How many probes are sent at most.
    pub limit: Option<u64>,
    /// Pace, timeout, source ports.
    pub measure: Settings,
}

/// A target that is measured.
#[derive(Debug)]
pub struct Target {
    /// What is asked, and how.
    pub settings: TargetSettings,
    /// What was measured.
    pub session: Session,
    /// Probes that could not be sent, in the order of [`SendError::ALL`].
    pub send_errors: [u64; SendError::ALL.len()],
    /// Time to live, or hop limit, of the newest answer.
    pub ttl: Option<u8>,
    /// The session identifier in its probes.
    pub(super) ssid: u16,
    /// When it is next in the queue to send, and for a timeout.
    pub(super) send_at: Option<Time>,
    pub(super) timeout_at: Option<Time>,
}

/// Why a probe could not be sent: a closed set, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendError {
    /// The machine has no room for it; not counted as sent.
    NoBuffer,
    /// There is no route; counted as sent, and lost.
    Unreachable,
    /// A packet filter or the system forbids it; counted as sent, and lost.
    NotAllowed,
    /// It is longer than the path takes; counted as sent, and lost.
    TooLong,
    /// Anything else; counted as sent, and lost.
    Other,
}

impl SendError {
    /// Every reason.
    pub const ALL: [Self; 5] = [Self::NoBuffer, Self::Unreachable, Self::NotAllowed, Self::TooLong, Self::Other];

    /// The word for a label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoBuffer => "no_buffer",
            Self::Unreachable => "unreachable",
            Self::NotAllowed => "not_allowed",
            Self::TooLong => "too_long",
            Self::Other => "other",
        }
    }

    /// The reason in what the kernel said.
    pub(super) fn of(error: &io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM) => Self::NoBuffer,
            Some(libc::ENETUNREACH | libc::EHOSTUNREACH | libc::ENETDOWN | libc::EADDRNOTAVAIL | libc::ENODEV) => {
                Self::Unreachable
            }
            Some(libc::EPERM | libc::EACCES) => Self::NotAllowed,
            Some(libc::EMSGSIZE) => Self::TooLong,
            _ => Self::Other,
        }
    }
}

/// What an answer was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// First, in time, in order.
    InOrder,
    /// First, in time, after the answer to a later probe.
    Reordered,
    /// First, too late.
    Late,
    /// Not the first.
    Duplicated,
    /// Not to what was sent.
    Corrupted,
    /// To nothing that is remembered.
    Stray,
}

impl Heard {
    /// The word for a person and for JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InOrder => "in_order",
            Self::Reordered => "reordered",
            Self::Late => "late",
            Self::Duplicated => "duplicated",
            Self::Corrupted => "corrupted",
            Self::Stray => "stray",
        }
    }
}

impl Event {
    /// The target that it is about.
    #[must_use]
    pub const fn target(&self) -> TargetId {
        match self {
            Self::Answer { target, .. }
            | Self::Refused { target, .. }
            | Self::NotSent { target, .. }
            | Self::Holder { target, .. } => *target,
        }
    }
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// An answer came in.
    Answer {
        /// From which target.
        target: TargetId,
        /// What it was.
        heard: Heard,
        /// The number of the source port.
        port: u8,
        /// How many probes were sent before the one that it answers, over all source ports; `None` if it answers none.
        index: Option<u64>,
        /// Its octets.
        len: usize,
        /// Its time to live, or hop limit.
        ttl: Option<u8>,
        /// The round trip.
        rtt: Option<Duration>,
        /// Who answered.
        name: Option<String>,
    },
    /// An ICMP error came back, as an error number of the system.
    Refused {
        /// For which target.
        target: TargetId,
        /// The error number.
        errno: i32,
    },
    /// A probe could not be sent.
    NotSent {
        /// To which target.
        target: TargetId,
        /// What the kernel said.
        error: String,
    },
    /// Something is new about who answers.
    Holder {
        /// For which target.
        target: TargetId,
        /// What.
        news: HolderNews,
    },
}
