//! What others do to nftables: the gate of a process stays as it is, or is put back at once where the kernel cannot keep
//! them from it.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use vipkeeper::clock;
use vipkeeper::gate::{Entry, GateError, Nft, Ownership, State};

use crate::lateness::question;
use crate::support::capture::{self, Capture, Sender};
use crate::support::segment::{Host, INTERFACE, Segment};
use crate::wire::links;

const T: Duration = Duration::from_millis(300);
const LIMIT: Duration = Duration::from_secs(10);
const OTHERS: [&[&str]; 2] = [&["flush", "ruleset"], &["delete", "table", "netdev", "vipkeeper"]];

/// One address that passes and one that does not.
fn vips() -> [IpAddr; 2] {
    ["198.51.100.20".parse().unwrap(), "198.51.100.21".parse().unwrap()]
}

/// A node with both addresses, and a client that asks for both all the time.
struct Bench {
    node: Host,
    capture: Capture,
    asking: AtomicBool,
    client: Host,
    _segment: Segment,
}

impl Bench {
    fn new() -> Self {
        let segment = Segment::new();
        let (node, client) = (segment.host("node", 1), segment.host("client", 2));
        vips().iter().for_each(|ip| drop(node.netns.ip(&format!("addr add {ip}/32 dev {INTERFACE}"))));
        let capture = Capture::start(segment.bridge(), node.port());
        Self { node, capture, asking: AtomicBool::new(true), client, _segment: segment }
    }

    fn open(&self, ownership: Ownership) -> Result<Nft, GateError> {
        self.node.netns.run(|| Nft::open(T, ownership))
    }

    /// The gate on all links, with one address open without end and the other not.
    fn gate(&self, ownership: Ownership) -> Nft {
        let mut gate = self.open(ownership).unwrap();
        self.node.netns.run(|| links(&self.node).into_iter().for_each(|link| gate.attach(link).unwrap()));
        let [open, shut] = vips();
        gate.set(open, Entry { segment: 7, state: State::Claim, hard: false }).unwrap();
        // Its segment is one whose right has ended.
        gate.set(shut, Entry { segment: 8, state: State::Claim, hard: true }).unwrap();
        gate.extend(7, None).unwrap();
        gate
    }

    /// Does `work` while both addresses are asked for.
    fn while_asked<T>(&self, work: impl FnOnce() -> T) -> T {
        let sender = Sender::open(&self.client.netns, INTERFACE);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while self.asking.load(Ordering::Relaxed) {
                    vips().into_iter().for_each(|ip| sender.send(&question(ip)));
                    std::thread::sleep(Duration::from_micros(200));
                }
            });
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
            self.asking.store(false, Ordering::Relaxed);
            done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Waits until an address has been answered for that was asked after now.
    fn wait_for(&self, ip: IpAddr, what: &str) -> Duration {
        let now = capture::now();
        self.capture.wait(LIMIT, what, |frame| frame.at > now && frame.speaks_as(ip)).at
    }

    fn nft(&self, words: &[&str]) -> bool {
        self.node.netns.command("nft").args(words).output().unwrap().status.success()
    }
}

#[test]
fn nobody_takes_away_what_a_process_owns_nor_what_it_left_until_the_next_has_it() {
    let bench = Bench::new();
    let [open, shut] = vips();
    let gate = bench.gate(Ownership::WherePossible);
    assert!(gate.watched().is_none(), "this kernel keeps others away from the table");
    let mut gate = bench.while_asked(|| {
        let mut gate = gate;
        for round in 0..10 {
            for words in OTHERS {
                // A flush passes over what others own, and a deletion is refused.
                assert_eq!(bench.nft(words), words[0] == "flush", "{words:?}");
                bench.wait_for(open, "an answer after somebody touched nftables");
            }
            assert!(!bench.nft(&["flush", "chain", "netdev", "vipkeeper", "ingress"]), "a part of it");
            if round == 5 {
                // The kernel does the same when a process is killed.
                drop(gate);
                bench.wait_for(open, "an answer while nobody keeps the gate");
                gate = bench.open(Ownership::WherePossible).unwrap();
            }
        }
        gate
    });
    let answers = bench.capture.speaking_as(shut);
    assert!(answers.is_empty(), "{} answers for an address that was shut", answers.len());
    assert_eq!(gate.look().unwrap(), 0);
    assert_eq!(bench.capture.dropped(), 0);
}

