//! A writer of small MaxMind databases (format 2.0), so that no test needs a licensed file.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use serde_json::{Value, json};

/// The bytes of a database of both families with a record for each network; of nested networks give the wider first.
pub fn database(kind: &str, records: &[(&str, Value)]) -> Vec<u8> {
    let mut tree = vec![[Node::Nothing; 2]];
    let mut data = Vec::new();
    for (network, record) in records {
        insert(&mut tree, network.parse().unwrap(), Node::Record(data.len()));
        encode("", record, &mut data);
    }
    let mut bytes = Vec::new();
    for child in tree.iter().flatten() {
        let number = match child {
            Node::Nothing => tree.len(),
            Node::Inner(at) => *at,
            Node::Record(offset) => tree.len() + SEPARATOR.len() + offset,
        };
        bytes.extend_from_slice(&u32::try_from(number).unwrap().to_be_bytes());
    }
    bytes.extend_from_slice(&SEPARATOR);
    bytes.append(&mut data);
    bytes.extend_from_slice(b"\xab\xcd\xefMaxMind.com");
    let metadata = json!({
        "binary_format_major_version": 2, "binary_format_minor_version": 0, "build_epoch": 1_700_000_000,
        "database_type": kind, "description": {"en": "made by a test"}, "ip_version": 6, "languages": ["en"],
        "node_count": tree.len(), "record_size": 32,
    });
    encode("", &metadata, &mut bytes);
    bytes
}

/// What stands between the tree and the data.
const SEPARATOR: [u8; 16] = [0; 16];

#[derive(Clone, Copy)]
enum Node {
    Nothing,
    Inner(usize),
    /// Offset in the data.
    Record(usize),
}

fn insert(tree: &mut Vec<[Node; 2]>, network: IpNetwork, record: Node) {
    // IPv4 stands below ::/96.
    let (bits, length) = match network.network() {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()), network.prefix() + 96),
        IpAddr::V6(v6) => (v6.to_bits(), network.prefix()),
    };
    assert!(length > 0, "a record for everything has no bit to hang on");
    let side = |depth: u8| usize::from((bits >> (127 - depth)) & 1 == 1);
    let mut at = 0;
    for depth in 0..length - 1 {
        at = match tree[at][side(depth)] {
            Node::Inner(next) => next,
            // What was true of the whole stays true of the other half.
            inherited => {
                tree.push([inherited; 2]);
                let next = tree.len() - 1;
                tree[at][side(depth)] = Node::Inner(next);
                next
            }
        };
    }
    tree[at][side(length - 1)] = record;
}

/// Readers want each number in the type that the format gives its field.
fn integer_type(field: &str) -> u8 {
    match field {
        "build_epoch" => 9,
        "node_count" | "autonomous_system_number" => 6,
        _ => 5,
    }
}

fn encode(field: &str, value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::String(text) => {
            control(2, text.len(), out);
            out.extend_from_slice(text.as_bytes());
        }
        Value::Number(number) if number.is_u64() => {
            let bytes = number.as_u64().unwrap().to_be_bytes();
            let digits = &bytes[bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len())..];
            control(integer_type(field), digits.len(), out);
            out.extend_from_slice(digits);
        }
        Value::Number(number) => {
            control(3, 8, out);
            out.extend_from_slice(&number.as_f64().unwrap().to_be_bytes());
        }
        Value::Bool(yes) => control(14, usize::from(*yes), out),
        Value::Array(items) => {
            control(11, items.len(), out);
            items.iter().for_each(|item| encode(field, item, out));
        }
        Value::Object(fields) => {
            control(7, fields.len(), out);
            for (name, value) in fields {
                encode("", &Value::String(name.clone()), out);
                encode(name, value, out);
            }
        }
        Value::Null => panic!("the format has no null"),
    }
}

/// The control byte: type in three bits (or in a byte of its own), size in five (or in a byte of its own from 29 on).
fn control(kind: u8, size: usize, out: &mut Vec<u8>) {
    let (short, long) = if size < 29 { (size, None) } else { (29, Some(u8::try_from(size - 29).unwrap())) };
    let short = u8::try_from(short).unwrap();
    if kind <= 7 {
        out.push(kind << 5 | short);
    } else {
        out.extend([short, kind - 7]);
    }
    out.extend(long);
}

/// The record that the original program finds for 81.2.69.143, and some beside it.
pub fn cities() -> Vec<u8> {
    let norwich = json!({
        "city": {"names": {"en": "Norwich", "de": "Norwich"}},
        "continent": {"code": "EU", "names": {"en": "Europe"}},
        "country": {"iso_code": "GB", "names": {"en": "United Kingdom"}},
        "location": {"accuracy_radius": 100, "latitude": 52.6259, "longitude": 1.3032, "time_zone": "Europe/London"},
        "postal": {"code": "NR1"},
        "registered_country": {"iso_code": "US", "names": {"en": "United States"}},
        "subdivisions": [{"iso_code": "ENG", "names": {"en": "England"}}, {"iso_code": "NFK", "names": {"en": "Norfolk"}}],
    });
    let satellite = json!({"registered_country": {"iso_code": "JP", "names": {"en": "Japan"}}});
    database(
        "GeoIP2-City-Test",
        &[
            ("81.2.69.0/24", json!({"country": {"iso_code": "GB", "names": {"en": "United Kingdom"}}})),
            ("81.2.69.142/31", norwich),
            ("2001:2a0::/32", satellite),
            ("192.0.2.0/24", json!({"autonomous_system_number": 64_496, "autonomous_system_organization": "Example"})),
        ],
    )
}
