//! The kernel's messages as the structs that decisions see. What cannot be read as one is left out.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ipnetwork::IpNetwork;
use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkMessage, State};
use rtnetlink::packet_route::neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteType};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::core::net::{Address, Link, Mac, Neighbour, Route};

/// The kernel's "for ever" (`INFINITY_LIFE_TIME`).
pub(super) const FOREVER: u32 = u32::MAX;

pub(super) fn link(message: &LinkMessage) -> Option<Link> {
    let flags = message.header.flags;
    let (mut name, mut mac, mut mtu, mut state) = (None, None, 0, State::Unknown);
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(text) => name = Some(text.clone()),
            LinkAttribute::Address(octets) => mac = <[u8; 6]>::try_from(octets.as_slice()).ok().map(Mac),
            LinkAttribute::Mtu(bytes) => mtu = *bytes,
            LinkAttribute::OperState(oper) => state = *oper,
            _ => {}
        }
    }
    let loopback = flags.contains(LinkFlags::Loopback);
    let mac = mac.filter(|mac| *mac != Mac::ZERO);
    Some(Link {
        index: message.header.index,
        name: name?,
        mac,
        up: flags.contains(LinkFlags::Up),
        carrier: flags.contains(LinkFlags::LowerUp) && matches!(state, State::Up | State::Unknown),
        loopback,
        arp: mac.is_some() && !loopback && !flags.contains(LinkFlags::Noarp),
        mtu,
    })
}

pub(super) fn address_reply(reply: &RouteNetlinkMessage) -> Option<Address> {
    match reply {
        RouteNetlinkMessage::NewAddress(message) => address(message),
        _ => None,
    }
}

pub(super) fn address(message: &AddressMessage) -> Option<Address> {
    let (mut local, mut remote, mut protocol, mut valid) = (None, None, None, None);
    let mut flags = AddressFlags::from_bits_retain(message.header.flags.bits().into());
    for attribute in &message.attributes {
        match attribute {
            // Of a point-to-point link IFA_LOCAL is ours and IFA_ADDRESS the peer's (rtnetlink(7)).
            AddressAttribute::Local(ip) => local = Some(*ip),
            AddressAttribute::Address(ip) => remote = Some(*ip),
            AddressAttribute::Protocol(mark) => protocol = Some(u8::from(*mark)),
            AddressAttribute::CacheInfo(info) if info.ifa_valid != FOREVER => {
                valid = Some(Duration::from_secs(info.ifa_valid.into()));
            }
            AddressAttribute::Flags(all) => flags = *all,
            _ => {}
        }
    }
    Some(Address {
        link: message.header.index,
        ip: local.or(remote)?,
        prefix: message.header.prefix_len,
        protocol,
        valid,
        deprecated: flags.contains(AddressFlags::Deprecated) && message.header.family == AddressFamily::Inet6,
        tentative: flags.intersects(AddressFlags::Tentative | AddressFlags::Dadfailed),
    })
}

/// The routes of one message: one for each next hop of a multipath route, none if it is not a unicast route of the main
/// table.
pub(super) fn routes(message: &RouteMessage) -> Vec<Route> {
    let header = &message.header;
    let (mut link, mut gateway, mut metric, mut table) = (None, None, 0, u32::from(header.table));
    let any = match header.address_family {
        AddressFamily::Inet => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        AddressFamily::Inet6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => return Vec::new(),
    };
    let mut destination = Some(any);
    let mut hops = Vec::new();
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Oif(index) => link = Some(*index),
            RouteAttribute::Destination(address) => destination = ip(address),
            RouteAttribute::Gateway(address) => gateway = ip(address),
            RouteAttribute::Priority(priority) => metric = *priority,
            RouteAttribute::Table(number) => table = *number,
            RouteAttribute::MultiPath(next) => {
                hops.extend(next.iter().map(|hop| (hop.interface_index, hop_gateway(&hop.attributes))));
            }
            _ => {}
        }
    }
    hops.extend(link.map(|index| (index, gateway)));
    let destination = destination.and_then(|ip| IpNetwork::new(ip, header.destination_prefix_length).ok());
    match destination {
        Some(destination) if table == u32::from(RouteHeader::RT_TABLE_MAIN) && header.kind == RouteType::Unicast => {
            hops.into_iter().map(|(link, gateway)| Route { link, destination, gateway, metric }).collect()
        }
        _ => Vec::new(),
    }
}

fn hop_gateway(attributes: &[RouteAttribute]) -> Option<IpAddr> {
    attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Gateway(address) => ip(address),
        _ => None,
    })
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(ip) => Some(IpAddr::V4(*ip)),
        RouteAddress::Inet6(ip) => Some(IpAddr::V6(*ip)),
        _ => None,
    }
}

pub(super) fn neighbour(message: &NeighbourMessage) -> Option<Neighbour> {
    use NeighbourState::{Delay, Permanent, Probe, Reachable, Stale};
    let known = matches!(message.header.state, Reachable | Stale | Delay | Probe | Permanent);
    let (mut ip, mut mac) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(address)) => ip = Some(IpAddr::V4(*address)),
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(address)) => ip = Some(IpAddr::V6(*address)),
            NeighbourAttribute::LinkLayerAddress(octets) => mac = <[u8; 6]>::try_from(octets.as_slice()).ok().map(Mac),
            _ => {}
        }
    }
    let ip = ip.filter(|ip| !ip.is_multicast())?;
    let mac = mac.filter(|_| known)?;
    Some(Neighbour { link: message.header.ifindex, ip, mac })
}
