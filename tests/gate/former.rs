//! A gate of the other kind that a former process left: nothing passes on the way that did not pass before.

use std::net::IpAddr;
use std::time::Duration;

use vipkeeper::clock;
use vipkeeper::gate::{Choice, Entry, Gate, GateError, State, is_left, take_down};

use crate::support::bpffs::Bpffs;
use crate::support::capture::{self, Capture, Sender};
use crate::support::segment::{Host, INTERFACE, Segment};
use crate::wire::links;

const T: Duration = Duration::from_millis(300);
const LIMIT: Duration = Duration::from_secs(10);

fn vips() -> [IpAddr; 2] {
    ["198.51.100.20".parse().unwrap(), "198.51.100.21".parse().unwrap()]
}

fn open(host: &Host, bpffs: &Bpffs, choice: Choice) -> Gate {
    host.netns.run(|| Gate::open(choice, bpffs.path(), T)).unwrap().0
}

/// Leaves a gate of one kind, one address open for an hour and the other shut, and opens one of the other kind, while
/// both are asked for all the time.
fn change(from: Choice, to: Choice) {
    let (segment, bpffs) = (Segment::new(), Bpffs::new());
    let (node, client) = (segment.host("node", 1), segment.host("client", 2));
    let [open_ip, shut_ip] = vips();
    vips().iter().for_each(|ip| drop(node.netns.ip(&format!("addr add {ip}/32 dev {INTERFACE}"))));
    let mut gate = open(&node, &bpffs, from);
    node.netns.run(|| links(&node).into_iter().for_each(|link| gate.attach(link).unwrap()));
    let deadline = clock::now() + Duration::from_secs(3600);
    gate.set(open_ip, Entry { segment: 7, state: State::Claim, hard: false }).unwrap();
    gate.set(shut_ip, Entry { segment: 7, state: State::Shut, hard: true }).unwrap();
    gate.extend(7, Some(deadline)).unwrap();
    gate.leave(7).unwrap();
    drop(gate);
    assert!(node.netns.run(|| is_left(bpffs.path())).unwrap());

    let (sender, capture) = (Sender::open(&client.netns, INTERFACE), Capture::start(segment.bridge(), node.port()));
    let done = std::sync::atomic::AtomicBool::new(false);
    let mut gate = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                vips().into_iter().for_each(|ip| sender.send(&crate::lateness::question(ip)));
                std::thread::sleep(Duration::from_micros(200));
            }
        });
        capture.wait(LIMIT, "an answer", |frame| frame.speaks_as(open_ip));
        let gate = open(&node, &bpffs, to);
        let after = capture::now();
        capture.wait(LIMIT, "an answer behind the new gate", |frame| frame.at > after && frame.speaks_as(open_ip));
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        gate
    });
    assert!(capture.speaking_as(shut_ip).is_empty(), "{from:?} to {to:?}");
    assert_eq!(gate.links().iter().copied().collect::<Vec<_>>(), links(&node));
    let entries = gate.entries().unwrap();
    assert_eq!(entries[&open_ip], Entry { segment: 7, state: State::Claim, hard: false });
    assert_eq!(entries[&shut_ip], Entry { segment: 7, state: State::Shut, hard: true });
    let left = gate.deadline(7).unwrap();
    assert!(left <= deadline && left + Duration::from_secs(1) > deadline, "{left:?} of {deadline:?}");
    gate.extend(7, Some(clock::now())).unwrap();
    capture.clear();
    sender.send(&crate::lateness::question(open_ip));
    std::thread::sleep(Duration::from_millis(100));
    assert!(capture.speaking_as(open_ip).is_empty());
    drop(gate);
    node.netns.run(|| take_down(bpffs.path())).unwrap();
    assert!(!node.netns.run(|| is_left(bpffs.path())).unwrap());
}

#[test]
fn a_bpf_gate_is_followed_by_nftables() {
    change(Choice::Bpf, Choice::Nft);
}

#[test]
fn nftables_is_followed_by_a_bpf_gate() {
    change(Choice::Nft, Choice::Bpf);
}

/// A process that was not given the bpffs would keep a gate of its own behind one that drops all it says.
#[test]
fn a_bpf_gate_that_cannot_be_seen_is_said_and_not_stood_behind() {
    let (segment, bpffs) = (Segment::new(), Bpffs::new());
    let node = segment.host("node", 1);
    let elsewhere = std::env::temp_dir();
    let gate = open(&node, &bpffs, Choice::Bpf);
    drop(gate);
    let unseen = |choice| node.netns.run(|| Gate::open(choice, &elsewhere, T)).map(drop);
    for choice in [Choice::Auto, Choice::Nft] {
        let error = unseen(choice).unwrap_err();
        assert!(matches!(&error, GateError::OutOfReach(path) if *path == elsewhere), "{error}");
        assert!(error.to_string().contains("--cleanup --bpffs"), "{error}");
    }
    assert!(matches!(node.netns.run(|| is_left(&elsewhere)), Err(GateError::OutOfReach(_))));
    assert!(matches!(node.netns.run(|| take_down(&elsewhere)), Err(GateError::OutOfReach(_))));
    node.netns.run(|| take_down(bpffs.path())).unwrap();
    assert!(!node.netns.run(|| is_left(&elsewhere)).unwrap());
    unseen(Choice::Auto).unwrap();
}

/// The trace of a BPF gate goes with it, however it goes.
#[test]
fn a_bpf_gate_that_went_is_not_looked_for() {
    let (segment, bpffs) = (Segment::new(), Bpffs::new());
    let node = segment.host("node", 1);
    let elsewhere = std::env::temp_dir();
    let ends: [fn(Gate, &Host, &Bpffs); 3] = [
        |gate, node, _| node.netns.run(|| gate.dismantle()).unwrap(),
        |gate, node, bpffs| {
            drop(gate);
            drop(open(node, bpffs, Choice::Nft));
        },
        |gate, node, bpffs| {
            drop(gate);
            std::fs::remove_dir_all(bpffs.path().join("vipkeeper")).unwrap();
            drop(open(node, bpffs, Choice::Nft));
        },
    ];
    for end in ends {
        end(open(&node, &bpffs, Choice::Bpf), &node, &bpffs);
        node.netns.run(|| Gate::open(Choice::Nft, &elsewhere, T)).map(drop).unwrap();
    }
}
