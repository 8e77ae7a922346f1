//! The source ports: a socket for each, opened when it is first needed.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use super::target::TargetId;
use crate::udp::{Options, Socket};

/// Octets that may wait to be read on each socket.
const BUFFER: usize = 1 << 20;
/// Probes whose time of leaving may be outstanding on each socket.
const MAX_OUTSTANDING: usize = 4096;

/// Which source port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PortKey {
    pub(super) ipv6: bool,
    pub(super) number: u8,
}

#[derive(Debug)]
pub(super) struct Port {
    pub(super) socket: Arc<Socket>,
    /// The probes whose time of leaving is outstanding; the first has number `base` in the kernel's count.
    outstanding: VecDeque<(TargetId, u32)>,
    base: u32,
}

#[derive(Debug)]
pub(super) struct Ports {
    source: Option<IpAddr>,
    device: Option<String>,
    open: BTreeMap<PortKey, Port>,
}

impl Ports {
    pub(super) const fn new(source: Option<IpAddr>, device: Option<String>) -> Self {
        Self { source, device, open: BTreeMap::new() }
    }

    pub(super) fn open(&mut self, key: PortKey) -> io::Result<&mut Port> {
        if let std::collections::btree_map::Entry::Vacant(place) = self.open.entry(key) {
            let any = if key.ipv6 { IpAddr::V6(Ipv6Addr::UNSPECIFIED) } else { IpAddr::V4(Ipv4Addr::UNSPECIFIED) };
            let source = self.source.filter(|source| source.is_ipv6() == key.ipv6).unwrap_or(any);
            let socket = Socket::open(&Options {
                bind: SocketAddr::new(source, 0),
                reuse_port: false,
                device: self.device.clone(),
                notices: true,
                buffer: Some(BUFFER),
                patience: None,
            })?;
            place.insert(Port { socket: Arc::new(socket), outstanding: VecDeque::new(), base: 0 });
        }
        self.open.get_mut(&key).ok_or_else(|| io::Error::other("no such port"))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (PortKey, &mut Port)> {
        self.open.iter_mut().map(|(key, port)| (*key, port))
    }

    pub(super) fn sockets(&self) -> Vec<Arc<Socket>> {
        self.open.values().map(|port| Arc::clone(&port.socket)).collect()
    }

    pub(super) fn local_port(&self, key: PortKey) -> Option<u16> {
        self.open.get(&key)?.socket.local_addr().ok().map(|address| address.port())
    }
}

impl Port {
    /// A probe went out; the kernel will say when.
    pub(super) fn remember(&mut self, id: TargetId, seq: u32) {
        self.outstanding.push_back((id, seq));
        if self.outstanding.len() > MAX_OUTSTANDING {
            self.outstanding.pop_front();
            self.base = self.base.wrapping_add(1);
        }
    }

    /// The probe with this number in the kernel's count. Those before it are given up.
    pub(super) fn recall(&mut self, number: u32) -> Option<(TargetId, u32)> {
        let ahead = number.wrapping_sub(self.base) as usize;
        if ahead >= self.outstanding.len() {
            return None;
        }
        let found = self.outstanding.drain(..=ahead).next_back();
        self.base = number.wrapping_add(1);
        found
    }

    /// Counts from 0 again.
    pub(super) fn restart(&mut self) -> io::Result<()> {
        self.outstanding.clear();
        self.base = 0;
        self.socket.restart_ids()
    }
}
