use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;

const OWN: Mac = Mac([2, 0, 0, 0, 0, 1]);
const PEER: Mac = Mac([2, 0, 0, 0, 0, 2]);
const FOREIGN: Mac = Mac([2, 0, 0, 0, 0, 9]);
const OTHER: Mac = Mac([2, 0, 0, 0, 0, 10]);

struct Node {
    conflicts: Conflicts,
    now: Time,
    seen: Vec<(Time, Effect)>,
}

impl Node {
    fn new() -> Self {
        let mut node = Self { conflicts: Conflicts::default(), now: Time::from_millis(777_777), seen: Vec::new() };
        node.tell(Input::Known { own: [OWN].into(), peers: [PEER].into() });
        node
    }

    fn tell(&mut self, input: Input) {
        self.conflicts.handle(self.now, input);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(effect) = self.conflicts.poll_effect() {
            self.seen.push((self.now, effect));
        }
    }

    fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some((at, why)) = self.conflicts.poll_timeout().filter(|(at, _)| *at <= end) {
            assert!(at > self.now, "it spins: {why}");
            self.now = at;
            self.conflicts.handle_timeout(at);
            self.drain();
        }
        self.now = end;
    }

    fn probe(&mut self, n: u32) {
        self.tell(Input::Probe { uid: n.to_string(), ip: ip(n), link: 2 });
    }

    fn hear(&mut self, n: u32, mac: Mac, word: Word) {
        self.tell(Input::Heard(Heard { link: 2, ip: ip(n), mac, word }));
    }

    fn took(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.seen).into_iter().map(|(_, effect)| effect).collect()
    }

    /// How many frames were sent, and the verdicts.
    fn outcome(&mut self) -> (usize, Vec<(String, Option<Mac>)>) {
        let mut frames = 0;
        let mut verdicts = Vec::new();
        for effect in self.took() {
            match effect {
                Effect::Send { frames: sent, .. } => frames += sent.len(),
                Effect::Probed { uid, answered } => verdicts.push((uid, answered)),
                Effect::Defend { .. } | Effect::Conflict { .. } | Effect::Cleared { .. } => {}
            }
        }
        (frames, verdicts)
    }
}

fn ip(n: u32) -> IpAddr {
    Ipv4Addr::from(0x0a00_0000 + n).into()
}

const MILLIS: fn(u64) -> Duration = Duration::from_millis;
const SECONDS: fn(u64) -> Duration = Duration::from_secs;

#[test]
fn three_questions_and_silence_mean_that_it_is_free() {
    let mut node = Node::new();
    let start = node.now;
    node.probe(1);
    node.pass(SECONDS(5));
    let times: Vec<_> = node.seen.iter().map(|(at, _)| at.since(start).as_millis()).collect();
    assert_eq!(times, [0, 50, 100, 250]);
    assert!(node.seen[..3].iter().all(|(_, effect)| matches!(effect, Effect::Send { link: 2, frames }
        if frames == &[Frame { link: 2, ip: ip(1), form: Form::Probe { mac: None } }])));
    assert_eq!(node.seen[3].1, Effect::Probed { uid: "1".into(), answered: None });
    assert_eq!(node.conflicts.poll_timeout(), None);
}

#[test]
fn a_claim_answers_a_probe_and_so_does_a_foreign_probe() {
    for (mac, word, answered) in [
        (FOREIGN, Word::Claim, true),
        (FOREIGN, Word::Probe, true),
        (PEER, Word::Claim, true),
        (PEER, Word::Probe, false),
        (OWN, Word::Claim, false),
        (OWN, Word::Probe, false),
    ] {
        let mut node = Node::new();
        node.probe(1);
        node.pass(MILLIS(60));
        node.hear(1, mac, word);
        node.hear(2, FOREIGN, Word::Claim);
        node.tell(Input::Heard(Heard { link: 3, ip: ip(1), mac: FOREIGN, word: Word::Claim }));
        node.pass(SECONDS(1));
        let (frames, verdicts) = node.outcome();
        assert_eq!(verdicts, [("1".into(), answered.then_some(mac))], "{mac} {word:?}");
        assert_eq!(frames, if answered { 2 } else { 3 });
        assert_eq!(node.conflicts.poll_timeout(), None);
    }
}

#[test]
fn ten_thousand_are_asked_within_the_limit_and_each_is_answered_for_once() {
    let mut node = Node::new();
    for n in 0..10_000 {
        node.conflicts.handle(node.now, Input::Probe { uid: n.to_string(), ip: ip(n), link: 2 });
    }
    let start = node.now;
    node.pass(SECONDS(1));
    let (frames, verdicts) = node.outcome();
    assert_eq!(frames, LIMIT as usize);
    assert_eq!(verdicts.len(), LIMIT as usize, "a verdict does not wait for the limit");
    node.pass(SECONDS(14));
    let (_, more) = node.outcome();
    assert_eq!(verdicts.len() + more.len(), 10_000, "after {:?}", node.now.since(start));
}

