use super::*;
use proptest::prelude::*;
use serde_json::json;

fn query(kind: &str, value: &str) -> Query {
    Query::parse(kind, value).unwrap().unwrap()
}

fn iana() -> Option<Server> {
    Some(Server { host: "whois.iana.org".to_owned(), port: 43 })
}

fn text(text: &str) -> Result<Reply, Failure> {
    Ok(Reply::Text(text.as_bytes().to_vec()))
}

fn http(status: u16, body: &serde_json::Value) -> Result<Reply, Failure> {
    Ok(Reply::Http { status, location: None, retry_after: None, body: body.to_string().into_bytes() })
}

fn url(text: &str) -> Option<(Url, Origin)> {
    Some((Url::parse(text).unwrap(), Origin::Referred))
}

/// Who is asked now, and how.
fn asks(chain: &Chain) -> String {
    match chain.ask() {
        Some(Ask::Whois(server, line, origin)) => format!("{origin:?} {server} {}", line.trim_end()),
        Some(Ask::Rdap(url, origin)) => format!("{origin:?} {url}"),
        None => "nobody".to_owned(),
    }
}

fn results(hops: &[Hop]) -> Vec<&str> {
    hops.iter().map(|hop| hop.result).collect()
}

#[test]
fn iana_leads_to_the_registry_and_the_registry_to_the_registrar() {
    let mut chain = Chain::new(query("domain", "example.com"), None, iana());
    assert_eq!(asks(&chain), "Configured whois.iana.org example.com");
    chain.handle(text("refer: whois.verisign-grs.com\n\ndomain: COM\n"));
    assert_eq!(asks(&chain), "Referred whois.verisign-grs.com domain example.com");
    chain.handle(text(
        "Domain Name: EXAMPLE.COM\nRegistrar WHOIS Server: whois.registrar.example.net\nCreation Date: 1995\n",
    ));
    assert_eq!(asks(&chain), "Referred whois.registrar.example.net example.com");
    chain
        .handle(text("Domain Name: example.com\nRegistrar WHOIS Server: whois.other.example.net\nRegistrar: 100% R\n"));
    assert_eq!(asks(&chain), "nobody");
    let (Outcome::Found { registration, broken: None }, hops) = chain.outcome() else { panic!() };
    assert_eq!(results(&hops), ["referral", "answer", "answer"]);
    assert_eq!(registration.server, "whois.registrar.example.net");
    assert_eq!(registration.record.created.as_deref(), Some("1995"), "from the registry");
    assert!(registration.text.contains("100% R"));
}

#[test]
fn a_chain_that_breaks_after_a_record_keeps_the_record() {
    for (reply, code) in [
        (Err(Failure::Timeout("the answer")), "upstream_timeout"),
        (Err(Failure::Blocked("whois.registrar.example.net".to_owned())), "referral_blocked"),
        (text("\0\0\0"), "upstream_error"),
        (text("WHOIS LIMIT EXCEEDED\n"), "upstream_quota"),
    ] {
        let mut chain = Chain::new(query("domain", "example.com"), None, iana());
        chain.handle(text("refer: whois.verisign-grs.com\n"));
        chain.handle(text("Domain Name: EXAMPLE.COM\nRegistrar WHOIS Server: whois.registrar.example.net\n"));
        chain.handle(reply);
        let (Outcome::Found { registration, broken: Some(broken) }, hops) = chain.outcome() else { panic!("{code}") };
        assert_eq!((registration.server.as_str(), broken.code()), ("whois.verisign-grs.com", code));
        assert_eq!(results(&hops), ["referral", "answer", code]);
    }
}

#[test]
fn a_chain_that_breaks_before_is_a_failure() {
    let outcome = |replies: &[Result<Reply, Failure>]| {
        let mut chain = Chain::new(query("ip", "192.0.2.1"), None, iana());
        for reply in replies {
            chain.handle(reply.clone());
        }
        chain.outcome()
    };
    for (refer, code) in [
        ("refer: 169.254.169.254\n", "referral_blocked"),
        ("refer: localhost\n", "referral_blocked"),
        ("refer: whois.iana.org\n", "referral_loop"),
        ("% nothing\n", "upstream_error"),
        ("", "upstream_error"),
    ] {
        let (Outcome::Failed(failure), _) = outcome(&[text(refer)]) else { panic!("{refer}") };
        assert_eq!(failure.code(), code, "{refer}");
    }
    assert_eq!(outcome(&[text("refer: a.example.net\n"), text("% No entries found\n")]).0, Outcome::NotFound);
}

#[test]
fn arin_refers_on_and_a_circle_ends() {
    let mut chain = Chain::new(query("ip", "192.0.2.1"), None, iana());
    chain.handle(text("refer: whois.arin.net\n"));
    assert_eq!(asks(&chain), "Referred whois.arin.net n + 192.0.2.1");
    chain.handle(text("NetRange: 192.0.2.0 - 192.0.2.255\nReferralServer: whois://whois.iana.org\n"));
    assert_eq!(asks(&chain), "nobody");
    let (Outcome::Found { broken: Some(Failure::Loop(_)), .. }, _) = chain.outcome() else { panic!() };
}

