use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn key(id: u8) -> Key {
    Key::new(id, &[id.wrapping_add(1); 32]).unwrap()
}

fn keys() -> Keys {
    Keys::new(key(7), None)
}

fn body() -> impl Strategy<Value = Body> {
    let verdict = prop_oneof![Just(Verdict::Heard), Just(Verdict::Acknowledged), Just(Verdict::Over)];
    prop_oneof![
        any::<(u64, u64, bool)>().prop_map(|(sent, age, shut)| Body::Heartbeat { sent, age, shut }),
        (any::<(u64, u64, u64)>(), verdict).prop_map(|((boot, epoch, sent), verdict)| Body::Answer {
            boot,
            epoch,
            sent,
            verdict
        }),
        any::<(u64, u64, bool)>().prop_map(|(node, epoch, fenced)| Body::Ask { node, epoch, fenced }),
        any::<(u64, u64, u64, u64, bool, bool, bool)>().prop_map(|(node, epoch, echo, age, suspects, fenced, shut)| {
            Body::Report { node, epoch, echo, age, suspects, fenced, shut }
        }),
        any::<u64>().prop_map(|vip| Body::Released { vip }),
    ]
}

prop_compose! {
    fn packet()(
        (segment, node, boot) in any::<(u32, u64, u64)>(),
        (epoch, sequence, version) in any::<(u64, u64, u64)>(),
        body in body(),
    ) -> Packet {
        Packet { segment, node, boot, epoch, sequence, version, body }
    }
}

fn example() -> Packet {
    let body = Body::Heartbeat { sent: 0x0a0b, age: 0x0c, shut: true };
    Packet { segment: 0x0102_0304, node: 5, boot: 6, epoch: 7, sequence: 8, version: 9, body }
}

#[test]
fn the_octets_stand_where_the_figure_has_them() {
    let bytes = example().to_bytes(&keys());
    assert_eq!(bytes[..8], [1, 1, 7, 1, 1, 2, 3, 4]);
    for (slot, value) in [5, 6, 7, 8, 9, 0x0a0b, 0x0c, 0, 0_u64].into_iter().enumerate() {
        assert_eq!(bytes[8 + 8 * slot..16 + 8 * slot], value.to_be_bytes(), "slot {slot}");
    }
}

#[test]
fn names_hash_as_fnv_1a_does() {
    assert_eq!(id(""), 0xcbf2_9ce4_8422_2325);
    assert_eq!(id("a"), 0xaf63_dc4c_8601_ec8c);
    assert_eq!(id("foobar"), 0x8594_4171_f739_67e8);
}

#[test]
fn a_short_key_is_none() {
    assert!(Key::new(0, &[0; 15]).is_none());
}

#[test]
fn a_second_key_is_believed_and_a_third_is_not() {
    let bytes = example().to_bytes(&Keys::new(key(1), None));
    assert_eq!(Packet::read(&bytes, &Keys::new(key(2), Some(key(1)))), Ok(example()));
    assert_eq!(Packet::read(&bytes, &Keys::new(key(2), Some(key(3)))), Err(HeartbeatError::Key(1)));
    let other = Keys::new(Key::new(1, &[9; 32]).unwrap(), None);
    assert_eq!(Packet::read(&bytes, &other), Err(HeartbeatError::Forged));
}

#[test]
fn an_authentic_packet_of_an_unknown_kind_is_an_error() {
    for (kind, flags) in [(0, 0), (6, 0), (HEARTBEAT, 2), (ANSWER, 3), (ASK, 1), (REPORT, 8), (RELEASED, 1)] {
        let mut bytes = example().to_bytes(&keys());
        (bytes[1], bytes[3]) = (kind, flags);
        let tag = keys().tag(&bytes[..TAG]);
        bytes[TAG..].copy_from_slice(&tag);
        assert_eq!(Packet::read(&bytes, &keys()), Err(HeartbeatError::Kind { kind, flags }));
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(packet in packet()) {
        prop_assert_eq!(Packet::read(&packet.to_bytes(&keys()), &keys()), Ok(packet));
    }

    #[test]
    fn any_changed_bit_and_any_other_length_is_refused(packet in packet(), bit in 0..LEN * 8, len in 0..LEN) {
        let mut bytes = packet.to_bytes(&keys());
        prop_assert_eq!(Packet::read(&bytes[..len], &keys()), Err(HeartbeatError::Length(len)));
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(Packet::read(&bytes, &keys()).is_err());
    }

    #[test]
    fn hostile_octets_are_an_error_and_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Packet::read(&bytes, &keys()).is_err());
    }

    /// Against a set of all that was accepted: nothing twice, and everything within 64 of the newest once.
    #[test]
    fn a_window_takes_each_number_once(steps in prop::collection::vec((any::<bool>(), 0_u64..100), 1..200)) {
        let (mut window, mut taken, mut newest) = (Window::default(), BTreeSet::new(), 1_000_000_u64);
        for (ahead, distance) in steps {
            let number = if ahead { newest + distance } else { newest - distance };
            let fresh = taken.is_empty() || number > newest || (newest - number < 64 && !taken.contains(&number));
            prop_assert_eq!(window.accept(number), fresh);
            if fresh {
                taken.insert(number);
                newest = if taken.len() == 1 { number } else { newest.max(number) };
            }
        }
    }
}
