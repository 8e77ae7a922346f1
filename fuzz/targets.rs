//! What is done with the bytes of each fuzz target. The engine calls it (fuzz_targets/), and so does a test with the kept
//! inputs (tests/fuzz): a panic is a fault, and so is a claim below that does not hold.
#![allow(dead_code, missing_docs, unreachable_pub, clippy::unwrap_used)]

use std::path::Path;

use vipkeeper::api::manifest;
use vipkeeper::core::ip::number::Offset;
use vipkeeper::core::ip::order::Key;
use vipkeeper::core::ip::text::{parse_address, parse_prefix};
use vipkeeper::core::ip::{prefix, set};
use vipkeeper::core::lookup::chain::{Ask, Chain, MAX_HOPS, Origin, Reply};
use vipkeeper::core::lookup::domain::Domain;
use vipkeeper::core::lookup::mac::Mac;
use vipkeeper::core::lookup::query::{Query, decode_query_string, parse_parameters};
use vipkeeper::core::lookup::url::Url;
use vipkeeper::core::lookup::{bootstrap, owners, rdap, vendor, whois};
use vipkeeper::core::reflect::{Limit, Outcome, Seed};
use vipkeeper::core::time::Time;
use vipkeeper::geo::Database;
use vipkeeper::prober::reflector;
use vipkeeper::udp::{Datagram, Outbox};
use vipkeeper::wire::arp::Arp;
use vipkeeper::wire::ethernet::Ethernet;
use vipkeeper::wire::heartbeat::{self, Packet};
use vipkeeper::wire::legacy_ping::LegacyPing;
use vipkeeper::wire::ndp::{self, Ndp};
use vipkeeper::wire::stamp;

/// What is done with an input.
pub type Target = fn(&[u8]);

/// The targets; the folder of a target's kept inputs has its name.
pub const TARGETS: &[(&str, Target)] =
    &[("ip", ip), ("wire", wire), ("lookup", lookup), ("manifest", manifest), ("geo", geo), ("reflector", reflector)];

/// A chain whose every server answers with these bytes: it ends, and leads nobody astray.
fn chain(bytes: &[u8]) {
    let Some(Ok(query)) = Query::parse("domain", "example.com") else { return };
    let root = whois::Server { host: "whois.iana.org".to_owned(), port: 43 };
    let first = Url::parse("https://rdap.example.net/domain/example.com").map(|url| (url, Origin::Referred));
    let mut chain = Chain::new(query, first, Some(root));
    let mut steps = 0;
    while let Some(ask) = chain.ask().cloned() {
        steps += 1;
        assert!(steps <= 2 * MAX_HOPS, "the chain does not end");
        let location = str::from_utf8(bytes).ok().map(str::to_owned);
        chain.handle(Ok(match ask {
            Ask::Rdap(url, _) => {
                assert!(url.may_be_referred_to(), "{url}");
                let status = if location.as_ref().is_some_and(|text| text.contains("://")) { 302 } else { 200 };
                Reply::Http { status, location, retry_after: None, body: bytes.to_vec() }
            }
            Ask::Whois(server, _, _) => {
                assert!(matches!(server.port, whois::PORT | whois::RWHOIS_PORT), "{server}");
                Reply::Text(bytes.to_vec())
            }
        }));
    }
    let _ = chain.outcome();
}

/// Addresses, prefixes, keys and offsets as text.
pub fn ip(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    if let Ok(address) = parse_address(text) {
        assert_eq!(parse_address(&address.to_string()), Ok(address));
    }
    if let Ok(network) = parse_prefix(text) {
        assert_eq!(parse_prefix(&network.to_string()), Ok(network));
        assert!(prefix::contains(network, prefix::masked(network)));
        let (first, last) = prefix::all(network).ends().unwrap();
        let back: Vec<_> = set::range_to_prefixes(first, last).unwrap().collect();
        assert_eq!(back, [prefix::masked(network)]);
    }
    if let Ok(key) = Key::parse(text) {
        assert_eq!(Key::parse(&key.to_string()), Ok(key));
    }
    if let Ok(offset) = text.parse::<Offset>() {
        assert_eq!(offset.to_string().parse(), Ok(offset));
    }
}

/// Frames and packets: the first byte says of what kind, the rest is it.
pub fn wire(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    match kind % 8 {
        0 => {
            if let Ok((header, payload)) = Ethernet::read(bytes) {
                assert_eq!([header.to_bytes().as_slice(), payload].concat(), bytes);
            }
        }
        1 => {
            if let Ok(arp) = Arp::read(bytes) {
                assert_eq!(Arp::read(&arp.to_bytes()), Ok(arp));
            }
        }
        2 => {
            if let Ok(message) = Ndp::read(bytes) {
                let mut out = [0; ndp::MAX_LEN];
                let length = message.write(&mut out);
                assert_eq!(Ndp::read(&out[..length]), Ok(message));
            }
        }
        3 => {
            if let Ok(ping) = LegacyPing::read(bytes) {
                assert_eq!(ping.to_bytes(), bytes);
            }
        }
        4 | 5 => stamp(bytes, None),
        6 => stamp(bytes, stamp::Key::new(b"a key of the fuzz targets").as_ref()),
        _ => {
            let keys = heartbeat::Keys::new(heartbeat::Key::new(1, &[7; 32]).unwrap(), None);
            if let Ok(packet) = Packet::read(bytes, &keys) {
                assert_eq!(Packet::read(&packet.to_bytes(&keys), &keys), Ok(packet));
            }
        }
    }
}