#[test]
fn rdap_comes_first_and_whois_where_it_fails() {
    let domain = json!({"objectClassName": "domain", "ldhName": "EXAMPLE.COM",
        "links": [{"rel": "related", "type": "application/rdap+json", "href": "https://rdap.registrar.example.net/domain/EXAMPLE.COM"}]});
    let registrar = json!({"objectClassName": "domain", "ldhName": "example.com", "handle": "R-1"});
    let mut chain =
        Chain::new(query("domain", "example.com"), url("https://rdap.example.net/domain/example.com"), iana());
    chain.handle(http(200, &domain));
    assert_eq!(asks(&chain), "Referred https://rdap.registrar.example.net/domain/EXAMPLE.COM");
    chain.handle(http(200, &registrar));
    let (Outcome::Found { registration, broken: None }, hops) = chain.outcome() else { panic!() };
    assert_eq!((registration.record.handle.as_deref(), results(&hops)), (Some("R-1"), vec!["answer", "answer"]));

    for (reply, code) in [
        (http(500, &json!({})), "upstream_error"),
        (http(429, &json!({})), "upstream_quota"),
        (http(200, &json!({"objectClassName": "ip network"})), "upstream_error"),
        (Err(Failure::Timeout("the connection")), "upstream_timeout"),
    ] {
        let mut chain = Chain::new(query("domain", "example.com"), url("https://rdap.example.net/x"), iana());
        chain.handle(reply);
        assert_eq!(asks(&chain), "Configured whois.iana.org example.com");
        assert_eq!(results(chain.hops()), [code]);
    }
    let mut chain = Chain::new(query("domain", "example.com"), url("https://rdap.example.net/x"), iana());
    chain.handle(http(404, &json!({})));
    assert_eq!(chain.outcome().0, Outcome::NotFound, "the registry has the last word");
}

#[test]
fn redirects_are_referrals() {
    let redirect = |location: &str| {
        Ok(Reply::Http { status: 302, location: Some(location.to_owned()), retry_after: None, body: Vec::new() })
    };
    let start = || Chain::new(query("ip", "192.0.2.1"), url("https://rdap.example.net/ip/192.0.2.1"), None);
    for (location, code) in [
        ("http://rdap.example.net/", "referral_blocked"),
        ("https://169.254.169.254/latest", "referral_blocked"),
        ("https://localhost/", "referral_blocked"),
        ("https://rdap.example.net:8443/", "referral_blocked"),
        ("", "referral_blocked"),
        ("https://rdap.example.net/ip/192.0.2.1", "referral_loop"),
    ] {
        let mut chain = start();
        chain.handle(redirect(location));
        let (Outcome::Failed(failure), _) = chain.outcome() else { panic!("{location}") };
        assert_eq!(failure.code(), code, "{location}");
    }
    let mut chain = start();
    for number in 0.. {
        if chain.ask().is_none() {
            assert_eq!(number, MAX_HOPS);
            break;
        }
        chain.handle(redirect(&format!("/{number}")));
    }
    assert!(matches!(chain.outcome().0, Outcome::Failed(Failure::Depth)));
}

#[test]
fn without_anybody_to_ask_there_is_nobody() {
    let chain = Chain::new(query("asn", "1"), None, None);
    assert_eq!((asks(&chain).as_str(), chain.outcome().0), ("nobody", Outcome::Nobody));
    let mut chain = Chain::new(query("asn", "1"), None, iana());
    chain.abort(Failure::Timeout("the whole look-up"));
    assert_eq!(chain.outcome().0, Outcome::Failed(Failure::Timeout("the whole look-up")));
}

proptest! {
    #[test]
    fn every_chain_ends(kinds in prop::collection::vec(0_u8..9, 12)) {
        let mut chain = Chain::new(query("domain", "example.com"), url("https://rdap.example.net/x"), iana());
        let mut steps = 0;
        for kind in kinds {
            if chain.ask().is_none() {
                break;
            }
            steps += 1;
            let host = format!("h{kind}.example.net");
            chain.handle(match kind {
                0 => text(&format!("refer: {host}\n")),
                1 => text(&format!("Domain Name: X\nRegistrar WHOIS Server: {host}\n")),
                2 => text("No match for X\n"),
                3 => http(200, &json!({"objectClassName": "domain", "links": [
                    {"rel": "related", "type": "application/rdap+json", "href": format!("https://{host}/{steps}")}]})),
                4 => Ok(Reply::Http { status: 301, location: Some(format!("/{steps}")), retry_after: None, body: vec![] }),
                5 => Err(Failure::Timeout("x")),
                _ => text("Domain Name: X\n"),
            });
        }
        prop_assert!(chain.ask().is_none(), "{} steps", steps);
        prop_assert!(steps <= 2 * MAX_HOPS);
    }
}
