//! Heartbeats between the members of a segment, and what they tell each other about fences: our own format.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |  Version = 1  |     Kind      |    Key id     |     Flags     |   0
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                            Segment                            |   4
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                            Node (8)                           |   8
//! |                            Boot (8)                           |  16
//! |                           Epoch (8)                           |  24
//! |                          Sequence (8)                         |  32
//! |                        View version (8)                       |  40
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                  Body by kind, then zeros (32)                |  48
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |               HMAC-SHA-256 over all before it (32)            |  80
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```
//! Big-endian, always 112 octets: an answer is no longer than what it answers, so nothing is amplified. Node, boot and
//! VIP are the 64-bit FNV-1a hashes of their names ([`id`]). An epoch comes from the one counter of the segment's view
//! and so names a right by itself; 0 is a node that has none.
//!
//! The sequence grows by one with each packet of a boot, whatever its kind and receiver, from the boot clock's
//! nanoseconds at the process's start: a new process never repeats what its predecessor sent. A receiver drops what it
//! has seen ([`Window`], one for each node and boot).

mod key;
mod window;

use serde::{Deserialize, Serialize};

pub use key::{Key, Keys};
pub use window::Window;

/// Octets of a packet.
pub const LEN: usize = 112;
/// The UDP port of agents.
pub const PORT: u16 = 9473;
/// The only version.
pub const VERSION: u8 = 1;

/// Where the body stands, and where the HMAC.
const BODY: usize = 48;
const TAG: usize = 80;

const HEARTBEAT: u8 = 1;
const ANSWER: u8 = 2;
const ASK: u8 = 3;
const REPORT: u8 = 4;
const RELEASED: u8 = 5;

/// Heartbeat, report: the gate has shut. Ask, report: the right is known to be fenced. Report: suspected.
const FLAG_SHUT: u8 = 1;
const FLAG_FENCED: u8 = 2;
const FLAG_SUSPECTS: u8 = 4;
/// Answer: what it says, in two bits.
const HEARD: u8 = 0;
const ACKNOWLEDGED: u8 = 1;
const OVER: u8 = 2;

/// The 64-bit FNV-1a hash of a node's name, a boot id or a VIP's uid. Never 0, which stands for none.
#[must_use]
pub fn id(name: &str) -> u64 {
    let hash = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, octet| (hash ^ u64::from(octet)).wrapping_mul(0x0000_0100_0000_01b3));
    hash.max(1)
}

/// What packets of a segment carry: the lower half of the [`id`] of its name.
#[must_use]
pub fn segment_id(name: &str) -> u32 {
    let [.., a, b, c, d] = id(name).to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
}

/// What one member sends another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packet {
    /// See [`segment_id`].
    pub segment: u32,
    /// The [`id`] of the sender's name.
    pub node: u64,
    /// The [`id`] of the sender's boot id.
    pub boot: u64,
    /// The sender's epoch, 0 without one.
    pub epoch: u64,
    /// Grows by one with each packet of a boot.
    pub sequence: u64,
    /// The version of the newest view that the sender has.
    pub version: u64,
    /// The rest.
    pub body: Body,
}

/// What a packet says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Body {
    /// To the watchers of the sender's right: acknowledge it.
    Heartbeat {
        /// When it was sent, in nanoseconds of the sender's boot clock.
        sent: u64,
        /// Nanoseconds since the sending of the newest heartbeat that the receiver acknowledged, as far as the sender
        /// knows; `u64::MAX` for none.
        age: u64,
        /// The sender's gate has shut, and no answer to this will open it.
        shut: bool,
    },
    /// To a heartbeat.
    Answer {
        /// The boot of the heartbeat's sender.
        boot: u64,
        /// The epoch of the heartbeat.
        epoch: u64,
        /// [`Body::Heartbeat::sent`] again.
        sent: u64,
        /// What the answer is worth.
        verdict: Verdict,
    },
    /// About another member's right. From a watcher of it that does not know it to be fenced: it suspects it.
    Ask {
        /// Whose right.
        node: u64,
        /// Its epoch.
        epoch: u64,
        /// The right is fenced: let whoever reads this know it.
        fenced: bool,
    },
    /// To an ask.
    Report {
        /// Whose right.
        node: u64,
        /// Its epoch.
        epoch: u64,
        /// The sequence of the ask.
        echo: u64,
        /// At least so many nanoseconds have passed since the sender last acknowledged that right.
        age: u64,
        /// The sender watches it and suspects it.
        suspects: bool,
        /// The sender knows that it is fenced: it never acknowledges it again.
        fenced: bool,
        /// It said that its gate had shut after the sender last acknowledged it.
        shut: bool,
    },
    /// The sender claims no more, and never will at this epoch: everything, or one VIP as of this view version.
    Released {
        /// The [`id`] of the VIP's uid, 0 for everything.
        vip: u64,
    },
}

/// What an answer to a heartbeat is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// It was heard: no evidence.
    Heard,
    /// It is acknowledged: evidence for its sender's right.
    Acknowledged,
    /// The right is fenced, or a later one has taken its place.
    Over,
}

/// A datagram that is no packet of ours. Nothing follows from it but a count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeartbeatError {
    /// Not as long as every packet is.
    #[error("{0} octets: a heartbeat packet has exactly {LEN}")]
    Length(usize),
    /// A version that we do not speak.
    #[error("version {0}: only {VERSION} is spoken here")]
    Version(u8),
    /// No key of that id.
    #[error("key {0} is not known here")]
    Key(u8),
    /// The HMAC is not the key's.
    #[error("its HMAC does not fit the key")]
    Forged,
    /// Authentic, and of an unknown kind, or with flags that its kind does not have.
    #[error("kind {kind} with flags {flags:#04x} is not known here")]
    Kind {
        /// Octet 1.
        kind: u8,
        /// Octet 3.
        flags: u8,
    },
}

impl HeartbeatError {
    /// The error as one word, for a metric's label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Length(_) => "length",
            Self::Version(_) => "version",
            Self::Key(_) => "key",
            Self::Forged => "forged",
            Self::Kind { .. } => "kind",
        }
    }
}

fn get<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
}

fn set<const N: usize>(bytes: &mut [u8], at: usize, value: [u8; N]) {
    if let Some(place) = bytes.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
        *place = value;
    }
}

const fn flag(on: bool, flag: u8) -> u8 {
    if on { flag } else { 0 }
}

impl Packet {
    /// The packet as it goes on the wire, authenticated by the current key.
    #[must_use]
    pub fn to_bytes(&self, keys: &Keys) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        let (kind, flags, body) = self.body.parts();
        set(&mut bytes, 0, [VERSION, kind, keys.current(), flags]);
        set(&mut bytes, 4, self.segment.to_be_bytes());
        for (slot, value) in [self.node, self.boot, self.epoch, self.sequence, self.version].into_iter().enumerate() {
            set(&mut bytes, 8 + 8 * slot, value.to_be_bytes());
        }
        for (slot, value) in body.into_iter().enumerate() {
            set(&mut bytes, BODY + 8 * slot, value.to_be_bytes());
        }
        let tag = keys.tag(bytes.get(..TAG).unwrap_or_default());
        set(&mut bytes, TAG, tag);
        bytes
    }

    /// Reads a datagram: first its length, version and HMAC, and only of an authentic one the rest.
    ///
    /// # Errors
    /// Whatever is not an authentic packet of this version.
    pub fn read(bytes: &[u8], keys: &Keys) -> Result<Self, HeartbeatError> {
        let bytes: &[u8; LEN] = bytes.try_into().map_err(|_| HeartbeatError::Length(bytes.len()))?;
        let [version, kind, key, flags] = get(bytes, 0);
        if version != VERSION {
            return Err(HeartbeatError::Version(version));
        }
        let (covered, tag) = bytes.split_at(TAG);
        if !keys.fits(key, covered, tag).ok_or(HeartbeatError::Key(key))? {
            return Err(HeartbeatError::Forged);
        }
        let at = |slot: usize| u64::from_be_bytes(get(bytes, 8 + 8 * slot));
        let body = [0, 8, 16, 24].map(|offset| u64::from_be_bytes(get(bytes, BODY + offset)));
        Ok(Self {
            segment: u32::from_be_bytes(get(bytes, 4)),
            node: at(0),
            boot: at(1),
            epoch: at(2),
            sequence: at(3),
            version: at(4),
            body: Body::from_parts(kind, flags, body).ok_or(HeartbeatError::Kind { kind, flags })?,
        })
    }
}

impl Body {
    /// Kind, flags and body.
    const fn parts(self) -> (u8, u8, [u64; 4]) {
        match self {
            Self::Heartbeat { sent, age, shut } => (HEARTBEAT, flag(shut, FLAG_SHUT), [sent, age, 0, 0]),
            Self::Answer { boot, epoch, sent, verdict } => {
                let verdict = match verdict {
                    Verdict::Heard => HEARD,
                    Verdict::Acknowledged => ACKNOWLEDGED,
                    Verdict::Over => OVER,
                };
                (ANSWER, verdict, [boot, epoch, sent, 0])
            }
            Self::Ask { node, epoch, fenced } => (ASK, flag(fenced, FLAG_FENCED), [node, epoch, 0, 0]),
            Self::Report { node, epoch, echo, age, suspects, fenced, shut } => {
                let flags = flag(suspects, FLAG_SUSPECTS) | flag(fenced, FLAG_FENCED) | flag(shut, FLAG_SHUT);
                (REPORT, flags, [node, epoch, echo, age])
            }
            Self::Released { vip } => (RELEASED, 0, [vip, 0, 0, 0]),
        }
    }

    const fn from_parts(kind: u8, flags: u8, body: [u64; 4]) -> Option<Self> {
        let [a, b, c, d] = body;
        let shut = flags & FLAG_SHUT != 0;
        let fenced = flags & FLAG_FENCED != 0;
        Some(match (kind, flags) {
            (HEARTBEAT, 0 | FLAG_SHUT) => Self::Heartbeat { sent: a, age: b, shut },
            (ANSWER, HEARD) => Self::Answer { boot: a, epoch: b, sent: c, verdict: Verdict::Heard },
            (ANSWER, ACKNOWLEDGED) => Self::Answer { boot: a, epoch: b, sent: c, verdict: Verdict::Acknowledged },
            (ANSWER, OVER) => Self::Answer { boot: a, epoch: b, sent: c, verdict: Verdict::Over },
            (ASK, 0 | FLAG_FENCED) => Self::Ask { node: a, epoch: b, fenced },
            (REPORT, 0..=7) => {
                let suspects = flags & FLAG_SUSPECTS != 0;
                Self::Report { node: a, epoch: b, echo: c, age: d, suspects, fenced, shut }
            }
            (RELEASED, 0) => Self::Released { vip: a },
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests;
