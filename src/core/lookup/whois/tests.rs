use super::*;
use proptest::prelude::*;

fn server(host: &str) -> Server {
    Server { host: host.to_owned(), port: PORT }
}

fn query(kind: &str, value: &str) -> Query {
    Query::parse(kind, value).unwrap().unwrap()
}

fn to(host: &str, port: u16) -> Referral {
    Referral::To(Server { host: host.to_owned(), port })
}

#[test]
fn each_registry_is_asked_in_its_own_way() {
    for (host, kind, value, line) in [
        ("whois.iana.org", "ip", "192.0.2.1", "192.0.2.1"),
        ("whois.arin.net", "ip", "192.0.2.1", "n + 192.0.2.1"),
        ("whois.arin.net", "asn", "64496", "a + 64496"),
        ("whois.ripe.net", "ip", "2001:db8::1", "-r 2001:db8::1"),
        ("whois.ripe.net", "asn", "64496", "-r AS64496"),
        ("whois.denic.de", "domain", "Bücher.de", "-T dn,ace xn--bcher-kva.de"),
        ("whois.verisign-grs.com", "domain", "example.com", "domain example.com"),
        ("whois.jprs.jp", "domain", "example.jp", "example.jp/e"),
    ] {
        assert_eq!(request(&server(host), &query(kind, value)), format!("{line}\r\n"));
    }
}

#[test]
fn a_referral_counts_only_at_a_line_start_and_from_whose_office_it_is() {
    let iana = "% IANA\n\nnot refer: a.example.net\nrefer:        whois.nic.example.net\n\ndomain: COM\n";
    let root = server("whois.iana.org");
    assert_eq!(referral(&root, Office::Root, iana), to("whois.nic.example.net", 43));
    assert_eq!(referral(&root, Office::End, iana), Referral::None);
    assert_eq!(referral(&root, Office::Registry, iana), Referral::None);
    assert_eq!(referral(&root, Office::Root, " refer: whois.nic.example.net\n"), Referral::None, "indented");

    let arin = "ReferralServer:  rwhois://rwhois.example.net:4321\nReferralServer: whois://whois.ripe.net\n";
    assert_eq!(referral(&server("whois.arin.net"), Office::End, arin), to("whois.ripe.net", 43), "the last one wins");
    assert_eq!(referral(&server("whois.example.net"), Office::End, arin), Referral::None);

    let registry = "   Domain Name: EXAMPLE.COM\n   Registrar WHOIS Server: whois.registrar.example.net\n";
    let verisign = server("whois.verisign-grs.com");
    assert_eq!(referral(&verisign, Office::Registry, registry), to("whois.registrar.example.net", 43));
    assert_eq!(referral(&verisign, Office::End, registry), Referral::None);
}

#[test]
fn a_referral_to_anything_but_a_public_whois_server_is_blocked() {
    for value in [
        "169.254.169.254",
        "127.0.0.1",
        "localhost",
        "[::1]",
        "::1",
        "whois.example.net:80",
        "whois.example.net:99999",
        "whois://whois.example.net:6379/",
        "gopher://whois.example.net",
        "whois.example.net@evil",
        "whois_evil.example.net",
        "2130706433",
        "0x7f.1",
    ] {
        let text = format!("refer: {value}\n");
        let found = referral(&server("whois.iana.org"), Office::Root, &text);
        assert!(matches!(found, Referral::Blocked(_)), "{value}: {found:?}");
    }
    for (value, host, port) in [
        ("whois://Whois.Example.NET", "whois.example.net", 43),
        ("whois.example.net.", "whois.example.net", 43),
        ("rwhois://rwhois.example.net/", "rwhois.example.net", 4321),
        ("whois.example.net:4321", "whois.example.net", 4321),
    ] {
        assert_eq!(parse_referral(value), to(host, port));
    }
    assert_eq!(parse_referral("https://registrar.example.net/whois"), Referral::None);
}

