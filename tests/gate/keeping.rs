//! Who keeps the gate: one process at a time, and the next one finds it.

use std::net::IpAddr;
use std::time::Duration;

use vipkeeper::clock;
use vipkeeper::gate::{Bpf, Entry, GateError, State};

use crate::support::bpffs::Bpffs;
use crate::support::netns::Netns;
use crate::support::segment::{Host, Segment};
use crate::wire::{attach, links};

const CLAIM: Entry = Entry { segment: 5, state: State::Claim, hard: true };

fn vip() -> IpAddr {
    "198.51.100.20".parse().unwrap()
}

fn answers(client: &Host) -> bool {
    client.netns.ip("neigh flush dev eth0");
    client.netns.command("ping").args(["-c", "1", "-W", "1", &vip().to_string()]).output().unwrap().status.success()
}

#[test]
fn the_next_process_finds_addresses_deadlines_and_links_and_the_gate_stands_meanwhile() {
    let segment = Segment::new();
    let (node, client, bpffs) = (segment.host("node", 1), segment.host("client", 2), Bpffs::new());
    node.netns.ip("addr add 198.51.100.20/32 dev eth0");
    let open = || node.netns.run(|| Bpf::open(bpffs.path()));
    let mut gate = open().unwrap();
    let all = links(&node);
    attach(&node, &mut gate);
    attach(&node, &mut gate);
    gate.set(vip(), CLAIM).unwrap();
    let deadline = clock::now() + Duration::from_secs(3600);
    gate.deadlines().set(5, Some(deadline));
    assert!(answers(&client));
    gate.deadlines().set(5, Some(clock::now()));
    drop(gate);
    assert!(!answers(&client), "nobody keeps it, and it stands");

    let mut gate = open().unwrap();
    assert_eq!(gate.entries().unwrap().into_iter().collect::<Vec<_>>(), [(vip(), CLAIM)]);
    assert_eq!(gate.links().iter().copied().collect::<Vec<_>>(), all);
    assert!(!answers(&client), "taking it over opens nothing");
    gate.deadlines().set(5, Some(deadline));
    assert_eq!(gate.deadlines().get(5), Some(deadline));
    assert!(answers(&client));

    gate.detach(all[0]).unwrap();
    gate.deadlines().set(5, Some(clock::now()));
    assert!(answers(&client), "the gate is off the link");
    attach(&node, &mut gate);
    assert!(!answers(&client));
    gate.dismantle().unwrap();
    assert!(answers(&client));
    assert!(!bpffs.path().join("vipkeeper").exists(), "nothing is left");
}

#[test]
fn one_process_a_network_namespace() {
    let (one, two, bpffs) = (Netns::new("one"), Netns::new("two"), Bpffs::new());
    let gate = one.run(|| Bpf::open(bpffs.path()).unwrap());
    let refused = one.run(|| Bpf::open(bpffs.path())).unwrap_err();
    assert!(matches!(refused, GateError::Locked(_)) && !refused.is_unavailable(), "{refused}");
    let mut other = two.run(|| Bpf::open(bpffs.path()).unwrap());
    other.set(vip(), CLAIM).unwrap();
    assert_eq!(gate.entries().unwrap().len(), 0, "namespaces do not meet");
    drop(gate);
    one.run(|| Bpf::open(bpffs.path()).unwrap());
}

#[test]
fn what_is_left_of_links_that_are_gone_is_not_taken_for_a_gate() {
    let segment = Segment::new();
    let (node, bpffs) = (segment.host("node", 1), Bpffs::new());
    let open = || node.netns.run(|| Bpf::open(bpffs.path()).unwrap());
    let mut gate = open();
    let all = links(&node);
    attach(&node, &mut gate);
    gate.set(vip(), CLAIM).unwrap();
    gate.deadlines().set(5, None);
    drop(gate);
    node.netns.ip("link del eth0");
    let mut gate = open();
    assert!(gate.links().is_empty() && gate.entries().unwrap().is_empty());
    assert_ne!(gate.deadlines().get(5), None, "an old deadline opens nothing");
    assert!(matches!(node.netns.run(|| gate.attach(all[0])), Err(GateError::Kernel { .. })));
}

#[test]
fn another_program_at_the_same_place_is_left_alone() {
    let segment = Segment::new();
    let (node, client) = (segment.host("node", 1), segment.host("client", 2));
    node.netns.ip("addr add 198.51.100.20/32 dev eth0");
    // Another owner of a program at tcx: a second gate, under a file system of its own, that drops another address.
    let (ours, theirs) = (Bpffs::new(), Bpffs::new());
    let mut other = node.netns.run(|| Bpf::open(theirs.path()).unwrap());
    let mut gate = node.netns.run(|| Bpf::open(ours.path()).unwrap());
    attach(&node, &mut other);
    attach(&node, &mut gate);
    other.set(vip(), CLAIM).unwrap();
    assert!(!answers(&client), "a frame that our gate lets pass goes on to theirs");
    other.deadlines().set(5, None);
    gate.set(vip(), CLAIM).unwrap();
    assert!(!answers(&client), "and ours drops what theirs lets pass");
    gate.dismantle().unwrap();
    assert!(answers(&client));
    other.deadlines().set(5, Some(clock::now()));
    assert!(!answers(&client), "theirs stands when ours has gone");
}

#[test]
fn errors_say_what_to_do() {
    let (netns, folder) = (Netns::new("errors"), tempfile::tempdir().unwrap());
    let error = netns.run(|| Bpf::open(folder.path())).unwrap_err();
    assert!(error.is_unavailable());
    let path = folder.path().display();
    assert_eq!(error.to_string(), format!("{path} is no BPF file system; mount one with: mount -t bpf bpf {path}"));
    let bpffs = Bpffs::new();
    let mut gate = netns.run(|| Bpf::open(bpffs.path()).unwrap());
    for segment in [0, 512] {
        let error = gate.set(vip(), Entry { segment, ..CLAIM }).unwrap_err();
        assert_eq!(error.to_string(), format!("segment number {segment} is not from 1 to 511"));
        gate.deadlines().set(segment, None);
    }
    assert!(matches!(gate.attach(1), Err(GateError::Namespace)), "this thread is in the machine's namespace");
    let error = netns.run(|| gate.attach(4711)).unwrap_err();
    assert_eq!(error.to_string(), "cannot attach a program to a link");
}
