//! One segment: its machine, its socket, and who may send there.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

use crate::core::failover::{Failover, VipState};
use crate::core::time::Time;
use crate::core::view::Registration;
use crate::wire::heartbeat::{Keys, LEN, Packet, Window, id};

/// Packets that one look takes at most, so that a flood delays no timer.
const BATCH: usize = 256;

/// A segment that this node takes part in.
#[derive(Debug)]
pub(super) struct Segment {
    /// Its number at the gate.
    pub(super) number: u16,
    pub(super) machine: Failover,
    /// What the machine wants of each VIP, by uid.
    pub(super) states: BTreeMap<String, VipState>,
    socket: Option<UdpSocket>,
    windows: BTreeMap<(u64, u64), Window>,
    /// The members' addresses as of this version of the view.
    addresses: (u64, BTreeMap<u64, SocketAddr>),
}

impl Segment {
    pub(super) fn new(number: u16, machine: Failover, states: BTreeMap<String, VipState>) -> Self {
        Self { number, machine, states, socket: None, windows: BTreeMap::new(), addresses: (0, BTreeMap::new()) }
    }

    /// Listens at the node's place on the segment.
    pub(super) fn listen(&mut self, me: &Registration) -> io::Result<()> {
        self.socket = None;
        let address = SocketAddr::new(me.address, me.port);
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        socket.set_reuse_address(true)?;
        // Heartbeats speak for this link: what arrives by another one proves nothing.
        socket.bind_device(Some(me.interface.as_bytes()))?;
        socket.bind(&address.into())?;
        self.socket = Some(socket.into());
        Ok(())
    }

    pub(super) const fn socket(&self) -> Option<&UdpSocket> {
        self.socket.as_ref()
    }

    /// The authentic packets that wait and were not seen before.
    pub(super) fn receive(&mut self, keys: &Keys) -> Vec<Packet> {
        let mut packets = Vec::new();
        let Some(socket) = &self.socket else { return packets };
        let mut buffer = [0; LEN + 1];
        for _ in 0..BATCH {
            let Ok(length) = socket.recv(&mut buffer) else { break };
            let packet = buffer.get(..length).and_then(|bytes| Packet::read(bytes, keys).ok());
            packets.extend(
                packet.filter(|packet| {
                    self.windows.entry((packet.node, packet.boot)).or_default().accept(packet.sequence)
                }),
            );
        }
        packets
    }

    /// Throws away what waits: it is older than the pause that this process comes from.
    pub(super) fn discard(&self) {
        let Some(socket) = &self.socket else { return };
        let mut buffer = [0; 1];
        while socket.recv(&mut buffer).is_ok() {}
    }

    /// Sends a packet to the member with this id. What is lost is said again by the next heartbeat.
    pub(super) fn send(&mut self, to: u64, packet: &Packet, keys: &Keys) {
        let (version, view) = self.machine.current_view();
        if self.addresses.0 != version {
            let all =
                view.members.iter().map(|(name, member)| (id(name), SocketAddr::new(member.address, member.port)));
            self.addresses = (version, all.collect());
        }
        if let (Some(socket), Some(address)) = (&self.socket, self.addresses.1.get(&to)) {
            let _lost = socket.send_to(&packet.to_bytes(keys), address);
        }
    }

    /// When the machine wants to be woken.
    pub(super) fn due(&self) -> Time {
        self.machine.poll_timeout().0
    }
}
