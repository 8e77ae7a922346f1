//! The packet adapter: what it says is on the wire as it should be and moves a Linux neighbour; what others say is heard.

use std::net::IpAddr;
use std::time::Duration;

use vipkeeper::core::frame::{Form, Frame, Heard, Word};
use vipkeeper::core::net::{Link, Mac};
use vipkeeper::netlink::Netlink;
use vipkeeper::packet::{Observations, PacketError, Packets};

use crate::support::capture::{Capture, Claim, send_frame};
use crate::support::segment::{Host, INTERFACE, Segment};
use crate::support::wait_until;

const LIMIT: Duration = Duration::from_secs(5);

async fn eth0() -> Link {
    let links = Netlink::new().unwrap().links().await.unwrap();
    links.into_iter().find(|link| link.name == INTERFACE).unwrap()
}

/// The first thing heard about `ip`.
async fn hear(observations: &mut Observations, ip: IpAddr) -> Heard {
    let search = async {
        loop {
            let batch = observations.recv().await.expect("the stream ended");
            if let Some(heard) = batch.into_iter().find(|heard| heard.ip == ip) {
                return heard;
            }
        }
    };
    tokio::time::timeout(LIMIT, search).await.unwrap_or_else(|_| panic!("nothing heard about {ip}"))
}

fn ping(from: &Host, to: &str) {
    let done = from.netns.command("ping").args(["-c", "1", "-W", "2", to]).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
}

fn neighbour(host: &Host, ip: &str) -> String {
    host.netns.ip(&format!("neigh show {ip} dev {INTERFACE}"))
}

#[test]
fn every_form_is_on_the_wire_with_the_right_addresses() {
    let segment = Segment::new();
    let (node, other) = (segment.host("node", 1), segment.host("other", 2));
    let capture = Capture::start(&other.netns, INTERFACE);
    let mac = node.mac();
    let peer = Mac(other.mac());
    let forms = |target: IpAddr| {
        [
            Form::Announcement,
            Form::Reply,
            Form::Ask { target, mac: None },
            Form::Ask { target, mac: Some(peer) },
            Form::Probe { mac: None },
            Form::Probe { mac: Some(peer) },
        ]
    };
    let (v4, v6): (IpAddr, IpAddr) = ("198.51.100.20".parse().unwrap(), "2001:db8:1::20".parse().unwrap());
    node.netns.block_on(async {
        let link = eth0().await;
        let (mut packets, _observations) = Packets::new();
        packets.open(&link).unwrap();
        for (ip, target) in [(v4, other.ipv4().into()), (v6, other.ipv6().into())] {
            let frames = forms(target).map(|form| Frame { link: link.index, ip, form });
            assert_eq!(packets.send(link.index, &frames).unwrap(), 6);
        }
    });
    let sent = || -> Vec<_> {
        let all = capture.frames().into_iter().filter(|frame| !frame.outgoing && frame.source() == mac);
        all.filter_map(|frame| Some((frame.destination(), frame.claim()?)))
            .filter(|(_, claim)| match claim {
                Claim::Arp { sender, target, .. } => IpAddr::from(*sender) == v4 || IpAddr::from(*target) == v4,
                Claim::Solicitation { source, target, .. } => {
                    IpAddr::from(*source) == v6 || IpAddr::from(*target) == v6
                }
                Claim::Advertisement { target, .. } => IpAddr::from(*target) == v6,
            })
            .collect()
    };
    wait_until(LIMIT, "twelve frames", || sent().len() == 12);
    let (IpAddr::V4(ip), IpAddr::V6(ip6)) = (v4, v6) else { unreachable!("as written above") };
    let arp =
        |operation, sender, target_mac, target| Claim::Arp { operation, sender_mac: mac, sender, target_mac, target };
    let (everybody, nobody) = ([0xff; 6], std::net::Ipv4Addr::UNSPECIFIED);
    let solicit = |source, target, option| Claim::Solicitation { source, target, option };
    let na = Claim::Advertisement { source: ip6, target: ip6, overrides: true, solicited: false, option: Some(mac) };
    let group = |last| [0x33, 0x33, 0xff, 0, 0, last];
    assert_eq!(
        sent(),
        [
            (everybody, arp(1, ip, [0; 6], ip)),
            (everybody, arp(2, ip, mac, ip)),
            (everybody, arp(1, ip, [0; 6], other.ipv4())),
            (other.mac(), arp(1, ip, [0; 6], other.ipv4())),
            (everybody, arp(1, nobody, [0; 6], ip)),
            (other.mac(), arp(1, nobody, [0; 6], ip)),
            ([0x33, 0x33, 0, 0, 0, 1], na.clone()),
            ([0x33, 0x33, 0, 0, 0, 1], na),
            (group(2), solicit(ip6, other.ipv6(), Some(mac))),
            (other.mac(), solicit(ip6, other.ipv6(), Some(mac))),
            (group(0x20), solicit(std::net::Ipv6Addr::UNSPECIFIED, ip6, None)),
            (other.mac(), solicit(std::net::Ipv6Addr::UNSPECIFIED, ip6, None)),
        ]
    );
    assert_eq!(capture.dropped(), 0);
}

