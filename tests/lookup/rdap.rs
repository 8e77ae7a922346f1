//! RDAP over HTTPS with referrals and redirects, and WHOIS where it fails.

use serde_json::{Value, json};

use crate::internet::{IANA, Internet, OTHER, REGISTRAR, REGISTRY};
use crate::server::{Page, Seen, http, whois_text};

const NAMES: [&str; 5] = [
    "data.iana.org",
    "rdap.registry.example.net",
    "rdap.registrar.example.net",
    "rdap.private.example.net",
    "rdap.other.example.net",
];

/// A bootstrap registry that names one server for everything.
fn bootstrap(server: &str) -> String {
    let keys = ["com", "9.0.0.0/8", "2001:4860::/32", "13335"];
    json!({"version": "1.0", "publication": "2026-11-01T00:00:00Z", "services": [[keys, [server]]]}).to_string()
}

fn domain(name: &str, related: Option<&str>) -> Value {
    let links: Vec<Value> = related
        .map(|href| json!({"rel": "related", "type": "application/rdap+json", "href": href}))
        .into_iter()
        .collect();
    json!({
        "objectClassName": "domain", "ldhName": name, "links": links, "status": ["active"],
        "events": [{"eventAction": "registration", "eventDate": "1995-08-14T04:00:00Z"}],
        "entities": [{"roles": ["registrar"], "vcardArray": ["vcard", [["fn", {}, "text", "Registrar 100% <b>"]]]}],
        "nameservers": [{"ldhName": "A.EXAMPLE.NET"}],
    })
}

/// What the registry answers.
fn registry(path: &str) -> Page {
    let linked = |href: &str| Page::json(&domain("X.COM", Some(href)));
    match path.trim_start_matches("/v1/") {
        "domain/thin.com" => linked("https://rdap.registrar.example.net/domain/thin.com"),
        "domain/meta.com" => linked("https://169.254.169.254/latest/"),
        "domain/private.com" => linked("https://rdap.private.example.net/x"),
        "domain/plain.com" => linked("http://rdap.registrar.example.net/x"),
        "domain/gone.com" => linked("https://rdap.registrar.example.net/gone"),
        "domain/moved.com" => Page::redirect("https://rdap.registrar.example.net/domain/moved.com"),
        "domain/evil.com" => Page::redirect("https://rdap.private.example.net/"),
        "domain/circle.com" => Page::redirect("/v1/domain/circle.com"),
        "domain/huge.com" => Page { status: 200, body: " ".repeat(3 << 20), ..Page::default() },
        "domain/html.com" => Page { status: 200, body: "<html>".to_owned(), ..Page::default() },
        "domain/busy.com" => Page { status: 429, headers: vec![("retry-after", "1".to_owned())], ..Page::default() },
        "ip/9.9.9.9" => Page::json(&json!({"objectClassName": "ip network", "name": "NINE", "country": "CH",
            "startAddress": "9.9.9.0", "endAddress": "9.9.9.255"})),
        "ip/2001:4860::1" => Page::json(&json!({"objectClassName": "ip network", "name": "SIX"})),
        "autnum/13335" => Page::json(&json!({"objectClassName": "autnum", "name": "AS-EXAMPLE",
            "startAutnum": 13335, "endAutnum": 13335})),
        _ => Page { status: 404, ..Page::default() },
    }
}

/// Makes the registries of this internet speak RDAP; returns what the bootstrap server, the registry and the registrar
/// see.
fn rdap(net: &Internet) -> (Seen, Seen, Seen) {
    let tls = net.authority(&NAMES);
    for (name, address) in NAMES.iter().zip([IANA, REGISTRY, REGISTRAR, "10.0.0.5", OTHER]) {
        net.dns.set(name, &[&[address]]);
    }
    let iana = http(&net.netns, IANA, 443, Some(tls.clone()), |path| match path {
        "/rdap/dns.json" | "/rdap/ipv4.json" | "/rdap/ipv6.json" | "/rdap/asn.json" => {
            Page { status: 200, body: bootstrap("https://rdap.registry.example.net/v1/"), ..Page::default() }
        }
        _ => Page { status: 404, ..Page::default() },
    });
    let registrar = http(&net.netns, REGISTRAR, 443, Some(tls.clone()), |path| match path {
        "/domain/thin.com" | "/domain/moved.com" => {
            let mut body = domain("thin.com", None);
            body["handle"] = json!("R-1");
            Page::json(&body)
        }
        _ => Page { status: 500, ..Page::default() },
    });
    (iana, http(&net.netns, REGISTRY, 443, Some(tls), registry), registrar)
}

