//! Bad manifests: what is wrong, where it must be found, and what must be said.

/// A manifest with one fault.
#[derive(Debug)]
pub struct Case {
    /// What is wrong, for people; also the file's name.
    pub name: &'static str,
    /// The file.
    pub text: &'static str,
    /// The field that must be named; empty where no field is at fault.
    pub field: &'static str,
    /// The line that must be named.
    pub line: u64,
    /// A part of the message.
    pub message: &'static str,
    /// Who refuses it.
    pub by: By,
}

/// Who refuses a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// `validate`, and an API server, which names the same field if it is one of the spec.
    Both,
    /// `validate`, and kubectl, which cannot read it either and names no field.
    Reader,
    /// Only `validate`: an API server, or kubectl before it, takes it, drops it or reads it in another way.
    Validate,
}

use By::{Both, Reader, Validate};

/// A VirtualIP whose spec begins on line 6.
macro_rules! vip {
    ($spec:literal) => {
        concat!("apiVersion: vipkeeper.dev/v1alpha1\nkind: VirtualIP\nmetadata:\n  name: bad\nspec:\n", $spec)
    };
}

/// An AddressPool whose spec begins on line 6.
macro_rules! pool {
    ($spec:literal) => {
        concat!("apiVersion: vipkeeper.dev/v1alpha1\nkind: AddressPool\nmetadata:\n  name: bad\nspec:\n", $spec)
    };
}

/// A UDPProbe whose spec begins on line 6.
macro_rules! probe {
    ($spec:literal) => {
        concat!("apiVersion: vipkeeper.dev/v1alpha1\nkind: UDPProbe\nmetadata:\n  name: bad\nspec:\n", $spec)
    };
}

const fn case(
    name: &'static str,
    text: &'static str,
    field: &'static str,
    line: u64,
    message: &'static str,
    by: By,
) -> Case {
    Case { name, text, field, line, message, by }
}