#[test]
fn a_foreign_claim_is_a_conflict_that_is_defended_every_ten_seconds_and_cleared_by_quiet() {
    let mut node = Node::new();
    node.tell(Input::Hold { ip: ip(1), link: 2 });
    for (mac, word) in [(OWN, Word::Claim), (PEER, Word::Claim), (FOREIGN, Word::Probe)] {
        node.hear(1, mac, word);
    }
    assert_eq!(node.took(), []);
    node.hear(1, FOREIGN, Word::Claim);
    assert_eq!(node.took(), [Effect::Conflict { ip: ip(1), link: 2, mac: FOREIGN }, Effect::Defend { ip: ip(1) }]);
    let mut defences = 0;
    for _ in 0..60 {
        node.pass(SECONDS(1));
        node.hear(1, FOREIGN, Word::Claim);
        defences += node.took().iter().filter(|effect| matches!(effect, Effect::Defend { .. })).count();
    }
    assert_eq!(defences, 6, "one in ten seconds");
    assert_eq!(node.conflicts.conflicts().collect::<Vec<_>>(), [(ip(1), FOREIGN)]);
    node.pass(SECONDS(60));
    let effects = node.took();
    assert_eq!(effects.last(), Some(&Effect::Cleared { ip: ip(1) }));
    let asked = |effect: &Effect| {
        matches!(effect, Effect::Send { frames, .. }
        if frames == &[Frame { link: 2, ip: ip(1), form: Form::Probe { mac: Some(FOREIGN) } }])
    };
    assert!(effects.iter().filter(|effect| asked(effect)).count() >= 2, "the other host is asked: {effects:?}");
    assert_eq!(node.conflicts.poll_timeout(), None);
}

#[test]
fn another_foreign_host_is_told_of_and_release_ends_a_conflict() {
    let mut node = Node::new();
    node.tell(Input::Hold { ip: ip(1), link: 2 });
    node.hear(1, FOREIGN, Word::Claim);
    node.hear(1, OTHER, Word::Claim);
    node.took();
    node.pass(SECONDS(11));
    assert!(node.took().contains(&Effect::Conflict { ip: ip(1), link: 2, mac: OTHER }));
    node.tell(Input::Hold { ip: ip(1), link: 2 });
    assert_eq!(node.took(), [], "held already");
    node.tell(Input::Release { ip: ip(1) });
    assert_eq!(node.took(), [Effect::Cleared { ip: ip(1) }]);
    node.hear(1, FOREIGN, Word::Claim);
    node.pass(SECONDS(100));
    assert_eq!(node.took(), []);
}

fn input() -> impl Strategy<Value = Input> {
    let n = 0..4u32;
    let mac = prop_oneof![Just(OWN), Just(PEER), Just(FOREIGN), Just(OTHER)];
    let word = prop_oneof![Just(Word::Claim), Just(Word::Probe)];
    prop_oneof![
        n.clone().prop_map(|n| Input::Probe { uid: n.to_string(), ip: ip(n), link: 2 }),
        n.clone().prop_map(|n| Input::Hold { ip: ip(n), link: 2 }),
        n.clone().prop_map(|n| Input::Release { ip: ip(n) }),
        (n, mac, word).prop_map(|(n, mac, word)| Input::Heard(Heard { link: 2, ip: ip(n), mac, word })),
    ]
}

proptest! {
    #[test]
    fn nothing_spins_and_no_defence_comes_too_soon(acts in proptest::collection::vec((input(), 0..8000u64), 1..150)) {
        let mut node = Node::new();
        let mut held = BTreeSet::new();
        for (input, pause) in acts {
            match &input {
                Input::Hold { ip, .. } => { held.insert(*ip); }
                Input::Release { ip } => { held.remove(ip); }
                Input::Probe { .. } | Input::Known { .. } | Input::Heard(_) => {}
            }
            node.tell(input);
            node.pass(MILLIS(pause));
            prop_assert!(node.conflicts.conflicts().all(|(ip, mac)| held.contains(&ip) && mac != OWN && mac != PEER));
        }
        node.pass(SECONDS(120));
        prop_assert_eq!(node.conflicts.poll_timeout(), None, "all is asked, all is quiet");
        prop_assert_eq!(node.conflicts.conflicts().count(), 0);
        let mut last: BTreeMap<IpAddr, Time> = BTreeMap::new();
        let mut open: BTreeSet<IpAddr> = BTreeSet::new();
        for (at, effect) in node.seen {
            match effect {
                Effect::Defend { ip } => {
                    prop_assert!(open.contains(&ip));
                    if let Some(before) = last.insert(ip, at) {
                        prop_assert!(at.since(before) >= DEFEND_INTERVAL);
                    }
                }
                Effect::Conflict { ip, .. } => { open.insert(ip); }
                Effect::Cleared { ip } => {
                    prop_assert!(open.remove(&ip));
                    last.remove(&ip);
                }
                Effect::Send { .. } | Effect::Probed { .. } => {}
            }
        }
    }
}
