//! Others flush nftables under an agent whose gate is there.

use rustix::process::Signal;

use crate::node::{Node, SOON};
use crate::support::netns::run;

fn nft(node: &Node, words: &str) -> bool {
    node.host.netns.command("nft").args(words.split(' ')).output().unwrap().status.success()
}

#[test]
fn an_nftables_gate_outlives_a_flush_its_agent_and_the_next_one_and_goes_with_cleanup() {
    let node = Node::new();
    let start = || node.start(&["--gate", "nft"]);
    let mut agent = start();
    node.apply("web", "198.51.100.20", "");
    node.wait_address("198.51.100.20", true);
    for _ in 0..2 {
        assert!(nft(&node, "flush ruleset") && nft(&node, "list table netdev vipkeeper"));
        assert!(!nft(&node, "delete table netdev vipkeeper"), "it is the agent's");
        assert_eq!(node.metric("vipkeeper_gate_restored_total"), Some(0.0), "nothing had to be put back");
        let words = ["run", "--gate", "nft", "--node", "b", "--store", &node.store(), "--listen", "[::]:9999"];
        let second = node.command().args(words).output().unwrap();
        let said = String::from_utf8([second.stdout, second.stderr].concat()).unwrap();
        assert!(said.contains("another vipkeeper agent runs"), "{said}");
        agent.signal(Signal::KILL);
        agent.wait(SOON);
        assert!(nft(&node, "list table netdev vipkeeper"), "it waits for the next agent");
        agent = start();
        assert!(node.host.has_address("198.51.100.20"));
    }
    agent.signal(Signal::KILL);
    agent.wait(SOON);
    run(node.command().args(["agent", "--cleanup"]));
    assert!(!nft(&node, "list table netdev vipkeeper"));
}
