//! What the reflector answers, octet by octet.

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::common::{PORT, SOON, ask, get, original, pair, reflector, results, socket, stamp_request, wait_results};
use crate::support::netns::run;
use crate::support::require;

/// Seconds from 1900 to 1970 (RFC 5905 section 6).
const NTP: u64 = 2_208_988_800;

fn ntp_now() -> u64 {
    (SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + NTP) << 32
}

fn at<const N: usize>(bytes: &[u8], place: usize) -> [u8; N] {
    bytes[place..place + N].try_into().unwrap()
}

#[test]
fn the_original_clients_probe_comes_back_unchanged() {
    let (_segment, one, two) = pair();
    let _reflector = reflector(&two.netns, &[]);
    for (bind, to) in
        [("0.0.0.0:0", SocketAddr::from((two.ipv4(), PORT))), ("[::]:0", SocketAddr::from((two.ipv6(), PORT)))]
    {
        let socket = socket(&one.netns, bind);
        for seq in [0, 1, 254, 255] {
            let probe = original(seq, 1_700_000_000_000 + i64::from(seq));
            assert_eq!(ask(&socket, to, &probe), Some((probe, to)));
        }
    }
}

#[test]
fn a_stamp_reply_has_the_octets_of_rfc_8762_figure_5() {
    let (_segment, one, two) = pair();
    let _reflector = reflector(&two.netns, &[]);
    for (bind, to) in
        [("0.0.0.0:0", SocketAddr::from((two.ipv4(), PORT))), ("[::]:0", SocketAddr::from((two.ipv6(), PORT)))]
    {
        let socket = socket(&one.netns, bind);
        let sent = ntp_now();
        let request = stamp_request(41, sent, 0x8001, 0x1234);
        let (reply, from) = ask(&socket, to, &request).unwrap();
        assert_eq!((reply.len(), from), (44, to));
        assert_eq!(u32::from_be_bytes(at(&reply, 0)), 0, "the reflector's own number");
        let left = u64::from_be_bytes(at(&reply, 4));
        let error = u16::from_be_bytes(at(&reply, 12));
        assert_eq!((error & 0x4000, error & 0xff != 0), (0, true), "NTP format, and a multiplier that is not zero");
        assert_eq!(at(&reply, 14), [0x12, 0x34], "the session identifier");
        let received = u64::from_be_bytes(at(&reply, 16));
        assert!(sent <= received && received <= left && left - sent < 10 << 32, "{sent:x} {received:x} {left:x}");
        assert_eq!(reply[24..38], request[0..14], "the sender's number, timestamp and error estimate");
        assert_eq!(at(&reply, 38), [0, 0]);
        assert_eq!(reply[40..44], [64, 0, 0, 0], "the sender's time to live");
        // The second reply of the session has the next number; another session begins with 0.
        let (second, _) = ask(&socket, to, &stamp_request(99, sent, 0x8001, 0x1234)).unwrap();
        assert_eq!((u32::from_be_bytes(at(&second, 0)), u32::from_be_bytes(at(&second, 24))), (1, 99));
        let (other, _) = ask(&socket, to, &stamp_request(99, sent, 0x8001, 0x1235)).unwrap();
        assert_eq!(u32::from_be_bytes(at(&other, 0)), 0);
    }
}

#[test]
fn a_stateless_reflector_repeats_the_number_and_the_clock_format_is_the_senders() {
    let (_segment, one, two) = pair();
    let _reflector = reflector(&two.netns, &["--stateless"]);
    let socket = socket(&one.netns, "0.0.0.0:0");
    let (reply, _) = ask(&socket, (two.ipv4(), PORT), &stamp_request(77, 5 << 32, 0x4001, 0)).unwrap();
    assert_eq!(u32::from_be_bytes(at(&reply, 0)), 77);
    assert_eq!(u16::from_be_bytes(at(&reply, 12)) & 0x4000, 0x4000, "PTP format");
    let seconds = u64::from(u32::from_be_bytes(at(&reply, 4)));
    assert!(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().abs_diff(seconds) < 10);
    assert!(u32::from_be_bytes(at(&reply, 8)) < 1_000_000_000);
}

