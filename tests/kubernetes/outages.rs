//! The API server is gone or frozen: nobody loses an address, none moves, and all goes on afterwards.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use crate::bed::{Bed, NODES};
use crate::support::installed::{Installed, LIMIT};
use crate::support::pinger::Pinger;

/// For how long the API server does not answer: 15 seconds, or `OUTAGE_SECONDS`.
fn outage() -> Duration {
    let given = std::env::var("OUTAGE_SECONDS").ok();
    Duration::from_secs(given.map_or(15, |text| text.parse().expect("OUTAGE_SECONDS is a number of seconds")))
}

/// Three nodes with two addresses each.
pub fn six_addresses(bed: &Bed) -> Vec<(String, usize)> {
    // The first brings the nodes together; who is chosen for the others is decided among all.
    bed.vip("first", &json!({"address": "198.51.100.39"}));
    bed.wait_settled();
    for at in 0..6 {
        let only = json!({"matchLabels": {"kubernetes.io/hostname": NODES[at % 3]}});
        let preferred = json!([{"weight": 100, "nodeSelector": only}]);
        bed.vip(&format!("v{at}"), &json!({"address": format!("198.51.100.{}", 40 + at), "preferredNodes": preferred}));
    }
    bed.wait_settled();
    let all: Vec<_> = (0..6).map(|at| bed.wait_held(&format!("v{at}"))).collect();
    for (at, (_, node)) in all.iter().enumerate() {
        assert_eq!(*node, at % 3, "the preferred node");
    }
    all
}

/// Looks all the time that each address is where it was.
fn nothing_moves(bed: &Bed, addresses: &[(String, usize)], time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {
        for (address, node) in addresses {
            assert_eq!(bed.bearers(address), [*node], "{address} after {:?}", start.elapsed());
        }
    }
}

pub fn holders(bed: &Bed) -> Vec<(String, usize)> {
    (0..6).map(|at| bed.wait_held(&format!("v{at}"))).collect()
}

/// What is asked for now is done: the agents and the controller have found the API server again.
pub fn all_goes_on(bed: &Bed, name: &str, address: &str) {
    bed.vip(name, &json!({"address": address}));
    let (_, node) = bed.wait_held(name);
    bed.wait_alone(address, node);
    bed.plane.run(&["delete", "vip", name, "--timeout=60s"]);
    bed.wait_gone(address);
}

#[test]
fn an_api_server_that_is_killed_or_frozen_moves_nothing() {
    let mut bed = Bed::running(false);
    let before = six_addresses(&bed);
    let pingers: Vec<_> = before.iter().map(|(address, _)| Pinger::start(&bed.client.netns, address)).collect();

    bed.plane.api_server.signal(Signal::KILL);
    nothing_moves(&bed, &before, outage());
    bed.plane.restart_api_server();
    all_goes_on(&bed, "after-kill", "198.51.100.70");
    assert_eq!(holders(&bed), before);

    bed.plane.api_server.signal(Signal::STOP);
    nothing_moves(&bed, &before, outage());
    bed.plane.api_server.signal(Signal::CONT);
    bed.plane.wait_ready();
    all_goes_on(&bed, "after-freeze", "198.51.100.71");
    assert_eq!(holders(&bed), before);
    bed.wait_settled();
    for (pinger, (address, _)) in pingers.into_iter().zip(&before) {
        assert_eq!(pinger.lost(), [0; 0], "{address}");
    }
}

#[test]
fn a_holder_that_vanished_from_the_status_unseen_is_said_again() {
    let mut bed = Bed::running(false);
    bed.vip("web", &json!({"address": "198.51.100.53"}));
    let (address, node) = bed.wait_held("web");
    bed.wait_settled();
    // The agent's watches break, and it finds the API server again only when the status has changed.
    bed.hosts[node].netns.ip("route add unreachable 192.0.2.254/32");
    bed.plane.api_server.signal(Signal::KILL);
    bed.agent(node).wait_output(LIMIT, "the store does not answer");
    bed.plane.restart_api_server();
    let patch = r#"[{"op": "remove", "path": "/status/holder"}]"#;
    bed.plane.run(&["patch", "vip", "web", "--subresource", "status", "--type", "json", "-p", patch]);
    bed.hosts[node].netns.ip("route del unreachable 192.0.2.254/32");
    assert_eq!(bed.wait_held("web"), (address, node));
}
