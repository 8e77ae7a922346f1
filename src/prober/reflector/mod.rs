//! The reflector: sends probes back, with the times at which they came and went.
//!
//! Each worker is a thread with a socket of its own, tables of its own and no locks; the kernel keeps the probes of one
//! sender's port with one worker. It answers only what cannot be drawn into a loop or turned against a third party: see
//! [`answer`].

mod answer;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::core::reflect::{Limit, Outcome, Seed};
use crate::metrics::ReflectorMetrics;
use crate::udp::{Inbox, Options, Outbox, Socket};
use crate::wire::stamp::Key;

pub use answer::Answerer;

use super::clock;

/// Datagrams that are read and answered together.
const BATCH: usize = 64;
/// The longest datagram that is answered: what a jumbo frame holds.
const LONGEST: usize = 9216;
/// How long a worker waits before it looks whether it should end.
const PATIENCE: Duration = Duration::from_millis(200);
/// Octets that may wait to be read by each worker.
const BUFFER: usize = 4 << 20;

/// What a reflector does.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where it listens.
    pub bind: SocketAddr,
    /// How many workers there are, at least 1.
    pub workers: usize,
    /// What its answers name it; empty for nothing.
    pub name: String,
    /// Answers only probes that are authenticated with this key.
    pub key: Option<Key>,
    /// Whether it numbers the replies of each session itself, so that the sender can tell on which way a probe was lost.
    pub stateful: bool,
    /// How much one source may ask of one worker.
    pub limit: Limit,
}

/// A reflector at work; it ends when it is dropped.
#[derive(Debug)]
pub struct Reflector {
    /// Where it listens.
    pub local: SocketAddr,
    stop: Arc<AtomicBool>,
    workers: Vec<JoinHandle<()>>,
}

impl Reflector {
    /// Opens the sockets and starts the workers. `seed` is random.
    ///
    /// # Errors
    /// The address is in use, not ours, or of a family that this machine does not have.
    pub fn start(settings: &Settings, seed: Seed, metrics: &ReflectorMetrics) -> io::Result<Self> {
        let mut bind = settings.bind;
        let mut sockets = Vec::new();
        for _ in 0..settings.workers.max(1) {
            let socket = open(bind)?;
            // With port 0 the first socket chooses and the others share its port.
            bind = socket.local_addr()?;
            sockets.push(socket);
        }
        let stop = Arc::new(AtomicBool::new(false));
        let mut workers = Vec::new();
        for socket in sockets {
            let answerer = Answerer::new(settings, bind.port(), seed);
            let (stop, metrics) = (Arc::clone(&stop), metrics.clone());
            let work = move || work(&socket, answerer, &metrics, &stop);
            workers.push(std::thread::Builder::new().name("reflector".into()).spawn(work)?);
        }
        Ok(Self { local: bind, stop, workers })
    }

    /// Whether all workers are at work.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.workers.iter().all(|worker| !worker.is_finished())
    }
}

impl Drop for Reflector {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for worker in self.workers.drain(..) {
            if worker.join().is_err() {
                tracing::error!("a reflector's worker panicked");
            }
        }
    }
}

/// Opens a worker's socket; where there is no IPv6, one bound to `::` becomes one bound to 0.0.0.0.
fn open(bind: SocketAddr) -> io::Result<Socket> {
    let options = |bind| Options {
        bind,
        reuse_port: true,
        device: None,
        notices: false,
        buffer: Some(BUFFER),
        patience: Some(PATIENCE),
    };
    match Socket::open(&options(bind)) {
        Err(error) if bind.ip().is_unspecified() && bind.is_ipv6() && no_ipv6(&error) => {
            Socket::open(&options(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), bind.port())))
        }
        result => result,
    }
}

fn no_ipv6(error: &io::Error) -> bool {
    let none = [rustix::io::Errno::AFNOSUPPORT, rustix::io::Errno::ADDRNOTAVAIL];
    none.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

fn work(socket: &Socket, mut answerer: Answerer, metrics: &ReflectorMetrics, stop: &AtomicBool) {
    let mut inbox = Inbox::new(BATCH, LONGEST);
    let mut outbox = Outbox::new();
    while !stop.load(Ordering::Relaxed) {
        match socket.receive(&mut inbox, true) {
            Ok(0) => continue,
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot receive probes");
                std::thread::sleep(PATIENCE);
                continue;
            }
        }
        let now = clock::monotonic();
        outbox.clear();
        for datagram in inbox.datagrams() {
            match answerer.answer(now, &datagram, &mut outbox) {
                Ok(outcome) | Err(outcome) => metrics.count(outcome),
            }
        }
        answerer.stamp(&mut outbox, clock::wall());
        send(socket, &mut outbox, metrics);
    }
}

/// Sends all; one that cannot be sent is counted and left out, and those after it go out once.
fn send(socket: &Socket, outbox: &mut Outbox, metrics: &ReflectorMetrics) {
    let mut first = 0;
    while first < outbox.len() {
        match socket.send(outbox, first) {
            Ok(sent) => first += sent,
            Err(error) => {
                tracing::debug!(%error, "an answer was not sent");
                metrics.count(Outcome::SendFailed);
                first += 1;
            }
        }
    }
}
