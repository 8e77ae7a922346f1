use std::time::Duration;

use crate::client::Pings;
use crate::support::capture::{Capture, Frame};
use crate::support::segment::{INTERFACE, mac_text};
use crate::support::wait_until;
use crate::trio::{NAMES, SOON, Trio, VIP};

/// Whether a frame is the answer to a ping (ICMP type 0, RFC 792) from the VIP by the host with this Ethernet address.
fn is_answer(frame: &Frame, mac: [u8; 6]) -> bool {
    let std::net::IpAddr::V4(vip) = VIP.parse().unwrap() else { unreachable!("the VIP is IPv4") };
    let ip = frame.bytes.get(12..14) == Some(&[0x08, 0x00]) && frame.bytes.get(23) == Some(&1);
    ip && frame.source() == mac && frame.bytes.get(26..30) == Some(&vip.octets()) && frame.bytes.get(34) == Some(&0)
}

/// Cordons the holder while a client goes on to send to it alone, and returns for how long it answered after its successor
/// first claimed the address.
fn served_after_the_claim(spec: &str) -> Duration {
    let trio = Trio::with(spec, [&[], &[], &[]]);
    let holder = trio.wait_holder();
    let number = trio.hosts[holder].number;
    trio.client.netns.ip(&format!("neigh replace {VIP} lladdr {} dev {INTERFACE} nud permanent", mac_text(number)));
    let observer = trio.observe();
    let capture = Capture::start(&trio.client.netns, INTERFACE);
    let _pings = Pings::start(&trio.client, 100_000);
    trio.ask(&["node", "cordon", NAMES[holder]]);
    trio.wait_other_holder(holder);
    wait_until(SOON, "the former holder to let go", || !trio.hosts[holder].has_address(VIP));
    trio.settle();
    let claimed = observer.first(trio.holder().unwrap());
    let seen = observer.end();
    assert_eq!(seen.overlap, Duration::ZERO);
    assert_eq!(capture.dropped(), 0);
    let mac = trio.hosts[holder].mac();
    let last = capture.frames().iter().filter(|frame| is_answer(frame, mac)).map(|frame| frame.at).max().unwrap();
    last.saturating_sub(claimed)
}

#[test]
fn a_former_holder_serves_until_everybody_knows_the_new_one() {
    let served = served_after_the_claim("");
    eprintln!("the former holder served for {served:?} after the claim of its successor");
    // The drain time is 2 s.
    assert!(served > Duration::from_secs(1), "{served:?}");
}

#[test]
fn what_one_node_alone_may_take_is_never_taken_by_two() {
    let served = served_after_the_claim("  exclusive: true\n");
    eprintln!("the former holder served for {served:?} after the claim of its successor");
    // Answers that were under way when the gate shut.
    assert!(served < Duration::from_millis(50), "{served:?}");
}
