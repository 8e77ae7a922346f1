use crate::support::process::VIPKEEPER;
use crate::support::wait_until;
use crate::trio::{NAMES, SOON, Trio};

/// What `vipkeeper why` prints to a client that reaches every node, and whether it says that a node answers.
fn why(trio: &Trio, more: &[&str]) -> (String, bool) {
    let mut command = trio.client.netns.command(VIPKEEPER);
    let command = command.args(["why", "web", "-n", "shop"]).args(more).env("VIPKEEPER_STORE", trio.store());
    let output = command.output().unwrap();
    (String::from_utf8(output.stdout).unwrap(), output.status.success())
}

fn json(trio: &Trio) -> serde_json::Value {
    serde_json::from_str(&why(trio, &["--json"]).0).unwrap()
}

#[test]
fn why_says_who_has_an_address_why_the_others_have_not_and_who_would_have_it() {
    let mut trio = Trio::new();
    let holder = trio.wait_holder();
    let (name, others) = (NAMES[holder], [(holder + 1) % 3, (holder + 2) % 3]);
    wait_until(SOON, "the agents to know each other", || {
        json(&trio)["holder"]["agent"]["says"]["gateLeft"].is_number()
    });
    trio.ask(&["node", "cordon", NAMES[others[0]]]);
    wait_until(SOON, "the cordon", || json(&trio)["others"][NAMES[others[0]]]["reason"] == "Cordoned");
    let (text, held) = why(&trio, &[]);
    assert!(held, "{text}");
    for words in [
        "shop/web: 198.51.100.20 on segment 198.51.100.0-24".to_owned(),
        format!("{name} has it, at epoch"),
        "its agent says Held: it answers on eth0".to_owned(),
        format!("  {}  Cordoned", NAMES[others[0]]),
        format!("If {name} died now, {} would answer within about", NAMES[others[1]]),
    ] {
        assert!(text.contains(&words), "{words:?} is not in\n{text}");
    }
    // What it foretold comes true.
    let observer = trio.observe();
    trio.power_off(holder);
    trio.wait_other_holder(holder);
    assert_eq!(trio.holder(), Some(others[1]));
    let seen = observer.end();
    assert!(seen.overlap.is_zero(), "{seen:?}");
    wait_until(SOON, "the new holder to report", || why(&trio, &[]).1);
    let after = json(&trio);
    assert_eq!(after["holder"]["cause"], "NodeLost", "{after}");
    assert_eq!(after["others"][name]["reason"], "Fenced", "{after}");
    let (text, _) = why(&trio, &["--timeout", "300ms"]);
    assert!(text.contains("the node that had it was lost"), "{text}");
    let failover = trio.vip()["status"]["lastFailover"].clone();
    assert_eq!((&failover["from"], &failover["reason"]), (&name.into(), &"NodeLost".into()), "{failover}");
    assert_eq!(trio.metric(others[1], "vipkeeper_failovers_total{reason=\"NodeLost\"}"), Some(1.0));
}
