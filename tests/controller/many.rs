//! A thousand VirtualIPs.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;
use vipkeeper::api::kind::Kind;
use vipkeeper::api::{FailoverView, VirtualIP};

use crate::agent::{Agent, segment};
use crate::bed::{Bed, http, port};
use crate::support::wait_until;

#[test]
fn a_thousand_vips_have_a_thousand_addresses_on_nodes_that_share_them() {
    const COUNT: usize = 1_000;
    let bed = Bed::new();
    bed.apply_pool("public", json!({"ranges": ["198.51.100.0-198.51.104.255"]}));
    let agents = ["node-a", "node-b", "node-c"].map(|node| Agent::start(&bed, node));
    for at in 0..COUNT {
        bed.apply_vip(&format!("v{at}"), json!({}));
    }
    let controller = bed.controller("one");
    let controller_port = port(&controller);
    wait_until(Duration::from_secs(120), "a thousand to be ready", || {
        let ready = format!("vipkeeper_virtualips{{condition=\"Ready\",status=\"True\"}} {COUNT}\n");
        http(controller_port, "/metrics").contains(&ready)
    });
    drop(agents);
    let objects = bed.runtime.block_on(bed.store.list(Kind::VirtualIP)).unwrap();
    let vips: Vec<VirtualIP> = objects.iter().map(|object| object.parse().unwrap()).collect();
    let addresses: BTreeSet<_> = vips.iter().filter_map(|vip| vip.status.as_ref()?.address.clone()).collect();
    assert_eq!(addresses.len(), COUNT);
    let object = bed.get(Kind::FailoverView, &segment()).unwrap();
    let view = object.parse::<FailoverView>().unwrap().spec.0;
    for node in ["node-a", "node-b", "node-c"] {
        let held = view.held_by(&view.right_of(node).unwrap()).count();
        assert!((COUNT / 3..=COUNT / 3 + 1).contains(&held), "{node} has {held}");
    }
    // One patch a batch, not one a VirtualIP.
    assert!(view.counter < 200, "the counter of the view stands at {}", view.counter);
}
