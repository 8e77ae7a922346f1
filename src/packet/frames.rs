//! Frames as bytes, and bytes as what was heard.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::core::frame::{Form, Frame, Heard, Word};
use crate::core::net::Mac;
use crate::wire::arp::{self, Arp};
use crate::wire::ethernet::{self, Ethernet};
use crate::wire::ndp::{self, Kind, Ndp};

/// Octets of the longest frame that is sent.
const MAX_LEN: usize = ethernet::LEN + ndp::MAX_LEN;

/// A frame as it goes on the wire.
pub(super) struct Bytes {
    octets: [u8; MAX_LEN],
    length: usize,
}

impl Bytes {
    pub(super) fn as_slice(&self) -> &[u8] {
        &self.octets[..self.length]
    }
}

/// Writes a frame of the link with this Ethernet address; `None` for a question across address families.
pub(super) fn encode(frame: &Frame, mac: Mac) -> Option<Bytes> {
    match (frame.ip, frame.form) {
        (IpAddr::V4(ip), Form::Announcement) => Some(arp_frame(Arp::announcement(mac.0, ip), None)),
        (IpAddr::V4(ip), Form::Reply) => Some(arp_frame(Arp::announcement_reply(mac.0, ip), None)),
        (IpAddr::V4(ip), Form::Probe { mac: to }) => Some(arp_frame(Arp::probe(mac.0, ip), to)),
        (IpAddr::V4(ip), Form::Ask { target: IpAddr::V4(target), mac: to }) => {
            Some(arp_frame(Arp::ask(mac.0, ip, target), to))
        }
        (IpAddr::V6(ip), Form::Announcement | Form::Reply) => Some(advertisement(ip, mac)),
        (IpAddr::V6(ip), Form::Probe { mac: to }) => Some(solicitation(Ipv6Addr::UNSPECIFIED, ip, mac, to)),
        (IpAddr::V6(ip), Form::Ask { target: IpAddr::V6(target), mac: to }) => Some(solicitation(ip, target, mac, to)),
        (IpAddr::V4(_) | IpAddr::V6(_), Form::Ask { .. }) => None,
    }
}

fn arp_frame(packet: Arp, to: Option<Mac>) -> Bytes {
    let destination = to.unwrap_or(Mac::BROADCAST).0;
    let header = Ethernet { destination, source: packet.sender_mac, ether_type: ethernet::ARP };
    let mut octets = [0; MAX_LEN];
    octets[..ethernet::LEN].copy_from_slice(&header.to_bytes());
    octets[ethernet::LEN..][..arp::LEN].copy_from_slice(&packet.to_bytes());
    Bytes { octets, length: ethernet::LEN + arp::LEN }
}

fn advertisement(ip: Ipv6Addr, mac: Mac) -> Bytes {
    let kind = Kind::Advertisement { solicited: false, overrides: true };
    let packet = Ndp { source: ip, destination: ndp::ALL_NODES, target: ip, mac: Some(mac.0), kind };
    ndp_frame(packet, mac, Ndp::multicast_mac(ndp::ALL_NODES))
}

fn solicitation(source: Ipv6Addr, target: Ipv6Addr, mac: Mac, to: Option<Mac>) -> Bytes {
    let group = Ndp::solicited_node(target);
    let probe = source.is_unspecified();
    // A solicitation without a source goes to the group in any case, and names no Ethernet address (RFC 4861 7.1.1).
    let destination = if to.is_some() && !probe { target } else { group };
    let own = (!probe).then_some(mac.0);
    let packet = Ndp { source, destination, target, mac: own, kind: Kind::Solicitation };
    ndp_frame(packet, mac, to.map_or(Ndp::multicast_mac(group), |to| to.0))
}

fn ndp_frame(packet: Ndp, mac: Mac, destination: [u8; 6]) -> Bytes {
    let header = Ethernet { destination, source: mac.0, ether_type: ethernet::IPV6 };
    let mut octets = [0; MAX_LEN];
    let (head, rest) = octets.split_first_chunk_mut().expect("a frame is longer than its header");
    *head = header.to_bytes();
    let length = packet.write(rest.first_chunk_mut().expect("the rest of the longest frame"));
    Bytes { octets, length: ethernet::LEN + length }
}

/// What a frame that came in on `link` says about an address, if it is whole and says something.
pub(super) fn decode(link: u32, frame: &[u8]) -> Option<Heard> {
    let (header, payload) = Ethernet::read(frame).ok()?;
    let (ip, mac, word): (IpAddr, _, _) = match header.ether_type {
        ethernet::ARP => arp_word(&Arp::read(payload).ok()?)?,
        ethernet::IPV6 => ndp_word(&Ndp::read(payload).ok()?, header.source),
        _ => return None,
    };
    Some(Heard { link, ip, mac: Mac(mac), word })
}

