//! Each result of the original programs, through the binary.

use std::io::Write;

use crate::command::{answer, ip, ip_with};
use crate::support::mmdb;

/// A label's value in the text that people get.
fn field(words: &str, label: &str) -> String {
    let lines = answer(words);
    let found = lines.iter().find_map(|line| line.strip_prefix(&format!("{label}:")));
    found.unwrap_or_else(|| panic!("no {label} in {lines:#?}")).trim().to_owned()
}

fn file(text: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text).unwrap();
    file
}

const NETWORKS: &[u8] =
    b"100.64.0.0/16\n127.0.0.0/8\n172.16.0.0/16\n192.0.2.0/24\n192.0.2.0/24\n192.0.2.0/25\n192.0.2.127/25\n";

#[test]
fn steps_and_distances() {
    assert_eq!(answer("next 192.0.2.1"), ["192.0.2.2"]);
    assert_eq!(answer("prev 192.0.2.2"), ["192.0.2.1"]);
    assert_eq!(answer("next 192.0.2.1 20"), ["192.0.2.21"]);
    assert_eq!(answer("add 192.0.2.1 20"), ["192.0.2.21"]);
    assert_eq!(answer("add 192.0.2.21 -20"), ["192.0.2.1"]);
    assert_eq!(answer("delta 192.0.2.1 192.0.2.21"), ["20"]);
    assert_eq!(answer("delta 192.0.2.21 192.0.2.1"), ["-20"]);
    assert_eq!(answer("compare 192.0.2.1 192.0.2.2"), ["-1"]);
    assert_eq!(answer("compare 192.0.2.1 192.0.2.1"), ["0"]);
    assert_eq!(answer("compare 192.0.2.2 192.0.2.1"), ["1"]);
}

#[test]
fn sorted() {
    let run = ip_with("sort", b"192.0.2.21\n192.0.2.2\n192.0.2.1\n");
    assert_eq!((run.lines().as_slice(), run.code), (["192.0.2.1", "192.0.2.2", "192.0.2.21"].as_slice(), 0));
}

#[test]
fn a_network_and_its_hosts() {
    let network = "info 198.51.100.0/24";
    assert_eq!(field(network, "count"), "254");
    assert_eq!((field(network, "first"), field(network, "last")), ("198.51.100.1".into(), "198.51.100.254".into()));
    assert_eq!(
        (field(network, "mask"), field(network, "broadcast")),
        ("255.255.255.0".into(), "198.51.100.255".into())
    );
    let first_three = ["198.51.100.1", "198.51.100.2", "198.51.100.3"];
    assert_eq!(answer("enumerate 198.51.100.0/24 --count 3"), first_three);
    assert_eq!(answer("enumerate 198.51.100.0/24").len(), 254);
    assert_eq!(answer("enumerate 198.51.100.0/24 --all --count 1"), ["198.51.100.0"]);
    assert_eq!(answer("enumerate 2001:db8::/32 --count 2 --from 1024"), ["2001:db8::400", "2001:db8::401"]);
    assert_eq!(answer("subnets 198.51.100.0/24 25"), ["198.51.100.0/25", "198.51.100.128/25"]);
    assert_eq!(answer("supernet 198.51.100.0/24"), ["198.51.100.0/23"]);
}

#[test]
fn a_prefix_with_host_bits_and_a_mapped_address() {
    assert_eq!(field("info 2001:db8:a0b:12f0::1/32", "network"), "2001:db8::");
    assert_eq!(field("info 2001:db8:a0b:12f0::1/32", "prefix"), "2001:db8::/32");
    assert_eq!(field("info ::ffff:192.0.2.1", "unmapped"), "192.0.2.1");
}

#[test]
fn what_an_address_is() {
    assert_eq!(field("info fe80:f00d::1", "link-local"), "true");
    assert_eq!(field("info 224.0.0.1", "multicast"), "true");
    assert_eq!(field("info 127.0.0.1", "loopback"), "true");
    assert_eq!(field("info 10.0.0.1", "private"), "true");
    assert_eq!(field("info 192.0.2.1", "private"), "false");
    assert_eq!(field("info 192.0.2.1", "reverse"), "1.2.0.192.in-addr.arpa");
}

#[test]
fn networks_around_an_address() {
    let networks = file(NETWORKS);
    let list = networks.path().display();
    assert_eq!(answer(&format!("match 192.0.2.18 --prefixes {list}")), ["192.0.2.0/25", "192.0.2.0/24"]);
    assert_eq!(answer(&format!("match 192.0.2.18 --prefixes {list} --longest")), ["192.0.2.0/25"]);
    assert_eq!(answer(&format!("contains --prefixes {list} 127.0.0.1")), ["true"]);
    let outside = ip(&format!("contains --prefixes {list} 198.51.100.1"));
    assert_eq!((outside.out.as_str(), outside.code), ("false\n", 1));
    assert_eq!(answer("contains 192.0.2.0/24 192.0.2.18"), ["true"]);
}

#[test]
fn where_an_address_is() {
    let database = file(&mmdb::cities());
    let geo = format!("geo 81.2.69.143 --db {}", database.path().display());
    assert_eq!(field(&geo, "city"), "Norwich");
    assert_eq!(field(&geo, "country"), "United Kingdom (GB)");
    assert_eq!(field(&geo, "coordinates"), "52.6259, 1.3032 within 100 km");
    let value = &ip(&format!("{geo} --json")).values()[0];
    assert_eq!(value["place"]["subdivisions"], serde_json::json!(["England", "Norfolk"]));
    let unknown = ip(&format!("geo 198.51.100.1 --db {}", database.path().display()));
    assert_eq!((unknown.code, unknown.lines()[1]), (1, "record:       none"));
    let broken = file(b"no database");
    let run = ip(&format!("geo 192.0.2.1 --db {}", broken.path().display()));
    assert_eq!(run.code, 3, "{}", run.err);
    assert!(run.err.contains("is not a MaxMind database"), "{}", run.err);
    assert_eq!(ip("geo 192.0.2.1 --db /nowhere/cities.mmdb").code, 3);
}
