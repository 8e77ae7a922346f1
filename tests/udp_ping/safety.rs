//! What must not hurt a reflector, nor turn it against others.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::common::{
    METRICS, PORT, ask, get, original, pair, reflector, results, send_forged, series, socket, stamp_request,
    wait_results,
};
use crate::support::segment::Segment;

#[test]
fn a_packet_from_port_0_stops_nothing() {
    let (_segment, one, two) = pair();
    let mut reflector = reflector(&two.netns, &[]);
    let (from, to) = ((one.ipv4(), 0), (two.ipv4(), PORT));
    send_forged(&one.netns, from, to, &original(1, 1));
    send_forged(&one.netns, from, to, &stamp_request(1, 1, 1, 1));
    wait_results(&two.netns, "bad_port", 2.0);
    assert!(reflector.is_running());
    let socket = socket(&one.netns, "0.0.0.0:0");
    assert!(ask(&socket, (two.ipv4(), PORT), &original(1, 1)).is_some());
}

#[test]
fn one_forged_packet_between_two_reflectors_does_not_go_round() {
    // Both formats, on the well-known port and on ports of which neither knows that the other is a reflector.
    for (first, second) in [(PORT, PORT), (40_000, 40_001)] {
        let segment = Segment::new();
        let (attacker, one, two) = (segment.host("attacker", 1), segment.host("one", 2), segment.host("two", 3));
        let _one = reflector(&one.netns, &["--bind", &format!("[::]:{first}")]);
        let _two = reflector(&two.netns, &["--bind", &format!("[::]:{second}")]);
        for payload in [original(1, 1), stamp_request(1, 1, 1, 1)] {
            send_forged(&attacker.netns, (two.ipv4(), second), (one.ipv4(), first), &payload);
        }
        let stopped = if first == PORT { "bad_port" } else { "looped" };
        let (end_of_legacy, end_of_stamp) = if first == PORT { (&one, &one) } else { (&one, &two) };
        let wanted = if first == PORT { 2.0 } else { 1.0 };
        wait_results(&end_of_legacy.netns, stopped, wanted);
        wait_results(&end_of_stamp.netns, stopped, wanted);
        // Whatever still went round would be counted by now: a round takes microseconds.
        std::thread::sleep(Duration::from_millis(100));
        let total = |host: &crate::support::segment::Host| {
            let text = get(&host.netns, METRICS, "/metrics");
            text.lines()
                .filter(|line| line.starts_with("vipkeeper_reflector_packets_total"))
                .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
                .sum::<f64>()
        };
        let seen = total(&one) + total(&two);
        assert!(seen <= 5.0, "{seen} packets came in for 2 that were forged");
    }
}

#[test]
fn a_reply_is_never_answered_and_neither_is_multicast_or_broadcast() {
    let (_segment, one, two) = pair();
    // An IPv6 socket gets no IPv4 multicast at all (IP_MULTICAST_ALL is off for it), an IPv4 one does.
    let _reflector = reflector(&two.netns, &["--bind", "0.0.0.0:32767", "--workers", "1"]);
    let socket = socket(&one.netns, "0.0.0.0:0");
    socket.set_broadcast(true).unwrap();
    let (reply, _) = ask(&socket, (two.ipv4(), PORT), &stamp_request(1, 1, 1, 1)).unwrap();
    socket.send_to(&reply, (two.ipv4(), PORT)).unwrap();
    wait_results(&two.netns, "looped", 1.0);
    for to in [Ipv4Addr::new(198, 51, 100, 255), Ipv4Addr::new(224, 0, 0, 1), Ipv4Addr::BROADCAST] {
        if to.is_multicast() || to.is_broadcast() {
            one.netns.ip(&format!("route add {to}/32 dev eth0"));
        }
        let before = results(&two.netns, "bad_address");
        socket.send_to(&original(9, i64::from(to.octets()[3])), (to, PORT)).unwrap();
        wait_results(&two.netns, "bad_address", before + 1.0);
    }
    send_forged(&one.netns, (Ipv4Addr::new(224, 0, 0, 9), 5_000), (two.ipv4(), PORT), &original(3, 3));
    assert_eq!((results(&two.netns, "answered"), results(&two.netns, "answered_legacy")), (1.0, 0.0));
}

#[test]
fn an_answer_is_never_longer_than_the_probe_and_carries_none_of_its_text() {
    let (_segment, one, two) = pair();
    let _reflector = reflector(&two.netns, &["--node", "a-node-with-quite-a-long-name"]);
    let socket = socket(&one.netns, "0.0.0.0:0");
    for extra in [0, 1, 4, 19, 24, 100, 1_400] {
        let probe = [stamp_request(1, 1, 1, 1), b"secret".repeat(300)[..extra].to_vec()].concat();
        let (answer, _) = ask(&socket, (two.ipv4(), PORT), &probe).unwrap();
        assert_eq!(answer.len(), probe.len());
        // At most a type and a length may be left of what follows the packet.
        assert!(!String::from_utf8_lossy(&answer[44..]).contains("retse"), "{answer:?}");
    }
    for len in [0, 1, 8, 10, 43] {
        socket.send_to(&vec![0; len], (two.ipv4(), PORT)).unwrap();
    }
    wait_results(&two.netns, "malformed", 5.0);
}

#[test]
fn a_source_that_asks_too_much_is_held_back_and_others_are_not() {
    let segment = Segment::new();
    let (loud, quiet, two) = (segment.host("loud", 1), segment.host("quiet", 3), segment.host("answers", 2));
    let _reflector = reflector(&two.netns, &["--workers", "1", "--rate", "1", "--burst", "20"]);
    let flood = socket(&loud.netns, "0.0.0.0:0");
    for n in 0..200 {
        flood.send_to(&original(n, 1), (two.ipv4(), PORT)).unwrap();
    }
    wait_results(&two.netns, "rate_limited", 150.0);
    let calm = socket(&quiet.netns, "0.0.0.0:0");
    assert!(ask(&calm, (two.ipv4(), PORT), &original(1, 1)).is_some());
    let text = get(&two.netns, METRICS, "/metrics");
    let answered = series(&text, "vipkeeper_reflector_packets_total{result=\"answered_legacy\"}").unwrap();
    assert!((20.0..40.0).contains(&answered), "{answered}");
}
