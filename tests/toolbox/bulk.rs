//! Many items: bad ones are named and left out, the rest goes on, and the exit code tells.

use std::io::Read;
use std::process::Stdio;
use std::time::Duration;

use crate::command::{answer, command, ip, ip_with};
use crate::support::wait_until;

#[test]
fn a_bad_line_is_named_with_its_number_and_the_rest_goes_on() {
    let input = b"# addresses\n192.0.2.1\n\n010.1.1.1\r\n \t192.0.2.3 \r\n\xff\xfe\nfe80::1%eth0\n192.0.2.5";
    let run = ip_with("next", input);
    assert_eq!(run.lines(), ["192.0.2.2", "192.0.2.4", "192.0.2.6"]);
    assert_eq!(run.code, 2);
    assert_eq!(
        run.err.lines().collect::<Vec<_>>(),
        [
            "vipkeeper: standard input, line 4: \"010.1.1.1\" is not an IP address: write its parts without leading zeros",
            "vipkeeper: standard input, line 6: the line is not UTF-8",
            "vipkeeper: standard input, line 7: \"fe80::1%eth0\" is not an IP address: an address here has no zone; leave \
             out what follows the '%'",
        ]
    );
}

#[test]
fn a_line_without_end_is_one_bad_line() {
    let mut input = b"192.0.2.1\n".to_vec();
    input.extend(vec![b'1'; 1 << 20]);
    input.extend(b"\n192.0.2.2\n");
    let run = ip_with("sort", &input);
    assert_eq!(run.lines(), ["192.0.2.1", "192.0.2.2"]);
    assert_eq!(run.err, "vipkeeper: standard input, line 2: the line is longer than 4096 bytes\n");
    assert_eq!(run.code, 2);
}

#[test]
fn a_bad_argument_is_named_and_the_rest_goes_on() {
    let run = ip("info 192.0.2.1 192.0.2 ::1 --json");
    let addresses: Vec<_> = run.values().iter().map(|value| value["address"].clone()).collect();
    assert_eq!(addresses, ["192.0.2.1", "::1"]);
    assert_eq!((run.code, run.err.lines().count()), (2, 1));
    assert!(run.err.contains("\"192.0.2\" is not an IP address"), "{}", run.err);
}

#[test]
fn overflow_is_an_error_that_says_so() {
    for (words, word) in [
        ("next 255.255.255.255", "255.255.255.255 +1 is outside IPv4"),
        ("prev ::", ":: -1 is outside IPv6"),
        ("add 0.0.0.0 4294967296", "0.0.0.0 +4294967296 is outside IPv4"),
        ("add ::1 340282366920938463463374607431768211455", "is outside IPv6"),
        ("add ::1 340282366920938463463374607431768211456", "is not a number of addresses"),
        ("delta 192.0.2.1 ::1", "192.0.2.1 and ::1 are of different families"),
        ("enumerate 192.0.2.0/24 --from 254", "--from 254 is behind the end: 192.0.2.0/24 has 254"),
        ("subnets 192.0.2.0/24 23", "it must be from 24 to 32"),
        ("subnets ::/0 128 --from 340282366920938463463374607431768211456", "invalid value"),
        ("supernet ::/0", "nothing is around ::/0"),
        ("supernet 192.0.2.1 2001:db8::1", "are of different families"),
        ("range 192.0.2.9 192.0.2.1", "goes downwards"),
        ("contains 192.0.2.0/33 192.0.2.1", "its length must be a whole number from 0 to 32"),
    ] {
        let run = ip(words);
        assert_eq!((run.code, run.out.as_str()), (2, ""), "{words}");
        assert!(run.err.contains(word), "{words}: {}", run.err);
    }
}

#[test]
fn both_ends_of_the_space_are_reached() {
    let top = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    let most = u128::MAX;
    assert_eq!(answer(&format!("add :: {most}")), [top]);
    assert_eq!(answer(&format!("add {top} -{most}")), ["::"]);
    assert_eq!(answer(&format!("delta {top} ::")), [format!("-{most}")]);
    assert_eq!(answer(&format!("enumerate ::/0 --from {most}")), [top]);
    assert_eq!(answer("enumerate ::/0 --count 2"), ["::", "::1"]);
    assert_eq!(answer("enumerate 0.0.0.0/0 --all --from 4294967295"), ["255.255.255.255"]);
    assert_eq!(answer("range 0.0.0.0 255.255.255.255"), ["0.0.0.0/0"]);
    assert_eq!(answer("range ::/0 0.0.0.0/0"), ["0.0.0.0-255.255.255.255".to_owned(), format!("::-{top}")]);
    let sizes = ip("info ::/0 0.0.0.0/0 --json").values();
    assert_eq!(sizes[0]["size"], "340282366920938463463374607431768211456");
    assert_eq!((&sizes[1]["size"], &sizes[1]["count"]), (&"4294967296".into(), &"4294967294".into()));
}

