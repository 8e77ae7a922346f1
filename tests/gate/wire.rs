//! The gate between real kernels: who is answered, who speaks, and who gets through.

use std::net::IpAddr;
use std::time::Duration;

use vipkeeper::clock;
use vipkeeper::core::frame::{Form, Frame};
use vipkeeper::gate::{Bpf, Entry, State};
use vipkeeper::netlink::Netlink;
use vipkeeper::packet::Packets;

use crate::support::bpffs::Bpffs;
use crate::support::capture::Capture;
use crate::support::segment::{Host, INTERFACE, Segment};

const V4: &str = "198.51.100.20";
const V6: &str = "2001:db8:1::20";
const LIMIT: Duration = Duration::from_secs(5);

/// A node with both addresses on eth0, a client, and the gate on all of the node's links.
struct Bench {
    segment: Segment,
    node: Host,
    client: Host,
    _bpffs: Bpffs,
    gate: Bpf,
}

pub(crate) fn links(host: &Host) -> Vec<u32> {
    let links = host.netns.block_on(async { Netlink::new().unwrap().links().await.unwrap() });
    links.into_iter().filter(|link| link.arp).map(|link| link.index).collect()
}

/// Puts the gate on every link of the host that has ARP.
pub(crate) fn attach(host: &Host, gate: &mut Bpf) {
    let links = links(host);
    host.netns.run(|| links.into_iter().for_each(|link| gate.attach(link).unwrap()));
}

fn vips() -> [IpAddr; 2] {
    [V4.parse().unwrap(), V6.parse().unwrap()]
}

impl Bench {
    fn new() -> Self {
        let segment = Segment::new();
        let (node, client) = (segment.host("node", 1), segment.host("client", 2));
        node.netns.ip(&format!("addr add {V4}/32 dev {INTERFACE}"));
        node.netns.ip(&format!("addr add {V6}/128 dev {INTERFACE} nodad"));
        let bpffs = Bpffs::new();
        let mut gate = node.netns.run(|| Bpf::open(bpffs.path()).unwrap());
        attach(&node, &mut gate);
        Self { segment, node, client, _bpffs: bpffs, gate }
    }

    fn set(&mut self, state: State, hard: bool) {
        vips().into_iter().for_each(|ip| self.gate.set(ip, Entry { segment: 3, state, hard }).unwrap());
    }

    fn open_for(&self, time: Duration) {
        self.gate.deadlines().set(3, Some(clock::now() + time));
    }

    /// Whether the client finds the address by asking for it, and reaches it.
    fn reaches(&self, ip: IpAddr) -> bool {
        self.client.netns.ip(&format!("neigh flush dev {INTERFACE}"));
        self.ping(ip)
    }

    fn ping(&self, ip: IpAddr) -> bool {
        let text = ip.to_string();
        let output =
            self.client.netns.command("ping").args(["-c", "2", "-i", "0.2", "-W", "1", &text]).output().unwrap();
        output.status.success()
    }

    /// Whether both addresses are reached, which must be the same of both.
    fn reached(&self) -> bool {
        let [v4, v6] = vips().map(|ip| self.reaches(ip));
        assert_eq!(v4, v6, "IPv4 and IPv6 differ");
        v4
    }
}

#[test]
fn an_address_is_found_only_while_it_may_be_claimed() {
    let mut bench = Bench::new();
    assert!(bench.reached(), "an address that the gate does not know passes");
    bench.set(State::Claim, false);
    assert!(!bench.reached(), "a deadline that was never set has passed");
    bench.open_for(Duration::from_secs(60));
    assert!(bench.reached());
    bench.set(State::Accept, false);
    assert!(!bench.reached());
    bench.set(State::Shut, false);
    assert!(!bench.reached());
    bench.set(State::Claim, false);
    bench.gate.deadlines().set(3, None);
    assert!(bench.reached());
    bench.open_for(Duration::ZERO);
    assert!(!bench.reached());
    assert!(
        bench.reaches(bench.node.ipv4().into()) && bench.reaches(bench.node.ipv6().into()),
        "nothing else is touched"
    );
    vips().into_iter().for_each(|ip| bench.gate.remove(ip).unwrap());
    assert!(bench.reached());
}