#[test]
fn hostile_bytes_become_plain_lines() {
    assert_eq!(decode(b"a\r\nb\rc\n\nd\x1b[2J%s%n\n\n").unwrap(), "a\nb\nc\n\nd[2J%s%n\n");
    assert_eq!(decode(b"M\xfcnchen").unwrap(), "München\n");
    assert_eq!(decode("Zürich \u{202e}x".as_bytes()).unwrap(), "Zürich x\n");
    assert!(decode(b"a\0b").is_err());
    assert!(decode(&[1, 2, 3, 4, 5, 6]).is_err());
    assert_eq!(decode(b"").unwrap(), "");
}

#[test]
fn texts_that_say_no_are_told_from_records() {
    use Verdict::{Denied, Empty, NotFound, Record};
    for (text, verdict_) in [
        ("No match for \"NOSUCH.COM\".\r\n>>> Last update of whois database\n", NotFound),
        ("% comment\n%ERROR:101: no entries found\n%\n% No entries found in source RIPE.\n", NotFound),
        ("Domain: nosuch.de\nStatus: free\n", NotFound),
        ("Domain:   nosuch.eu\nStatus: AVAILABLE\n", NotFound),
        ("The queried object does not exist: previous registration\n", NotFound),
        ("%ERROR:201: access denied for 192.0.2.1\n", Denied),
        ("WHOIS LIMIT EXCEEDED - SEE WWW.PIR.ORG/WHOIS FOR DETAILS\n", Denied),
        ("inetnum: 192.0.2.0 - 192.0.2.255\nremarks: not found elsewhere\n", Record),
        ("Domain Name: A.COM\nRegistrar: X\n\nNot found in another registry\n", Record),
        ("% only\n# comments\n", Empty),
        ("", Empty),
    ] {
        assert_eq!(verdict(Office::End, text), verdict_, "{text}");
    }
    assert_eq!(verdict(Office::End, "ReferralServer: whois://a.example.net\n"), Empty);
    assert_eq!(verdict(Office::Registry, "Registrar WHOIS Server: a.example.net\n"), Empty);
}

#[test]
fn records_of_registries_are_read() {
    let ripe = "inetnum:        193.0.0.0 - 193.0.7.255\nnetname:        RIPE-NCC\ncountry:        NL\n\
                org-name:       Reseaux IP Europeens\nstatus:         ASSIGNED PA\ncreated: 2003-03-17T12:15:57Z\n";
    let found = record(ripe);
    assert_eq!(found.range.as_deref(), Some("193.0.0.0 - 193.0.7.255"));
    assert_eq!(found.name.as_deref(), Some("RIPE-NCC"));
    assert_eq!(found.organization.as_deref(), Some("Reseaux IP Europeens"));
    let com = "   Domain Name: EXAMPLE.COM\n   Registrar: Example Registrar\n   Domain Status: ok https://icann.org/epp#ok\n\
               \x20  Name Server: A.EXAMPLE.NET\n   Name Server: B.EXAMPLE.NET\n";
    let found = record(com);
    assert_eq!(found.status, ["ok"]);
    assert_eq!(found.nameservers, ["a.example.net", "b.example.net"]);
}

proptest! {
    #[test]
    fn no_bytes_break_it_and_no_referral_is_unsafe(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(text) = decode(&bytes) {
            prop_assert!(text.chars().all(|c| c == '\n' || c == '\t' || !is_unsafe(c)));
            let _ = (record(&text), verdict(Office::End, &text));
        }
    }

    #[test]
    fn every_referral_is_a_name_and_a_whois_port(value in "[a-zA-Z0-9:/.@\\[\\]_ -]{0,40}") {
        if let Referral::To(server) = parse_referral(&value) {
            prop_assert!(is_host_name(&server.host) && server.host.parse::<std::net::IpAddr>().is_err());
            prop_assert!(matches!(server.port, PORT | RWHOIS_PORT));
        }
    }
}
