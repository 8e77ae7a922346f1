use crate::support::capture::send_frame;
use crate::support::segment::INTERFACE;
use crate::support::wait_until;
use crate::trio::{SOON, Trio, VIP};

/// An ARP announcement of the VIP by a host with this Ethernet address (RFC 5227 section 2.3).
fn announcement(mac: [u8; 6]) -> Vec<u8> {
    let std::net::IpAddr::V4(vip) = VIP.parse().unwrap() else { unreachable!("the VIP is IPv4") };
    let mut frame = vec![0xff; 6];
    frame.extend(mac);
    frame.extend([0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1]);
    frame.extend(mac);
    frame.extend(vip.octets());
    frame.extend([0; 6]);
    frame.extend(vip.octets());
    frame.resize(60, 0);
    frame
}

#[test]
fn a_claim_of_a_peer_is_a_matter_of_rights_and_that_of_a_stranger_a_conflict() {
    let trio = Trio::new();
    let holder = trio.wait_holder();
    let peer = (holder + 1) % 3;
    wait_until(SOON, "the status", || trio.condition("Conflict") == "False/NoOtherClaim");
    // The sender is the peer itself: from another port the bridge would learn its address there.
    for _ in 0..3 {
        send_frame(&trio.hosts[peer].netns, INTERFACE, &announcement(trio.hosts[peer].mac()));
    }
    send_frame(&trio.client.netns, INTERFACE, &announcement([2, 0, 0, 0, 0, 0xee]));
    wait_until(SOON, "the conflict", || trio.condition("Conflict") == "True/ClaimedByOther");
    assert_eq!(trio.metric(holder, "vipkeeper_address_conflicts_total"), Some(1.0), "the stranger's alone");
    let described = trio.ask(&["describe", "vip", "web", "-n", "shop"]);
    assert!(described.contains("02:00:00:00:00:ee claims 198.51.100.20"), "{described}");
    assert!(!described.contains(&format!("02:00:00:00:00:{:02x} claims", trio.hosts[peer].number)), "{described}");
}
