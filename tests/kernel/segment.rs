//! The test bench itself: what it promises to the other tests.

use std::time::Duration;

use crate::support::capture::{Capture, Claim};
use crate::support::netns::Netns;
use crate::support::segment::{INTERFACE, Segment};
use crate::support::wait_until;

#[test]
fn hosts_reach_each_other_and_a_capture_reads_the_wire() {
    let segment = Segment::new();
    let (one, two) = (segment.host("one", 1), segment.host("two", 2));
    let capture = Capture::start(&two.netns, INTERFACE);
    let ping = one.netns.command("ping").args(["-c", "1", "-W", "2", "198.51.100.2"]).output().unwrap();
    assert!(ping.status.success(), "{}", String::from_utf8_lossy(&ping.stdout));
    let request = capture.wait(Duration::from_secs(2), "an ARP request", |frame| frame.speaks_as(one.ipv4().into()));
    assert_eq!(request.source(), one.mac());
    assert!(!request.outgoing);
    assert!(
        matches!(request.claim(), Some(Claim::Arp { operation: 1, target, .. }) if target == two.ipv4()),
        "{:?}",
        request.claim()
    );
    let reply = capture.wait(Duration::from_secs(2), "its answer", |frame| frame.speaks_as(two.ipv4().into()));
    assert!(reply.outgoing && reply.at > request.at);
}

#[test]
fn a_cut_cable_takes_the_carrier() {
    let segment = Segment::new();
    let host = segment.host("cut", 1);
    segment.cut(&host);
    wait_until(Duration::from_secs(5), "the carrier to go", || {
        host.netns.ip(&format!("link show {INTERFACE}")).contains("NO-CARRIER")
    });
    segment.restore(&host);
    wait_until(Duration::from_secs(5), "the carrier to come back", || {
        host.netns.ip(&format!("link show {INTERFACE}")).contains("LOWER_UP")
    });
}

#[test]
fn a_namespace_goes_with_the_test_even_after_a_panic() {
    let path = std::panic::catch_unwind(|| {
        let netns = Netns::new("panic");
        std::panic::resume_unwind(Box::new(netns.path()));
    })
    .unwrap_err()
    .downcast::<std::path::PathBuf>()
    .unwrap();
    assert!(!path.exists(), "{}", path.display());
}