/// Every case.
#[rustfmt::skip]
pub const CASES: &[Case] = &[
    // Addresses.
    case("no-address", vip!("  address: web\n"), "spec.address", 6, "must be an IP address", Both),
    case("prefix-33", vip!("  address: 198.51.100.20/33\n"), "spec.address", 6, "must be an IP address", Both),
    case("prefix-129", vip!("  address: 2001:db8::20/129\n"), "spec.address", 6, "must be an IP address", Both),
    case("leading-zero", vip!("  address: 198.51.100.020\n"), "spec.address", 6, "must be an IP address", Both),
    case("octet-256", vip!("  address: 198.51.100.256\n"), "spec.address", 6, "must be an IP address", Both),
    case("mapped-address", vip!("  address: \"::ffff:198.51.100.20\"\n"), "spec.address", 6, "must be an IP address", Both),
    case("zone", vip!("  address: fe80::1%eth0\n"), "spec.address", 6, "must be an IP address", Both),
    case("empty-address", vip!("  address: \"\"\n"), "spec.address", 6, "must not be empty", Both),
    case("upper-case-address", vip!("  address: 2001:DB8::20\n"), "spec.address", 6, "canonical", Both),
    case("long-form-address", vip!("  address: 2001:db8:0:0:0:0:0:20\n"), "spec.address", 6, "canonical", Both),
    case("multicast", vip!("  address: 224.0.0.18\n"), "spec.address", 6, "unicast", Both),
    case("multicast-v6", vip!("  address: ff02::12\n"), "spec.address", 6, "unicast", Both),
    case("loopback", vip!("  address: 127.0.0.1\n"), "spec.address", 6, "unicast", Both),
    case("unspecified", vip!("  address: 0.0.0.0\n"), "spec.address", 6, "unicast", Both),
    case("this-network", vip!("  address: 0.1.2.3\n"), "spec.address", 6, "unicast", Both),
    case("broadcast", vip!("  address: 255.255.255.255\n"), "spec.address", 6, "unicast", Both),
    case("link-local", vip!("  address: fe80::1\n"), "spec.address", 6, "unicast", Both),
    case("whole-network", vip!("  address: 198.51.100.0/24\n"), "spec.address", 6, "whole network", Both),
    case("wrong-family", vip!("  address: 198.51.100.20\n  ipFamily: IPv6\n"), "spec.ipFamily", 7, "family of address", Both),
    case("address-and-pool", vip!("  address: 198.51.100.20\n  pool: public\n"), "spec.pool", 7, "together with address", Both),
    case("address-is-number", vip!("  address: 198.51\n"), "spec.address", 6, "must be a string, not a number: quote it", Both),
    // A VirtualIP's other fields.
    case("unknown-field", vip!("  adress: 198.51.100.20\n"), "spec.adress", 6, "did you mean address?", Both),
    case("unknown-nested-field", vip!("  announce:\n    period: 3s\n"), "spec.announce.period", 7, "there are burst, interval", Both),
    case("wrong-case", vip!("  nodeselector: {}\n"), "spec.nodeselector", 6, "did you mean nodeSelector?", Both),
    case("unknown-family", vip!("  ipFamily: ipv4\n"), "spec.ipFamily", 6, "must be one of IPv4, IPv6", Both),
    case("unknown-word", vip!("  failback: Always\n"), "spec.failback", 6, "must be one of Never, WhenPreferred", Both),
    case("interface-too-long", vip!("  interface: abcdefghijklmnop\n"), "spec.interface", 6, "at most 15 characters", Both),
    case("interface-path", vip!("  interface: ../eth0\n"), "spec.interface", 6, "interface's name", Both),
    case("pool-name", vip!("  pool: Public Pool\n"), "spec.pool", 6, "object's name", Both),
    case("pool-path", vip!("  pool: ../../etc/passwd\n"), "spec.pool", 6, "object's name", Both),
    case("weight-0", vip!("  preferredNodes:\n  - weight: 0\n    nodeSelector: {}\n"), "spec.preferredNodes[0].weight", 7, "must be from 1 to 100", Both),
    case("weight-101", vip!("  preferredNodes: [{weight: 101, nodeSelector: {}}]\n"), "spec.preferredNodes[0].weight", 6, "must be from 1 to 100", Both),
    case("weight-missing", vip!("  preferredNodes:\n  - nodeSelector: {}\n"), "spec.preferredNodes[0].weight", 7, "is required: How much", Both),
    case("label-value-number", vip!("  nodeSelector:\n    matchLabels:\n      rack: 7\n"), "spec.nodeSelector.matchLabels[rack]", 8, "not a number: quote it", Both),
    case("label-value", vip!("  nodeSelector: {matchLabels: {rack: a b}}\n"), "spec.nodeSelector.matchLabels[rack]", 6, "label's value", Both),
    case("label-key", vip!("  nodeSelector: {matchLabels: {-rack: a}}\n"), "spec.nodeSelector.matchLabels", 6, "labels' keys", Both),
    case("operator", vip!("  nodeSelector:\n    matchExpressions:\n    - {key: rack, operator: Equals, values: [a]}\n"), "spec.nodeSelector.matchExpressions[0].operator", 8, "must be one of In, NotIn, Exists, DoesNotExist", Both),
    case("operator-without-values", vip!("  nodeSelector:\n    matchExpressions:\n    - {key: rack, operator: In}\n"), "spec.nodeSelector.matchExpressions[0].values", 8, "must be given with In", Both),
    case("burst-17", vip!("  announce: {burst: 17}\n"), "spec.announce.burst", 6, "must be from 1 to 16", Both),
    case("burst-fraction", vip!("  announce: {burst: 1.5}\n"), "spec.announce.burst", 6, "must be a whole number", Both),
    case("burst-text", vip!("  announce: {burst: \"3\"}\n"), "spec.announce.burst", 6, "without quotes", Both),
    case("burst-huge", vip!("  announce: {burst: 99999999999999999999}\n"), "spec.announce.burst", 6, "too large", Both),
    case("interval-number", vip!("  announce: {interval: 3}\n"), "spec.announce.interval", 6, "must be a string", Both),
    case("interval-no-unit", vip!("  announce: {interval: \"3\"}\n"), "spec.announce.interval", 6, "length of time", Both),
    case("interval-negative", vip!("  announce: {interval: -3s}\n"), "spec.announce.interval", 6, "length of time", Both),
    case("interval-short", vip!("  announce: {interval: 99ms}\n"), "spec.announce.interval", 6, "must be from 100ms to 1h", Both),
    case("check-of-nothing", vip!("  healthCheck: {interval: 1s}\n"), "spec.healthCheck", 6, "exactly one of http, tcp and udp", Both),
    case("check-of-two", vip!("  healthCheck:\n    tcp: {port: 80}\n    udp: {port: 53}\n"), "spec.healthCheck", 6, "exactly one of http, tcp and udp", Both),
    case("check-port-0", vip!("  healthCheck: {tcp: {port: 0}}\n"), "spec.healthCheck.tcp.port", 6, "must be from 1 to 65535", Both),
    case("check-port-65536", vip!("  healthCheck: {tcp: {port: 65536}}\n"), "spec.healthCheck.tcp.port", 6, "must be from 1 to 65535", Both),
    case("check-path", vip!("  healthCheck:\n    http:\n      port: 80\n      path: healthz\n"), "spec.healthCheck.http.path", 9, "must begin with '/'", Both),
    case("check-timeout", vip!("  healthCheck:\n    tcp: {port: 80}\n    interval: 1s\n    timeout: 2s\n"), "spec.healthCheck.timeout", 9, "not be longer than interval", Both),
    case("spec-is-list", vip!("- address: 198.51.100.20\n"), "spec", 5, "must be a map, not a list", Both),
    case("yes-for-true", vip!("  exclusive: yes\n"), "spec.exclusive", 6, "write true or false", Validate),
    case("no-value", vip!("  interface:\n"), "spec.interface", 6, "has no value", Validate),
    // Pools.
    case("pool-without-ranges", pool!("  priority: 1\n"), "spec.ranges", 5, "is required: The addresses", Both),
    case("pool-of-nothing", pool!("  ranges: []\n"), "spec.ranges", 6, "must not be empty", Both),
    case("range-of-one-text", pool!("  ranges: 198.51.100.0/24\n"), "spec.ranges", 6, "must be a list, not a string", Both),
    case("host-bits", pool!("  ranges:\n  - 198.51.100.0/25\n  - 198.51.100.129/25\n"), "spec.ranges[1]", 8, "no host bits", Both),
    case("range-prefix-33", pool!("  ranges: [198.51.100.0/33]\n"), "spec.ranges[0]", 6, "must be a CIDR", Both),
    case("range-backwards", pool!("  ranges: [198.51.100.20-198.51.100.10]\n"), "spec.ranges[0]", 6, "must go upwards", Both),
    case("range-backwards-v6", pool!("  ranges: [\"2001:db8::20-2001:db8::1f\"]\n"), "spec.ranges[0]", 6, "must go upwards", Both),
    case("range-of-two-families", pool!("  ranges: [\"198.51.100.1-2001:db8::1\"]\n"), "spec.ranges[0]", 6, "one family", Both),
    case("range-of-multicast", pool!("  ranges: [239.0.0.0/24]\n"), "spec.ranges[0]", 6, "unicast addresses only", Both),
    case("range-of-everything", pool!("  ranges: [0.0.0.0/0]\n"), "spec.ranges[0]", 6, "unicast addresses only", Both),
    case("single-address-as-range", pool!("  ranges: [198.51.100.7]\n"), "spec.ranges[0]", 6, "must be a CIDR", Both),
    case("exclude-nonsense", pool!("  ranges: [198.51.100.0/24]\n  exclude: [gateway]\n"), "spec.exclude[0]", 7, "must be an address", Both),
    case("priority-too-large", pool!("  ranges: [198.51.100.0/24]\n  priority: 3000000000\n"), "spec.priority", 7, "must be from", Both),
    case("range-overlaps-itself", pool!("  ranges: [198.51.100.0/24, 198.51.100.255-198.51.101.3]\n"), "spec.ranges[1]", 6, "must not overlap", Validate),
    case("pool-with-namespace", "apiVersion: vipkeeper.dev/v1alpha1\nkind: AddressPool\nmetadata:\n  name: bad\n  namespace: shop\nspec: {ranges: [198.51.100.0/24]}\n", "metadata.namespace", 5, "of the whole cluster", Validate),
    // Probes.
    case("probe-of-nothing", probe!("  interval: 1s\n"), "spec.targets", 5, "must name a target", Both),
    case("target-of-nothing", probe!("  targets: [{}]\n"), "spec.targets[0]", 6, "exactly one of host", Both),
    case("target-of-two", probe!("  targets:\n  - host: 192.0.2.1\n    service: {name: web}\n"), "spec.targets[0]", 7, "exactly one of host", Both),
    case("target-with-port", probe!("  targets: [{host: \"192.0.2.1:53\"}]\n"), "spec.targets[0].host", 6, "without a port", Both),
    case("dscp-64", probe!("  mesh: true\n  dscp: 64\n"), "spec.dscp", 7, "must be from 0 to 63", Both),
    case("payload-too-small", probe!("  mesh: true\n  payloadSize: 43\n"), "spec.payloadSize", 7, "must be from 44 to 8972", Both),
    case("no-source-port", probe!("  mesh: true\n  sourcePorts: 0\n"), "spec.sourcePorts", 7, "must be from 1 to 64", Both),
    case("probe-interval", probe!("  mesh: true\n  interval: 2h\n"), "spec.interval", 7, "must be from 10ms to 1h", Both),
    // Objects.
    case("wrong-version", "apiVersion: vipkeeper.dev/v1\nkind: VirtualIP\nmetadata: {name: bad}\nspec: {}\n", "apiVersion", 1, "must be vipkeeper.dev/v1alpha1", Both),
    case("group-misspelt", "apiVersion: vipkeper.dev/v1alpha1\nkind: VirtualIP\nmetadata: {name: bad}\nspec: {}\n", "apiVersion", 1, "must be vipkeeper.dev/v1alpha1", Both),
    case("no-version", "kind: VirtualIP\nmetadata: {name: bad}\nspec: {}\n", "apiVersion", 1, "is required", Both),
    case("wrong-kind", "apiVersion: vipkeeper.dev/v1alpha1\nkind: Vip\nmetadata: {name: bad}\nspec: {}\n", "kind", 2, "must be VirtualIP", Both),
    case("list", "apiVersion: v1\nkind: List\nitems: []\n", "kind", 2, "each of its items", Validate),
    case("view", "apiVersion: vipkeeper.dev/v1alpha1\nkind: FailoverView\nmetadata: {name: bad}\nspec: {}\n", "kind", 2, "written by vipkeeper alone", Validate),
    case("no-name", "apiVersion: vipkeeper.dev/v1alpha1\nkind: VirtualIP\nmetadata: {namespace: default}\nspec: {}\n", "metadata.name", 3, "is required", Both),
    case("no-metadata", "apiVersion: vipkeeper.dev/v1alpha1\nkind: VirtualIP\nspec: {}\n", "metadata", 1, "is required", Both),
    case("no-spec", "apiVersion: vipkeeper.dev/v1alpha1\nkind: VirtualIP\nmetadata: {name: bad}\n", "spec", 1, "is required", Both),
    case("name-climbs", "apiVersion: vipkeeper.dev/v1alpha1\nkind: VirtualIP\nmetadata: {name: ../../etc/passwd}\nspec: {}\n", "metadata.name", 3, "RFC 1123", Both),
    case("name-is-dots", "apiVersion: vipkeeper.dev/v1alpha1\nkind: VirtualIP\nmetadata: {name: ..}\nspec: {}\n", "metadata.name", 3, "RFC 1123", Both),
    case("name-has-zero-byte", "apiVersion: vipkeeper.dev/v1alpha1\nkind: VirtualIP\nmetadata: {name: \"a\\0b\"}\nspec: {}\n", "metadata.name", 3, "RFC 1123", Both),
    case("name-has-capitals", "apiVersion: vipkeeper.dev/v1alpha1\nkind: VirtualIP\nmetadata: {name: Web}\nspec: {}\n", "metadata.name", 3, "RFC 1123", Both),
    case("name-is-number", "apiVersion: vipkeeper.dev/v1alpha1\nkind: VirtualIP\nmetadata: {name: 5}\nspec: {}\n", "metadata.name", 3, "must be a string", Both),
    case("namespace-climbs", "apiVersion: vipkeeper.dev/v1alpha1\nkind: VirtualIP\nmetadata:\n  name: bad\n  namespace: ../shop\nspec: {}\n", "metadata.namespace", 5, "RFC 1123", Both),
    case("label-of-object", "apiVersion: vipkeeper.dev/v1alpha1\nkind: VirtualIP\nmetadata:\n  name: bad\n  labels: {team: a/b}\nspec: {}\n", "metadata.labels[team]", 5, "label's value", Both),
    case("annotation-is-number", "apiVersion: vipkeeper.dev/v1alpha1\nkind: VirtualIP\nmetadata:\n  name: bad\n  annotations:\n    since: 2026\nspec: {}\n", "metadata.annotations[since]", 6, "quote it", Both),
    case("unknown-metadata", "apiVersion: vipkeeper.dev/v1alpha1\nkind: VirtualIP\nmetadata:\n  name: bad\n  label: {}\nspec: {}\n", "metadata.label", 5, "is no field here", Both),
    case("metadata-of-the-store", "apiVersion: vipkeeper.dev/v1alpha1\nkind: VirtualIP\nmetadata:\n  name: bad\n  uid: 1-2\nspec: {}\n", "metadata.uid", 5, "written by the store", Validate),
    case("status", "apiVersion: vipkeeper.dev/v1alpha1\nkind: VirtualIP\nmetadata: {name: bad}\nspec: {}\nstatus: {address: 198.51.100.1}\n", "status", 5, "leave it out", Validate),
    case("unknown-top-field", "apiVersion: vipkeeper.dev/v1alpha1\nkind: VirtualIP\nmetadata: {name: bad}\nspec: {}\ndata: {}\n", "data", 5, "is no field here", Both),
    // YAML.
    case("duplicate-key", vip!("  pool: a\n  failback: Never\n  pool: b\n"), "spec.pool", 8, "stands twice: line 6", Validate),
    case("tab", vip!("  announce:\n\tburst: 3\n"), "", 7, "is no YAML", Reader),
    case("unclosed", vip!("  announce: {burst: 3\n"), "", 6, "is no YAML", Reader),
    case("unclosed-quote", vip!("  address: \"198.51.100.20\n"), "", 6, "is no YAML", Reader),
    case("two-colons", vip!("  address: a: b\n"), "", 6, "is no YAML", Reader),
    case("octal", vip!("  announce: {burst: 010}\n"), "spec.announce.burst", 6, "disagree about", Validate),
    case("not-a-number", vip!("  announce: {burst: .nan}\n"), "spec.announce.burst", 6, "no number that JSON has", Reader),
    case("tag", vip!("  address: !!python/object:os.system x\n"), "spec.address", 6, "means nothing here", Validate),
    case("unknown-alias", vip!("  address: *nothing\n"), "", 6, "not above it", Reader),
    case("endless-alias", vip!("  nodeSelector: &a\n    matchLabels: *a\n"), "spec.nodeSelector.matchLabels", 7, "contains it", Reader),
    case("merge-key", vip!("  announce: &a {burst: 3}\n  healthCheck:\n    <<: *a\n    tcp: {port: 80}\n"), "spec.healthCheck[<<]", 8, "merge keys", Validate),
    case("key-is-number", vip!("  7: a\n"), "spec", 6, "keys are strings", Validate),
    case("a-word", "web\n", "", 1, "is no object", Reader),
    case("a-list", "- apiVersion: vipkeeper.dev/v1alpha1\n", "", 1, "is no object", Reader),
];
