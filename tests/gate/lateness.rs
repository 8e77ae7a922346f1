//! How late the gate shuts when whoever extends it is killed or stopped: asked every half millisecond over a real segment.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use vipkeeper::clock;
use vipkeeper::core::time::Time;
use vipkeeper::gate::{Bpf, Deadlines, Entry, State};

use crate::support::bpffs::Bpffs;
use crate::support::capture::{self, Capture, Sender};
use crate::support::segment::{INTERFACE, Segment};
use crate::wire::attach;

/// How far ahead the deadline is set, and how often.
const AHEAD: Duration = Duration::from_millis(150);
const EVERY: Duration = Duration::from_millis(20);

/// A process that does one thing again and again, until it is killed.
pub(crate) struct Forked {
    pub(crate) id: Pid,
}

impl Forked {
    /// Does `work` each time that `pause` has passed. It must do system calls and stores only: the locks of other threads
    /// are not released in the child.
    pub(crate) fn every(pause: Duration, work: impl Fn()) -> Self {
        // SAFETY: the child only calls `work`, which is as said above, and nanosleep(2), and never returns.
        #[allow(unsafe_code)]
        let id = unsafe { libc::fork() };
        assert!(id >= 0, "cannot fork");
        if id == 0 {
            loop {
                work();
                let pause = rustix::time::Timespec { tv_sec: 0, tv_nsec: pause.as_nanos().try_into().unwrap_or(0) };
                let _interrupted = rustix::thread::nanosleep(&pause);
            }
        }
        Self { id: Pid::from_raw(id).unwrap() }
    }
}

fn extend(deadlines: Deadlines) -> Forked {
    Forked::every(EVERY, move || deadlines.set(1, Some(clock::now() + AHEAD)))
}

impl Drop for Forked {
    fn drop(&mut self) {
        let _ = kill_process(self.id, Signal::KILL);
        let _ = waitpid(Some(self.id), WaitOptions::empty());
    }
}

pub(crate) fn question(ip: IpAddr) -> Vec<u8> {
    let mac = [2, 0, 0, 0, 0, 2];
    match ip {
        IpAddr::V4(ip) => {
            [&[0xff; 6][..], &mac, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1], &mac, &[0; 10], &ip.octets()].concat()
        }
        IpAddr::V6(ip) => solicitation(ip, mac),
    }
}

/// A solicitation from 2001:db8:1::2.
fn solicitation(target: std::net::Ipv6Addr, mac: [u8; 6]) -> Vec<u8> {
    let source = std::net::Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 2).octets();
    let low = &target.octets()[13..];
    let group = [&[0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff][..], low].concat();
    let mut message = [&[135, 0, 0, 0, 0, 0, 0, 0][..], &target.octets(), &[1, 1], &mac].concat();
    let pseudo = [&source[..], &group, &[0, 0, 0, 32, 0, 0, 0, 58], &message].concat();
    let sum = pseudo.chunks(2).fold(0u32, |sum, pair| sum + u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let folded = (sum & 0xffff) + (sum >> 16);
    let checksum = !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap();
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    let header = [&[0x33, 0x33, 0xff][..], low, &mac, &[0x86, 0xdd, 0x60, 0, 0, 0, 0, 32, 58, 255]].concat();
    [&header[..], &source, &group, &message].concat()
}

/// Stops the extender by `signal` and returns by how much the last answer came before the deadline.
fn margin(ip: IpAddr, signal: Signal) -> Result<Duration, Duration> {
    let segment = Segment::new();
    let (node, client, bpffs) = (segment.host("node", 1), segment.host("client", 2), Bpffs::new());
    node.netns.ip(&format!("addr add {ip} dev {INTERFACE} nodad"));
    let mut gate = node.netns.run(|| Bpf::open(bpffs.path()).unwrap());
    attach(&node, &mut gate);
    gate.set(ip, Entry { segment: 1, state: State::Claim, hard: false }).unwrap();
    let deadlines = gate.deadlines();
    drop(gate);
    let extender = extend(deadlines.clone());
    // On the bridge's side of the node's cable, so that the client's queue adds nothing.
    let capture = Capture::start(segment.bridge(), node.port());
    let asking = AtomicBool::new(true);
    let deadline = std::thread::scope(|scope| {
        scope.spawn(|| {
            let (sender, frame) = (Sender::open(&client.netns, INTERFACE), question(ip));
            while asking.load(Ordering::Relaxed) {
                sender.send(&frame);
                std::thread::sleep(Duration::from_micros(500));
            }
        });
        capture.wait(Duration::from_secs(5), "an answer", |frame| frame.speaks_as(ip));
        std::thread::sleep(Duration::from_millis(100));
        kill_process(extender.id, signal).unwrap();
        std::thread::sleep(EVERY);
        let deadline = deadlines.get(1).unwrap();
        std::thread::sleep(AHEAD + Duration::from_millis(300));
        asking.store(false, Ordering::Relaxed);
        deadline
    });
    assert_eq!(capture.dropped(), 0);
    let last = capture.speaking_as(ip).last().unwrap().at;
    let shut = wire_time(deadline);
    assert!(last + Duration::from_millis(200) > shut, "answers ended long before the deadline");
    shut.checked_sub(last).ok_or_else(|| last.saturating_sub(shut))
}

/// A deadline on the clock of captures.
fn wire_time(at: Time) -> Duration {
    let (boot, wire) = (clock::now(), capture::now());
    (wire + at.0).checked_sub(boot.0).unwrap()
}

#[test]
fn it_is_never_late_after_a_kill_or_a_stop() {
    for ip in ["198.51.100.20", "2001:db8:1::20"] {
        for signal in [Signal::KILL, Signal::STOP] {
            let margins: Vec<_> = (0..3).map(|_| margin(ip.parse().unwrap(), signal)).collect();
            for margin in &margins {
                // The stamp of an answer is taken after the gate has looked at the clock.
                let late = margin.err().unwrap_or_default();
                assert!(late < Duration::from_millis(1), "{ip} {signal:?}: late by {late:?}");
            }
            let early = margins.iter().flatten().min().unwrap();
            assert!(*early < Duration::from_millis(20), "{ip} {signal:?}: {margins:?}");
        }
    }
}

#[test]
fn a_process_that_was_stopped_beyond_its_deadline_opens_again_only_by_extending() {
    let segment = Segment::new();
    let (node, client, bpffs) = (segment.host("node", 1), segment.host("client", 2), Bpffs::new());
    let ip: IpAddr = "198.51.100.20".parse().unwrap();
    node.netns.ip(&format!("addr add {ip} dev {INTERFACE}"));
    let mut gate = node.netns.run(|| Bpf::open(bpffs.path()).unwrap());
    attach(&node, &mut gate);
    gate.set(ip, Entry { segment: 1, state: State::Claim, hard: false }).unwrap();
    let extender = extend(gate.deadlines());
    let capture = Capture::start(segment.bridge(), node.port());
    let sender = Sender::open(&client.netns, INTERFACE);
    let answered = |within: Duration| {
        capture.clear();
        sender.send(&question(ip));
        std::thread::sleep(within);
        !capture.speaking_as(ip).is_empty()
    };
    crate::support::wait_until(Duration::from_secs(5), "an answer", || answered(Duration::from_millis(20)));
    kill_process(extender.id, Signal::STOP).unwrap();
    std::thread::sleep(AHEAD + EVERY);
    assert!(!answered(Duration::from_millis(100)));
    kill_process(extender.id, Signal::CONT).unwrap();
    crate::support::wait_until(Duration::from_secs(5), "an answer", || answered(Duration::from_millis(20)));
}
