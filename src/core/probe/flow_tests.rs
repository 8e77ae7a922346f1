//! The accounting beside a slow model that keeps everything, over a network that loses, doubles, delays and reorders.

use proptest::prelude::*;

use super::*;

const TIMEOUT: Duration = Duration::from_millis(1_000);
const MEMORY: Duration = Duration::from_millis(2_000);

/// What the network does with one probe. Delays in milliseconds.
#[derive(Debug, Clone)]
struct Fate {
    /// Time since the probe before it.
    gap: u64,
    /// Delays on the way there, of each copy that arrives.
    there: Vec<u64>,
    /// For each reply: delays on the way back, of each copy that arrives.
    back: Vec<Vec<u64>>,
}

#[derive(Debug, Clone, Copy)]
enum Event {
    Send,
    Reply { probe: usize, number: u32 },
}

/// The events at the sender, in order of time, of probes with these fates.
fn events(fates: &[Fate]) -> Vec<(u64, Event)> {
    let mut events = Vec::new();
    let mut arrivals = Vec::new();
    let mut now = 10;
    for (probe, fate) in fates.iter().enumerate() {
        now += fate.gap;
        events.push((now, Event::Send));
        arrivals.extend(fate.there.iter().enumerate().map(|(copy, delay)| (now + delay, probe, copy)));
    }
    arrivals.sort();
    for (number, (at, probe, copy)) in arrivals.into_iter().enumerate() {
        let number = number as u32;
        let replies = fates[probe].back.get(copy).into_iter().flatten();
        events.extend(replies.map(|delay| (at + delay + 1, Event::Reply { probe, number })));
    }
    events.sort_by_key(|(at, _)| *at);
    events
}

/// Everything that happened, and the counters computed from it anew each time.
#[derive(Default)]
struct Model {
    sent: Vec<Time>,
    replies: Vec<(Time, usize)>,
}

impl Model {
    fn counts(&self, now: Time) -> Counts {
        let mut counts = Counts { sent: self.sent.len() as u64, ..Counts::default() };
        for (probe, sent) in self.sent.iter().enumerate() {
            let received = self.first(probe).is_some_and(|at| at < *sent + TIMEOUT);
            counts.received += u64::from(received);
            counts.lost += u64::from(!received && now >= *sent + TIMEOUT);
        }
        for (place, (at, probe)) in self.replies.iter().enumerate() {
            let sent = self.sent[*probe];
            let again = self.replies[..place].iter().any(|(_, other)| other == probe);
            let later_before = self.replies[..place].iter().any(|(at, other)| {
                other > probe && *at < self.sent[*other] + TIMEOUT && self.first(*other) == Some(*at)
            });
            if *at >= sent + MEMORY {
                counts.stray += 1;
            } else if again {
                counts.duplicated += 1;
            } else if *at >= sent + TIMEOUT {
                counts.late += 1;
            } else if later_before {
                counts.reordered += 1;
            }
        }
        counts
    }

    fn first(&self, probe: usize) -> Option<Time> {
        self.replies.iter().find(|(_, other)| *other == probe).map(|(at, _)| *at)
    }
}

/// Plays the events on a flow, comparing with the model after each, and returns the flow after all is over.
fn play(fates: &[Fate], first: u32) -> Result<Flow, TestCaseError> {
    let mut flow = Flow::new(TIMEOUT, first);
    let mut model = Model::default();
    let mut numbers = Vec::new();
    let mut now = Time::ZERO;
    for (at, event) in events(fates) {
        now = Time::from_millis(at);
        match event {
            Event::Send => {
                numbers.push(flow.next_seq());
                flow.handle_timeout(now);
                flow.sent(now, at, at);
                model.sent.push(now);
            }
            Event::Reply { probe, number } => {
                let stamp = u64::try_from(model.sent[probe].0.as_millis()).unwrap();
                flow.reply(now, &Reply { seq: numbers[probe], stamp, number: Some(number) });
                model.replies.push((now, probe));
            }
        }
        compare(&flow, &model, now)?;
    }
    while let Some(at) = flow.next_timeout() {
        prop_assert!(at > now, "waking at {at} changes nothing");
        now = at;
        flow.handle_timeout(now);
        compare(&flow, &model, now)?;
    }
    prop_assert_eq!(flow.counts().in_flight(), 0);
    Ok(flow)
}

