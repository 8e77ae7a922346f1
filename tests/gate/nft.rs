//! The gate of nftables: the same promises, but that it is kept open by marked packets.

use std::net::{IpAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::{Signal, kill_process};
use vipkeeper::clock;
use vipkeeper::gate::{Choice, Entry, Gate, GateError, Nft, Ownership, State};
use vipkeeper::netlink::Netlink;

use crate::lateness::{Forked, question};
use crate::support::bpffs::Bpffs;
use crate::support::capture::{Capture, Sender};
use crate::support::netns::Netns;
use crate::support::segment::{Host, INTERFACE, Segment};
use crate::wire::links;

const T: Duration = Duration::from_millis(300);
const LIMIT: Duration = Duration::from_secs(5);
const EVERY: Duration = Duration::from_millis(50);

fn vips() -> [IpAddr; 2] {
    ["198.51.100.20".parse().unwrap(), "2001:db8:1::20".parse().unwrap()]
}

fn open(host: &Host) -> Nft {
    let mut gate = host.netns.run(|| Nft::open(T, Ownership::WherePossible)).unwrap();
    let links = links(host);
    host.netns.run(|| links.into_iter().for_each(|link| gate.attach(link).unwrap()));
    gate
}

/// A node with both addresses, and a client.
fn bench() -> (Segment, Host, Host) {
    let segment = Segment::new();
    let (node, client) = (segment.host("node", 1), segment.host("client", 2));
    for ip in vips() {
        node.netns.ip(&format!("addr add {ip} dev {INTERFACE} nodad"));
    }
    (segment, node, client)
}

fn entry(state: State, hard: bool) -> Entry {
    Entry { segment: 7, state, hard }
}

fn set(gate: &mut Nft, entry: Entry) {
    vips().into_iter().for_each(|ip| gate.set(ip, entry).unwrap());
}

fn ping(client: &Host, ip: IpAddr) -> bool {
    client.netns.command("ping").args(["-c", "1", "-W", "1", &ip.to_string()]).output().unwrap().status.success()
}

/// Whether the client finds both addresses by asking, or neither.
fn reached(client: &Host) -> bool {
    let [v4, v6] = vips().map(|ip| {
        client.netns.ip(&format!("neigh flush dev {INTERFACE}"));
        ping(client, ip)
    });
    assert_eq!(v4, v6, "IPv4 and IPv6 differ");
    v4
}

/// A socket whose packets keep segment 7 open.
fn marked(host: &Host) -> UdpSocket {
    host.netns.run(|| {
        let socket = UdpSocket::bind("198.51.100.1:0").unwrap();
        socket2::SockRef::from(&socket).set_mark(Nft::mark(7)).unwrap();
        socket.connect("198.51.100.2:9473").unwrap();
        socket
    })
}

#[test]
fn states_and_hardness_mean_what_they_mean_at_the_other_gate() {
    let (_segment, node, client) = bench();
    let mut gate = open(&node);
    assert!(reached(&client), "an address that the gate does not know passes");
    set(&mut gate, entry(State::Claim, false));
    assert!(!reached(&client), "nothing has opened it yet");
    gate.extend(7, None).unwrap();
    assert!(reached(&client));
    set(&mut gate, entry(State::Accept, false));
    assert!(!reached(&client));
    set(&mut gate, entry(State::Claim, true));
    assert!(reached(&client));
    for (ip, mac) in [(client.ipv4().to_string(), "02"), (client.ipv6().to_string(), "02")] {
        node.netns.ip(&format!("neigh replace {ip} lladdr 02:00:00:00:00:{mac} dev {INTERFACE} nud permanent"));
    }
    for ip in vips() {
        client.netns.ip(&format!("neigh replace {ip} lladdr 02:00:00:00:00:01 dev {INTERFACE} nud permanent"));
    }
    for (state, hard, through) in [
        (State::Shut, false, true),
        (State::Shut, true, false),
        (State::Accept, true, true),
        (State::Claim, true, true),
    ] {
        set(&mut gate, entry(state, hard));
        assert_eq!(vips().map(|ip| ping(&client, ip)), [through; 2], "{state:?}, hard: {hard}");
    }
    gate.extend(7, Some(clock::now())).unwrap();
    assert_eq!(vips().map(|ip| ping(&client, ip)), [false; 2]);
    assert!(ping(&client, node.ipv4().into()) && ping(&client, node.ipv6().into()), "nothing else is touched");
    vips().into_iter().for_each(|ip| gate.remove(ip).unwrap());
    assert_eq!(vips().map(|ip| ping(&client, ip)), [true; 2]);
}

#[test]
fn only_the_segments_own_mark_opens_it_and_only_for_its_timeout() {
    let (_segment, node, client) = bench();
    let mut gate = open(&node);
    set(&mut gate, entry(State::Claim, false));
    let socket = marked(&node);
    let answered = |sender: &Sender, capture: &Capture| {
        capture.clear();
        vips().into_iter().for_each(|ip| sender.send(&question(ip)));
        std::thread::sleep(Duration::from_millis(20));
        vips().map(|ip| capture.speaking_as(ip).iter().any(|frame| !frame.outgoing))
    };
    let (sender, capture) = (Sender::open(&client.netns, INTERFACE), Capture::start(&client.netns, INTERFACE));
    for mark in [0, 7, Nft::mark(8), Nft::mark(7) ^ 1 << 31] {
        socket2::SockRef::from(&socket).set_mark(mark).unwrap();
        // A port that nobody listens on is told so by ICMP: then one send fails, and the next goes out.
        socket.send(b"other").or_else(|_| socket.send(b"other")).unwrap();
        assert_eq!(answered(&sender, &capture), [false; 2], "mark {mark:#x}");
    }
    socket2::SockRef::from(&socket).set_mark(Nft::mark(7)).unwrap();
    socket.send(b"ours").or_else(|_| socket.send(b"ours")).unwrap();
    assert_eq!(answered(&sender, &capture), [true; 2]);
    std::thread::sleep(T);
    assert_eq!(answered(&sender, &capture), [false; 2]);
}

#[test]
fn it_is_never_late_after_a_kill_or_a_stop() {
    for ip in vips() {
        for signal in [Signal::KILL, Signal::STOP] {
            let (segment, node, client) = bench();
            let mut gate = open(&node);
            set(&mut gate, entry(State::Claim, false));
            let socket = marked(&node);
            let extender = Forked::every(EVERY, || {
                let _refused = socket.send(b"heartbeat");
            });
            let capture = Capture::start(segment.bridge(), node.port());
            let asking = AtomicBool::new(true);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    let (sender, frame) = (Sender::open(&client.netns, INTERFACE), question(ip));
                    while asking.load(Ordering::Relaxed) {
                        sender.send(&frame);
                        std::thread::sleep(Duration::from_micros(500));
                    }
                });
                capture.wait(LIMIT, "an answer", |frame| frame.speaks_as(ip));
                std::thread::sleep(T);
                kill_process(extender.id, signal).unwrap();
                std::thread::sleep(T * 3);
                asking.store(false, Ordering::Relaxed);
            });
            let is_heartbeat =
                |bytes: &[u8]| bytes.ends_with(b"heartbeat") || bytes.windows(9).any(|w| w == b"heartbeat");
            let frames = capture.frames();
            let refreshed = frames.iter().rfind(|frame| !frame.outgoing && is_heartbeat(&frame.bytes)).unwrap().at;
            let last = capture.speaking_as(ip).last().unwrap().at;
            let open = last.saturating_sub(refreshed);
            assert!(open < T + Duration::from_millis(5), "{ip} {signal:?}: open for {open:?}");
            assert!(open > T - Duration::from_millis(100), "{ip} {signal:?}: open for {open:?} only");
            assert_eq!(capture.dropped(), 0);
        }
    }
}

