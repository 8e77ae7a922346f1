//! What the original programs were asked and answered, and the command line.

use std::process::Command;

use crate::internet::{IANA, Internet, REGISTRY};
use crate::server::whois_text;
use crate::support::process::VIPKEEPER;

/// Runs a command; exit code, standard output, standard error.
fn run(mut command: Command) -> (i32, String, String) {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn lookup(net: &Internet, words: &[&str]) -> (i32, String, String) {
    let mut command = net.command(VIPKEEPER);
    command.arg("lookup").args(words);
    run(command)
}

#[test]
fn the_originals_questions_have_their_answers() {
    let net = Internet::new("original");
    whois_text(&net.netns, IANA, "refer: whois.other.example.net\n");
    whois_text(&net.netns, crate::internet::OTHER, "inetnum: 1.1.1.0 - 1.1.1.255\nnetname: EXAMPLE\n");
    let _service = net.serve(&["--rdap", "off"]);
    let hardware = net.get("/lookup?mac=68b5.99fc.d1df");
    assert_eq!(hardware.body.lines().next(), Some("Hewlett Packard"), "{hardware:?}");
    for notation in ["68:b5:99:fc:d1:df", "68-B5-99-FC-D1-DF", "68b599fcd1df", "68:b5:99"] {
        assert_eq!(
            net.get(&format!("/lookup?mac={notation}")).body.lines().next(),
            Some("Hewlett Packard"),
            "{notation}"
        );
    }
    let address = net.get("/lookup?ip=1.1.1.1");
    assert!(address.body.starts_with("inetnum: 1.1.1.0 - 1.1.1.255\nnetname: EXAMPLE\n"), "{address:?}");
    assert!(net.get("/lookup?domain=example.com").body.starts_with("inetnum"));
    let check = net.get("/check?domain=");
    assert_eq!((check.status, check.body.as_str()), (200, "OK"));
    let both = net.get("/lookup?mac=68b5.99fc.d1df&ip=1.1.1.1");
    assert_eq!((both.status, both.code().as_str()), (400, "bad_request"), "never one of several at random");

    let server = ["--server", "http://127.0.0.1:8080"];
    let ask = |kind: &str, value: &str| lookup(&net, &[&[kind, value], &server[..]].concat());
    let (code, out, _) = ask("mac", "68b5.99fc.d1df");
    assert_eq!((code, out.lines().next()), (0, Some("Hewlett Packard")));
    assert!(ask("ip", "1.1.1.1").1.starts_with("inetnum"));
    let (code, out, _) = lookup(&net, &[&["check"], &server[..]].concat());
    assert_eq!((code, out.as_str()), (0, "OK\n"));
    assert_eq!(ask("mac", "70:b3:d5:00:00:00").0, 1, "nobody's");
    let (code, _, errors) = ask("ip", "1.1.1");
    assert_eq!(code, 2, "{errors}");
    assert!(errors.contains("ip \"1.1.1\"") && errors.contains("192.0.2.1"), "{errors}");
}

#[test]
fn the_command_line_answers_by_itself() {
    let net = Internet::new("cli");
    whois_text(&net.netns, IANA, "refer: whois.verisign-grs.com\n");
    whois_text(&net.netns, REGISTRY, "Domain Name: EXAMPLE.COM\nRegistrar: R\n");
    let (code, out, errors) = lookup(&net, &["domain", "example.com", "--rdap", "off"]);
    assert_eq!(code, 0, "{errors}");
    assert!(out.starts_with("Domain Name: EXAMPLE.COM\nRegistrar: R\n% hop: whois.iana.org referral\n"), "{out}");
    let (code, out, _) = lookup(&net, &["ip", "10.1.2.3", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &json["special"]["reference"]), (0, &serde_json::json!("RFC 1918")));
    let (code, _, errors) = lookup(&net, &["ip", "9.9.9.9", "--offline"]);
    assert_eq!(code, 3);
    assert!(errors.contains("--offline"), "{errors}");
    let (code, _, errors) = lookup(&net, &["check", "--server", "http://127.0.0.1:1"]);
    assert_eq!(code, 3);
    assert!(errors.contains("127.0.0.1:1"), "{errors}");
}
