//! Addresses, statuses, edits and deletions.

use serde_json::json;
use vipkeeper::api::kind::Kind;
use vipkeeper::store::Key;

use crate::agent::Agent;
use crate::bed::{Bed, LIMIT, http, port, shop};
use crate::support::wait_until;

/// A store with pool `public` of eight addresses.
fn bed() -> Bed {
    let bed = Bed::new();
    bed.apply_pool("public", json!({"ranges": ["198.51.100.0/29"]}));
    bed
}

#[test]
fn a_vip_gets_an_address_a_node_and_conditions() {
    let bed = bed();
    let controller = bed.controller("one");
    bed.apply_vip("web", json!({}));
    bed.apply_vip("fixed", json!({"address": "198.51.100.77"}));
    bed.wait_condition("web", "Ready", "False", "NoSegment");
    let _agent = Agent::start(&bed, "node-a");
    let message = bed.wait_condition("web", "Ready", "True", "Held");
    assert_eq!(message, "node-a answers for it on eth0");
    bed.wait_condition("fixed", "Ready", "True", "Held");
    bed.wait_condition("fixed", "Allocated", "True", "Allocated");
    assert_eq!((bed.address("web"), bed.address("fixed")), ("198.51.100.0".into(), "198.51.100.77".into()));
    bed.wait_pool("public", "1", "Available");
    let status = bed.status("web");
    assert_eq!(status.observed_generation, Some(1));
    assert_eq!(status.holder.map(|holder| holder.node).as_deref(), Some("node-a"), "the agent's part stays");
    wait_until(LIMIT, "the event", || bed.events("web").contains(&"Assigned".to_owned()));
    assert_eq!(bed.events("web").iter().filter(|reason| *reason == "Allocated").count(), 1);

    for line in [
        "\nvipkeeper_controller_leader 1",
        "vipkeeper_pool_addresses{pool=\"public\"} 8",
        "vipkeeper_pool_addresses_allocated{pool=\"public\"} 1",
        "vipkeeper_virtualips{condition=\"Ready\",status=\"True\"} 2",
    ] {
        // The controller counts what the agent says once its watch has told it.
        wait_until(LIMIT, line, || http(port(&controller), "/metrics").contains(line));
    }
    assert!(http(port(&controller), "/healthz").starts_with("HTTP/1.1 200"));
}

#[test]
fn an_edit_and_a_deletion_take_effect() {
    let bed = bed();
    let _controller = bed.controller("one");
    let _agent = Agent::start(&bed, "node-a");
    bed.apply_vip("web", json!({"pool": "absent"}));
    let message = bed.wait_condition("web", "Allocated", "False", "PoolMissing");
    assert_eq!(message, "there is no AddressPool absent");
    bed.apply_pool("absent", json!({"ranges": ["198.51.100.16/30"], "autoAssign": false}));
    bed.wait_condition("web", "Ready", "True", "Held");
    assert_eq!(bed.address("web"), "198.51.100.16");

    bed.apply_vip("web", json!({"pool": "public"}));
    bed.wait_condition("web", "Allocated", "True", "NotInPool");
    assert_eq!(bed.address("web"), "198.51.100.16", "an address in use is not changed");
    wait_until(LIMIT, "the new generation", || bed.status("web").observed_generation == Some(2));

    bed.delete(Kind::VirtualIP, &shop("web"));
    wait_until(LIMIT, "the end of it", || bed.get(Kind::VirtualIP, &shop("web")).is_none());
    bed.wait_pool("absent", "0", "Available");
    let view = bed.get(Kind::FailoverView, &crate::agent::segment()).unwrap();
    assert_eq!(view.body["spec"]["assign"], json!({}));
}

#[test]
fn a_deleted_vip_waits_for_its_holder() {
    let bed = bed();
    let _controller = bed.controller("one");
    let agent = Agent::start(&bed, "node-a");
    bed.apply_vip("web", json!({"address": "198.51.100.77"}));
    bed.wait_condition("web", "Ready", "True", "Held");
    drop(agent);
    bed.delete(Kind::VirtualIP, &shop("web"));
    bed.apply_vip("heir", json!({"address": "198.51.100.77"}));
    bed.wait_condition("heir", "Allocated", "False", "InUse");
    bed.wait_condition("web", "Ready", "False", "Releasing");
    let _agent = Agent::start(&bed, "node-a");
    bed.wait_condition("heir", "Ready", "True", "Held");
    assert!(bed.get(Kind::VirtualIP, &shop("web")).is_none());
}

#[test]
fn two_that_ask_for_one_address_and_pools_that_are_not_enough_are_reported() {
    let bed = bed();
    bed.apply_vip("first", json!({"address": "198.51.100.3"}));
    bed.apply_vip("second", json!({"address": "198.51.100.3"}));
    let _controller = bed.controller("one");
    let _agent = Agent::start(&bed, "node-a");
    let message = bed.wait_condition("second", "Allocated", "False", "InUse");
    assert_eq!(message, "198.51.100.3 is used by VirtualIP shop/first");
    bed.wait_condition("second", "Ready", "False", "NotAllocated");
    wait_until(LIMIT, "the event", || bed.events("second").contains(&"InUse".to_owned()));

    let overlapping = json!({"ranges": ["198.51.100.0-198.51.100.100"]});
    bed.create(Kind::AddressPool, &Key::cluster("later"), &overlapping);
    bed.wait_pool("later", "1", "Overlaps");
    for at in 0..8 {
        bed.apply_vip(&format!("v{at}"), json!({}));
    }
    bed.wait_condition("v7", "Allocated", "False", "PoolExhausted");
    bed.wait_pool("public", "8", "Exhausted");
    bed.delete(Kind::VirtualIP, &shop("first"));
    bed.wait_condition("second", "Ready", "True", "Held");
}

#[test]
fn a_pool_that_shrinks_or_goes_takes_nothing_away() {
    let bed = bed();
    let _controller = bed.controller("one");
    let _agent = Agent::start(&bed, "node-a");
    bed.apply_vip("web", json!({}));
    bed.wait_condition("web", "Ready", "True", "Held");
    bed.apply_pool("public", json!({"ranges": ["198.51.100.4/30"]}));
    bed.wait_condition("web", "Allocated", "True", "OutsidePools");
    bed.wait_pool("public", "0", "Available");
    bed.delete(Kind::AddressPool, &Key::cluster("public"));
    wait_until(LIMIT, "the end of the pool", || bed.get(Kind::AddressPool, &Key::cluster("public")).is_none());
    bed.apply_vip("late", json!({}));
    bed.wait_condition("late", "Allocated", "False", "NoPool");
    bed.wait_condition("web", "Ready", "True", "Held");
    assert_eq!(bed.address("web"), "198.51.100.0");
}
