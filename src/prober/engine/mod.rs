//! The engine: sends the probes of many targets from a few sockets, and accounts for what comes back.
//!
//! All targets share the sockets, one for each source port and family. A turn ([`Engine::work`]) reads what has come in,
//! settles what has passed its timeout and sends what is due; since the kernel stamps packets, nothing is measured
//! wrongly by a turn that comes late, and many packets go in one turn.

mod ports;
mod runner;
mod table;
mod target;

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::core::time::Time;
use crate::udp::{Inbox, Outbox, Socket};
use crate::wire::stamp::Key;

pub use runner::{Runner, SHORT_TURNS};
pub use target::{Event, Heard, SendError, Target, TargetId, TargetSettings};

use super::clock;
use ports::{PortKey, Ports};
use table::Table;

/// Datagrams that are read or sent together.
const BATCH: usize = 64;
/// The longest answer: what a jumbo frame holds.
const LONGEST: usize = 9216;
/// How many batches are read from a socket in one turn: a flood on one must not starve the others.
const READS: usize = 32;
/// How often a datagram is tried again when the kernel reports an error that an earlier one brought back.
const RETRIES: usize = 3;

/// What all targets of an engine share.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The key of the authenticated mode.
    pub key: Option<Key>,
    /// The source address, for targets of its family.
    pub source: Option<IpAddr>,
    /// The interface that probes leave by.
    pub device: Option<String>,
    /// Whether every answer is told as an event; otherwise only what is new about holders.
    pub verbose: bool,
    /// Random bits.
    pub seed: u64,
}

/// Sends and accounts; see the module.
#[derive(Debug)]
pub struct Engine {
    ports: Ports,
    table: Table,
    inbox: Inbox,
    outbox: Outbox,
    payload: Vec<u8>,
}

impl Engine {
    /// An engine without targets.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self {
            ports: Ports::new(options.source, options.device.clone()),
            table: Table::new(options),
            inbox: Inbox::new(BATCH, LONGEST),
            outbox: Outbox::new(),
            payload: vec![0; LONGEST],
        }
    }

    /// Begins to measure a target.
    pub fn add(&mut self, settings: TargetSettings) -> TargetId {
        self.table.add(clock::monotonic(), settings)
    }

    /// Sends no more probes to a target; those under way are still accounted for.
    pub fn stop_sending(&mut self, id: TargetId) {
        self.table.stop_sending(id);
    }

    /// Forgets a target.
    pub fn remove(&mut self, id: TargetId) -> Option<Target> {
        self.table.remove(id)
    }

    /// A target.
    #[must_use]
    pub fn target(&self, id: TargetId) -> Option<&Target> {
        self.table.targets.get(&id).map(Box::as_ref)
    }

    /// A target, to conclude it.
    pub fn target_mut(&mut self, id: TargetId) -> Option<&mut Target> {
        self.table.targets.get_mut(&id).map(Box::as_mut)
    }

    /// What has happened since the last call.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.table.events)
    }

    /// Datagrams from nobody that was asked.
    #[must_use]
    pub const fn strangers(&self) -> u64 {
        self.table.strangers
    }

    /// When the next turn is due, if nothing comes in before.
    #[must_use]
    pub fn next_due(&self) -> Option<Time> {
        self.table.next_due()
    }

    /// The least time between two probes of a target, of all targets.
    #[must_use]
    pub fn shortest_interval(&self) -> Option<Duration> {
        self.table.intervals.first_key_value().map(|(interval, _)| *interval)
    }

    /// The sockets to wait on.
    #[must_use]
    pub fn sockets(&self) -> Vec<Arc<Socket>> {
        self.ports.sockets()
    }

    /// The local port of each source port that is open, by its number among those of the family.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn local_port(&self, ipv6: bool, number: u8) -> Option<u16> {
        self.ports.local_port(PortKey { ipv6, number })
    }

    /// Takes a turn.
    pub fn work(&mut self) {
        self.read();
        let now = clock::monotonic();
        let due = self.table.handle_due(now);
        for (key, ids) in due {
            for chunk in ids.chunks(BATCH) {
                self.send(key, chunk);
            }
        }
    }

    fn read(&mut self) {
        let Self { ports, table, inbox, .. } = self;
        for (key, port) in ports.iter_mut() {
            for _ in 0..READS {
                let filled = port.socket.notices(inbox).unwrap_or(0);
                for notice in inbox.notices() {
                    table.notice(key, port, &notice);
                }
                if filled < BATCH {
                    break;
                }
            }
            for _ in 0..READS {
                // An error here is one that a probe brought back; the error queue has told it.
                let filled =
                    port.socket.receive(inbox, false).or_else(|_| port.socket.receive(inbox, false)).unwrap_or(0);
                let (heard, wall) = clock::both();
                for datagram in inbox.datagrams() {
                    table.datagram(key, &datagram, heard, wall);
                }
                if filled < BATCH {
                    break;
                }
            }
        }
    }

    fn send(&mut self, key: PortKey, ids: &[TargetId]) {
        let Self { ports, table, outbox, payload, .. } = self;
        let port = match ports.open(key) {
            Ok(port) => port,
            Err(error) => {
                tracing::warn!(%error, "cannot open a socket for probes");
                ids.iter().for_each(|id| table.skipped(*id, clock::monotonic(), SendError::NoBuffer));
                return;
            }
        };
        let (now, wall) = clock::both();
        outbox.clear();
        let probes: Vec<_> = ids
            .iter()
            .filter_map(|id| table.write_probe(*id, wall, payload, outbox).map(|probe| (*id, probe)))
            .collect();
        let mut failed = false;
        let mut first = 0;
        let mut tries = 0;
        while first < probes.len() {
            let (done, error) = match port.socket.send(outbox, first) {
                Ok(sent) => (sent, None),
                Err(_) if tries < RETRIES => {
                    (tries, failed) = (tries + 1, true);
                    continue;
                }
                Err(error) => (1, Some(error)),
            };
            tries = 0;
            for (id, (seq, stamp)) in probes.iter().skip(first).take(done) {
                match &error {
                    None => {
                        port.remember(*id, *seq);
                        table.sent(*id, now, wall, *stamp);
                    }
                    Some(error) => table.not_sent(*id, now, wall, *stamp, error),
                }
            }
            failed |= error.is_some();
            first += done;
        }
        // A datagram that failed may have taken a number or not: count anew.
        if failed && let Err(error) = port.restart() {
            tracing::warn!(%error, "cannot ask for the times at which probes leave");
        }
    }
}

/// Waits until an engine's sockets have something to read, `due` has come or `limit` is over.
///
/// # Errors
/// What the kernel says.
pub fn wait(sockets: &[Arc<Socket>], due: Option<Time>, limit: Duration) -> io::Result<bool> {
    let limit = due.map_or(limit, |due| due.since(clock::monotonic()).min(limit));
    crate::udp::wait(sockets.iter().map(Arc::as_ref), limit)
}
