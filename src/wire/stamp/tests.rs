use proptest::prelude::*;

use super::time::Format;
use super::*;

fn request() -> Request {
    Request {
        seq: 0x0102_0304,
        timestamp: Timestamp(0x1112_1314_1516_1718),
        error: ErrorEstimate(0x8122),
        ssid: 0x3334,
    }
}

fn reply() -> Reply {
    Reply {
        seq: 0x4142_4344,
        timestamp: Timestamp(0x5152_5354_5556_5758),
        error: ErrorEstimate(0x6162),
        ssid: 0x3334,
        received: Timestamp(0x7172_7374_7576_7778),
        sender_seq: 0x0102_0304,
        sender_timestamp: Timestamp(0x1112_1314_1516_1718),
        sender_error: ErrorEstimate(0x8122),
        sender_ttl: 0x40,
    }
}

fn key() -> Key {
    Key::new(b"0123456789abcdef0123456789abcdef").unwrap()
}

/// RFC 8762 figure 2 with the SSID of RFC 8972 figure 1.
#[test]
fn an_open_request_is_the_figure_octet_by_octet() {
    let mut bytes = [0xff; LEN];
    request().write(&mut bytes, None).unwrap();
    let mut figure = vec![1, 2, 3, 4, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x81, 0x22, 0x33, 0x34];
    figure.extend([0; 28]);
    assert_eq!(bytes[..], figure);
}

/// RFC 8762 figure 5 with the SSID of RFC 8972 figure 2.
#[test]
fn an_open_reply_is_the_figure_octet_by_octet() {
    let mut bytes = [0xff; LEN];
    reply().write(&mut bytes, None).unwrap();
    let mut figure = vec![0x41, 0x42, 0x43, 0x44, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x61, 0x62];
    figure.extend([0x33, 0x34]);
    figure.extend([0x71, 0x72, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78]);
    figure.extend([1, 2, 3, 4, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x81, 0x22, 0, 0]);
    figure.extend([0x40, 0, 0, 0]);
    assert_eq!(bytes[..], figure);
}

/// RFC 8762 figure 3: sequence, 12 octets zero, timestamp, error estimate and SSID, 68 octets zero, HMAC.
#[test]
fn an_authenticated_request_is_the_figure_octet_by_octet() {
    let mut bytes = [0xff; AUTH_LEN];
    request().write(&mut bytes, Some(&key())).unwrap();
    let mut figure = vec![1, 2, 3, 4];
    figure.extend([0; 12]);
    figure.extend([0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x81, 0x22, 0x33, 0x34]);
    figure.extend([0; 68]);
    assert_eq!(bytes[..96], figure);
    assert_eq!(bytes[96..], hmac(&figure)[..16]);
}

/// RFC 8762 figure 6: blocks of 16 octets, filled up with zeros.
#[test]
fn an_authenticated_reply_is_the_figure_octet_by_octet() {
    let mut bytes = [0xff; AUTH_LEN];
    reply().write(&mut bytes, Some(&key())).unwrap();
    let mut figure = vec![0x41, 0x42, 0x43, 0x44];
    figure.extend([0; 12]);
    figure.extend([0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x61, 0x62, 0x33, 0x34, 0, 0, 0, 0]);
    figure.extend([0x71, 0x72, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78]);
    figure.extend([0; 8]);
    figure.extend([1, 2, 3, 4]);
    figure.extend([0; 12]);
    figure.extend([0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x81, 0x22]);
    figure.extend([0; 6]);
    figure.push(0x40);
    figure.extend([0; 15]);
    assert_eq!(bytes[..96], figure);
    assert_eq!(bytes[96..], hmac(&figure)[..16]);
}

/// HMAC-SHA-256 with the test key, by its definition (RFC 2104) rather than by the crate that the codec uses.
fn hmac(text: &[u8]) -> Vec<u8> {
    use sha2::Digest;
    let mut block = b"0123456789abcdef0123456789abcdef".to_vec();
    block.resize(64, 0);
    let pad = |with: u8| block.iter().map(|octet| octet ^ with).collect::<Vec<_>>();
    let inner = Sha256::digest([pad(0x36), text.to_vec()].concat());
    Sha256::digest([pad(0x5c), inner.to_vec()].concat()).to_vec()
}

#[test]
fn requests_and_replies_are_told_apart() {
    for key in [None, Some(key())] {
        let key = key.as_ref();
        let mut bytes = [0; AUTH_LEN];
        request().write(&mut bytes, key).unwrap();
        assert_eq!(Request::read(&bytes, key), Ok(request()));
        assert_eq!(Reply::read(&bytes, key), Err(StampError::Request));
        reply().write(&mut bytes, key).unwrap();
        assert_eq!(Reply::read(&bytes, key), Ok(reply()));
        assert_eq!(Request::read(&bytes, key), Err(StampError::Reply));
    }
}

