use crate::client::Pings;
use crate::support::wait_until;
use crate::trio::{SOON, Trio, VIP};

const PREFER_A: &str = "  preferredNodes: [{weight: 50, nodeSelector: {matchLabels: {rack: near}}}]\n";
const LABELS: [&[&str]; 3] = [&["--node-label", "rack=near"], &[], &[]];

fn on_a(trio: &Trio) {
    wait_until(SOON, "node a to have the address", || trio.holder() == Some(0) && trio.hosts[0].has_address(VIP));
    trio.settle();
}

/// Has the controller look at everything anew, and waits until it has.
fn looked_again(trio: &Trio) {
    trio.apply(&format!("{PREFER_A}  failback: Never\n  announce: {{interval: 5s}}\n"));
    wait_until(SOON, "the controller to see a change", || {
        trio.vip()["status"]["observedGeneration"] == trio.vip()["metadata"]["generation"]
    });
}

#[test]
fn an_address_goes_back_to_the_node_that_it_prefers_without_a_loss_and_stays() {
    let trio = Trio::with(&format!("{PREFER_A}  failback: WhenPreferred\n"), LABELS);
    on_a(&trio);
    let before = trio.events("Moved");
    trio.ask(&["node", "cordon", "a"]);
    trio.wait_other_holder(0);
    trio.settle();
    let observer = trio.observe();
    let pings = Pings::start(&trio.client, 1_000);
    trio.ask(&["node", "uncordon", "a"]);
    on_a(&trio);
    let (sent, answered) = pings.end();
    let seen = observer.end();
    eprintln!("{answered} of {sent} pings answered; nobody for {:?}, two for {:?}", seen.gap, seen.overlap);
    assert_eq!((sent, answered, seen.overlap.as_millis()), (1_000, 1_000, 0));
    wait_until(SOON, "the events of both moves", || trio.events("Moved") >= before + 2);
    assert_eq!(trio.events("Moved"), before + 2, "there and back, and no further");
    wait_until(SOON, "the status", || trio.vip()["status"]["lastFailover"]["to"] == "a");
    let status = trio.vip()["status"]["lastFailover"].clone();
    assert_eq!((&status["to"], &status["reason"]), (&"a".into(), &"Preferred".into()), "{status}");
}

#[test]
fn an_address_that_does_not_go_back_stays_where_it_is() {
    let trio = Trio::with(&format!("{PREFER_A}  failback: Never\n"), LABELS);
    trio.ask(&["node", "cordon", "a"]);
    wait_until(SOON, "another holder", || trio.holder().is_some_and(|holder| holder != 0));
    trio.settle();
    let holder = trio.holder();
    trio.ask(&["node", "uncordon", "a"]);
    looked_again(&trio);
    assert_eq!(trio.holder(), holder);
}