#[test]
fn the_next_process_finds_addresses_and_links_and_nothing_passes_meanwhile() {
    let (_segment, node, client) = bench();
    let mut gate = open(&node);
    let wanted = [entry(State::Accept, true), entry(State::Shut, false)];
    for (ip, entry) in vips().into_iter().zip(wanted) {
        gate.set(ip, entry).unwrap();
    }
    let refused = node.netns.run(|| Nft::open(T, Ownership::WherePossible)).unwrap_err();
    assert!(matches!(refused, GateError::Locked(_)), "{refused}");
    drop(gate);
    assert!(!reached(&client));
    let mut gate = node.netns.run(|| Nft::open(T, Ownership::WherePossible)).unwrap();
    assert_eq!(
        gate.entries().iter().map(|(ip, entry)| (*ip, *entry)).collect::<Vec<_>>(),
        vips().into_iter().zip(wanted).collect::<Vec<_>>()
    );
    assert_eq!(gate.links().iter().copied().collect::<Vec<_>>(), links(&node));
    assert!(!reached(&client));
    for link in links(&node) {
        gate.detach(link).unwrap();
    }
    assert!(reached(&client));
    node.netns.run(|| links(&node).into_iter().for_each(|link| gate.attach(link).unwrap()));
    assert!(!reached(&client));
    node.netns.ip("link del eth0");
    gate.detach(links(&client)[0]).unwrap();
    gate.dismantle().unwrap();
    let tables = node.netns.command("nft").args(["list", "tables"]).output().unwrap();
    assert!(tables.status.success() && tables.stdout.is_empty(), "{}", String::from_utf8_lossy(&tables.stdout));
}

