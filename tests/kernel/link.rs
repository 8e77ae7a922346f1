//! `vipkeeper link`: interfaces and their flags.

use serde_json::{Value, json};

use crate::support::process::VIPKEEPER;
use crate::support::segment::{Host, Segment};

/// What `vipkeeper link` prints and its exit code.
fn link(host: &Host, words: &[&str]) -> (String, Option<i32>) {
    let output = host.netns.command(VIPKEEPER).arg("link").args(words).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (String::from_utf8(text).unwrap(), output.status.code())
}

#[test]
fn interfaces_are_listed_shown_and_set_down_and_up() {
    let segment = Segment::new();
    let host = segment.host("node", 1);
    let (list, code) = link(&host, &["list"]);
    assert_eq!(code, Some(0));
    let lines: Vec<_> = list.lines().collect();
    assert!(lines[0].contains("lo <UP,LOWER_UP,LOOPBACK>"), "{list}");
    assert!(lines[1].contains("eth0 <UP,LOWER_UP> 02:00:00:00:00:01 mtu 1500"), "{list}");
    assert_eq!(lines.len(), 2);

    let (shown, _) = link(&host, &["show", "eth0", "--json"]);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["flags"], json!(["UP", "LOWER_UP"]));
    assert_eq!(
        (&shown["name"], &shown["mac"], &shown["mtu"]),
        (&json!("eth0"), &json!("02:00:00:00:00:01"), &json!(1500))
    );

    let (down, code) = link(&host, &["down", "eth0"]);
    assert_eq!((down.as_str(), code), ("eth0: <UP,LOWER_UP> -> <>\n", Some(0)));
    assert!(!host.netns.ip("link show eth0").contains("UP,"));
    let (up, code) = link(&host, &["up", "eth0", "--json"]);
    let up: Value = serde_json::from_str(&up).unwrap();
    assert_eq!((up["before"].clone(), code), (json!([]), Some(0)));
    assert_eq!(up["after"][0], "UP");
    assert!(host.netns.ip("link show eth0").contains("UP"));
}

#[test]
fn an_interface_that_is_not_there_is_a_no_that_names_those_that_are() {
    let segment = Segment::new();
    let host = segment.host("node", 1);
    for verb in ["show", "up", "down"] {
        let (text, code) = link(&host, &[verb, "eth7"]);
        assert_eq!((text.as_str(), code), ("vipkeeper: no interface eth7; there are: lo, eth0\n", Some(1)));
    }
    assert_eq!(link(&host, &["show"]).1, Some(2));
}
