//! Hosts on a bridge, with the lab's addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::support::netns::Netns;
use crate::support::segment::{INTERFACE, Segment};
use crate::table::Family;

/// The interface to the management network.
pub(crate) const MANAGEMENT: &str = "eth1";

/// The numbers of the hosts that are no nodes.
pub(crate) const OBSERVER: u8 = 201;
pub(crate) const CLIENT: u8 = 202;
pub(crate) const STRANGER: u8 = 203;

/// A host of the lab. Number n has 02:00:00:00:00:n, 198.18.0.n/15 and 2001:db8:1::n/64 on `eth0`.
#[derive(Debug)]
pub(crate) struct Station {
    pub(crate) netns: Netns,
    pub(crate) number: u8,
}

impl Station {
    pub(crate) fn new(data: &Segment, label: &str, number: u8) -> Self {
        let netns = Netns::new(label);
        data.plug(&netns, INTERFACE, &port(number), number);
        netns.ip(&format!("addr add 198.18.0.{number}/15 dev {INTERFACE}"));
        netns.ip(&format!("addr add 2001:db8:1::{number:x}/64 dev {INTERFACE} nodad"));
        Self { netns, number }
    }

    /// Gives it a default route by another station.
    pub(crate) fn route_by(&self, number: u8) {
        self.netns.ip(&format!("route add default via 198.18.0.{number}"));
        self.netns.ip(&format!("-6 route add default via 2001:db8:1::{number:x}"));
    }

    /// Gives it 192.0.2.number/24 on the management network.
    pub(crate) fn manage(&self, management: &Segment) {
        management.plug(&self.netns, MANAGEMENT, &port(self.number), self.number);
        self.netns.ip(&format!("addr add 192.0.2.{}/24 dev {MANAGEMENT}", self.number));
    }

    pub(crate) fn mac(&self) -> [u8; 6] {
        mac(self.number)
    }

    pub(crate) fn ipv4(&self) -> Ipv4Addr {
        Ipv4Addr::new(198, 18, 0, self.number)
    }

    pub(crate) fn ipv6(&self) -> Ipv6Addr {
        Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, self.number.into())
    }
}

pub(crate) const fn mac(number: u8) -> [u8; 6] {
    [2, 0, 0, 0, 0, number]
}

/// The name of its port at either bridge.
pub(crate) fn port(number: u8) -> String {
    format!("port{number}")
}

/// The address of a VIP, counted from 0.
pub(crate) fn vip(family: Family, index: usize) -> IpAddr {
    let index = u16::try_from(index).unwrap();
    match family {
        Family::V4 => Ipv4Addr::from(u32::from(Ipv4Addr::new(198, 18, 4, 1)) + u32::from(index)).into(),
        Family::V6 => Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 1, index + 1).into(),
    }
}