#[test]
fn people_can_read_it_with_nft_and_ten_thousand_addresses_are_taken_over() {
    let netns = Netns::new("many");
    let address = |n: u32| IpAddr::from(std::net::Ipv4Addr::from(0x0a00_0000 + n));
    netns.run(|| {
        let mut gate = Nft::open(T, Ownership::WherePossible).unwrap();
        for n in 0..10_000 {
            gate.set(address(n), Entry { segment: 1, state: State::Claim, hard: n % 2 == 0 }).unwrap();
        }
        drop(gate);
        assert_eq!(Nft::open(T, Ownership::WherePossible).unwrap().entries().len(), 10_000);
    });
    let list = netns.command("nft").args(["list", "table", "netdev", "vipkeeper"]).output().unwrap();
    let text = String::from_utf8([list.stdout, list.stderr].concat()).unwrap();
    for line in ["map claim4 {", "10.0.0.0 : jump claim-1", "update @alive { meta mark timeout 300ms }"] {
        assert!(text.contains(line), "no {line:?} in:\n{}", &text[text.len().saturating_sub(3000)..]);
    }
}

#[test]
fn it_serves_where_bpf_is_not_there_and_says_why() {
    let (netns, folder) = (Netns::new("choice"), tempfile::tempdir().unwrap());
    let bpffs = Bpffs::new();
    let open = |choice, path: &std::path::Path| netns.run(|| Gate::open(choice, path, T));
    let (gate, why) = open(Choice::Auto, folder.path()).unwrap();
    assert!(matches!(gate, Gate::Nft(_)) && matches!(why, Some(GateError::NoBpffs(_))));
    gate.dismantle().unwrap();
    assert!(matches!(open(Choice::Bpf, folder.path()), Err(GateError::NoBpffs(_))));
    for (choice, bpf) in [(Choice::Auto, true), (Choice::Bpf, true), (Choice::Nft, false)] {
        let (mut gate, why) = open(choice, bpffs.path()).unwrap();
        assert_eq!((matches!(gate, Gate::Bpf(_)), why.is_none()), (bpf, true));
        let link = netns.block_on(async { Netlink::new().unwrap().links().await.unwrap()[0].index });
        netns.run(|| gate.attach(link)).unwrap();
        gate.set(vips()[0], entry(State::Shut, true)).unwrap();
        assert_eq!(gate.entries().unwrap().into_iter().collect::<Vec<_>>(), [(vips()[0], entry(State::Shut, true))]);
        gate.remove(vips()[0]).unwrap();
        assert!(gate.entries().unwrap().is_empty() && gate.links().contains(&link));
        netns.run(|| gate.detach(link)).unwrap();
        gate.dismantle().unwrap();
    }
}
