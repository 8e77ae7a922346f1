//! Chains of WHOIS servers, friendly and hostile.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::internet::{IANA, Internet, NOWHERE, OTHER, REGISTRAR, REGISTRY};
use crate::server::{endless, whois, whois_text};

const FLAGS: [&str; 2] = ["--rdap", "off"];
const COM: &str = "% IANA WHOIS server\r\n\r\nrefer:        whois.verisign-grs.com\r\n\r\ndomain:       COM\r\n";

#[test]
fn iana_leads_to_the_registry_and_that_to_the_registrar() {
    let net = Internet::new("chain");
    let iana = whois_text(&net.netns, IANA, COM);
    let registry = whois_text(
        &net.netns,
        REGISTRY,
        "   Domain Name: EXAMPLE.COM\r\n   Registrar WHOIS Server: whois.registrar.example.net\r\n   Creation Date: 1995-08-14\r\n",
    );
    let registrar = whois_text(
        &net.netns,
        REGISTRAR,
        "Domain Name: example.com\r\nRegistrar: 100% \x1b[31mRed\r\nSet-Cookie: %s%n\r\n<script>alert(1)</script>\r\n",
    );
    let _service = net.serve(&FLAGS);
    let answer = net.get("/lookup?domain=Example.COM&mac=");
    assert_eq!(answer.status, 200, "{answer:?}");
    let text = "Domain Name: example.com\nRegistrar: 100% [31mRed\nSet-Cookie: %s%n\n<script>alert(1)</script>\n";
    assert!(answer.body.starts_with(text), "{}", answer.body);
    assert!(answer.headers["content-type"].starts_with("text/plain"));
    assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    assert!(!answer.headers.contains_key("set-cookie"));
    assert_eq!(iana.lines(), ["example.com\r\n"]);
    assert_eq!(registry.lines(), ["domain example.com\r\n"]);
    assert_eq!(registrar.lines(), ["example.com\r\n"]);

    let again = net.ask("domain=example.com");
    assert_eq!(again.hops(), "referral answer answer");
    assert_eq!(again.json()["registration"]["created"], "1995-08-14", "what only the registry says is not lost");
    assert!(again.headers.contains_key("age"), "{again:?}");
    let page = net.get("/lookup?domain=example.com&format=html");
    assert!(page.body.contains("&lt;script&gt;") && !page.body.contains("<script"), "{}", page.body);
    assert_eq!(
        (iana.connections(), registry.connections(), registrar.connections()),
        (1, 1, 1),
        "kept, not asked again"
    );
}

#[test]
fn the_last_referral_of_arin_wins_and_a_circle_ends() {
    let net = Internet::new("arin");
    whois_text(&net.netns, IANA, "refer: whois.arin.net\n");
    let arin = whois(&net.netns, REGISTRY, 43, |line, stream, _| {
        let referral = match line {
            "n + 9.9.9.9" => {
                "ReferralServer: whois://whois.registrar.example.net\nReferralServer: rwhois://whois.other.example.net:4321/"
            }
            _ => "ReferralServer: whois://whois.iana.org",
        };
        write!(stream, "NetRange: 9.0.0.0 - 9.255.255.255\nOrgName: Example\n{referral}\n")
    });
    let first = whois_text(&net.netns, REGISTRAR, "NetRange: wrong\n");
    let last = whois(&net.netns, OTHER, 4321, |_, stream, _| stream.write_all(b"network:Organization:Customer\n"));
    let _service = net.serve(&FLAGS);
    let answer = net.ask("ip=9.9.9.9");
    assert_eq!(answer.hops(), "referral answer answer", "{answer:?}");
    assert_eq!(answer.json()["registration"]["server"], "whois.other.example.net:4321");
    assert_eq!((first.connections(), last.lines()), (0, vec!["9.9.9.9\r\n".to_owned()]));

    let circle = net.ask("ip=9.9.9.10");
    assert_eq!((circle.status, circle.json()["partial"].as_bool()), (200, Some(true)), "{circle:?}");
    assert_eq!(circle.hops(), "referral answer referral_loop");
    assert_eq!(arin.connections(), 2);
}