fn compare(flow: &Flow, model: &Model, now: Time) -> Result<(), TestCaseError> {
    let counts = *flow.counts();
    prop_assert_eq!(counts.sent, counts.received + counts.lost + counts.in_flight());
    prop_assert!(counts.lost_forward + counts.lost_backward <= counts.lost);
    let undirected = Counts { lost_forward: 0, lost_backward: 0, ..counts };
    prop_assert_eq!(undirected, model.counts(now), "at {}", now);
    Ok(())
}

fn delay() -> impl Strategy<Value = u64> {
    prop_oneof![8 => 0u64..30, 2 => 0u64..900, 1 => 900u64..3_500]
}

/// Copies that arrive: mostly one.
fn copies() -> impl Strategy<Value = Vec<u64>> {
    prop_oneof![
        7 => delay().prop_map(|delay| vec![delay]),
        2 => Just(Vec::new()),
        1 => prop::collection::vec(delay(), 2..4),
    ]
}

fn fate() -> impl Strategy<Value = Fate> {
    (0u64..400, copies(), prop::collection::vec(copies(), 3)).prop_map(|(gap, there, back)| Fate { gap, there, back })
}

/// A way there that keeps order and copies nothing, so that directions can be told exactly.
fn orderly() -> impl Strategy<Value = Fate> {
    (1u64..400, any::<bool>(), copies()).prop_map(|(gap, arrives, back)| Fate {
        gap,
        there: if arrives { vec![5] } else { Vec::new() },
        back: vec![back],
    })
}

fn start() -> impl Strategy<Value = u32> {
    prop_oneof![Just(0), (u32::MAX - 40)..=u32::MAX, any::<u32>()]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn counters_are_the_models(fates in prop::collection::vec(fate(), 1..60), first in start()) {
        play(&fates, first)?;
    }

    #[test]
    fn directions_are_exact_when_the_way_there_keeps_order(fates in prop::collection::vec(orderly(), 1..80)) {
        let flow = play(&fates, 0)?;
        // Whoever was answered last is the last evidence; answers after the memory are none.
        let answered = |fate: &Fate| fate.there.first().is_some_and(|there| {
            fate.back[0].iter().any(|back| Duration::from_millis(there + back + 1) < MEMORY)
        });
        let known = fates.iter().rposition(answered).map_or(&[][..], |last| &fates[..last]);
        let forward = known.iter().filter(|fate| fate.there.is_empty()).count() as u64;
        let backward = known.iter().filter(|fate| !fate.there.is_empty() && !answered(fate)).count() as u64;
        // With a single number seen, the reflector may be one that only repeats ours.
        if fates.iter().filter(|fate| answered(fate)).count() > 1 {
            prop_assert_eq!((flow.counts().lost_forward, flow.counts().lost_backward), (forward, backward));
        }
    }

    #[test]
    fn a_reflector_that_repeats_our_numbers_tells_no_direction(lost in prop::collection::vec(any::<bool>(), 1..60)) {
        let mut flow = Flow::new(TIMEOUT, 0);
        let mut now = Time::ZERO;
        for lost in lost {
            let seq = flow.next_seq();
            flow.sent(now, 0, 7);
            if !lost {
                flow.reply(now, &Reply { seq, stamp: 7, number: Some(seq) });
            }
            now = now + Duration::from_millis(100);
            flow.handle_timeout(now);
        }
        flow.handle_timeout(now + MEMORY);
        prop_assert_eq!((flow.counts().lost_forward, flow.counts().lost_backward), (0, 0));
    }

    #[test]
    fn any_answer_is_counted_once(
        replies in prop::collection::vec((any::<u32>(), any::<bool>(), any::<Option<u32>>(), 0u64..5_000), 1..50),
    ) {
        let mut flow = Flow::new(TIMEOUT, 0);
        for sent in 0..5 {
            flow.sent(Time::from_millis(sent), 0, 7);
        }
        for (place, (seq, near, number, at)) in replies.into_iter().enumerate() {
            let seq = if near { seq % 8 } else { seq };
            flow.reply(Time::from_millis(at), &Reply { seq, stamp: 7, number });
            let counts = flow.counts();
            let all = counts.received + counts.late + counts.duplicated + counts.corrupted + counts.stray;
            prop_assert_eq!(all, place as u64 + 1);
            prop_assert_eq!(counts.sent, counts.received + counts.lost + counts.in_flight());
        }
    }
}