#[test]
fn what_a_version_before_left_is_owned_from_then_on_and_open_all_the_while() {
    let bench = Bench::new();
    let [open, shut] = vips();
    let mut gate = bench.gate(Ownership::Never);
    let deadline = clock::now() + Duration::from_secs(3600);
    gate.extend(7, Some(deadline)).unwrap();
    gate.leave(7).unwrap();
    drop(gate);
    let gate = bench.while_asked(|| {
        bench.wait_for(open, "an answer");
        let gate = bench.open(Ownership::WherePossible).unwrap();
        assert!(bench.nft(OTHERS[0]));
        bench.wait_for(open, "an answer after a flush");
        gate
    });
    assert!(bench.capture.speaking_as(shut).is_empty());
    let left = gate.deadline(7).unwrap();
    assert!(left <= deadline && left + Duration::from_secs(1) > deadline, "{left:?} of {deadline:?}");
    assert_eq!(gate.links().iter().copied().collect::<Vec<_>>(), links(&bench.node));
}

#[test]
fn where_the_kernel_has_no_owners_it_is_put_back_at_once() {
    let bench = Bench::new();
    let [open, shut] = vips();
    let mut gate = bench.gate(Ownership::Never);
    let (looks, done) = (AtomicBool::new(false), AtomicBool::new(false));
    let gate = bench.while_asked(|| {
        std::thread::scope(|scope| {
            // What the data plane does.
            let keeper = scope.spawn(|| {
                let mut times = 0;
                bench.node.netns.run(|| {
                    while !done.load(Ordering::Relaxed) {
                        let watched = gate.watched().unwrap();
                        let wait = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };
                        poll(&mut [PollFd::from_borrowed_fd(watched, PollFlags::IN)], Some(&wait)).unwrap();
                        if looks.load(Ordering::Relaxed) {
                            times += gate.look().unwrap();
                        }
                    }
                });
                (gate, times)
            });
            assert!(bench.nft(OTHERS[0]));
            bench.wait_for(shut, "that the gate is gone for as long as nobody looks");
            looks.store(true, Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(100));
            for words in OTHERS.iter().cycle().take(10) {
                bench.capture.clear();
                assert!(bench.nft(words), "{words:?}");
                bench.wait_for(open, "an answer of the address that is open");
                std::thread::sleep(Duration::from_millis(100));
                let answers = bench.capture.speaking_as(shut);
                let dark = answers.first().zip(answers.last()).map_or(Duration::ZERO, |(a, b)| b.at - a.at);
                assert!(dark < Duration::from_millis(50), "{words:?}: open for {dark:?}");
            }
            done.store(true, Ordering::Relaxed);
            let (gate, times) = keeper.join().unwrap();
            assert_eq!(times, 11, "each is counted once");
            gate
        })
    });
    assert_eq!(gate.entries().len(), 2);
}

#[test]
fn what_others_took_away_is_put_back_before_anything_is_done_to_it_and_other_tables_do_not_matter() {
    let bench = Bench::new();
    let [open, shut] = vips();
    let mut gate = bench.gate(Ownership::Never);
    assert!(bench.nft(&["add", "table", "inet", "vipkeeper"]) && bench.nft(&["add", "table", "netdev", "other"]));
    assert_eq!(bench.node.netns.run(|| gate.look()).unwrap(), 0);
    for words in OTHERS {
        assert!(bench.nft(words), "{words:?}");
        bench.node.netns.run(|| gate.extend(7, Some(clock::now())).unwrap());
        assert_eq!(bench.node.netns.run(|| gate.look()).unwrap(), 1, "{words:?}");
        assert_eq!(bench.node.netns.run(|| gate.look()).unwrap(), 0, "once");
    }
    bench.node.netns.run(|| gate.extend(7, None).unwrap());
    bench.while_asked(|| bench.wait_for(open, "an answer"));
    assert!(bench.capture.speaking_as(shut).is_empty());
    // What is left for the next process is the same.
    drop(gate);
    let gate = bench.open(Ownership::Never).unwrap();
    assert_eq!((gate.entries().len(), gate.links().len()), (2, links(&bench.node).len()));
}