#[test]
fn rdap_answers_every_kind_of_question() {
    let net = Internet::new("rdap");
    let (iana, registry, registrar) = rdap(&net);
    let ca = net.file("ca.pem");
    let _service = net.serve(&["--ca-file", ca.to_str().unwrap(), "--whois", "off"]);
    let answer = net.ask("domain=thin.com");
    assert_eq!((answer.status, answer.hops().as_str()), (200, "answer answer"), "{answer:?}");
    let registration = &answer.json()["registration"];
    assert_eq!((&registration["protocol"], &registration["handle"]), (&json!("rdap"), &json!("R-1")));
    assert_eq!(registration["registrar"], "Registrar 100% <b>");
    let text = net.get("/lookup?domain=thin.com").body;
    assert!(text.contains("nameserver: a.example.net\n") && text.contains("registrar: Registrar 100% <b>\n"), "{text}");
    for (question, name) in [("ip=9.9.9.9", "NINE"), ("ip=2001:4860::1", "SIX"), ("asn=AS13335", "AS-EXAMPLE")] {
        assert_eq!(net.ask(question).json()["registration"]["name"], name, "{question}");
    }
    assert_eq!(net.ask("domain=moved.com").hops(), "referral answer");
    let missing = net.ask("domain=nosuch.com");
    assert_eq!((missing.status, missing.code().as_str(), missing.hops().as_str()), (404, "not_found", "not_found"));
    let request = &registry.lines()[0];
    assert!(request.starts_with("GET /v1/domain/thin.com HTTP/1.1\r\n"), "{request}");
    assert!(request.to_lowercase().contains("accept: application/rdap+json"), "{request}");
    assert_eq!(iana.connections(), 4, "each list is fetched once");
    assert_eq!(registrar.connections(), 2);
}

#[test]
fn hostile_links_and_redirects_are_not_followed() {
    let net = Internet::new("rdaphost");
    rdap(&net);
    let inside = ["10.0.0.5", "169.254.169.254"]
        .map(|address| http(&net.netns, address, 443, None, |_| Page::json(&json!({"secret": true}))));
    let ca = net.file("ca.pem");
    let _service = net.serve(&["--ca-file", ca.to_str().unwrap(), "--whois", "off"]);
    for name in ["meta", "private", "plain"] {
        let answer = net.ask(&format!("domain={name}.com"));
        assert_eq!((answer.status, answer.hops().as_str()), (200, "answer referral_blocked"), "{name}: {answer:?}");
        assert_eq!(answer.json()["partial"], true);
    }
    assert_eq!(net.ask("domain=gone.com").hops(), "answer upstream_error");
    for (name, code) in [
        ("evil", "referral_blocked"),
        ("circle", "referral_loop"),
        ("huge", "upstream_error"),
        ("html", "upstream_error"),
    ] {
        let answer = net.ask(&format!("domain={name}.com"));
        assert_eq!((answer.status, answer.code().as_str()), (502, code), "{name}: {answer:?}");
    }
    let busy = net.ask("domain=busy.com");
    assert_eq!((busy.status, busy.code().as_str()), (503, "upstream_quota"), "{busy:?}");
    assert!(busy.headers.contains_key("retry-after"));
    assert!(inside.iter().all(|server| server.connections() == 0), "somebody inside was connected to");
}

#[test]
fn whois_answers_where_no_server_of_rdap_can_be_believed() {
    let net = Internet::new("untrusted");
    let (iana, _, _) = rdap(&net);
    whois_text(&net.netns, IANA, "domain: COM\nregistrar: by whois\n");
    let _service = net.serve(&[]);
    let answer = net.ask("domain=thin.com");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!((answer.hops().as_str(), &answer.json()["registration"]["protocol"]), ("answer", &json!("whois")));
    assert_eq!(
        (iana.connections(), iana.lines().len()),
        (1, 0),
        "no request goes to a server without a good certificate"
    );
}

#[test]
fn a_registry_that_fails_over_rdap_is_asked_over_whois() {
    let net = Internet::new("fallback");
    rdap(&net);
    whois_text(&net.netns, IANA, "domain: COM\nregistrar: by whois\n");
    let ca = net.file("ca.pem");
    let _service = net.serve(&["--ca-file", ca.to_str().unwrap()]);
    let answer = net.ask("domain=html.com");
    assert_eq!((answer.status, answer.hops().as_str()), (200, "upstream_error answer"), "{answer:?}");
}

#[test]
fn an_operators_own_registry_may_be_anywhere_and_plain_on_loopback_only() {
    let net = Internet::new("own");
    let folder = net.file("bootstrap");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("dns.json"), bootstrap("http://127.0.0.1:8081/")).unwrap();
    std::fs::write(folder.join("ipv4.json"), bootstrap(&format!("http://{OTHER}:8081/"))).unwrap();
    http(&net.netns, "127.0.0.1", 8081, None, |_| Page::json(&domain("own.com", None)));
    let plain = http(&net.netns, OTHER, 8081, None, |_| Page::json(&json!({"objectClassName": "ip network"})));
    let _service = net.serve(&["--rdap", folder.to_str().unwrap(), "--whois", "off"]);
    let answer = net.ask("domain=own.com");
    assert_eq!((answer.status, answer.hops().as_str()), (200, "answer"), "{answer:?}");
    let answer = net.ask("ip=9.9.9.9");
    assert_eq!((answer.status, answer.code().as_str()), (502, "referral_blocked"), "{answer:?}");
    assert_eq!(plain.connections(), 0);
    let answer = net.ask("asn=13335");
    assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_error"), "no asn.json: {answer:?}");
}