#[test]
fn a_reflector_without_the_key_takes_an_authenticated_request_for_a_reply() {
    let mut bytes = [0; AUTH_LEN];
    request().write(&mut bytes, Some(&key())).unwrap();
    assert_eq!(Request::read(&bytes, None), Err(StampError::Reply));
}

#[test]
fn a_changed_octet_or_another_key_is_a_forgery() {
    let mut good = [0; AUTH_LEN];
    request().write(&mut good, Some(&key())).unwrap();
    for at in 0..AUTH_LEN {
        let mut bytes = good;
        bytes[at] ^= 1;
        assert_eq!(Request::read(&bytes, Some(&key())), Err(StampError::Forged), "octet {at}");
    }
    assert_eq!(Request::read(&good, Key::new(b"other").as_ref()), Err(StampError::Forged));
}

#[test]
fn authenticated_tlvs_are_believed_only_with_their_hmac() {
    let mut bytes = [0; AUTH_LEN + 60];
    write_request(&mut bytes, &request(), Some(&key())).unwrap();
    let area = &mut bytes[AUTH_LEN..];
    assert!(tlvs_fit(area, request().seq, &key()));
    assert!(!tlvs_fit(area, request().seq + 1, &key()));
    tlv::reflect(area, tlv::Responder { name: "node", stateful: true });
    assert!(!tlvs_fit(area, 9, &key()));
    seal_tlvs(area, 9, &key());
    assert!(tlvs_fit(area, 9, &key()));
    assert_eq!(tlv::responder(area).unwrap().name, "node");
    assert!(tlvs_fit(&[], 9, &key()));
    assert!(!tlvs_fit(&[0, 1, 0, 0], 9, &key()), "TLVs without an HMAC");
}

#[test]
fn what_an_icmp_error_quotes_names_the_probe() {
    let mut bytes = [0; AUTH_LEN];
    request().write(&mut bytes, None).unwrap();
    assert_eq!(Request::peek(&bytes[..16], false), Some((0x0102_0304, 0x3334)));
    assert_eq!(Request::peek(&bytes[..15], false), None);
    request().write(&mut bytes, Some(&key())).unwrap();
    assert_eq!(Request::peek(&bytes[..28], true), Some((0x0102_0304, 0x3334)));
}

proptest! {
    #[test]
    fn a_request_survives_the_wire(seq: u32, timestamp: u64, error: u16, ssid: u16, authenticated: bool, extra in 0usize..200) {
        let key = authenticated.then(key);
        let packet = Request { seq, timestamp: Timestamp(timestamp), error: ErrorEstimate(error), ssid };
        let mut bytes = vec![0xaa; base_len(key.as_ref()) + extra];
        write_request(&mut bytes, &packet, key.as_ref()).unwrap();
        prop_assert_eq!(Request::read(&bytes, key.as_ref()), Ok(packet));
    }

    #[test]
    fn a_reply_survives_the_wire(
        seq: u32, timestamp: u64, error: u16, ssid: u16, received in 1u64..,
        sender_seq: u32, sender_timestamp: u64, sender_error: u16, sender_ttl: u8, authenticated: bool,
    ) {
        let key = authenticated.then(key);
        let packet = Reply {
            seq, timestamp: Timestamp(timestamp), error: ErrorEstimate(error), ssid, received: Timestamp(received),
            sender_seq, sender_timestamp: Timestamp(sender_timestamp), sender_error: ErrorEstimate(sender_error), sender_ttl,
        };
        let mut bytes = [0; AUTH_LEN];
        packet.write(&mut bytes, key.as_ref()).unwrap();
        prop_assert_eq!(Reply::read(&bytes, key.as_ref()), Ok(packet));
    }

    #[test]
    fn any_octets_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        for key in [None, Some(key())] {
            let read = Request::read(&bytes, key.as_ref()).is_ok();
            prop_assert!(!read || bytes.len() >= base_len(key.as_ref()));
            if let Ok(reply) = Reply::read(&bytes, key.as_ref()) {
                let _ = reply.timestamp.to_unix(reply.error.format());
            }
            let _ = tlvs_fit(&bytes, 1, &self::key());
        }
        let _ = (Request::peek(&bytes, true), Request::peek(&bytes, false));
    }

    #[test]
    fn no_room_is_an_error_and_no_panic(len in 0usize..AUTH_LEN) {
        let mut bytes = vec![0; len];
        prop_assert_eq!(request().write(&mut bytes, Some(&key())), Err(StampError::Short(len, AUTH_LEN)));
        let _ = write_request(&mut bytes, &request(), None);
    }
}

#[test]
fn the_format_of_a_timestamp_follows_its_error_estimate() {
    assert_eq!(ErrorEstimate::unsynchronised(Format::Ptp).format(), Format::Ptp);
}
