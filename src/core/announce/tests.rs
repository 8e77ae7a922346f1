use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use proptest::prelude::*;

use super::*;

/// A node with one link, on a clock that stops only where the announcer asks to be woken.
struct Node {
    announcer: Announcer,
    now: Time,
    sent: Vec<(Time, Frame)>,
}

impl Node {
    fn new() -> Self {
        Self { announcer: Announcer::default(), now: Time::from_millis(1_234_567), sent: Vec::new() }
    }

    fn tell(&mut self, input: Input) {
        self.announcer.handle(self.now, input);
        self.drain();
    }

    fn announce(&mut self, ip: IpAddr) {
        self.tell(Input::Announce { ip, link: 2, timing: Timing::default() });
    }

    fn drain(&mut self) {
        while let Some(Effect::Send { link, frames }) = self.announcer.poll_effect() {
            assert!(!frames.is_empty() && frames.iter().all(|frame| frame.link == link));
            self.sent.extend(frames.into_iter().map(|frame| (self.now, frame)));
        }
    }

    /// Lets time pass and returns how often the announcer woke.
    fn pass(&mut self, duration: Duration) -> u32 {
        let end = self.now + duration;
        let mut wakes = 0;
        while let Some((at, why)) = self.announcer.poll_timeout().filter(|(at, _)| *at <= end) {
            assert!(at > self.now, "it spins: {why}");
            self.now = at;
            self.announcer.handle_timeout(at);
            self.drain();
            wakes += 1;
        }
        self.now = end;
        wakes
    }

    /// When these forms of the address were sent, in milliseconds from `start`.
    fn times(&self, ip: IpAddr, start: Time, form: Form) -> Vec<u128> {
        let wanted = self.sent.iter().filter(|(_, frame)| frame.ip == ip && frame.form == form);
        wanted.map(|(at, _)| at.since(start).as_millis()).collect()
    }

    fn busiest_second(&self) -> usize {
        self.busiest(Duration::from_secs(1))
    }

    /// The most frames of any time so long.
    fn busiest(&self, time: Duration) -> usize {
        let mut first = 0;
        (0..self.sent.len())
            .map(|last| {
                while self.sent[last].0.since(self.sent[first].0) >= time {
                    first += 1;
                }
                last - first + 1
            })
            .max()
            .unwrap_or(0)
    }
}

fn v4(n: u32) -> IpAddr {
    Ipv4Addr::from(0x0a00_0000 + n).into()
}

fn v6(n: u16) -> IpAddr {
    Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, n).into()
}

const SECONDS: fn(u64) -> Duration = Duration::from_secs;

#[test]
fn another_pace_counts_from_now_and_says_nothing_at_once() {
    let mut node = Node::new();
    let ip = v4(1);
    node.announce(ip);
    node.pass(SECONDS(20));
    node.sent.clear();
    let start = node.now;
    let timing = Timing { interval: Duration::from_millis(200), burst: 6 };
    node.tell(Input::Pace { ip, timing });
    assert!(node.sent.is_empty());
    node.pass(SECONDS(1));
    let times = node.times(ip, start, Form::Announcement);
    assert!((4..=5).contains(&times.len()) && times[0] >= 200, "{times:?}");
    node.tell(Input::Pace { ip: v4(2), timing });
    node.pass(SECONDS(1));
    assert!(node.times(v4(2), start, Form::Announcement).is_empty(), "nobody announces it");
}

#[test]
fn both_forms_at_once_then_the_burst_then_each_interval() {
    let mut node = Node::new();
    let start = node.now;
    node.announce(v4(1));
    let forms: Vec<_> = node.sent.iter().map(|(_, frame)| frame.form).collect();
    assert_eq!(forms, [Form::Announcement, Form::Reply], "the request form first");
    node.pass(SECONDS(20));
    for form in [Form::Announcement, Form::Reply] {
        let times = node.times(v4(1), start, form);
        assert_eq!(times[..6], [0, 50, 200, 1000, 2000, 4000]);
        assert!((7000..7050).contains(&times[6]), "{times:?}");
        assert!(times[6..].windows(2).all(|pair| pair[1] - pair[0] == 3000), "{times:?}");
        assert!(times.len() >= 11);
    }
}