#[test]
fn no_referral_leads_to_an_address_that_is_not_global() {
    let net = Internet::new("ssrf");
    for (name, address) in [
        ("private.example.net", "10.0.0.5"),
        ("loop.example.net", "127.0.0.1"),
        ("meta.example.net", "169.254.169.254"),
    ] {
        net.dns.set(name, &[&[address]]);
    }
    let targets = [
        "private.example.net",
        "loop.example.net",
        "meta.example.net",
        "169.254.169.254",
        "localhost",
        "127.0.0.1",
        "[::1]",
        "10.0.0.5",
        "whois.other.example.net:80",
        "whois.iana.org",
    ];
    whois(&net.netns, IANA, 43, move |line, stream, _| {
        let number: usize = line.trim_start_matches("d").split('.').next().unwrap().parse().unwrap();
        writeln!(stream, "refer: {}", targets[number])
    });
    let inside =
        ["10.0.0.5", "127.0.0.1", "169.254.169.254"].map(|address| whois_text(&net.netns, address, "secret: yes\n"));
    let other = whois(&net.netns, OTHER, 80, |_, stream, _| stream.write_all(b"secret: yes\n"));
    let _service = net.serve(&FLAGS);
    for (number, target) in targets.iter().enumerate() {
        let answer = net.ask(&format!("domain=d{number}.com"));
        let code = if *target == "whois.iana.org" { "referral_loop" } else { "referral_blocked" };
        assert_eq!((answer.status, answer.code().as_str()), (502, code), "{target}: {answer:?}");
        assert!(!answer.body.contains("secret"));
    }
    assert!(inside.iter().all(|server| server.connections() == 0), "somebody inside was connected to");
    assert_eq!(other.connections(), 0);
    let metrics = net.get("/metrics").body;
    for series in ["result=\"referral_blocked\"} 9\n", "result=\"referral_loop\"} 1\n", "result=\"referral\"} 10\n"] {
        assert!(
            metrics.contains(&format!("vipkeeper_lookup_upstream_requests_total{{protocol=\"whois\",{series}")),
            "{series}"
        );
    }
}

#[test]
fn the_address_that_was_checked_is_the_one_that_is_connected_to() {
    let net = Internet::new("rebind");
    net.dns.set("rebind.example.net", &[&[OTHER], &["10.0.0.5"]]);
    net.dns.set("both.example.net", &[&["10.0.0.5", OTHER]]);
    whois(&net.netns, IANA, 43, |line, stream, _| {
        let name = if line == "both.com" { "both" } else { "rebind" };
        writeln!(stream, "refer: {name}.example.net")
    });
    let outside = whois_text(&net.netns, OTHER, "Domain Name: outside\n");
    let inside = whois_text(&net.netns, "10.0.0.5", "Domain Name: secret\n");
    let _service = net.serve(&FLAGS);
    let answer = net.ask("domain=a.com");
    assert_eq!((answer.status, answer.json()["registration"]["name"].as_str()), (200, Some("outside")), "{answer:?}");
    assert_eq!(net.dns.asked("rebind.example.net"), 1, "a second question would have got the private address");
    let answer = net.ask("domain=b.com");
    assert_eq!((answer.status, answer.code().as_str()), (502, "referral_blocked"), "now the name is private");
    assert_eq!(net.ask("domain=both.com").status, 200, "of two addresses the global one is taken");
    assert_eq!((outside.connections(), inside.connections()), (2, 0));
}

/// Whether the service answers others at once.
fn assert_answers_others(net: &Internet) {
    let start = Instant::now();
    assert_eq!(net.get("/check?domain=").body, "OK");
    assert_eq!(net.ask("ip=10.1.2.3").status, 200);
    assert!(start.elapsed() < Duration::from_secs(2), "others wait: {:?}", start.elapsed());
}

#[test]
fn slow_servers_cost_their_time_and_nobody_elses() {
    let net = Internet::new("slow");
    net.dns.set("nowhere.example.net", &[&[NOWHERE]]);
    whois(&net.netns, IANA, 43, |line, stream: &mut TcpStream, _| match line {
        "trickle.com" => loop {
            stream.write_all(b"d")?;
            std::thread::sleep(Duration::from_millis(50));
        },
        "silent.com" => {
            std::thread::sleep(Duration::from_secs(60));
            Ok(())
        }
        "nowhere.com" => stream.write_all(b"refer: nowhere.example.net\n"),
        _ => stream.write_all(COM.as_bytes()),
    });
    let flags = ["--rdap", "off", "--connect-timeout", "500ms", "--hop-timeout", "2s", "--timeout", "3s"];
    let _service = net.serve(&flags);
    std::thread::scope(|scope| {
        for name in ["trickle.com", "silent.com", "nowhere.com"] {
            let net = &net;
            scope.spawn(move || {
                let start = Instant::now();
                let answer = net.ask(&format!("domain={name}"));
                assert_eq!((answer.status, answer.code().as_str()), (504, "upstream_timeout"), "{name}: {answer:?}");
                assert!(start.elapsed() < Duration::from_secs(4), "{name}: {:?}", start.elapsed());
            });
        }
        assert_answers_others(&net);
    });
}

