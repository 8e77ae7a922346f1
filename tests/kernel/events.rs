//! The monitor: links and addresses as they change.

use std::time::Duration;

use futures::StreamExt;
use vipkeeper::core::net::{AddressSpec, Lifetime, PROTO_AGENT};
use vipkeeper::netlink::{Event, Monitor, Netlink};

use crate::support::segment::{INTERFACE, Segment};

/// The first event that `wanted` takes, within five seconds; others are passed over.
async fn next<T>(monitor: &mut Monitor, what: &str, mut wanted: impl FnMut(Event) -> Option<T>) -> T {
    let search = async {
        loop {
            let event = monitor.next().await.expect("the stream ended");
            if let Some(value) = wanted(event) {
                return value;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(5), search).await.unwrap_or_else(|_| panic!("no event: {what}"))
}

#[test]
fn a_link_that_loses_its_carrier_is_renamed_goes_and_comes_back() {
    let segment = Segment::new();
    let host = segment.host("node", 1);
    host.netns.block_on(async {
        let netlink = Netlink::new().unwrap();
        let mut monitor = netlink.monitor().unwrap();
        let index = netlink.links().await.unwrap()[1].index;

        segment.cut(&host);
        next(&mut monitor, "no carrier", |event| match event {
            Event::Link(link) if link.index == index && link.up && !link.carrier => Some(()),
            _ => None,
        })
        .await;
        segment.restore(&host);
        next(&mut monitor, "carrier", |event| match event {
            Event::Link(link) if link.index == index && link.carrier => Some(()),
            _ => None,
        })
        .await;

        host.netns.ip("link set eth0 down");
        host.netns.ip("link set eth0 name uplink0");
        next(&mut monitor, "renamed and down", |event| match event {
            Event::Link(link) if link.index == index && link.name == "uplink0" && !link.up => Some(()),
            _ => None,
        })
        .await;

        host.netns.ip("link del uplink0");
        next(&mut monitor, "gone", |event| (event == Event::LinkGone { index }).then_some(())).await;
        segment.plug(&host.netns, INTERFACE, "again", 7);
        let back = next(&mut monitor, "back", |event| match event {
            Event::Link(link) if link.name == INTERFACE && link.carrier => Some(link),
            _ => None,
        })
        .await;
        assert_eq!(back.mac.unwrap().0, [2, 0, 0, 0, 0, 7]);
    });
}

#[test]
fn addresses_that_come_and_go_are_told_with_their_marks() {
    let segment = Segment::new();
    let host = segment.host("node", 1);
    host.netns.block_on(async {
        let netlink = Netlink::new().unwrap();
        let mut monitor = netlink.monitor().unwrap();
        let link = netlink.links().await.unwrap()[1].index;
        for text in ["198.51.100.20", "2001:db8:1::20"] {
            let ip = text.parse().unwrap();
            let spec = AddressSpec::virtual_ip(link, ip, PROTO_AGENT, Lifetime::held(ip));
            netlink.add_address(&spec).await.unwrap();
            let added = next(&mut monitor, "address", |event| match event {
                Event::Address(address) if address.ip == ip => Some(address),
                _ => None,
            })
            .await;
            assert!(added.satisfies(&spec), "{added:?}");
            // Somebody else takes it away.
            host.netns.ip(&format!("addr del {text}/{} dev {INTERFACE}", spec.prefix));
            let gone = next(&mut monitor, "address gone", |event| match event {
                Event::AddressGone(address) => Some(address),
                _ => None,
            })
            .await;
            assert_eq!((gone.ip, gone.prefix, gone.is_ours()), (ip, spec.prefix, true));
        }
    });
}

#[test]
fn a_reader_that_falls_behind_is_told_to_read_everything_again() {
    let segment = Segment::new();
    let host = segment.host("node", 1);
    host.netns.block_on(async {
        let netlink = Netlink::new().unwrap();
        let mut monitor = netlink.monitor().unwrap();
        let link = netlink.links().await.unwrap()[1].index;
        let specs: Vec<_> = (0..6000u32)
            .map(|n| std::net::Ipv4Addr::from(0x0a01_0000 + n).into())
            .map(|ip| AddressSpec::virtual_ip(link, ip, PROTO_AGENT, Lifetime::Forever))
            .collect();
        assert!(netlink.add_addresses(&specs).await.iter().all(Result::is_ok));
        next(&mut monitor, "overrun", |event| (event == Event::Overrun).then_some(())).await;
        // It goes on afterwards.
        host.netns.ip(&format!("addr add 198.51.100.20/32 dev {INTERFACE}"));
        next(&mut monitor, "an event after the overrun", |event| match event {
            Event::Address(address) if address.ip.to_string() == "198.51.100.20" => Some(()),
            _ => None,
        })
        .await;
    });
}