#[test]
fn an_announcement_moves_a_linux_neighbour_at_once() {
    let segment = Segment::new();
    let (one, two, client) = (segment.host("one", 1), segment.host("two", 2), segment.host("client", 3));
    for (ip, prefix) in [("198.51.100.20", 32), ("2001:db8:1::20", 128)] {
        one.netns.ip(&format!("addr add {ip}/{prefix} dev {INTERFACE} nodad"));
        ping(&client, ip);
        assert!(neighbour(&client, ip).contains("02:00:00:00:00:01"));
        one.netns.ip(&format!("addr del {ip}/{prefix} dev {INTERFACE}"));
        two.netns.block_on(async {
            let link = eth0().await;
            let (mut packets, _observations) = Packets::new();
            packets.open(&link).unwrap();
            let frame = Frame { link: link.index, ip: ip.parse().unwrap(), form: Form::Announcement };
            packets.send(link.index, &[frame]).unwrap();
        });
        wait_until(LIMIT, "the client's entry to change", || neighbour(&client, ip).contains("02:00:00:00:00:02"));
    }
}

#[test]
fn what_others_say_is_heard_and_nothing_else() {
    let segment = Segment::new();
    let (node, other) = (segment.host("node", 1), segment.host("other", 2));
    node.netns.block_on(async {
        let link = eth0().await;
        let (mut packets, mut observations) = Packets::new();
        packets.open(&link).unwrap();
        for ip in [IpAddr::from(other.ipv4()), other.ipv6().into()] {
            // The kernel answers the probe (IPv4) or the question (IPv6, where a probe would be answered to all nodes).
            let frame = Frame { link: link.index, ip, form: Form::Probe { mac: None } };
            packets.send(link.index, &[frame]).unwrap();
            let heard = hear(&mut observations, ip).await;
            let word = if ip.is_ipv4() { Word::Answer } else { Word::Claim };
            assert_eq!(heard, Heard { link: link.index, ip, mac: Mac(other.mac()), word });
        }
        // A probe by somebody else; the frames before it are no ARP, or of another VLAN, or cut off.
        let probe = arp_probe(other.mac(), [192, 0, 2, 77]);
        let mut tagged = probe.clone();
        tagged.splice(12..12, [0x81, 0, 0, 5]);
        tagged[41] = 78;
        for frame in [&tagged, &vec![0x88; 60], &probe[..30].to_vec(), &probe] {
            send_frame(&other.netns, INTERFACE, frame);
        }
        let batch = tokio::time::timeout(LIMIT, observations.recv()).await.unwrap().unwrap();
        let expected =
            Heard { link: link.index, ip: "192.0.2.77".parse().unwrap(), mac: Mac(other.mac()), word: Word::Probe };
        assert!(batch.iter().all(|heard| *heard == expected), "{batch:?}");
    });
}

fn arp_probe(mac: [u8; 6], target: [u8; 4]) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend(mac);
    frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(mac);
    frame.extend([0; 10]);
    frame.extend(target);
    frame
}

#[test]
fn a_link_that_goes_down_and_returns_is_used_again_and_errors_name_it() {
    let segment = Segment::new();
    let (node, other) = (segment.host("node", 1), segment.host("other", 2));
    let ip: IpAddr = other.ipv4().into();
    node.netns.block_on(async {
        let link = eth0().await;
        let (mut packets, mut observations) = Packets::new();
        let probe = |link: &Link| [Frame { link: link.index, ip, form: Form::Probe { mac: None } }];
        assert!(matches!(packets.send(link.index, &probe(&link)), Err(PacketError::Closed(_))));
        packets.open(&link).unwrap();
        node.netns.ip("link set eth0 down");
        let error = packets.send(link.index, &probe(&link)).unwrap_err();
        assert_eq!(error.to_string(), "sent 0 of 1 frames on eth0");
        node.netns.ip("link set eth0 up");
        packets.send(link.index, &probe(&link)).unwrap();
        assert_eq!(hear(&mut observations, ip).await.mac, Mac(other.mac()));

        node.netns.ip("link del eth0");
        assert!(packets.send(link.index, &probe(&link)).is_err());
        packets.close(link.index);
        assert!(!packets.is_open(link.index));
        segment.plug(&node.netns, INTERFACE, "again", 7);
        let link = eth0().await;
        packets.open(&link).unwrap();
        packets.send(link.index, &probe(&link)).unwrap();
        assert_eq!(hear(&mut observations, ip).await.mac, Mac(other.mac()));

        let tunnel = Link { mac: None, name: "wg0".into(), ..link.clone() };
        assert!(packets.open(&tunnel).unwrap_err().to_string().starts_with("wg0 has no Ethernet address"));
        let gone = Link { index: 9999, name: "gone0".into(), ..link };
        assert_eq!(packets.open(&gone).unwrap_err().to_string(), "cannot open a packet socket on gone0");
    });
}
