//! What an agent does when the API is not as it needs it.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use crate::bed::{Bed, NODES};
use crate::support::installed::{Installed, LIMIT};
use crate::support::wait_until;

#[test]
fn an_agent_refuses_to_hold_the_address_through_which_it_reaches_the_api_server() {
    let mut bed = Bed::new(false);
    bed.vip("api", &json!({"address": "192.0.2.254"}));
    wait_until(LIMIT, "the address of the VirtualIP", || {
        bed.plane.run(&["get", "vip", "api", "-o", "jsonpath={.status.address}"]) == "192.0.2.254"
    });
    bed.start_agent(0);
    let status = bed.agent(0).wait(LIMIT);
    let output = bed.agent(0).output();
    assert_eq!(status.code(), Some(3), "{output}");
    assert!(output.contains("the API server is reached through VirtualIP default/api (192.0.2.254)"), "{output}");
}

/// As in a pod of the agents, whose account may read neither pools nor Services.
#[test]
fn why_is_answered_with_the_rights_of_an_agent() {
    let bed = Bed::running(false);
    bed.vip("web", &json!({"address": "198.51.100.52"}));
    let (_, holder) = bed.wait_held("web");
    bed.wait_settled();
    let mut command = bed.vipkeeper(&bed.hosts[(holder + 1) % 3].netns, "why", "vipkeeper-agent");
    let output = command.arg("web").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{errors}");
    let node = NODES[holder];
    for words in [&format!("{node} has it, at epoch"), "its agent says Held", &format!("If {node} died now, node-")] {
        assert!(text.contains(words), "{words:?} is not in\n{text}{errors}");
    }
}

#[test]
fn an_address_that_is_to_be_released_goes_while_the_api_server_does_not_answer_and_comes_back() {
    let bed = Bed::running(false);
    bed.vip("kept", &json!({"address": "198.51.100.50"}));
    bed.vip("given-up", &json!({"address": "198.51.100.51", "onApiOutage": "Release"}));
    let (kept, keeper) = bed.wait_held("kept");
    let (given_up, holder) = bed.wait_held("given-up");
    bed.wait_settled();
    bed.plane.api_server.signal(Signal::STOP);
    wait_until(Duration::from_secs(60), "the address to be given up", || bed.bearers(&given_up).is_empty());
    assert_eq!(bed.bearers(&kept), [keeper], "{}", NODES[keeper]);
    bed.plane.api_server.signal(Signal::CONT);
    bed.plane.wait_ready();
    wait_until(LIMIT, "the address to come back", || bed.bearers(&given_up) == [holder]);
    assert_eq!(bed.bearers(&kept), [keeper]);
}