#[test]
fn a_gigabyte_and_rubbish_are_no_answers() {
    let net = Internet::new("huge");
    let iana = whois(&net.netns, IANA, 43, |line, stream, seen| match line {
        "huge.com" => endless(stream, seen),
        "binary.com" => stream.write_all(&(0..=255).cycle().take(5000).collect::<Vec<u8>>()),
        "nul.com" => stream.write_all(b"domain: a\0b\n"),
        "empty.com" => Ok(()),
        _ => stream.write_all(b"% comments only\r\n%\r\n"),
    });
    let service = net.serve(&FLAGS);
    let huge = net.ask("domain=huge.com");
    assert_eq!((huge.status, huge.code().as_str()), (502, "upstream_error"), "{huge:?}");
    assert!(huge.body.contains("longer than 1048576 bytes"), "{}", huge.body);
    assert!(iana.written() < 64 << 20, "{} bytes were taken", iana.written());
    for name in ["binary", "nul", "empty", "comments"] {
        let answer = net.ask(&format!("domain={name}.com"));
        assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_error"), "{name}: {answer:?}");
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", service.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kib: usize = peak.split_whitespace().next().unwrap().parse().unwrap();
    assert!(kib < 200 << 10, "the service used {kib} KiB");
    assert_answers_others(&net);
}

#[test]
fn line_ends_in_a_question_are_refused_before_anything_goes_out() {
    let net = Internet::new("crlf");
    let iana = whois_text(&net.netns, IANA, "domain: x\n");
    let _service = net.serve(&FLAGS);
    for (question, code) in [
        ("domain=a.com%0d%0aEVIL", "invalid_domain"),
        ("domain=a.com%0d%0a.com", "invalid_domain"),
        ("domain=-r%20a.com", "invalid_domain"),
        ("domain=%25s.com", "invalid_domain"),
        ("ip=9.9.9.9%0d%0aEVIL", "invalid_ip"),
        ("ip=9.9.9.9%00", "invalid_ip"),
        ("asn=1%0a2", "invalid_asn"),
        ("domain=%ff.com", "bad_request"),
        ("domain=%2", "bad_request"),
    ] {
        let answer = net.ask(question);
        assert_eq!((answer.status, answer.code().as_str()), (400, code), "{question}: {answer:?}");
    }
    assert_eq!(iana.connections(), 0);
    assert_eq!(net.ask("domain=a.com").status, 200);
    assert_eq!(iana.lines(), ["a.com\r\n"]);
}

#[test]
fn a_chain_that_breaks_after_a_record_is_a_partial_answer() {
    let net = Internet::new("partial");
    whois_text(&net.netns, IANA, COM);
    whois(&net.netns, REGISTRY, 43, |line, stream, _| {
        let server = match line {
            "domain gone.com" => "gone.example.net",
            "domain local.com" => "localhost",
            _ => "whois.registrar.example.net",
        };
        write!(stream, "Domain Name: X\nRegistrar WHOIS Server: {server}\n")
    });
    let _service = net.serve(&FLAGS);
    for (name, hops) in [
        ("gone.com", "referral answer upstream_error"),
        ("local.com", "referral answer referral_blocked"),
        ("refused.com", "referral answer upstream_error"),
    ] {
        let answer = net.ask(&format!("domain={name}"));
        assert_eq!((answer.status, answer.json()["partial"].as_bool()), (200, Some(true)), "{name}: {answer:?}");
        assert_eq!(answer.hops(), hops);
        let text = net.get(&format!("/lookup?domain={name}")).body;
        assert!(text.contains("% partial") && text.contains("% hop: whois.iana.org referral"), "{text}");
    }
}