#[test]
fn ipv6_has_one_form() {
    let mut node = Node::new();
    node.announce(v6(1));
    node.pass(SECONDS(5));
    assert!(node.sent.iter().all(|(_, frame)| frame.form == Form::Announcement));
    assert_eq!(node.sent.len(), 6);
}

#[test]
fn a_burst_of_one_and_one_of_ten() {
    for (burst, expected) in [(1, vec![0]), (10, vec![0, 50, 200, 1000, 2000, 4000, 6000, 8000, 10_000, 12_000])] {
        let mut node = Node::new();
        let start = node.now;
        node.tell(Input::Announce { ip: v6(1), link: 2, timing: Timing { interval: SECONDS(30), burst } });
        node.pass(SECONDS(29));
        assert_eq!(node.times(v6(1), start, Form::Announcement), expected);
    }
}

#[test]
fn gateways_are_asked_twice_and_neighbours_once_in_the_addresss_own_family() {
    let mut node = Node::new();
    let target = |ip, gateway| Target { ip, mac: Some(Mac([2, 0, 0, 0, 0, 9])), gateway };
    let targets = vec![target(v4(9), false), target(v4(254), true), target(v6(254), true), target(v4(1), false)];
    node.tell(Input::Neighbours { link: 2, targets });
    node.announce(v4(1));
    node.pass(SECONDS(10));
    let asked =
        |ip| node.sent.iter().filter(|(_, f)| matches!(f.form, Form::Ask { target, .. } if target == ip)).count();
    assert_eq!((asked(v4(254)), asked(v4(9)), asked(v6(254)), asked(v4(1))), (2, 1, 0, 0), "{:?}", node.sent);
}

#[test]
fn questions_wait_until_the_neighbours_are_known() {
    let mut node = Node::new();
    node.announce(v4(1));
    node.announce(v4(2));
    node.tell(Input::Silence { ip: v4(2) });
    let asked = |node: &Node| {
        let asks = node.sent.iter().filter(|(_, frame)| matches!(frame.form, Form::Ask { .. }));
        asks.map(|(_, frame)| frame.ip).collect::<Vec<_>>()
    };
    assert!(asked(&node).is_empty());
    let target = |n, gateway| Target { ip: v4(n), mac: Some(Mac([2, 0, 0, 0, 0, 9])), gateway };
    node.tell(Input::Neighbours { link: 2, targets: vec![target(254, true), target(9, false)] });
    assert_eq!(asked(&node), [v4(1), v4(1)], "at once, and not for what is silenced");
}

#[test]
fn silence_is_kept_and_what_begins_again_begins_anew() {
    let mut node = Node::new();
    node.announce(v4(1));
    node.pass(Duration::from_millis(100));
    node.tell(Input::Silence { ip: v4(1) });
    let said = node.sent.len();
    node.pass(SECONDS(30));
    assert_eq!((node.sent.len(), node.announcer.poll_timeout()), (said, None));
    let start = node.now;
    node.announce(v4(1));
    node.pass(SECONDS(3));
    assert_eq!(node.times(v4(1), start, Form::Announcement)[2..], [0, 50, 200, 1000, 2000]);
    node.pass(SECONDS(60));
    let again = node.now;
    node.sent.clear();
    node.tell(Input::Again { link: 2 });
    node.pass(SECONDS(1));
    assert_eq!(node.times(v4(1), again, Form::Announcement), [0, 50, 200, 1000]);
}

#[test]
fn a_defence_is_one_frame_at_once_and_only_for_what_is_announced() {
    let mut node = Node::new();
    node.announce(v4(1));
    node.pass(SECONDS(60));
    node.sent.clear();
    node.tell(Input::Defend { ip: v4(1) });
    node.tell(Input::Defend { ip: v4(2) });
    assert_eq!(node.sent, [(node.now, Frame { link: 2, ip: v4(1), form: Form::Announcement })]);
}

