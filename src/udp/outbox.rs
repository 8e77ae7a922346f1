//! Datagrams to send together.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use super::control;

/// Datagrams in the order in which they go out; cleared and filled again without new memory.
#[derive(Debug, Default)]
pub struct Outbox {
    pub(super) letters: Vec<Letter>,
    pub(super) bytes: Vec<u8>,
    pub(super) controls: Vec<u8>,
}

#[derive(Debug, Clone)]
pub(super) struct Letter {
    pub(super) to: SocketAddr,
    pub(super) bytes: Range<usize>,
    pub(super) control: Range<usize>,
}

impl Outbox {
    /// None.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.letters.clear();
        self.bytes.clear();
        self.controls.clear();
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.letters.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.letters.is_empty()
    }

    /// Adds a datagram with this payload and type of service or traffic class. `from` is the address (and the interface,
    /// for a link-local one) that it leaves from; else the kernel chooses.
    pub fn push(&mut self, to: SocketAddr, from: Option<(IpAddr, u32)>, tos: u8, payload: &[u8]) {
        let start = self.controls.len();
        if let Some((from, interface)) = from {
            control::put_source(&mut self.controls, from, interface);
        }
        if tos != 0 {
            control::put_tos(&mut self.controls, tos, to.is_ipv4());
        }
        let bytes = self.bytes.len()..self.bytes.len() + payload.len();
        self.bytes.extend_from_slice(payload);
        self.letters.push(Letter { to, bytes, control: start..self.controls.len() });
    }

    /// The payload of a datagram, to change it at the last moment; empty if there is none of that number.
    pub fn payload_mut(&mut self, number: usize) -> &mut [u8] {
        let range = self.letters.get(number).map(|letter| letter.bytes.clone()).unwrap_or_default();
        self.bytes.get_mut(range).unwrap_or_default()
    }
}
