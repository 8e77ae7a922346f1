//! Addresses through the netlink adapter: idempotent, marked, and nobody else's touched.

use std::net::IpAddr;
use std::time::Duration;

use vipkeeper::core::net::{Address, AddressSpec, Lifetime, PROTO_AGENT, PROTO_COMMAND};
use vipkeeper::netlink::{Added, Netlink, NetlinkError, Removed};

use crate::support::segment::{Host, INTERFACE, Segment};

fn host() -> (Segment, Host) {
    let segment = Segment::new();
    let host = segment.host("node", 1);
    (segment, host)
}

async fn index_of(netlink: &Netlink, name: &str) -> u32 {
    netlink.links().await.unwrap().into_iter().find(|link| link.name == name).unwrap().index
}

async fn find(netlink: &Netlink, ip: IpAddr) -> Option<Address> {
    netlink.addresses().await.unwrap().into_iter().find(|address| address.ip == ip)
}

fn held(link: u32, ip: &str) -> AddressSpec {
    let ip = ip.parse().unwrap();
    AddressSpec::virtual_ip(link, ip, PROTO_AGENT, Lifetime::held(ip))
}

/// Puts an address there with a mark and a lifetime, as another process may have; iproute2 of Debian 12 knows no marks.
fn leave(host: &Host, text: &str, protocol: u8, lifetime: Lifetime) {
    host.netns.block_on(async {
        let netlink = Netlink::new().unwrap();
        let link = index_of(&netlink, INTERFACE).await;
        let spec = AddressSpec::virtual_ip(link, text.parse().unwrap(), protocol, lifetime);
        assert_eq!(netlink.add_address(&spec).await.unwrap(), Added::New);
    });
}

#[test]
fn links_addresses_routes_and_neighbours_are_read() {
    let (segment, host) = host();
    let other = segment.host("other", 2);
    host.netns.ip("route add default via 198.51.100.2 metric 50");
    host.netns.ip("-6 route add default via 2001:db8:1::2");
    let ping = host.netns.command("ping").args(["-c", "1", "-W", "2", "198.51.100.2"]).output().unwrap();
    assert!(ping.status.success());
    host.netns.block_on(async {
        let netlink = Netlink::new().unwrap();
        let links = netlink.links().await.unwrap();
        assert_eq!(links.iter().map(|link| link.name.as_str()).collect::<Vec<_>>(), ["lo", INTERFACE]);
        assert!(links[0].loopback && !links[0].arp);
        assert!(links[1].up && links[1].carrier && links[1].arp && !links[1].loopback);
        assert_eq!(links[1].mac.unwrap().0, host.mac());
        assert_eq!(links[1].mtu, 1500);
        let routes = netlink.routes().await.unwrap();
        let defaults: Vec<_> = routes.iter().filter(|route| route.destination.prefix() == 0).collect();
        assert_eq!(defaults.len(), 2, "{routes:?}");
        assert_eq!((defaults[0].gateway, defaults[0].metric), (Some(other.ipv4().into()), 50));
        assert_eq!(defaults[1].gateway, Some(other.ipv6().into()));
        let neighbours = netlink.neighbours(links[1].index).await.unwrap();
        let neighbour = neighbours.iter().find(|neighbour| neighbour.ip == IpAddr::from(other.ipv4())).unwrap();
        assert_eq!(neighbour.mac.0, other.mac());
        let foreign = find(&netlink, host.ipv4().into()).await.unwrap();
        assert_eq!((foreign.prefix, foreign.valid, foreign.is_ours()), (24, None, false));
    });
}

#[test]
fn an_address_is_added_once_and_kept_the_second_time() {
    let (_segment, host) = host();
    host.netns.block_on(async {
        let netlink = Netlink::new().unwrap();
        let link = index_of(&netlink, INTERFACE).await;
        for (text, prefix) in [("198.51.100.20", 32), ("2001:db8:1::20", 128)] {
            let spec = held(link, text);
            assert_eq!(netlink.add_address(&spec).await.unwrap(), Added::New);
            assert_eq!(netlink.add_address(&spec).await.unwrap(), Added::Kept);
            let address = find(&netlink, spec.ip).await.unwrap();
            assert!(address.satisfies(&spec), "{address:?}");
            assert_eq!(address.prefix, prefix);
            let valid = address.valid.unwrap();
            assert!(valid > Duration::from_secs(297) && valid <= Duration::from_secs(300), "{valid:?}");
        }
        assert_eq!(netlink.addresses().await.unwrap().iter().filter(|address| address.is_ours()).count(), 2);
    });
    let shown = host.netns.ip(&format!("-d addr show dev {INTERFACE}"));
    let line = |text| shown.lines().find(|line| line.contains(text)).unwrap_or_else(|| panic!("no {text} in\n{shown}"));
    assert!(line("198.51.100.20/32").contains("scope global") && line("198.51.100.20/32").contains("noprefixroute"));
    let flags = line("2001:db8:1::20/128");
    assert!(
        ["scope global", "deprecated", "nodad", "noprefixroute"].iter().all(|word| flags.contains(word)),
        "{flags}"
    );
    assert!(!host.netns.ip("-6 route show").contains("2001:db8:1::20"), "noprefixroute was not heeded");
}