#[test]
fn a_reply_leaves_from_the_address_that_was_asked_in_the_class_of_the_request() {
    let (_segment, one, two) = pair();
    two.netns.ip("addr add 198.51.100.20/32 dev eth0");
    two.netns.ip("addr add 2001:db8:1::20/128 dev eth0 nodad preferred_lft 0");
    let _reflector = reflector(&two.netns, &[]);
    let capture = crate::support::capture::Capture::start(&one.netns, "eth0");
    for (bind, to) in [("0.0.0.0:0", "198.51.100.20:32767"), ("[::]:0", "[2001:db8:1::20]:32767")] {
        let to: SocketAddr = to.parse().unwrap();
        let socket = socket(&one.netns, bind);
        let dscp = socket2::SockRef::from(&socket);
        if to.is_ipv4() {
            dscp.set_tos_v4(0xb8).unwrap()
        } else {
            dscp.set_tclass_v6(0xb8).unwrap()
        }
        let (_, from) = ask(&socket, to, &stamp_request(0, 1, 1, 1)).unwrap();
        assert_eq!(from, to);
        capture.wait(SOON, "a reply with the request's traffic class", |frame| {
            let ip = &frame.bytes[14..];
            let tos = if ip[0] >> 4 == 4 { ip[1] } else { ip[0] << 4 | ip[1] >> 4 };
            let udp = if ip[0] >> 4 == 4 { (ip[9] == 17).then_some(20) } else { (ip[6] == 17).then_some(40) };
            !frame.outgoing && tos == 0xb8 && udp.is_some_and(|udp| ip[udp..udp + 2] == PORT.to_be_bytes())
        });
    }
}

#[test]
fn with_a_key_only_who_has_it_is_answered() {
    let (_segment, one, two) = pair();
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, "a shared secret\n").unwrap();
    let _reflector = reflector(&two.netns, &["--key-file", key.to_str().unwrap()]);
    let socket = socket(&one.netns, "0.0.0.0:0");
    let hmac = |covered: &[u8], secret: &str| {
        let file = folder.path().join("covered");
        std::fs::write(&file, covered).unwrap();
        require(&["openssl"]);
        let words = ["dgst", "-sha256", "-hmac", secret, "-binary", file.to_str().unwrap()];
        let tag = std::process::Command::new("openssl").args(words).output().unwrap().stdout;
        tag[..16].to_vec()
    };
    // RFC 8762 figure 3: sequence number, 12 octets MBZ, timestamp, error estimate, session identifier, 68 octets MBZ.
    let mut request =
        [&7u32.to_be_bytes()[..], &[0; 12], &ntp_now().to_be_bytes(), &[0x80, 1, 0, 9], &[0; 68]].concat();
    assert_eq!(request.len(), 96);
    request.extend(hmac(&request[..96], "a shared secret"));
    let (reply, _) = ask(&socket, (two.ipv4(), PORT), &request).unwrap();
    assert_eq!((reply.len(), &reply[48..52]), (112, &7u32.to_be_bytes()[..]));
    assert_eq!(reply[96..], hmac(&reply[..96], "a shared secret"), "the reply's HMAC by openssl");
    request[3] ^= 1;
    socket.send_to(&request, (two.ipv4(), PORT)).unwrap();
    socket.send_to(&stamp_request(1, 1, 1, 1), (two.ipv4(), PORT)).unwrap();
    socket.send_to(&original(1, 1), (two.ipv4(), PORT)).unwrap();
    wait_results(&two.netns, "forged", 3.0);
    assert_eq!(results(&two.netns, "answered"), 1.0);
}

#[test]
fn health_and_metrics_are_there_from_the_start_and_promtool_finds_no_fault() {
    require(&["promtool"]);
    let (_segment, _one, two) = pair();
    let _reflector = reflector(&two.netns, &[]);
    assert_eq!(get(&two.netns, crate::common::METRICS, "/readyz"), "ok\n");
    let text = get(&two.netns, crate::common::METRICS, "/metrics");
    for result in ["answered", "answered_legacy", "malformed", "looped", "bad_port", "rate_limited", "forged"] {
        assert!(text.contains(&format!("vipkeeper_reflector_packets_total{{result=\"{result}\"}} 0")), "{result}");
    }
    check_metrics(&text);
}

/// Has promtool look at a metrics text.
pub fn check_metrics(text: &str) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let said = run(std::process::Command::new("sh")
        .arg("-c")
        .arg(format!("promtool check metrics < {} 2>&1 || {{ cat {0}; exit 1; }}", file.path().display())));
    assert_eq!(said, "");
}
