use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;

use crate::node::{Node, SOON};
use crate::support::netns::run;
use crate::support::process::Process;
use crate::support::wait_until;

/// The number of lost packets that `ping -q` reports.
fn lost(output: &str) -> u32 {
    let line = output.lines().find(|line| line.contains("packets transmitted")).unwrap_or_else(|| panic!("{output}"));
    let number = |at: usize| -> u32 { line.split(", ").nth(at).unwrap().split(' ').next().unwrap().parse().unwrap() };
    number(0) - number(1)
}

#[test]
fn a_killed_agent_is_succeeded_without_a_lost_packet() {
    let node = Node::new();
    let mut agent = node.start(&[]);
    node.apply("web", "198.51.100.20", "");
    node.apply("web6", "2001:db8:1::20", "");
    node.wait_address("198.51.100.20", true);
    node.wait_address("2001:db8:1::20", true);
    wait_until(SOON, "the holder in the status", || node.vip("web")["status"]["holder"]["node"] == "node-a");
    let before = node.vip("web")["status"]["holder"].clone();
    let pings: Vec<_> = ["198.51.100.20", "2001:db8:1::20"]
        .iter()
        .map(|address| {
            let mut ping = node.client.netns.command("ping");
            let ping = ping.args(["-q", "-c", "1000", "-i", "0.005", "-W", "2", address]);
            ping.stdout(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for _ in 0..3 {
        agent.signal(Signal::KILL);
        agent.wait(SOON);
        agent = node.start(&[]);
    }
    agent.signal(Signal::TERM);
    assert!(agent.wait(SOON).success());
    let _agent = node.start(&[]);
    for ping in pings {
        let output = String::from_utf8(ping.wait_with_output().unwrap().stdout).unwrap();
        assert_eq!(lost(&output), 0, "{output}");
    }
    assert_eq!(node.vip("web")["status"]["holder"], before, "a restart moves nothing, not in the status either");
}

#[test]
fn sigterm_keeps_the_addresses_and_the_next_run_removes_what_nobody_wants_any_more() {
    let node = Node::new();
    let mut agent = node.start(&[]);
    node.apply("web", "198.51.100.20", "");
    node.apply("old", "198.51.100.21", "");
    node.wait_address("198.51.100.20", true);
    node.wait_address("198.51.100.21", true);
    agent.signal(Signal::TERM);
    assert!(agent.wait(SOON).success());
    assert!(node.host.has_address("198.51.100.20") && node.host.has_address("198.51.100.21"));
    node.delete("old");
    let _agent = node.start(&[]);
    node.wait_address("198.51.100.21", false);
    assert!(node.host.has_address("198.51.100.20"));
}

#[test]
fn release_on_exit_takes_all_addresses_down() {
    let node = Node::new();
    let mut agent = node.start(&["--release-on-exit"]);
    node.apply("web", "198.51.100.20", "");
    node.wait_address("198.51.100.20", true);
    agent.signal(Signal::INT);
    assert!(agent.wait(SOON).success(), "{}", agent.output());
    assert!(!node.host.has_address("198.51.100.20"));
    // What was released is held again by the next run.
    let _agent = node.start(&[]);
    node.wait_address("198.51.100.20", true);
}

#[test]
fn cleanup_removes_whatever_is_left_and_never_under_a_running_agent() {
    let node = Node::new();
    let mut agent = node.start(&[]);
    node.apply("web", "198.51.100.20", "");
    node.wait_address("198.51.100.20", true);
    let refused = node.command().args(["agent", "--cleanup"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("another vipkeeper agent runs"), "{refused:?}");
    agent.signal(Signal::KILL);
    agent.wait(SOON);
    node.host.netns.ip("addr add 198.51.100.30/32 dev eth0");
    let said = run(node.command().args(["agent", "--cleanup"]));
    assert_eq!(said, "removed 1 address\n");
    assert!(!node.host.has_address("198.51.100.20") && node.host.has_address("198.51.100.30"));
}

#[test]
fn a_second_agent_of_one_node_is_refused() {
    let node = Node::new();
    let _agent = node.start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let store = format!("dir:{}", folder.path().display());
    let mut second = Process::start(node.command().args(["run", "--store", &store, "--listen", "[::]:9999"]));
    assert_eq!(second.wait(Duration::from_secs(10)).code(), Some(3));
    second.wait_output(SOON, "another vipkeeper agent runs in this network namespace");
}