#[test]
fn what_a_former_run_left_is_adopted_and_its_lifetime_corrected() {
    let (_segment, host) = host();
    let short = Lifetime::Limited { valid: Duration::from_secs(20), deprecated: false };
    leave(&host, "198.51.100.20", PROTO_AGENT, short);
    leave(&host, "2001:db8:1::20", PROTO_AGENT, Lifetime::Forever);
    host.netns.block_on(async {
        let netlink = Netlink::new().unwrap();
        let link = index_of(&netlink, INTERFACE).await;
        for spec in [held(link, "198.51.100.20"), held(link, "2001:db8:1::20")] {
            assert_eq!(netlink.add_address(&spec).await.unwrap(), Added::Kept);
            let address = find(&netlink, spec.ip).await.unwrap();
            assert!(address.satisfies(&spec), "{address:?}");
            assert!(address.valid.unwrap() > Duration::from_secs(200), "{address:?}");
        }
        // Back to for ever, as beyond the number of addresses that may be limited at once.
        let spec = AddressSpec { lifetime: Lifetime::Forever, ..held(link, "2001:db8:1::20") };
        assert_eq!(netlink.add_address(&spec).await.unwrap(), Added::Kept);
        let address = find(&netlink, spec.ip).await.unwrap();
        assert!(address.satisfies(&spec), "{address:?}");
    });
}

#[test]
fn addresses_of_others_are_neither_changed_nor_removed() {
    let (_segment, host) = host();
    host.netns.ip(&format!("addr add 198.51.100.20/32 dev {INTERFACE}"));
    leave(&host, "198.51.100.21", PROTO_COMMAND, Lifetime::Forever);
    host.netns.ip(&format!("addr add 2001:db8:1::20/64 dev {INTERFACE} nodad"));
    let list = || host.netns.ip(&format!("-o addr show dev {INTERFACE}"));
    let before = list();
    host.netns.block_on(async {
        let netlink = Netlink::new().unwrap();
        let link = index_of(&netlink, INTERFACE).await;
        for text in ["198.51.100.20", "198.51.100.21", "2001:db8:1::20", "198.51.100.1"] {
            let spec = held(link, text);
            let removed = netlink.remove_address(&spec).await;
            assert!(matches!(&removed, Err(NetlinkError::Foreign { ip, .. }) if *ip == spec.ip), "{removed:?}");
            if text != "198.51.100.1" {
                let added = netlink.add_address(&spec).await;
                assert!(matches!(&added, Err(NetlinkError::Foreign { .. })), "{added:?}");
                let refreshed = netlink.refresh_addresses(&[spec]).await.pop().unwrap();
                assert!(matches!(&refreshed, Err(NetlinkError::Foreign { .. })), "{refreshed:?}");
            }
        }
        let error = netlink.add_address(&held(link, "198.51.100.21")).await.unwrap_err().to_string();
        assert_eq!(error, "198.51.100.21/32 is on eth0 already and not ours (its mark is protocol 87)");
        assert_eq!(PROTO_COMMAND, 87);
    });
    assert_eq!(list(), before);
}

#[test]
fn removal_is_idempotent_and_a_refresh_brings_nothing_back() {
    let (_segment, host) = host();
    host.netns.block_on(async {
        let netlink = Netlink::new().unwrap();
        let link = index_of(&netlink, INTERFACE).await;
        let spec = held(link, "198.51.100.20");
        netlink.add_address(&spec).await.unwrap();
        assert_eq!(netlink.refresh_addresses(std::slice::from_ref(&spec)).await.pop().unwrap().unwrap(), Added::Kept);
        assert_eq!(netlink.remove_address(&spec).await.unwrap(), Removed::Gone);
        assert_eq!(netlink.remove_address(&spec).await.unwrap(), Removed::Absent);
        let refreshed = netlink.refresh_addresses(std::slice::from_ref(&spec)).await.pop().unwrap();
        let Err(NetlinkError::Address { source, link: name, .. }) = refreshed else { panic!("{refreshed:?}") };
        assert_eq!((source.kind(), name.as_str()), (std::io::ErrorKind::NotFound, INTERFACE));
        assert_eq!(find(&netlink, spec.ip).await, None);
    });
}

#[test]
fn each_of_many_addresses_has_its_own_answer() {
    let (_segment, host) = host();
    host.netns.ip(&format!("addr add 203.0.113.70/32 dev {INTERFACE}"));
    host.netns.block_on(async {
        let netlink = Netlink::new().unwrap();
        let link = index_of(&netlink, INTERFACE).await;
        let mut specs: Vec<_> = (0..200).map(|n| held(link, &format!("203.0.113.{n}"))).collect();
        specs[130].link = 9999;
        let results = netlink.add_addresses(&specs).await;
        for (n, result) in results.iter().enumerate() {
            match n {
                70 => assert!(matches!(result, Err(NetlinkError::Foreign { .. })), "{result:?}"),
                130 => assert!(
                    result.as_ref().is_err_and(|error| error.to_string() == "cannot add 203.0.113.130/32 on link 9999"),
                    "{result:?}"
                ),
                _ => assert!(matches!(result, Ok(Added::New)), "{n}: {result:?}"),
            }
        }
        let removed = netlink.remove_addresses(&specs).await;
        assert_eq!(removed.iter().filter(|result| matches!(result, Ok(Removed::Gone))).count(), 198);
        assert!(netlink.addresses().await.unwrap().iter().all(|address| !address.is_ours()));
    });
}

#[test]
fn ten_thousand_addresses_in_flight_lose_no_answer() {
    let (_segment, host) = host();
    host.netns.block_on(async {
        let netlink = Netlink::new().unwrap();
        let link = index_of(&netlink, INTERFACE).await;
        let specs: Vec<_> = (0..10_000u32).map(|n| held(link, &format!("10.0.{}.{}", n / 250, n % 250))).collect();
        let results = netlink.add_addresses(&specs).await;
        assert!(results.iter().all(|result| matches!(result, Ok(Added::New))));
        assert_eq!(netlink.addresses().await.unwrap().iter().filter(|address| address.is_ours()).count(), 10_000);
    });
}
