//! The OpenAPI document that is served, against what is really answered.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::client::{Answer, send};
use crate::internet::{IANA, Internet, REGISTRY};
use crate::server::whois_text;
use crate::support::mmdb;

/// What Debian's validator of JSON Schema says of each case, a schema's name and an instance; empty: nothing is wrong.
fn validate(document: &Value, cases: &[(&str, Value)]) -> Vec<String> {
    let mut python = Command::new("/usr/bin/python3")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/lookup/validate.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("python3: {error}: apt-get install python3 python3-jsonschema"));
    let given = json!({"document": document, "cases": cases});
    python.stdin.take().unwrap().write_all(given.to_string().as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "is it there? apt-get install python3-jsonschema");
    let lines: Vec<String> = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), cases.len());
    lines
}

#[test]
fn real_answers_are_as_the_document_says() {
    let net = Internet::new("openapi");
    whois_text(&net.netns, IANA, "refer: whois.verisign-grs.com\n");
    whois_text(
        &net.netns,
        REGISTRY,
        "Domain Name: X.COM\nRegistrar WHOIS Server: localhost\nDomain Status: ok\nName Server: A.EXAMPLE\nRegistrar: R\n",
    );
    let geo = json!({"city": {"names": {"en": "Zürich"}}, "location": {"latitude": 47.4, "longitude": 8.5},
                     "autonomous_system_number": 64496});
    fs::write(net.file("geo.mmdb"), mmdb::database("Test", &[("10.0.0.0/8", geo)])).unwrap();
    fs::write(net.file("networks.txt"), "10.0.0.0/8 office\n").unwrap();
    let (geo, networks) = (net.file("geo.mmdb"), net.file("networks.txt"));
    let flags =
        ["--rdap", "off", "--geo", geo.to_str().unwrap(), "--networks", networks.to_str().unwrap(), "--batch", "4"];
    let _service = net.serve(&flags);
    let served = net.get("/openapi.json");
    assert_eq!(served.headers["content-type"], "application/json");
    let document = served.json();
    let mut cases: Vec<(&str, Value)> = Vec::new();
    let documented = |method: &str, response: &Answer| {
        let status = response.status.to_string();
        let path = &document["paths"]["/lookup"][method]["responses"][&status];
        assert!(path.is_object(), "{method} gave {status}, which the document does not have");
    };
    for question in
        ["mac=68b5.99fc.d1df", "mac=ff:ff:ff:ff:ff:ff", "ip=10.0.0.1", "domain=x.com", "domain=a.local", "asn=64512"]
    {
        let response = net.ask(question);
        assert_eq!(response.status, 200, "{question}: {response:?}");
        documented("get", &response);
        cases.push(("Answer", response.json()));
    }
    for question in ["", "mac=x", "ip=x", "domain=x", "asn=x", "q=1", "mac=70:b3:d5:00:00:00"] {
        let response = net.ask(question);
        assert_ne!(response.status, 200);
        documented("get", &response);
        cases.push(("Error", response.json()));
    }
    let post = |body: &str| send(&net.netns, "POST", "/lookup", "", body);
    let many = post(r#"[{"ip":"10.0.0.1"},{"domain":"x.com"},{"ip":"x"},7]"#);
    documented("post", &many);
    cases.push(("Batch", many.json()));
    for item in many.json().as_array().unwrap() {
        let mut item = item.clone();
        let status = item.as_object_mut().unwrap().remove("status").unwrap();
        cases.push((if status == 200 { "Answer" } else { "Error" }, item));
    }
    for body in ["{}", "[1,2,3,4,5]"] {
        let response = post(body);
        documented("post", &response);
        cases.push(("Error", response.json()));
    }
    let verdicts = validate(&document, &cases);
    for ((name, instance), verdict) in cases.iter().zip(verdicts) {
        assert!(verdict.is_empty(), "{name}: {verdict}\n{instance:#}");
    }
    // A document that allows anything would prove nothing.
    let wrong = [
        ("Answer", json!({"kind": "ip", "query": "x", "partial": false, "sources": [{"name": "x"}], "extra": 1})),
        ("Answer", json!({"kind": "ip", "query": "x", "partial": false})),
        ("Error", json!({"error": "x", "code": "no_such_code"})),
    ];
    assert!(validate(&document, &wrong).iter().all(|verdict| !verdict.is_empty()));
}