/// Sends a probe every 100 ms and answers those that `answered` names, at once; `number` gives the reflector's number.
fn steady(probes: u32, answered: impl Fn(u32) -> bool, mut number: impl FnMut(u32) -> Option<u32>) -> Flow {
    let mut flow = Flow::new(TIMEOUT, 0);
    for probe in 0..probes {
        let now = Time::from_millis(u64::from(probe) * 100);
        flow.handle_timeout(now);
        let seq = flow.next_seq();
        flow.sent(now, 0, u64::from(probe));
        if answered(probe) {
            flow.reply(now + Duration::from_millis(1), &Reply { seq, stamp: u64::from(probe), number: number(probe) });
        }
    }
    flow.handle_timeout(Time::from_millis(u64::from(probes) * 100) + MEMORY);
    flow
}

#[test]
fn outages_of_256_and_300_probes_are_counted_exactly() {
    for outage in [1, 255, 256, 300, 1_000] {
        let flow = steady(2_000, |probe| !(500..500 + outage).contains(&probe), |_| None);
        assert_eq!((flow.counts().lost, flow.counts().received), (u64::from(outage), u64::from(2_000 - outage)));
    }
}

#[test]
fn a_total_outage_is_loss_without_any_answer() {
    assert_eq!(steady(300, |_| false, |_| None).counts().lost, 300);
}

#[test]
fn a_reflector_that_begins_anew_tells_no_direction_of_what_was_lost_meanwhile() {
    let mut next = 0;
    let number = |probe| {
        if probe == 60 {
            next = 0;
        }
        next += 1;
        Some(next - 1)
    };
    let flow = steady(100, |probe| !(40..60).contains(&probe) && probe != 80, number);
    let counts = flow.counts();
    assert_eq!((counts.lost, counts.lost_forward, counts.lost_backward), (21, 1, 0));
}

#[test]
fn an_answer_to_another_packet_is_corrupted_and_to_a_former_run_stray() {
    let mut flow = Flow::new(TIMEOUT, 0);
    flow.sent(Time::ZERO, 0, 41);
    assert_eq!(flow.reply(Time::ZERO, &Reply { seq: 0, stamp: 42, number: None }), Verdict::Corrupted);
    assert_eq!(flow.reply(Time::ZERO, &Reply { seq: 900, stamp: 41, number: None }), Verdict::Stray);
    assert_eq!(flow.reply(Time::ZERO, &Reply { seq: u32::MAX, stamp: 41, number: None }), Verdict::Stray);
    assert!(matches!(flow.reply(Time::ZERO, &Reply { seq: 0, stamp: 41, number: None }), Verdict::Received { .. }));
}

#[test]
fn an_icmp_error_is_counted_and_settles_nothing() {
    let mut flow = Flow::new(TIMEOUT, 0);
    flow.sent(Time::ZERO, 0, 41);
    assert!(flow.refused(Some((0, 41))));
    assert!(!flow.refused(Some((0, 42))) && !flow.refused(Some((1, 41))));
    assert_eq!((flow.counts().in_flight(), flow.counts().refused, flow.counts().stray), (1, 1, 2));
    flow.reply(Time::from_millis(5), &Reply { seq: 0, stamp: 41, number: None });
    assert_eq!(flow.counts().received, 1);
}

#[test]
fn eight_bits_and_a_time_find_the_probe() {
    let mut flow = Flow::new(Duration::from_secs(60), 0);
    let mut sent = Vec::new();
    for probe in 0..1_000u64 {
        sent.push((flow.next_seq(), probe / 3));
        flow.sent(Time::from_millis(probe), 0, probe / 3);
    }
    for (seq, stamp) in sent {
        assert_eq!(flow.find(seq as u8, stamp), Some(seq));
        assert_eq!(flow.find(seq as u8, stamp + 5_000), None);
    }
    assert_eq!(Flow::new(TIMEOUT, 0).find(0, 0), None);
}

#[test]
fn the_second_number_is_left_out() {
    let mut flow = Flow::new(TIMEOUT, 0);
    let numbers: Vec<u32> = (0..4)
        .map(|probe| {
            let seq = flow.next_seq();
            flow.sent(Time::from_millis(probe), 0, 0);
            seq
        })
        .collect();
    assert_eq!(numbers, [0, 2, 3, 4]);
}
