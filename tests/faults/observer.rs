//! A host that asks each node for VIPs by the node's own MAC address, and so sees every claim, also one that no client
//! would see.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::questions;
use crate::station::{Station, mac};
use crate::support::capture::{Capture, Claim, Frame, Sender};
use crate::support::realtime;
use crate::support::segment::INTERFACE;

/// What was asked of one node about one VIP, and when it spoke as it, by time since the epoch.
#[derive(Debug, Default, Clone)]
pub(crate) struct Track {
    pub(crate) asked: Vec<Duration>,
    pub(crate) claimed: Vec<Duration>,
}

/// All tracks, by VIP and then by node.
pub(crate) type Log = Vec<Vec<Track>>;

pub(crate) struct Observer {
    log: Arc<Mutex<Log>>,
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// The time between two rounds of questions about so many VIPs: at most 8,000 frames a second.
pub(crate) fn round(vips: usize, nodes: usize) -> Duration {
    Duration::from_millis(4).max(Duration::from_micros(125) * u32::try_from(vips * nodes).unwrap())
}

impl Observer {
    /// Asks nodes 1 to `nodes` about these VIPs from now on.
    pub(crate) fn start(station: &Station, nodes: usize, vips: &[IpAddr]) -> Self {
        let capture = Capture::start(&station.netns, INTERFACE);
        let sender = Sender::open(&station.netns, INTERFACE);
        let numbers = 1..=u8::try_from(nodes).unwrap();
        let questions: Vec<Vec<u8>> = vips
            .iter()
            .flat_map(|vip| numbers.clone().map(|number| questions::who_has(station, mac(number), *vip)))
            .collect();
        let index: BTreeMap<IpAddr, usize> = vips.iter().copied().zip(0..).collect();
        let log = Arc::new(Mutex::new(vec![vec![Track::default(); nodes]; vips.len()]));
        let done = Arc::new(AtomicBool::new(false));
        let (sink, ended, pause) = (Arc::clone(&log), Arc::clone(&done), round(vips.len(), nodes));
        let thread = std::thread::spawn(move || {
            realtime();
            while !ended.load(Ordering::Relaxed) {
                questions.iter().for_each(|question| sender.send(question));
                std::thread::sleep(pause);
                note(&capture.take(), &index, &mut sink.lock().unwrap());
            }
            assert_eq!(capture.dropped(), 0, "the observer missed frames");
        });
        Self { log, done, thread: Some(thread) }
    }

    /// When each node last spoke as a VIP.
    pub(crate) fn last(&self, vip: usize) -> Vec<Option<Duration>> {
        self.log.lock().unwrap()[vip].iter().map(|track| track.claimed.last().copied()).collect()
    }

    pub(crate) fn end(mut self) -> Log {
        self.done.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
        std::mem::take(&mut *self.log.lock().unwrap())
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Sorts frames into the tracks.
fn note(frames: &[Frame], index: &BTreeMap<IpAddr, usize>, log: &mut Log) {
    for frame in frames {
        let host = if frame.outgoing { frame.destination() } else { frame.source() };
        let nodes = log.first().map_or(0, Vec::len);
        if host[..5] != mac(0)[..5] || host[5] == 0 || usize::from(host[5]) > nodes {
            continue;
        }
        let address: Option<IpAddr> = match (frame.claim(), frame.outgoing) {
            (Some(Claim::Arp { target, .. }), true) => Some(target.into()),
            (Some(Claim::Arp { sender, .. }), false) => Some(sender.into()),
            (Some(Claim::Solicitation { target, .. }), true) => Some(target.into()),
            (Some(Claim::Solicitation { source, .. }), false) => Some(source.into()),
            (Some(Claim::Advertisement { target, .. }), false) => Some(target.into()),
            _ => None,
        };
        if let Some(vip) = address.and_then(|address| index.get(&address)) {
            let track = &mut log[*vip][usize::from(host[5]) - 1];
            if frame.outgoing { track.asked.push(frame.at) } else { track.claimed.push(frame.at) }
        }
    }
}
