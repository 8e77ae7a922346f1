//! An exclusive address: no other node even accepts packets for it.

use crate::node::{Node, SOON};
use crate::support::process::{Process, VIPKEEPER};
use crate::support::segment::INTERFACE;
use crate::support::wait_until;

#[test]
fn no_other_node_accepts_packets_for_it() {
    for gate in ["nft", "bpf"] {
        let node = Node::new();
        let bpffs = crate::support::bpffs::Bpffs::new();
        let other = node.segment.host("other", 3);
        node.apply("plain", "198.51.100.20", "");
        node.apply("exclusive", "198.51.100.21", "  exclusive: true\n");
        let pins = bpffs.path().display().to_string();
        let _first = node.start(&["--gate", gate, "--bpffs", &pins]);
        node.wait_address("198.51.100.21", true);
        let mut command = other.netns.command(VIPKEEPER);
        command.args(["run", "--gate", gate, "--bpffs", &pins, "--node", "node-b", "--store", &node.store()]);
        let second = Process::start(&mut command);
        second.wait_output(SOON, "watching over the segment");
        // Somebody has configured both addresses there, and the client believes that they are there.
        for vip in ["198.51.100.20", "198.51.100.21"] {
            other.netns.ip(&format!("addr add {vip}/32 dev {INTERFACE}"));
            node.client
                .netns
                .ip(&format!("neigh replace {vip} lladdr 02:00:00:00:00:03 dev {INTERFACE} nud permanent"));
        }
        let reached = |vip: &str| {
            let mut ping = node.client.netns.command("ping");
            ping.args(["-c", "1", "-W", "1", vip]).output().unwrap().status.success()
        };
        wait_until(SOON, "the way to be there", || reached("198.51.100.20"));
        assert!(!reached("198.51.100.21"), "{gate}");
        // It is an ordinary address again: the gate has nothing against it.
        node.apply("exclusive", "198.51.100.21", "");
        wait_until(SOON, "the gate to forget it", || reached("198.51.100.21"));
    }
}
