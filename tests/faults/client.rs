//! An ordinary client: it pings a VIP through its kernel's own neighbour table.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, Protocol, Socket, Type};

use crate::station::Station;
use crate::support::capture::now;
use crate::support::realtime;

/// The time from one echo request to the next.
pub(crate) const STEP: Duration = Duration::from_millis(5);

/// What the client sent and got, by time since the epoch.
#[derive(Debug, Default, Clone)]
pub(crate) struct Pings {
    /// When each request was sent; its place is its number.
    pub(crate) sent: Vec<Duration>,
    /// The answered numbers, and when.
    pub(crate) answered: Vec<(usize, Duration)>,
    /// When it was over.
    pub(crate) end: Duration,
}

pub(crate) struct Client {
    pings: Arc<Mutex<Pings>>,
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Client {
    pub(crate) fn start(station: &Station, vip: IpAddr) -> Self {
        station.netns.sysctl("net/ipv4/ping_group_range", "0 2147483647");
        let (domain, protocol) = match vip {
            IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
            IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
        };
        let socket = station.netns.run(|| Socket::new(domain, Type::DGRAM, Some(protocol)).unwrap());
        socket.set_nonblocking(true).unwrap();
        let pings = Arc::new(Mutex::new(Pings::default()));
        let done = Arc::new(AtomicBool::new(false));
        let (log, ended) = (Arc::clone(&pings), Arc::clone(&done));
        let thread = std::thread::spawn(move || {
            realtime();
            while !ended.load(Ordering::Relaxed) {
                turn(&socket, vip, &log);
            }
        });
        Self { pings, done, thread: Some(thread) }
    }

    /// How many requests were answered since then.
    pub(crate) fn answers(&self, since: Duration) -> usize {
        self.pings.lock().unwrap().answered.iter().rev().take_while(|(_, at)| *at > since).count()
    }

    pub(crate) fn end(mut self) -> Pings {
        self.done.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
        let mut pings = std::mem::take(&mut *self.pings.lock().unwrap());
        pings.end = now();
        pings
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Sends one request and takes what comes until the next is due.
fn turn(socket: &Socket, vip: IpAddr, log: &Mutex<Pings>) {
    let start = now();
    let number = {
        let mut pings = log.lock().unwrap();
        pings.sent.push(start);
        pings.sent.len() - 1
    };
    // Type, code, checksum and identifier are the kernel's to check or to fill in (ping sockets, icmp(7)).
    let mut request = vec![if vip.is_ipv4() { 8 } else { 128 }, 0, 0, 0, 0, 0, 0, 0];
    request[6..8].copy_from_slice(&(number as u16).to_be_bytes());
    request.extend((number as u64).to_be_bytes());
    // What cannot be sent, for want of a neighbour, is lost.
    let _ = socket.send_to(&request, &SocketAddr::new(vip, 0).into());
    loop {
        let left = (start + STEP).saturating_sub(now());
        if left.is_zero() {
            return;
        }
        // ppoll(2) sleeps by the nanosecond, a socket's own time-out by the tick.
        let mut wanted = [PollFd::new(socket, PollFlags::IN)];
        let _ = poll(&mut wanted, Some(&Timespec::try_from(left).unwrap()));
        let mut bytes = [0u8; 64];
        let read = std::io::Read::read(&mut &*socket, &mut bytes).unwrap_or(0);
        if read >= 16 && matches!(bytes[0], 0 | 129) {
            let number = u64::from_be_bytes(bytes[8..16].try_into().unwrap()) as usize;
            log.lock().unwrap().answered.push((number, now()));
        }
    }
}
