use std::time::Duration;

use crate::server::{PORT, Server};
use crate::support::wait_until;
use crate::trio::{NAMES, SOON, Trio, VIP};

fn check() -> String {
    let times = "interval: 300ms, timeout: 250ms, failureThreshold: 2";
    format!("  healthCheck: {{http: {{port: {PORT}, path: /ready}}, {times}}}\n")
}

#[test]
fn a_failing_check_moves_the_address_to_a_node_where_it_passes() {
    let trio = Trio::with(&check(), [&[], &[], &[]]);
    let holder = trio.wait_holder();
    let servers: Vec<Server> = trio.hosts.iter().map(|host| Server::start(host, 200)).collect();
    wait_until(SOON, "the check to pass", || trio.condition("Healthy") == "True/CheckPasses");
    trio.settle();
    let holder = trio.holder().unwrap_or(holder);
    assert_eq!(trio.metric(holder, "vipkeeper_vip_healthy{name=\"web\",namespace=\"shop\"}"), Some(1.0));
    let observer = trio.observe();
    servers[holder].answer(503);
    trio.wait_other_holder(holder);
    wait_until(SOON, "the former holder to let go", || !trio.hosts[holder].has_address(VIP));
    trio.settle();
    let seen = observer.end();
    assert_eq!(seen.overlap, Duration::ZERO);
    wait_until(SOON, "the check to pass there", || trio.condition("Healthy") == "True/CheckPasses");
    let status = trio.vip()["status"].clone();
    assert_eq!(status["lastFailover"]["reason"], "Unhealthy", "{status}");
    assert_eq!(status["lastFailover"]["from"], NAMES[holder], "{status}");
    let record = status["health"].as_array().unwrap().iter().find(|one| one["node"] == NAMES[holder]).unwrap().clone();
    assert_eq!(record["failing"], true, "{status}");
    assert!(trio.events("HealthCheckFailed") >= 1);
    assert!(trio.metric(holder, "vipkeeper_health_checks_total{result=\"failed\"}").unwrap() >= 2.0);
    let new = trio.holder().unwrap();
    assert_eq!(trio.metric(new, "vipkeeper_failovers_total{reason=\"Unhealthy\"}"), Some(1.0));
    let of = |node: usize| trio.metric(node, "vipkeeper_vip_healthy{name=\"web\",namespace=\"shop\"}");
    assert_eq!((of(holder), of(new)), (None, Some(1.0)));
}

#[test]
fn a_check_that_fails_everywhere_tries_each_node_once_and_then_moves_nothing() {
    let trio = Trio::with(&check(), [&[], &[], &[]]);
    let _servers: Vec<Server> = trio.hosts.iter().map(|host| Server::start(host, 500)).collect();
    let failing = || {
        let status = trio.vip()["status"].clone();
        let all = status["health"].as_array().cloned().unwrap_or_default();
        all.iter().filter(|one| one["failing"] == true && one["failures"] == 1).count()
    };
    wait_until(SOON, "every node to be tried", || failing() == 3);
    let holder = trio.holder().unwrap();
    assert_eq!(trio.condition("Healthy"), "False/CheckFails");
    let checked = || trio.metric(holder, "vipkeeper_health_checks_total{result=\"failed\"}").unwrap();
    let before = checked();
    wait_until(SOON, "ten further failures", || checked() >= before + 10.0);
    assert_eq!((trio.holder(), trio.events("Moved"), failing()), (Some(holder), 2, 3));
}