#[test]
fn a_thousand_at_once_are_all_announced_at_once_and_later_share_their_wake_ups() {
    let mut node = Node::new();
    let start = node.now;
    for n in 0..1000 {
        node.announcer.handle(node.now, Input::Announce { ip: v4(n), link: 2, timing: Timing::default() });
    }
    node.drain();
    assert_eq!(node.sent.len(), 1000, "the first form of each");
    for n in 0..1000 {
        assert_eq!(node.times(v4(n), start, Form::Announcement), [0]);
    }
    node.pass(SECONDS(40));
    node.sent.clear();
    let wakes = node.pass(SECONDS(30));
    assert!(wakes <= 30 * 20, "{wakes} wake-ups in 30 s");
    assert_eq!(node.sent.len(), 1000 * 2 * 10, "each of them ten times in both forms");
    let mut last: BTreeMap<IpAddr, Time> = BTreeMap::new();
    for (at, frame) in node.sent.iter().filter(|(_, frame)| frame.form == Form::Announcement) {
        if let Some(before) = last.insert(frame.ip, *at) {
            let period = at.since(before).as_millis();
            assert!((2700..=3300).contains(&period), "{period} ms between two announcements of {}", frame.ip);
        }
    }
}

#[test]
fn under_ten_thousand_a_new_one_waits_for_none_of_them_and_each_has_its_turn() {
    let mut node = Node::new();
    for n in 0..10_000 {
        node.announcer.handle(node.now, Input::Announce { ip: v4(n), link: 2, timing: Timing::default() });
    }
    node.pass(SECONDS(120));
    assert!(node.busiest_second() <= LIMIT as usize);
    let start = node.now;
    node.announce(v4(77_777));
    assert_eq!(node.times(v4(77_777), start, Form::Announcement), [0]);
    node.sent.clear();
    node.pass(SECONDS(60));
    let mut heard: Vec<IpAddr> = node.sent.iter().map(|(_, frame)| frame.ip).collect();
    heard.sort_unstable();
    heard.dedup();
    assert_eq!(heard.len(), 10_001);
}

#[derive(Debug, Clone)]
enum Act {
    Announce(u8, u16),
    Silence(u8),
    Again,
    Defend(u8),
    Pass(u16),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        (any::<u8>(), 1..4000u16).prop_map(|(n, interval)| Act::Announce(n, interval)),
        any::<u8>().prop_map(Act::Silence),
        Just(Act::Again),
        any::<u8>().prop_map(Act::Defend),
        (0..3000u16).prop_map(Act::Pass),
    ]
}

proptest! {
    #[test]
    fn nothing_spins_no_second_is_too_full_and_nothing_speaks_out_of_turn(acts in proptest::collection::vec(act(), 1..120)) {
        let mut node = Node::new();
        let targets = (1..30).map(|n| Target { ip: v4(1000 + n), mac: None, gateway: n < 3 }).collect();
        node.tell(Input::Neighbours { link: 2, targets });
        let mut held: BTreeMap<IpAddr, ()> = BTreeMap::new();
        for act in acts {
            let said = node.sent.len();
            match act {
                Act::Announce(n, interval) => {
                    held.insert(v4(n.into()), ());
                    let timing = Timing { interval: Duration::from_millis(interval.into()), burst: n % 8 };
                    node.tell(Input::Announce { ip: v4(n.into()), link: 2, timing });
                    let at_once = node.sent[said..].iter().any(|(_, f)| f.ip == v4(n.into()));
                    // What is counted by slots is a little more than a second; a round of IPv4 takes two frames.
                    let counted = Duration::from_secs(1) + SLOT;
                    prop_assert!(at_once || node.busiest(counted) + 2 > LIMIT as usize);
                }
                Act::Silence(n) => {
                    held.remove(&v4(n.into()));
                    node.tell(Input::Silence { ip: v4(n.into()) });
                }
                Act::Again => node.tell(Input::Again { link: 2 }),
                Act::Defend(n) => node.tell(Input::Defend { ip: v4(n.into()) }),
                Act::Pass(millis) => {
                    node.pass(Duration::from_millis(millis.into()));
                }
            }
            prop_assert!(node.sent[said..].iter().all(|(_, frame)| held.contains_key(&frame.ip)));
        }
        prop_assert!(node.busiest_second() <= LIMIT as usize);
    }
}
