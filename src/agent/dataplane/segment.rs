//! One segment: its machine, its socket, and who may send there.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, UdpSocket};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::clock;
use crate::core::failover::{Beats, Failover, VipState};
use crate::core::time::Time;
use crate::core::view::Registration;
use crate::wire::heartbeat::{HeartbeatError, Keys, LEN, Packet, Window, id, segment_id};

/// Why a datagram counts for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rejected {
    /// It is no authentic packet.
    Packet(HeartbeatError),
    /// It, or a later one than it, was here before.
    Replayed,
    /// It was said on another segment.
    Elsewhere,
}

impl Rejected {
    /// The reason as one word, for a metric's label.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Packet(error) => error.as_str(),
            Self::Replayed => "replayed",
            Self::Elsewhere => "segment",
        }
    }
}

/// A segment that this node takes part in.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) name: String,
    /// What its packets carry.
    id: u32,
    /// Its number at the gate.
    pub(super) number: u16,
    pub(super) machine: Failover,
    pub(super) beats: Beats,
    /// What the machine wants of each VIP, by uid.
    pub(super) states: BTreeMap<String, VipState>,
    /// The link's name, and its index as long as there is one.
    pub(super) interface: String,
    pub(super) link: Option<u32>,
    /// Where the node listens.
    pub(super) place: SocketAddr,
    /// The gate stands on its link.
    pub(super) gated: bool,
    socket: Option<UdpSocket>,
    /// What the socket's packets are marked with.
    mark: u32,
    windows: BTreeMap<(u64, u64), Window>,
    /// The members' addresses as of this version of the view.
    addresses: (u64, BTreeMap<u64, SocketAddr>),
}

impl Segment {
    pub(super) fn new(
        name: &str,
        number: u16,
        me: &Registration,
        machine: Failover,
        states: BTreeMap<String, VipState>,
    ) -> Self {
        Self {
            name: name.to_owned(),
            id: segment_id(name),
            number,
            machine,
            beats: Beats::default(),
            states,
            interface: me.interface.clone(),
            link: None,
            place: SocketAddr::new(me.address, me.port),
            gated: false,
            socket: None,
            mark: 0,
            windows: BTreeMap::new(),
            addresses: (0, BTreeMap::new()),
        }
    }

    /// The node is at another place of the segment.
    pub(super) fn place(&mut self, me: &Registration) {
        self.interface.clone_from(&me.interface);
        self.place = SocketAddr::new(me.address, me.port);
    }

    /// Listens at the node's place on the segment, on the link of that name as it is now.
    pub(super) fn listen(&mut self) -> io::Result<()> {
        (self.socket, self.mark) = (None, 0);
        let domain = Domain::for_address(self.place);
        let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        socket.set_reuse_address(true)?;
        // Heartbeats speak for this link: what arrives by another one proves nothing.
        socket.bind_device(Some(self.interface.as_bytes()))?;
        // A link that has just come back has no addresses yet.
        if domain == Domain::IPV6 {
            socket.set_freebind_v6(true)?
        } else {
            socket.set_freebind_v4(true)?
        }
        socket.bind(&self.place.into())?;
        self.socket = Some(socket.into());
        Ok(())
    }

    pub(super) const fn socket(&self) -> Option<&UdpSocket> {
        self.socket.as_ref()
    }

    /// The next datagram that waits, if there is one.
    pub(super) fn receive(&mut self, keys: &Keys) -> Option<Result<Packet, Rejected>> {
        let mut buffer = [0; LEN + 1];
        let length = self.socket.as_ref()?.recv(&mut buffer).ok()?;
        let packet = Packet::read(buffer.get(..length).unwrap_or_default(), keys).map_err(Rejected::Packet);
        Some(packet.and_then(|packet| {
            if packet.segment != self.id {
                return Err(Rejected::Elsewhere);
            }
            let new = self.windows.entry((packet.node, packet.boot)).or_default().accept(packet.sequence);
            if !new {
                return Err(Rejected::Replayed);
            }
            self.beats.received(clock::now(), &packet);
            Ok(packet)
        }))
    }

    /// Throws away what waits: it is older than the pause that this process comes from.
    pub(super) fn discard(&self) {
        let Some(socket) = &self.socket else { return };
        let mut buffer = [0; 1];
        while socket.recv(&mut buffer).is_ok() {}
    }

    /// Sends a packet to the member with this id, with a mark (`SO_MARK`, socket(7)). What is lost is said again by the
    /// next heartbeat.
    pub(super) fn send(&mut self, to: u64, packet: &Packet, keys: &Keys, mark: u32) {
        let (version, view) = self.machine.current_view();
        if self.addresses.0 != version {
            let all =
                view.members.iter().map(|(name, member)| (id(name), SocketAddr::new(member.address, member.port)));
            self.addresses = (version, all.collect());
        }
        if let (Some(socket), Some(address)) = (&self.socket, self.addresses.1.get(&to)) {
            if mark != self.mark {
                // A packet with a mark that it must not have would keep the gate open: it is not sent.
                let Ok(()) = SockRef::from(socket).set_mark(mark) else { return };
                self.mark = mark;
            }
            self.beats.sent(to, packet);
            let _lost = socket.send_to(&packet.to_bytes(keys), address);
        }
    }

    /// When the machine wants to be woken.
    pub(super) fn due(&self) -> Time {
        self.machine.poll_timeout().0
    }
}

/// The index of a link of this thread's network namespace.
pub(super) fn index(interface: &str) -> io::Result<u32> {
    let socket = Socket::new(Domain::UNIX, Type::DGRAM, None)?;
    Ok(rustix::net::netdevice::name_to_index(&socket, interface)?)
}
