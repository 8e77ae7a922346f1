//! Frames that ask one host for an address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::station::Station;

/// "Who has this address?", asked of one host alone.
pub(crate) fn who_has(station: &Station, mac: [u8; 6], address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => arp(station, mac, station.ipv4(), address),
        IpAddr::V6(address) => solicitation(station, mac, address),
    }
}

/// "I have this address", said to everybody by a host that has no business to: an ARP request for itself (RFC 5227).
pub(crate) fn claim(station: &Station, address: Ipv4Addr) -> Vec<u8> {
    arp(station, [0xff; 6], address, address)
}

/// An ARP request (RFC 826).
fn arp(station: &Station, mac: [u8; 6], sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let mut frame = mac.to_vec();
    frame.extend(station.mac());
    frame.extend([0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1]);
    frame.extend(station.mac());
    frame.extend(sender.octets());
    frame.extend([0; 6]);
    frame.extend(target.octets());
    frame
}

/// A neighbour solicitation with the source link-layer address option (RFC 4861 4.3), to the address itself.
fn solicitation(station: &Station, mac: [u8; 6], target: Ipv6Addr) -> Vec<u8> {
    let mut message = vec![135, 0, 0, 0, 0, 0, 0, 0];
    message.extend(target.octets());
    message.extend([1, 1]);
    message.extend(station.mac());
    let source = station.ipv6();
    let sum = checksum(source, target, &message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut frame = mac.to_vec();
    frame.extend(station.mac());
    frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
    frame.extend(u16::try_from(message.len()).unwrap().to_be_bytes());
    frame.extend([58, 255]);
    frame.extend(source.octets());
    frame.extend(target.octets());
    frame.extend(message);
    frame
}

/// The checksum of ICMPv6 with its pseudo header (RFC 8200 8.1).
fn checksum(source: Ipv6Addr, target: Ipv6Addr, message: &[u8]) -> u16 {
    let words = source.segments().into_iter().chain(target.segments());
    let body = message.chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    let length = u16::try_from(message.len()).unwrap();
    let mut sum: u32 = words.chain(body).chain([length, 58]).map(u32::from).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap()
}
