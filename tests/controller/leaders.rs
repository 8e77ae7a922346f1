//! Restarts, and several controllers on one store.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use crate::agent::Agent;
use crate::bed::{Bed, LIMIT, http, port};
use crate::support::process::Process;
use crate::support::wait_until;

fn leads(controller: &Process) -> bool {
    http(port(controller), "/metrics").contains("\nvipkeeper_controller_leader 1")
}

#[test]
fn a_restart_changes_nothing() {
    let bed = Bed::new();
    bed.apply_pool("public", json!({"ranges": ["198.51.100.0/24"]}));
    let agents = ["node-a", "node-b"].map(|node| Agent::start(&bed, node));
    let controller = bed.controller("one");
    for at in 0..20 {
        bed.apply_vip(&format!("v{at}"), json!({}));
    }
    for at in 0..20 {
        bed.wait_condition(&format!("v{at}"), "Ready", "True", "Held");
    }
    bed.wait_pool("public", "20", "Available");
    drop(agents);
    controller.signal(Signal::KILL);
    let before = bed.versions();
    let controller = bed.controller("one");
    wait_until(LIMIT, "a look at everything", || {
        http(port(&controller), "/metrics").contains("vipkeeper_virtualips{condition=\"Ready\",status=\"True\"} 20")
    });
    // A write that came of that look is under way by now; a new object's status comes after it.
    bed.apply_vip("marker", json!({"pool": "absent"}));
    bed.wait_condition("marker", "Allocated", "False", "PoolMissing");
    let mut after = bed.versions();
    after.remove("VirtualIP shop/marker");
    assert_eq!(after, before);
}

#[test]
fn of_two_controllers_one_leads_and_the_other_takes_over() {
    let bed = Bed::new();
    bed.apply_pool("public", json!({"ranges": ["198.51.100.0/24"]}));
    let mut one = bed.controller("one");
    wait_until(LIMIT, "the first to lead", || leads(&one));
    let two = bed.controller("two");
    bed.apply_vip("web", json!({}));
    bed.wait_condition("web", "Allocated", "True", "Allocated");
    assert!(!leads(&two));
    one.signal(Signal::TERM);
    assert!(one.wait(LIMIT).success());
    wait_until(Duration::from_secs(10), "the second to lead once the first has said that it ends", || leads(&two));
    bed.apply_vip("more", json!({}));
    bed.wait_condition("more", "Allocated", "True", "Allocated");

    let three = bed.controller("three");
    two.signal(Signal::KILL);
    wait_until(Duration::from_secs(40), "the third to lead once the lease of the second is over", || leads(&three));
    bed.apply_vip("last", json!({}));
    bed.wait_condition("last", "Allocated", "True", "Allocated");
    let addresses = ["web", "more", "last"].map(|vip| bed.address(vip));
    assert_eq!(addresses, ["198.51.100.0", "198.51.100.1", "198.51.100.2"]);
}