fn arp_word(packet: &Arp) -> Option<(IpAddr, [u8; 6], Word)> {
    if packet.is_probe() {
        return Some((packet.target.into(), packet.sender_mac, Word::Probe));
    }
    let asked = packet.operation == arp::Operation::Reply && packet.target != packet.sender;
    let word = if asked { Word::Answer } else { Word::Claim };
    (packet.sender != Ipv4Addr::UNSPECIFIED).then(|| (packet.sender.into(), packet.sender_mac, word))
}

fn ndp_word(packet: &Ndp, sender: [u8; 6]) -> (IpAddr, [u8; 6], Word) {
    let mac = packet.mac.unwrap_or(sender);
    match packet.kind {
        Kind::Solicitation if packet.source.is_unspecified() => (packet.target.into(), mac, Word::Probe),
        Kind::Solicitation => (packet.source.into(), mac, Word::Claim),
        Kind::Advertisement { solicited: true, .. } => (packet.target.into(), mac, Word::Answer),
        Kind::Advertisement { solicited: false, .. } => (packet.target.into(), mac, Word::Claim),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const PEER: Mac = Mac([2, 0, 0, 0, 0, 2]);

    fn said(ip: &str, form: Form) -> (Mac, Option<Heard>) {
        let bytes = encode(&Frame { link: 2, ip: ip.parse().unwrap(), form }, MAC).unwrap();
        let (header, _) = Ethernet::read(bytes.as_slice()).unwrap();
        (Mac(header.destination), decode(2, bytes.as_slice()))
    }

    #[test]
    fn what_is_said_is_heard() {
        let group = Mac([0x33, 0x33, 0xff, 0, 0, 0x20]);
        for (ip, target, everybody, asked) in [
            ("198.51.100.20", "198.51.100.1", Mac::BROADCAST, Mac::BROADCAST),
            ("2001:db8::20", "2001:db8::fe", Mac([0x33, 0x33, 0, 0, 0, 1]), Mac([0x33, 0x33, 0xff, 0, 0, 0xfe])),
        ] {
            let heard = |word| Some(Heard { link: 2, ip: ip.parse().unwrap(), mac: MAC, word });
            let target = target.parse().unwrap();
            assert_eq!(said(ip, Form::Announcement), (everybody, heard(Word::Claim)));
            assert_eq!(said(ip, Form::Reply), (everybody, heard(Word::Claim)));
            assert_eq!(said(ip, Form::Ask { target, mac: None }), (asked, heard(Word::Claim)));
            assert_eq!(said(ip, Form::Ask { target, mac: Some(PEER) }), (PEER, heard(Word::Claim)));
            assert_eq!(said(ip, Form::Probe { mac: Some(PEER) }), (PEER, heard(Word::Probe)));
        }
        assert_eq!(said("2001:db8::20", Form::Probe { mac: None }).0, group);
        assert_eq!(said("198.51.100.20", Form::Probe { mac: None }).0, Mac::BROADCAST);
    }

    #[test]
    fn an_answer_is_one_to_who_asked() {
        let (ip, asker) = (Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2));
        let word = |arp: Arp| decode(2, arp_frame(arp, Some(PEER)).as_slice()).unwrap().word;
        let reply = Arp { target: asker, target_mac: PEER.0, ..Arp::announcement_reply(MAC.0, ip) };
        assert_eq!((word(reply), word(Arp::announcement_reply(MAC.0, ip))), (Word::Answer, Word::Claim));
        let said = |solicited| {
            let kind = Kind::Advertisement { solicited, overrides: true };
            let (source, destination) = ("2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap());
            let packet = Ndp { source, destination, target: source, mac: Some(MAC.0), kind };
            decode(2, ndp_frame(packet, MAC, PEER.0).as_slice()).unwrap().word
        };
        assert_eq!([true, false].map(said), [Word::Answer, Word::Claim]);
    }

    #[test]
    fn a_question_across_families_is_none() {
        let ask = Form::Ask { target: "2001:db8::1".parse().unwrap(), mac: None };
        assert!(encode(&Frame { link: 2, ip: "198.51.100.20".parse().unwrap(), form: ask }, MAC).is_none());
    }

    #[test]
    fn a_reply_without_a_sender_says_nothing() {
        let reply =
            Arp { sender: Ipv4Addr::UNSPECIFIED, ..Arp::announcement_reply(MAC.0, Ipv4Addr::new(192, 0, 2, 1)) };
        assert_eq!(decode(2, arp_frame(reply, None).as_slice()), None);
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes: Vec<u8>, v6: bool) {
            let _ = decode(2, &bytes);
            let ether_type = if v6 { ethernet::IPV6 } else { ethernet::ARP };
            let header = Ethernet { destination: MAC.0, source: PEER.0, ether_type };
            let _ = decode(2, &[header.to_bytes().as_slice(), &bytes].concat());
        }
    }
}
