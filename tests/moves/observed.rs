use std::process::Command;

use crate::support::netns::run;
use crate::support::wait_until;
use crate::trio::{NAMES, SOON, Trio};

const SEGMENT: &str = "segment=\"198.51.100.0-24\"";

fn watch_events(trio: &Trio, node: usize, event: &str) -> f64 {
    trio.metric(node, &format!("vipkeeper_watch_events_total{{event=\"{event}\"}}")).unwrap_or_default()
}

fn rule(trio: &Trio, node: usize, words: &str) {
    let mut nft: Command = trio.hosts[node].netns.command("nft");
    run(nft.args(words.split(' ')));
}

/// Has a node's kernel drop packets by these rules, until [`hear_again`].
fn drop_heartbeats(trio: &Trio, node: usize, rules: &[&str]) {
    rule(trio, node, "add table ip deaf");
    for hook in ["input", "output"] {
        rule(trio, node, &format!("add chain ip deaf {hook} {{ type filter hook {hook} priority 0 ; }}"));
    }
    rules.iter().for_each(|words| rule(trio, node, words));
}

fn hear_again(trio: &Trio, node: usize) {
    rule(trio, node, "delete table ip deaf");
}

#[test]
fn heartbeats_and_the_time_left_to_the_right_are_seen() {
    let trio = Trio::new();
    let holder = trio.wait_holder();
    for peer in NAMES.iter().filter(|name| **name != NAMES[holder]) {
        let beats = |result: &str| {
            let series = format!("vipkeeper_heartbeats_total{{peer=\"{peer}\",result=\"{result}\",{SEGMENT}}}");
            trio.metric(holder, &series).unwrap_or_default()
        };
        let before = (beats("sent"), beats("answered"));
        wait_until(SOON, "heartbeats", || beats("sent") >= before.0 + 20.0 && beats("answered") >= before.1 + 20.0);
        assert!(beats("answered") <= beats("sent"));
        let rtt =
            trio.metric(holder, &format!("vipkeeper_heartbeat_rtt_seconds{{peer=\"{peer}\",{SEGMENT}}}")).unwrap();
        assert!(rtt > 0.0 && rtt < 5.0, "{rtt}");
    }
    let margin = || trio.metric(holder, &format!("vipkeeper_tenure_margin_seconds{{{SEGMENT}}}")).unwrap();
    // The gate time of the profile lan is 500 ms: no more can be left.
    assert!(margin() <= 0.5, "{}", margin());
    wait_until(SOON, "time to be left", || margin() > 0.1);
}

#[test]
fn a_suspicion_that_one_node_has_alone_is_refuted_and_moves_nothing() {
    let trio = Trio::new();
    let holder = trio.wait_holder();
    let deaf = (holder + 1) % 3;
    let (before, refuted) = (watch_events(&trio, deaf, "suspected"), watch_events(&trio, deaf, "refuted"));
    let from = trio.hosts[holder].ipv4();
    drop_heartbeats(&trio, deaf, &[&format!("add rule ip deaf input ip saddr {from} udp dport 9473 drop")]);
    wait_until(SOON, "the suspicion", || watch_events(&trio, deaf, "suspected") > before);
    hear_again(&trio, deaf);
    wait_until(SOON, "the refutation", || watch_events(&trio, deaf, "refuted") > refuted);
    assert_eq!(trio.holder(), Some(holder));
    assert_eq!(trio.view()["members"][NAMES[holder]]["state"], "Up");
}

#[test]
fn a_fence_is_counted_by_who_makes_it_and_by_whom_it_strikes() {
    let trio = Trio::new();
    let holder = trio.wait_holder();
    let others = [(holder + 1) % 3, (holder + 2) % 3];
    let (shut, lost) = (watch_events(&trio, holder, "self_fenced"), watch_events(&trio, holder, "right_lost"));
    let fences = || others.iter().map(|node| watch_events(&trio, *node, "fenced")).sum::<f64>();
    let before = fences();
    let silence = ["input", "output"].map(|hook| format!("add rule ip deaf {hook} udp dport 9473 drop"));
    drop_heartbeats(&trio, holder, &silence.each_ref().map(String::as_str));
    trio.wait_other_holder(holder);
    wait_until(SOON, "one fence", || fences() > before);
    wait_until(SOON, "the gate to shut or the fence to be known", || {
        watch_events(&trio, holder, "self_fenced") > shut || watch_events(&trio, holder, "right_lost") > lost
    });
    hear_again(&trio, holder);
    wait_until(SOON, "the right to be lost", || watch_events(&trio, holder, "right_lost") > lost);
    let new = trio.holder().unwrap();
    wait_until(SOON, "the duration", || trio.metric(new, "vipkeeper_failover_duration_seconds_count") == Some(1.0));
    let took = trio.metric(new, "vipkeeper_failover_duration_seconds_sum").unwrap();
    assert!(took > 0.1 && took < 20.0, "{took}");
}
