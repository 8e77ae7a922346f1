//! The gate's programs beside a model of them in a few lines, on frames of every kind.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use vipkeeper::clock;
use vipkeeper::gate::{Bpf, Direction, Entry, State};

use crate::support::bpffs::Bpffs;
use crate::support::netns::Netns;

/// A frame as far as the gate looks at it.
#[derive(Debug, Clone)]
enum Kind {
    Arp { sender: Ipv4Addr, target: Ipv4Addr },
    Ipv4 { source: Ipv4Addr, destination: Ipv4Addr },
    Solicitation { source: Ipv6Addr, target: Ipv6Addr },
    Advertisement { source: Ipv6Addr, target: Ipv6Addr },
    Ipv6 { source: Ipv6Addr, destination: Ipv6Addr, next: u8, icmp: u8 },
    Other { ether_type: u16 },
}

impl Kind {
    fn frame(&self, length: usize) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
        let mut v6 = |source: &Ipv6Addr, destination: &Ipv6Addr, next: u8, body: &[u8]| {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, u8::try_from(body.len()).unwrap(), next, 255]);
            frame.extend(source.octets());
            frame.extend(destination.octets());
            frame.extend(body);
        };
        let nd = |kind: u8, target: &Ipv6Addr| [&[kind, 0, 0, 0, 0, 0, 0, 0][..], &target.octets()].concat();
        let all: Ipv6Addr = "ff02::1".parse().unwrap();
        match self {
            Self::Arp { sender, target } => {
                frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 2]);
                frame.extend(sender.octets());
                frame.extend([0; 6]);
                frame.extend(target.octets());
            }
            Self::Ipv4 { source, destination } => {
                frame.extend([8, 0, 0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0]);
                frame.extend(source.octets());
                frame.extend(destination.octets());
                frame.extend([0; 8]);
            }
            Self::Solicitation { source, target } => v6(source, &all, 58, &nd(135, target)),
            Self::Advertisement { source, target } => v6(source, &all, 58, &nd(136, target)),
            Self::Ipv6 { source, destination, next, icmp } => v6(source, destination, *next, &nd(*icmp, &all)),
            Self::Other { ether_type } => frame.extend(ether_type.to_be_bytes()),
        }
        frame.resize(length.max(14), 0);
        frame
    }

    /// The address that counts, and whether only hard ones count.
    fn address(&self, direction: Direction) -> Option<(IpAddr, bool)> {
        let ingress = direction == Direction::Ingress;
        match *self {
            Self::Arp { sender, target } => Some((if ingress { target } else { sender }.into(), false)),
            Self::Ipv4 { source, destination } => Some((if ingress { destination } else { source }.into(), true)),
            Self::Solicitation { source, target } => Some((if ingress { target } else { source }.into(), false)),
            Self::Advertisement { target, .. } if !ingress => Some((target.into(), false)),
            Self::Advertisement { .. } => Some(("ff02::1".parse().unwrap(), true)),
            Self::Ipv6 { source, destination, .. } => Some((if ingress { destination } else { source }.into(), true)),
            Self::Other { .. } => None,
        }
    }
}

/// What the gate should say.
fn model(kind: &Kind, direction: Direction, entry: Option<(IpAddr, Entry)>, open: bool) -> bool {
    let (Some((ip, only_hard)), Some((gated, entry))) = (kind.address(direction), entry) else { return true };
    if ip != gated || (only_hard && !entry.hard) {
        return true;
    }
    let state = if only_hard { entry.state != State::Shut } else { entry.state == State::Claim };
    state && open
}

fn v4() -> impl Strategy<Value = Ipv4Addr> {
    (20..23u8).prop_map(|last| Ipv4Addr::new(198, 51, 100, last))
}