#[test]
fn the_exit_code_is_the_answer() {
    for (words, input, code) in [
        ("contains 10.0.0.0/8", "10.1.1.1\n10.2.2.2\n", 0),
        ("contains 10.0.0.0/8", "10.1.1.1\n11.0.0.1\n", 1),
        ("contains 10.0.0.0/8", "10.1.1.1\n11.0.0.1\nx\n", 2),
        ("contains 10.0.0.0/8 10.128.0.0/9", "", 0),
        ("contains 10.0.0.0/8 10.0.0.0/7", "", 1),
        ("contains 10.0.0.0/8 ::ffff:10.0.0.1", "", 1),
        ("contains", "", 2),
        ("match 10.0.0.1 --prefixes -", "10.0.0.0/8\n", 0),
        ("match 10.0.0.1 --prefixes -", "11.0.0.0/8\n", 1),
        ("match 10.0.0.1 --prefixes -", "10.0.0.0/8\n10.0.0.0/40\n", 2),
        ("match 10.0.0.1 --prefixes /nowhere/list", "", 3),
        ("match --prefixes -", "", 2),
        ("contains --prefixes - -", "", 2),
        ("sort /nowhere/list", "", 3),
        ("delta 10.0.0.1", "", 2),
        ("delta", "10.0.0.1 10.0.0.2\n10.0.0.1 10.0.0.2 10.0.0.3\n", 2),
        ("aggregate", "", 0),
        ("supernet", "", 2),
    ] {
        let run = ip_with(words, input.as_bytes());
        assert_eq!(run.code, code, "{words} < {input:?}: {}", run.err);
        assert_eq!(run.code >= 2, !run.err.is_empty(), "{words}: {}", run.err);
    }
}

#[test]
fn lines_are_labelled_and_a_single_answer_is_bare() {
    let list = "10.0.0.0/8 office of the north\n10.1.0.0/16\n";
    assert_eq!(
        ip_with("match 10.1.0.1 --prefixes -", list.as_bytes()).out,
        "10.1.0.0/16\n10.0.0.0/8 (office of the north)\n"
    );
    let two = ip_with("match 10.1.0.1 11.0.0.1 --prefixes -", list.as_bytes());
    assert_eq!(two.out, "10.1.0.1 10.1.0.0/16 10.0.0.0/8 (office of the north)\n11.0.0.1 -\n");
    let value = &ip_with("match 10.1.0.1 --json --prefixes -", list.as_bytes()).values()[0];
    assert_eq!(
        *value,
        serde_json::json!({"address": "10.1.0.1", "networks": [
            {"prefix": "10.1.0.0/16"}, {"prefix": "10.0.0.0/8", "value": "office of the north"},
        ]})
    );
    assert_eq!(ip_with("contains 10.0.0.0/8", b"10.0.0.1\n").out, "10.0.0.1 true\n");
    assert_eq!(answer("contains 10.0.0.0/8 10.0.0.1"), ["true"]);
}

#[test]
fn json_says_what_text_says() {
    for (words, text, json) in [
        ("next 192.0.2.1", "192.0.2.2", r#"{"address":"192.0.2.1","offset":"1","result":"192.0.2.2"}"#),
        ("delta ::2 ::1", "-1", r#"{"a":"::2","b":"::1","delta":"-1"}"#),
        ("compare ::1 10.0.0.1", "1", r#"{"a":"::1","b":"10.0.0.1","order":1}"#),
        ("contains 10.0.0.0/8 10.0.0.1", "true", r#"{"item":"10.0.0.1","inside":true}"#),
        ("enumerate 10.0.0.0/32", "10.0.0.0", r#"{"address":"10.0.0.0"}"#),
        ("subnets ::/0 0", "::/0", r#"{"prefix":"::/0"}"#),
        ("supernet 10.0.0.0/9", "10.0.0.0/8", r#"{"prefix":"10.0.0.0/8"}"#),
        ("aggregate 10.0.0.7/8", "10.0.0.0/8", r#"{"prefix":"10.0.0.0/8"}"#),
        ("range 10.0.0.0 10.0.0.1", "10.0.0.0/31", r#"{"prefix":"10.0.0.0/31"}"#),
        ("range 10.0.0.0/31", "10.0.0.0-10.0.0.1", r#"{"first":"10.0.0.0","last":"10.0.0.1"}"#),
    ] {
        assert_eq!(answer(words), [text], "{words}");
        assert_eq!(answer(&format!("{words} --json")), [json], "{words}");
    }
    assert_eq!(ip_with("sort --json", b"10.0.0.1/8\n").out, "{\"item\":\"10.0.0.1/8\"}\n");
}

#[test]
fn a_reader_that_goes_away_ends_an_endless_command() {
    let mut child = command("enumerate ::/0").stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut begin = [0; 9];
    child.stdout.take().unwrap().read_exact(&mut begin).unwrap();
    assert_eq!(&begin, b"::\n::1\n::");
    let mut status = None;
    wait_until(Duration::from_secs(10), "the end of enumerate", || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    assert_eq!(status.unwrap().code(), Some(0));
}
