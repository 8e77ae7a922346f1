//! The API server is back with an older history: no address is lost, none moves, and all goes on afterwards.

use serde_json::json;

use crate::bed::{Bed, NODES};
use crate::outages::{all_goes_on, holders, six_addresses};
use crate::support::installed::Installed;
use crate::support::pinger::Pinger;

/// How many questions, 20 ms apart, may find nobody: each node takes its addresses back with a new right, after its gate
/// has shut (ARCHITECTURE.md, "Failover", 22).
const DARK: usize = 200;

#[test]
fn an_api_server_with_an_older_history_moves_nothing() {
    let mut bed = Bed::running(false);
    let before = six_addresses(&bed);
    bed.plane.back_up();
    // What will never have been: an address that moved, and one that is new.
    bed.plane.run(&["cordon", NODES[0]]);
    let moved = bed.wait_held_by("v0", &|node| node != 0).1;
    bed.vip("new", &json!({"address": "198.51.100.72"}));
    bed.wait_held("new");
    bed.wait_settled();
    let mut now = before.clone();
    now[0].1 = moved;
    now[3].1 = bed.wait_held_by("v3", &|node| node != 0).1;
    let pingers: Vec<_> = now.iter().map(|(address, _)| Pinger::start(&bed.client.netns, address)).collect();

    bed.plane.restore();
    all_goes_on(&bed, "after-restore", "198.51.100.73");
    bed.wait_settled();
    assert_eq!(holders(&bed), now, "whoever answered for an address goes on");
    for (pinger, (address, node)) in pingers.into_iter().zip(&now) {
        bed.wait_alone(address, *node);
        let lost = pinger.lost().len();
        eprintln!("{address}: {lost} questions without an answer");
        assert!(lost <= DARK, "{address}: {lost} questions without an answer");
    }
    bed.wait_gone("198.51.100.72");
}