fn v6() -> impl Strategy<Value = Ipv6Addr> {
    (20..23u16).prop_map(|last| Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, last))
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        (v4(), v4()).prop_map(|(sender, target)| Kind::Arp { sender, target }),
        (v4(), v4()).prop_map(|(source, destination)| Kind::Ipv4 { source, destination }),
        (v6(), v6()).prop_map(|(source, target)| Kind::Solicitation { source, target }),
        (v6(), v6()).prop_map(|(source, target)| Kind::Advertisement { source, target }),
        (v6(), v6(), prop_oneof![Just(17u8), Just(58)], prop_oneof![0..135u8, 137..255u8])
            .prop_map(|(source, destination, next, icmp)| Kind::Ipv6 { source, destination, next, icmp }),
        any::<u16>()
            .prop_filter("a type of its own", |kind| ![0x0806, 0x0800, 0x86dd].contains(kind))
            .prop_map(|ether_type| Kind::Other { ether_type }),
    ]
}

fn entry() -> impl Strategy<Value = Option<(IpAddr, Entry)>> {
    let ip = prop_oneof![v4().prop_map(IpAddr::from), v6().prop_map(IpAddr::from)];
    let state = prop_oneof![Just(State::Shut), Just(State::Accept), Just(State::Claim)];
    proptest::option::weighted(
        0.9,
        (ip, 1..=511u16, state, any::<bool>())
            .prop_map(|(ip, segment, state, hard)| (ip, Entry { segment, state, hard })),
    )
}

#[test]
fn the_programs_say_what_the_model_says() {
    let (netns, bpffs) = (Netns::new("verdicts"), Bpffs::new());
    netns.run(|| {
        let gate = std::cell::RefCell::new(Bpf::open(bpffs.path()).unwrap());
        let direction = prop_oneof![Just(Direction::Ingress), Just(Direction::Egress)];
        let mut runner = TestRunner::new(Config { cases: 20_000, failure_persistence: None, ..Config::default() });
        runner
            .run(&(kind(), direction, entry(), any::<Option<bool>>()), |(kind, direction, entry, open)| {
                let mut gate = gate.borrow_mut();
                if let Some((ip, entry)) = entry {
                    gate.set(ip, entry).unwrap();
                    let hour = Duration::from_secs(3600);
                    gate.deadlines().set(
                        entry.segment,
                        open.map(
                            |open| if open { clock::now() + hour } else { clock::now() - Duration::from_millis(1) },
                        ),
                    );
                }
                let frame = kind.frame(100);
                let wanted = model(&kind, direction, entry, open != Some(false));
                let passes = gate.passes(direction, &frame).unwrap();
                if let Some((ip, _)) = entry {
                    gate.remove(ip).unwrap();
                }
                prop_assert_eq!(passes, wanted, "{:?} {:?} {:?} {:?}", kind, direction, entry, open);
                Ok(())
            })
            .unwrap();
    });
}

#[test]
fn a_frame_that_is_cut_off_passes_and_does_no_harm() {
    let (netns, bpffs) = (Netns::new("short"), Bpffs::new());
    netns.run(|| {
        let mut gate = Bpf::open(bpffs.path()).unwrap();
        let ip = Ipv4Addr::new(198, 51, 100, 20);
        gate.set(ip.into(), Entry { segment: 1, state: State::Shut, hard: true }).unwrap();
        let ip6 = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 20);
        gate.set(ip6.into(), Entry { segment: 1, state: State::Shut, hard: true }).unwrap();
        // Up to which octet the address that counts stands: as the one asked for, as the one spoken for.
        let kinds = [
            (Kind::Arp { sender: ip, target: ip }, 42, 32),
            (Kind::Ipv4 { source: ip, destination: ip }, 34, 30),
            (Kind::Ipv6 { source: ip6, destination: ip6, next: 17, icmp: 0 }, 54, 38),
        ];
        let mut short = 0;
        for (kind, asked, spoken) in kinds {
            for (direction, whole) in [(Direction::Ingress, asked), (Direction::Egress, spoken)] {
                // The kernel takes no frames for a trial that have hardly more than an Ethernet header.
                for length in 14..100 {
                    if let Ok(passes) = gate.passes(direction, &kind.frame(100)[..length]) {
                        assert_eq!(passes, length < whole, "{kind:?} {direction:?} of {length} octets");
                        short += u32::from(passes);
                    }
                }
                assert!(!gate.passes(direction, &kind.frame(100)).unwrap());
            }
        }
        assert!(short > 20, "{short} frames were short");
    });
}