#[test]
fn a_client_that_knows_the_way_gets_through_a_soft_gate_and_not_through_a_hard_one() {
    let mut bench = Bench::new();
    for ip in vips() {
        bench.client.netns.ip(&format!("neigh replace {ip} lladdr 02:00:00:00:00:01 dev {INTERFACE} nud permanent"));
    }
    bench.open_for(Duration::from_secs(600));
    // The node knows the client: with arp_announce 0 it would ask for it in the name of the address.
    for (ip, family) in [("198.51.100.2", "-4"), ("2001:db8:1::2", "-6")] {
        let entry = format!("{ip} lladdr 02:00:00:00:00:02 dev {INTERFACE} nud permanent");
        bench.node.netns.ip(&format!("{family} neigh replace {entry}"));
    }
    for (state, hard, through) in [
        (State::Shut, false, true),
        (State::Accept, false, true),
        (State::Shut, true, false),
        (State::Accept, true, true),
        (State::Claim, true, true),
    ] {
        bench.set(state, hard);
        for ip in vips() {
            assert_eq!(bench.ping(ip), through, "{ip} {state:?}, hard: {hard}");
        }
    }
    bench.open_for(Duration::ZERO);
    for ip in vips() {
        assert!(!bench.ping(ip), "{ip} after the deadline");
    }
}

#[test]
fn a_zombie_says_nothing_in_the_name_of_an_address() {
    let mut bench = Bench::new();
    bench.node.netns.sysctl("net/ipv4/conf/all/arp_announce", "0");
    bench.open_for(Duration::from_secs(60));
    for (state, heard) in [(State::Claim, true), (State::Shut, false)] {
        bench.set(state, false);
        let capture = Capture::start(&bench.client.netns, INTERFACE);
        // The kernel's own questions in the name of the address, and announcements by any process.
        for ip in vips() {
            bench.node.netns.ip(&format!("neigh flush dev {INTERFACE}"));
            let target = if ip.is_ipv4() { "198.51.100.77" } else { "2001:db8:1::77" };
            let words = ["-c", "1", "-W", "1", "-I", &ip.to_string(), target];
            bench.node.netns.command("ping").args(words).output().unwrap();
        }
        bench.node.netns.block_on(async {
            let link = Netlink::new().unwrap().links().await.unwrap().pop().unwrap();
            let (mut packets, _observations) = Packets::new();
            packets.open(&link).unwrap();
            for ip in vips() {
                for form in [Form::Announcement, Form::Reply] {
                    let sent = packets.send(link.index, &[Frame { link: link.index, ip, form }]);
                    assert_eq!(sent.is_ok(), heard, "who announces is told that it did not go out");
                }
            }
        });
        bench.node.netns.command("ping").args(["-c", "1", "198.51.100.2"]).output().unwrap();
        capture.wait(LIMIT, "what was sent last", |frame| {
            frame.speaks_as(bench.node.ipv4().into()) || frame.bytes.get(12..14) == Some(&[8, 0])
        });
        for ip in vips() {
            let said = capture.speaking_as(ip);
            assert_eq!(!said.is_empty(), heard, "{ip} {state:?}: {said:?}");
        }
        assert_eq!(capture.dropped(), 0);
    }
}

#[test]
fn an_address_of_one_link_is_not_answered_on_another() {
    let mut bench = Bench::new();
    let second = Segment::new();
    second.plug(&bench.node.netns, "eth1", "second", 8);
    let client = second.host("other", 3);
    let reaches = || {
        client.netns.ip("neigh flush dev eth0");
        let ping = client.netns.command("ping").args(["-c", "1", "-W", "1", V4]).output().unwrap();
        ping.status.success()
    };
    bench.set(State::Claim, false);
    // Answers need a way back to this client.
    bench.node.netns.ip("route add 198.51.100.3/32 dev eth1");
    bench.node.netns.sysctl("net/ipv4/conf/all/rp_filter", "0");
    bench.node.netns.sysctl("net/ipv4/conf/eth1/rp_filter", "0");
    assert!(reaches(), "without the gate on eth1 the kernel answers there, as the deadline has passed");
    attach(&bench.node, &mut bench.gate);
    assert_eq!(bench.gate.links().len(), 2);
    assert!(!reaches());
    bench.open_for(Duration::from_secs(60));
    assert!(reaches());
    assert!(bench.segment.bridge().try_ip("link show br0"));
}