fn stamp(bytes: &[u8], key: Option<&stamp::Key>) {
    let mut out = vec![0; stamp::base_len(key)];
    if let Ok(request) = stamp::Request::read(bytes, key) {
        request.write(&mut out, key).unwrap();
        assert_eq!(stamp::Request::read(&out, key), Ok(request));
    }
    if let Ok(reply) = stamp::Reply::read(bytes, key) {
        reply.write(&mut out, key).unwrap();
        assert_eq!(stamp::Reply::read(&out, key), Ok(reply));
    }
}

/// What comes to a reflector, and what it answers: the first octet chooses key, port and format of the sender.
pub fn reflector(bytes: &[u8]) {
    let Some((choice, probe)) = bytes.split_first() else { return };
    let key = (choice & 1 == 1).then(|| stamp::Key::new(b"a key of the fuzz targets").unwrap());
    let settings = reflector::Settings {
        bind: "[::]:40".parse().unwrap(),
        workers: 1,
        name: "node".to_owned(),
        key: key.clone(),
        stateful: choice & 2 == 2,
        limit: Limit { rate: 0, burst: 0 },
    };
    let mut answerer = reflector::Answerer::new(&settings, 40, Seed(1));
    let here = "192.0.2.2".parse().ok();
    let datagram = |bytes| Datagram {
        bytes,
        truncated: false,
        from: "192.0.2.1:50000".parse().unwrap(),
        asked: here,
        local: here,
        interface: 2,
        ttl: Some(64),
        tos: *choice,
        stamp: Some(1_700_000_000_000_000_000),
    };
    let mut outbox = Outbox::new();
    let answered = answerer.answer(Time::ZERO, &datagram(probe), &mut outbox);
    answerer.stamp(&mut outbox, 1_700_000_000_000_050_000);
    assert_eq!(answered.is_ok(), outbox.len() == 1);
    if answered.is_err() {
        return;
    }
    let answer = outbox.payload_mut(0).to_vec();
    assert_eq!(answer.len(), probe.len(), "never more octets, never fewer");
    let again = answerer.answer(Time::ZERO, &datagram(&answer), &mut outbox);
    assert_eq!(again, Err(Outcome::Looped), "an answer is never answered");
    if let Ok(reply) = stamp::Reply::read(&answer, key.as_ref()) {
        let area = answer.get(stamp::base_len(key.as_ref())..).unwrap_or_default();
        assert!(key.is_none_or(|key| stamp::tlvs_fit(area, reply.seq, &key)), "the answer's TLVs are sealed");
        let _ = stamp::tlv::responder(area);
    }
}

/// What strangers ask, and what strangers' servers answer.
pub fn lookup(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _ = Mac::parse(&text);
    let _ = Domain::parse(&text);
    let _ = Url::parse(&text);
    let _ = vendor::parse_ieee_csv(&text);
    let _ = vendor::parse_manuf(&text);
    let _ = bootstrap::Registry::parse(bytes);
    let _ = owners::parse_networks(&text);
    if let Ok(parameters) = decode_query_string(&text) {
        let _ = parse_parameters(&parameters);
    }
    let server = whois::Server { host: "whois.example".to_owned(), port: 43 };
    let reply = whois::decode(bytes);
    for parameter in ["domain", "ip", "mac", "asn"] {
        let Some(Ok(query)) = Query::parse(parameter, &text) else { continue };
        let line = whois::request(&server, &query);
        assert_eq!(line.find(['\r', '\n']), Some(line.len() - 2), "{line:?} is more than a line");
        let _ = rdap::parse(&query, bytes);
    }
    chain(bytes);
    let Ok(reply) = reply else { return };
    for office in [whois::Office::Root, whois::Office::Registry, whois::Office::End] {
        let _ = whois::referral(&server, office, &reply);
        let _ = whois::verdict(office, &reply);
    }
    let _ = whois::record(&reply);
}

/// Manifests of users.
pub fn manifest(bytes: &[u8]) {
    let reading = manifest::read("fuzz.yaml", bytes);
    for read in reading.manifests {
        // JSON is YAML: what was read is read again from it.
        let again = manifest::read("again.yaml", &serde_json::to_vec(&read.body).unwrap());
        assert_eq!(again.problems, []);
        assert_eq!(again.manifests.iter().map(|again| &again.body).collect::<Vec<_>>(), [&read.body]);
    }
}

/// Databases of users.
pub fn geo(bytes: &[u8]) {
    let Ok(database) = Database::from_bytes(bytes.to_vec(), Path::new("fuzz.mmdb")) else { return };
    for address in ["81.2.69.143", "0.0.0.0", "255.255.255.255", "::", "2001:2a0::cafe"] {
        let _ = database.find(address.parse().unwrap());
    }
}
