//! A host that asks every node for the VIP by the node's own MAC address, and notes who answers when.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::support::capture::{Capture, Sender};
use crate::support::segment::{Host, INTERFACE};
use crate::trio::VIP;

/// The time from one round of questions to the next.
const ROUND: Duration = Duration::from_millis(4);

/// Claims of one node that are no further apart belong together.
const JOINED: Duration = Duration::from_millis(100);

/// What was seen.
#[derive(Debug)]
pub(crate) struct Seen {
    /// The longest time in which nobody claimed the address.
    pub(crate) gap: Duration,
    /// The longest time in which two did.
    pub(crate) overlap: Duration,
    /// How many claims each node made.
    pub(crate) answers: Vec<usize>,
}

pub(crate) struct Observer {
    capture: Capture,
    macs: Vec<[u8; 6]>,
    done: Arc<AtomicBool>,
    asker: Option<JoinHandle<()>>,
}

/// "Who has the VIP?", asked of one host alone (RFC 826).
fn question(watcher: &Host, mac: [u8; 6]) -> Vec<u8> {
    let IpAddr::V4(vip) = VIP.parse().unwrap() else { unreachable!("the VIP is IPv4") };
    let mut frame = mac.to_vec();
    frame.extend(watcher.mac());
    frame.extend([0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1]);
    frame.extend(watcher.mac());
    frame.extend(watcher.ipv4().octets());
    frame.extend([0; 6]);
    frame.extend(vip.octets());
    frame
}

impl Observer {
    pub(crate) fn start(watcher: &Host, macs: Vec<[u8; 6]>) -> Self {
        let capture = Capture::start(&watcher.netns, INTERFACE);
        let sender = Sender::open(&watcher.netns, INTERFACE);
        let questions: Vec<Vec<u8>> = macs.iter().map(|mac| question(watcher, *mac)).collect();
        let done = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&done);
        let asker = std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                questions.iter().for_each(|question| sender.send(question));
                std::thread::sleep(ROUND);
            }
        });
        Self { capture, macs, done, asker: Some(asker) }
    }

    /// When a node claimed the address.
    fn claims(&self, node: usize) -> Vec<Duration> {
        let all = self.capture.speaking_as(VIP.parse().unwrap());
        all.iter().filter(|frame| frame.source() == self.macs[node]).map(|frame| frame.at).collect()
    }

    pub(crate) fn answers(&self, node: usize) -> usize {
        self.claims(node).len()
    }

    /// When a node first claimed the address.
    pub(crate) fn first(&self, node: usize) -> Duration {
        self.claims(node).first().copied().unwrap()
    }

    pub(crate) fn end(mut self) -> Seen {
        self.done.store(true, Ordering::Relaxed);
        self.asker.take().unwrap().join().unwrap();
        assert_eq!(self.capture.dropped(), 0, "the observer missed frames");
        let claims: Vec<Vec<Duration>> = (0..self.macs.len()).map(|node| self.claims(node)).collect();
        let mut all: Vec<Duration> = claims.iter().flatten().copied().collect();
        all.sort();
        let gap = all.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default();
        let runs: Vec<(usize, Duration, Duration)> = claims
            .iter()
            .enumerate()
            .flat_map(|(node, times)| {
                times.chunk_by(|a, b| *b - *a <= JOINED).map(move |run| (node, run[0], run[run.len() - 1]))
            })
            .collect();
        let both = |a: &(usize, Duration, Duration), b: &(usize, Duration, Duration)| {
            if a.0 == b.0 { Duration::ZERO } else { a.2.min(b.2).saturating_sub(a.1.max(b.1)) }
        };
        let overlap = runs.iter().flat_map(|a| runs.iter().map(move |b| both(a, b))).max().unwrap_or_default();
        Seen { gap, overlap, answers: claims.iter().map(Vec::len).collect() }
    }
}
