//! What keeps the service and the registries from being asked too much, and how the service ends.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::process::Signal;

use crate::client::send;
use crate::internet::{IANA, Internet};
use crate::server::{whois, whois_text};
use crate::support::wait_until;

#[test]
fn a_question_that_many_ask_at_once_is_asked_once() {
    let net = Internet::new("flight");
    let iana = whois(&net.netns, IANA, 43, |_, stream, _| {
        std::thread::sleep(Duration::from_millis(700));
        stream.write_all(b"domain: COM\n")
    });
    let _service = net.serve(&["--rdap", "off", "--client-rate", "0"]);
    let fine = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| fine.fetch_add(usize::from(net.ask("domain=a.com").status == 200), Ordering::SeqCst));
        }
    });
    assert_eq!((fine.into_inner(), iana.connections()), (20, 1));
}

#[test]
fn a_client_that_goes_away_does_not_take_the_answer_with_it() {
    let net = Internet::new("gone");
    let iana = whois(&net.netns, IANA, 43, |_, stream, _| {
        std::thread::sleep(Duration::from_millis(500));
        stream.write_all(b"domain: COM\n")
    });
    let _service = net.serve(&["--rdap", "off"]);
    let mut stream = net.netns.run(|| TcpStream::connect("127.0.0.1:8080").unwrap());
    stream.write_all(b"GET /lookup?domain=a.com HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    wait_until(Duration::from_secs(5), "the question to go out", || iana.connections() == 1);
    drop(stream);
    assert_eq!(net.ask("domain=a.com").status, 200);
    assert_eq!(iana.connections(), 1);
}

#[test]
fn what_is_not_there_is_remembered_for_its_own_time() {
    let net = Internet::new("negative");
    let iana = whois_text(&net.netns, IANA, "No match for A.COM\n");
    let _service = net.serve(&["--rdap", "off", "--cache-negative-ttl", "1s", "--client-rate", "0"]);
    for _ in 0..3 {
        let answer = net.ask("domain=a.com");
        assert_eq!((answer.status, answer.code().as_str()), (404, "not_found"), "{answer:?}");
    }
    assert_eq!(iana.connections(), 1);
    wait_until(Duration::from_secs(10), "the answer to be forgotten", || {
        net.ask("domain=a.com");
        iana.connections() == 2
    });
}

#[test]
fn clients_and_registries_have_their_limits() {
    let net = Internet::new("limits");
    let iana = whois_text(&net.netns, IANA, "domain: COM\n");
    let flags =
        ["--rdap", "off", "--client-rate", "1", "--client-burst", "6", "--upstream-rate", "1", "--upstream-burst", "2"];
    let _service = net.serve(&flags);
    assert_eq!((net.ask("domain=a.com").status, net.ask("domain=b.com").status), (200, 200));
    let over = net.ask("domain=c.com");
    assert_eq!((over.status, over.code().as_str()), (503, "upstream_quota"), "{over:?}");
    assert!(over.headers["retry-after"].parse::<u64>().unwrap() >= 1);
    assert_eq!(iana.connections(), 2);
    let mut last = net.ask("ip=10.0.0.1");
    for _ in 0..6 {
        last = net.ask("ip=10.0.0.1");
    }
    assert_eq!((last.status, last.code().as_str()), (429, "rate_limited"), "{last:?}");
    assert!(last.headers["retry-after"].parse::<u64>().unwrap() >= 1);
    assert_eq!(net.get("/check").status, 200, "the check is free");
    // The limit is each client's own.
    let mut stream = connect_from(&net, "127.0.0.9");
    stream.write_all(b"GET /lookup?ip=10.0.0.1 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let other = std::io::read_to_string(stream).unwrap();
    assert!(other.starts_with("HTTP/1.1 200"), "{other}");
}

#[test]
fn batches_answer_each_question_and_have_a_size() {
    let net = Internet::new("batch");
    whois_text(&net.netns, IANA, "No match\n");
    let _service = net.serve(&["--rdap", "off", "--batch", "5"]);
    let post = |body: &str| send(&net.netns, "POST", "/lookup", "", body);
    let answer = post(r#"[{"ip":"10.0.0.1"},{"mac":"68b5.99fc.d1df"},{"domain":"a.com"},{"ip":"x"},{}]"#);
    assert_eq!(answer.status, 200, "{answer:?}");
    let json = answer.json();
    let statuses: Vec<u64> = json.as_array().unwrap().iter().map(|item| item["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [200, 200, 404, 400, 400]);
    assert_eq!(json[1]["vendor"]["names"][0], "Hewlett Packard");
    let long = post(&format!("[{}]", [r#"{"asn":1}"#; 6].join(",")));
    assert_eq!((long.status, long.code().as_str()), (413, "too_many"));
    assert_eq!((post("{}").status, post("").status, post("[]").status), (400, 400, 400));
    // Only announced: a client that sends on while it is refused may not see why.
    let mut stream = connect_from(&net, "127.0.0.1");
    stream
        .write_all(b"POST /lookup HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 2097152\r\n\r\n")
        .unwrap();
    assert!(std::io::read_to_string(stream).unwrap().starts_with("HTTP/1.1 413"));
    for (method, path) in [("DELETE", "/lookup"), ("POST", "/"), ("PUT", "/check")] {
        let answer = send(&net.netns, method, path, "", "");
        assert_eq!((answer.status, answer.code().as_str()), (405, "method_not_allowed"), "{method} {path}");
    }
}

#[test]
fn a_question_under_way_is_answered_before_the_service_ends() {
    let net = Internet::new("drain");
    let iana = whois(&net.netns, IANA, 43, |_, stream, _| {
        std::thread::sleep(Duration::from_millis(1500));
        stream.write_all(b"domain: COM\n")
    });
    let mut service = net.serve(&["--rdap", "off"]);
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| net.ask("domain=a.com").status);
        wait_until(Duration::from_secs(5), "the question to go out", || iana.connections() == 1);
        service.signal(Signal::TERM);
        assert_eq!(asking.join().unwrap(), 200);
    });
    assert!(service.wait(Duration::from_secs(10)).success(), "{}", service.output());
}

/// A connection to the service from another address of the loopback.
fn connect_from(net: &Internet, source: &str) -> TcpStream {
    net.netns.run(|| {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&format!("{source}:0").parse::<SocketAddr>().unwrap().into()).unwrap();
        socket.connect(&"127.0.0.1:8080".parse::<SocketAddr>().unwrap().into()).unwrap();
        socket.into()
    })
}

#[test]
fn a_client_that_holds_connections_holds_only_its_share() {
    let net = Internet::new("flood");
    let _service = net.serve(&["--offline"]);
    let mut held: Vec<TcpStream> = (0..300).map(|_| connect_from(&net, "127.0.0.9")).collect();
    // The last of them are closed at once; the first ones wait for the rest of their header.
    let last = held.last_mut().unwrap();
    last.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    assert_eq!(last.read(&mut [0]).unwrap_or(0), 0, "closed");
    let first = &mut held[0];
    first.write_all(b"GET /check HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    assert!(std::io::read_to_string(first).unwrap().ends_with("OK"));
    assert_eq!(net.ask("ip=10.0.0.1").status, 200, "others are answered");
    drop(held);
    wait_until(Duration::from_secs(10), "its share to be given back", || {
        let mut stream = connect_from(&net, "127.0.0.9");
        let sent = stream.write_all(b"GET /check HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        sent.is_ok() && std::io::read_to_string(stream).is_ok_and(|answer| answer.ends_with("OK"))
    });
}
