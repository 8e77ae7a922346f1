//! Room for what comes in: a fixed number of datagrams, used again and again.

use std::net::{IpAddr, SocketAddr};

use super::address::{self, RawAddress};
use super::control::{Control, ExtendedError};

/// Octets of control messages that are taken beside a datagram.
pub(super) const CONTROL: usize = 320;

/// Room for a number of datagrams.
#[derive(Debug)]
pub struct Inbox {
    /// The payloads, a part of `size` octets for each slot: one block, of which the kernel gives only what is written to.
    pub(super) bytes: Box<[u8]>,
    pub(super) size: usize,
    pub(super) slots: Vec<Slot>,
    /// How many slots the last call filled.
    pub(super) filled: usize,
}

#[derive(Debug)]
pub(super) struct Slot {
    pub(super) len: usize,
    pub(super) name: [u8; address::LEN],
    pub(super) name_len: usize,
    pub(super) control: [u8; CONTROL],
    pub(super) control_len: usize,
    pub(super) truncated: bool,
}

/// A datagram that came in.
#[derive(Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// Its payload.
    pub bytes: &'a [u8],
    /// Whether it was longer than the room for it: `bytes` is its beginning.
    pub truncated: bool,
    /// Who sent it.
    pub from: SocketAddr,
    /// The destination in its header.
    pub asked: Option<IpAddr>,
    /// The address of ours from which to answer it; another than `asked` if that was a broadcast.
    pub local: Option<IpAddr>,
    /// The index of the interface that it came in on; 0 if the kernel did not tell.
    pub interface: u32,
    /// Its time to live, or hop limit, on arrival.
    pub ttl: Option<u8>,
    /// Its type of service, or traffic class.
    pub tos: u8,
    /// When the kernel got it, in nanoseconds since 1970.
    pub stamp: Option<u64>,
}

/// What the error queue of a socket says.
#[derive(Debug, PartialEq, Eq)]
pub enum Notice<'a> {
    /// A datagram was handed to the device.
    Sent {
        /// Which one: the count of those sent on the socket before it.
        id: u32,
        /// When, in nanoseconds since 1970.
        stamp: u64,
    },
    /// An ICMP error came back for a datagram.
    Icmp {
        /// Where the datagram was sent.
        to: SocketAddr,
        /// What the error means, as an error number of the system, such as `ECONNREFUSED`.
        errno: i32,
        /// The beginning of the datagram's payload, as far as the error quotes it.
        bytes: &'a [u8],
    },
}

impl Inbox {
    /// Room for `count` datagrams of up to `size` octets.
    #[must_use]
    pub fn new(count: usize, size: usize) -> Self {
        let slot = || Slot {
            len: 0,
            name: [0; address::LEN],
            name_len: 0,
            control: [0; CONTROL],
            control_len: 0,
            truncated: false,
        };
        let size = size.max(1);
        let bytes = vec![0; count * size].into_boxed_slice();
        Self { bytes, size, slots: (0..count).map(|_| slot()).collect(), filled: 0 }
    }

    /// The datagrams of the last receive.
    pub fn datagrams(&self) -> impl Iterator<Item = Datagram<'_>> {
        self.filled().filter_map(|(slot, bytes)| slot.datagram(bytes))
    }

    /// The notices of the last look at the error queue.
    pub fn notices(&self) -> impl Iterator<Item = Notice<'_>> {
        self.filled().filter_map(|(slot, bytes)| slot.notice(bytes))
    }

    /// The slots that the last call filled, with their payloads.
    fn filled(&self) -> impl Iterator<Item = (&Slot, &[u8])> {
        let parts = self.slots.iter().zip(self.bytes.chunks_exact(self.size)).take(self.filled);
        parts.map(|(slot, bytes)| (slot, bytes.get(..slot.len).unwrap_or_default()))
    }
}

impl Slot {
    fn control(&self) -> Control {
        Control::read(self.control.get(..self.control_len).unwrap_or_default())
    }

    fn peer(&self) -> Option<SocketAddr> {
        RawAddress::read(self.name.get(..self.name_len).unwrap_or_default())
    }

    fn datagram<'a>(&self, bytes: &'a [u8]) -> Option<Datagram<'a>> {
        let Control { stamp, asked, local, interface, ttl, tos, error: _ } = self.control();
        let from = self.peer()?;
        Some(Datagram { bytes, truncated: self.truncated, from, asked, local, interface, ttl, tos, stamp })
    }

    fn notice<'a>(&self, bytes: &'a [u8]) -> Option<Notice<'a>> {
        let control = self.control();
        match control.error? {
            ExtendedError::Sent(id) => Some(Notice::Sent { id, stamp: control.stamp? }),
            ExtendedError::Icmp { errno } => Some(Notice::Icmp { to: self.peer()?, errno, bytes }),
        }
    }
}
