//! An Ethernet segment: a bridge in a namespace of its own, and hosts on it with known addresses.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::netns::Netns;

/// The name of every host's interface to the segment.
pub const INTERFACE: &str = "eth0";

/// A bridge without spanning tree and without multicast snooping.
#[derive(Debug)]
pub struct Segment {
    bridge: Netns,
}

/// A host on a segment. Number n has the MAC address 02:00:00:00:00:n, 198.51.100.n/24 and 2001:db8:1::n/64 on `eth0`.
#[derive(Debug)]
pub struct Host {
    pub netns: Netns,
    pub number: u8,
    port: String,
}

impl Segment {
    /// An empty segment.
    pub fn new() -> Self {
        let bridge = Netns::new("bridge");
        bridge.ip("link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0");
        bridge.sysctl("net/ipv6/conf/br0/disable_ipv6", "1");
        bridge.ip("link set br0 up");
        Self { bridge }
    }

    /// The namespace of the bridge.
    pub fn bridge(&self) -> &Netns {
        &self.bridge
    }

    /// Adds host `number` (1 to 254) with a namespace of its own.
    pub fn host(&self, label: &str, number: u8) -> Host {
        let host = Host { netns: Netns::new(label), number, port: format!("port{number}") };
        self.plug(&host.netns, INTERFACE, &host.port, number);
        host.netns.ip(&format!("addr add {}/24 dev {INTERFACE}", host.ipv4()));
        host.netns.ip(&format!("addr add {}/64 dev {INTERFACE} nodad", host.ipv6()));
        host
    }

    /// Connects a namespace by another veth pair: `interface` inside (MAC address 02:00:00:00:00:number, up, no
    /// addresses), `port` at the bridge.
    pub fn plug(&self, netns: &Netns, interface: &str, port: &str, number: u8) {
        let bridge = self.bridge.name();
        netns.ip(&format!(
            "link add {interface} address {} type veth peer name {port} netns {bridge}",
            mac_text(number)
        ));
        self.bridge.sysctl(&format!("net/ipv6/conf/{port}/disable_ipv6"), "1");
        self.bridge.ip(&format!("link set {port} master br0 up"));
        netns.ip(&format!("link set {interface} up"));
    }

    /// Pulls the host's cable: its interface loses its carrier.
    pub fn cut(&self, host: &Host) {
        self.bridge.ip(&format!("link set {} down", host.port));
    }

    /// Puts the cable back.
    pub fn restore(&self, host: &Host) {
        self.bridge.ip(&format!("link set {} up", host.port));
    }
}

impl Default for Segment {
    fn default() -> Self {
        Self::new()
    }
}

impl Host {
    /// Its Ethernet address.
    pub fn mac(&self) -> [u8; 6] {
        [2, 0, 0, 0, 0, self.number]
    }

    /// Its IPv4 address.
    pub fn ipv4(&self) -> Ipv4Addr {
        Ipv4Addr::new(198, 51, 100, self.number)
    }

    /// Its IPv6 address.
    pub fn ipv6(&self) -> Ipv6Addr {
        Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, self.number.into())
    }

    /// The name of its port at the bridge.
    pub fn port(&self) -> &str {
        &self.port
    }

    /// Whether `eth0` has this address (without prefix length).
    pub fn has_address(&self, address: &str) -> bool {
        let listed = self.netns.ip(&format!("-o addr show dev {INTERFACE}"));
        listed.split_whitespace().any(|word| word.split('/').next() == Some(address) && word.contains('/'))
    }
}

/// The text of a host's Ethernet address.
pub fn mac_text(number: u8) -> String {
    format!("02:00:00:00:00:{number:02x}")
}
