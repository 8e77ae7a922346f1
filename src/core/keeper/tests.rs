use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::core::net::PROTO_AGENT;

fn ip(last: u8) -> IpAddr {
    IpAddr::from([198, 51, 100, last])
}

fn link(index: u32, name: &str) -> Link {
    Link {
        index,
        name: name.into(),
        mac: Some(Mac([2, 0, 0, 0, 0, index as u8])),
        up: true,
        carrier: true,
        loopback: false,
        arp: true,
        mtu: 1500,
    }
}

fn address(last: u8, on: u32, prefix: u8, protocol: Option<u8>) -> Address {
    Address { prefix, protocol, valid: None, deprecated: false, ..state::ours(ip(last), on) }
}

fn vip(last: u8) -> Vip {
    Vip { name: format!("shop/web{last}"), ip: ip(last), interface: None, probe: false, claim: true }
}

fn rights(vips: impl IntoIterator<Item = (&'static str, Vip)>) -> Input {
    Input::Rights(vips.into_iter().map(|(uid, vip)| (uid.to_owned(), vip)).collect())
}

/// A keeper and the kernel below it, which does at once what it is told.
struct Node {
    keeper: Keeper,
    now: Time,
    kernel: Observed,
    seen: Vec<Effect>,
}

impl Node {
    fn new() -> Self {
        let mut node = Self { keeper: Keeper::default(), now: Time::ZERO, kernel: Observed::new(), seen: Vec::new() };
        let own = address(1, 2, 24, None);
        node.kernel.insert(plan::place(&own), own);
        node.dump();
        node
    }

    fn dump(&mut self) {
        let addresses = self.kernel.values().cloned().collect();
        self.tell(Input::Dumped { links: vec![link(2, "eth0"), link(3, "eth1")], addresses, routes: Vec::new() });
    }

    fn tell(&mut self, input: Input) {
        self.keeper.handle(self.now, input);
        self.drain();
    }

    fn pass(&mut self, duration: Duration) {
        self.now = self.now + duration;
        self.keeper.handle_timeout(self.now);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(effect) = self.keeper.poll_effect() {
            if let Effect::Apply(steps) = &effect {
                for step in steps.clone() {
                    self.execute(step);
                    self.keeper.handle(self.now, Input::Done { step, error: None });
                }
            }
            self.seen.push(effect);
        }
    }

    fn execute(&mut self, step: Step) {
        match step {
            Step::Add { ip, link } | Step::Refresh { ip, link } => {
                let ours = state::ours(ip, link);
                self.kernel.insert(plan::place(&ours), ours);
            }
            Step::Remove { ip, link, prefix } => {
                self.kernel.remove(&(ip, link, prefix));
            }
        }
    }

    fn took(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.seen)
    }

    fn ours(&self) -> Vec<IpAddr> {
        self.kernel.values().filter(|address| address.is_ours()).map(|address| address.ip).collect()
    }

    fn holding(&self, uid: &str) -> Holding {
        self.keeper.holdings().find(|(id, ..)| *id == uid).map(|(.., holding)| holding.clone()).unwrap()
    }
}

#[test]
fn an_address_is_announced_only_once_it_stands() {
    let mut node = Node::new();
    node.tell(rights([("a", vip(20))]));
    let effects = node.took();
    let applied = effects.iter().position(|e| matches!(e, Effect::Apply(_))).unwrap();
    let announced = effects.iter().position(|e| matches!(e, Effect::Announce { .. })).unwrap();
    assert!(applied < announced, "{effects:?}");
    assert!(matches!(node.holding("a"), Holding::Held { link: 2, .. }));
    node.tell(rights([]));
    assert_eq!(node.ours(), Vec::<IpAddr>::new());
    let silenced = node.took();
    assert!(matches!(silenced[0], Effect::Silence { .. }), "silent before it is gone: {silenced:?}");
}

#[test]
fn an_address_that_another_still_answers_for_stands_and_is_silent() {
    let mut node = Node::new();
    node.tell(rights([("u1", Vip { claim: false, ..vip(20) })]));
    assert_eq!(node.ours(), [ip(20)]);
    assert_eq!(node.holding("u1"), Holding::Waiting(Waiting::Standby));
    assert!(!node.took().iter().any(|effect| matches!(effect, Effect::Announce { .. })));
    node.tell(rights([("u1", vip(20))]));
    assert!(matches!(node.holding("u1"), Holding::Held { .. }));
    assert_eq!(node.took().iter().filter(|effect| matches!(effect, Effect::Announce { .. })).count(), 1);
}

#[test]
fn what_a_former_run_left_is_adopted_and_the_rest_removed() {
    let mut node = Node::new();
    for last in [20, 21] {
        node.execute(Step::Add { ip: ip(last), link: 2 });
    }
    node.keeper = Keeper::default();
    node.tell(rights([("a", vip(20))]));
    assert_eq!(node.took(), [], "nothing before the kernel has been seen");
    node.dump();
    let effects = node.took();
    assert!(effects.contains(&Effect::Apply(vec![Step::Remove { ip: ip(21), link: 2, prefix: 32 }])), "{effects:?}");
    assert!(effects.contains(&Effect::Announce { uid: "a".into(), ip: ip(20), link: 2 }));
    assert_eq!(node.ours(), [ip(20)]);
}

#[test]
fn a_removed_address_is_put_back_counted_and_announced_again() {
    let mut node = Node::new();
    node.tell(rights([("a", vip(20))]));
    node.took();
    node.kernel.remove(&(ip(20), 2, 32));
    node.tell(Input::AddressGone { ip: ip(20), link: 2, prefix: 32 });
    let effects = node.took();
    assert!(effects.contains(&Effect::Repaired { uid: "a".into(), ip: ip(20) }), "{effects:?}");
    assert!(effects.contains(&Effect::Apply(vec![Step::Add { ip: ip(20), link: 2 }])), "{effects:?}");
    assert!(effects.contains(&Effect::Announce { uid: "a".into(), ip: ip(20), link: 2 }), "{effects:?}");
}

#[test]
fn a_foreign_answer_to_the_probe_delays_but_never_vetoes_for_ever() {
    let mut node = Node::new();
    node.tell(rights([("a", Vip { probe: true, ..vip(20) })]));
    let stranger = Mac([2, 9, 9, 9, 9, 9]);
    for _ in 0..20 {
        let probes = node.took().into_iter().filter(|e| matches!(e, Effect::Probe { .. })).count();
        if probes > 0 {
            node.tell(Input::Probed { uid: "a".into(), answered: Some(stranger) });
            assert_eq!(node.holding("a"), Holding::Waiting(Waiting::InUse(stranger)));
        }
        let Some((at, _)) = node.keeper.poll_timeout() else { break };
        let wait = at.since(node.now);
        node.pass(wait);
        if matches!(node.holding("a"), Holding::Held { .. }) {
            break;
        }
    }
    assert!(matches!(node.holding("a"), Holding::Held { .. }));
    assert!(node.now.0 >= PROBE_VETO && node.now.0 < PROBE_VETO * 2, "{}", node.now);
}

#[test]
fn a_silent_segment_lets_the_address_in() {
    let mut node = Node::new();
    node.tell(rights([("a", Vip { probe: true, ..vip(20) })]));
    assert_eq!(node.ours(), Vec::<IpAddr>::new());
    node.tell(Input::Probed { uid: "a".into(), answered: None });
    assert_eq!(node.ours(), [ip(20)]);
}

#[test]
fn a_foreign_address_on_the_link_is_reported_and_left_alone() {
    let mut node = Node::new();
    let theirs = address(20, 2, 24, None);
    node.kernel.insert(plan::place(&theirs), theirs);
    node.dump();
    node.tell(rights([("a", vip(20))]));
    assert_eq!(node.holding("a"), Holding::Waiting(Waiting::Foreign("eth0".into())));
    assert_eq!(node.ours(), Vec::<IpAddr>::new());
}

#[test]
fn a_link_without_carrier_is_silent_and_announced_again_when_it_returns() {
    let mut node = Node::new();
    node.tell(rights([("a", vip(20))]));
    node.took();
    node.tell(Input::Link(Link { carrier: false, ..link(2, "eth0") }));
    assert!(node.took().contains(&Effect::Silence { ip: ip(20) }));
    assert_eq!(node.holding("a"), Holding::Waiting(Waiting::LinkDown("eth0".into())));
    assert_eq!(node.ours(), [ip(20)], "the address stays: nobody else may have it");
    node.tell(Input::Link(link(2, "eth0")));
    assert!(node.took().contains(&Effect::Announce { uid: "a".into(), ip: ip(20), link: 2 }));
}

#[test]
fn a_kernel_that_refuses_is_asked_again_later() {
    let mut node = Node::new();
    node.keeper.handle(Time::ZERO, rights([("a", vip(20))]));
    let step = Step::Add { ip: ip(20), link: 2 };
    assert_eq!(node.keeper.poll_effect(), Some(Effect::Apply(vec![step])));
    node.keeper.handle(Time::ZERO, Input::Done { step, error: Some("Operation not permitted".into()) });
    node.drain();
    assert_eq!(node.holding("a"), Holding::Waiting(Waiting::Refused("Operation not permitted".into())));
    node.pass(RETRY);
    assert!(matches!(node.holding("a"), Holding::Held { .. }));
}

#[test]
fn two_vips_of_one_address_never_both_hold_it() {
    let mut node = Node::new();
    node.tell(rights([("a", vip(20)), ("b", vip(20))]));
    assert!(matches!(node.holding("a"), Holding::Held { .. }));
    assert_eq!(node.holding("b"), Holding::Waiting(Waiting::Duplicate("shop/web20".into())));
    node.tell(rights([("b", vip(20))]));
    assert!(matches!(node.holding("b"), Holding::Held { .. }));
    assert_eq!(node.ours(), [ip(20)]);
}

#[test]
fn lifetimes_are_renewed_well_before_the_janitor_comes() {
    let mut node = Node::new();
    node.tell(rights([("a", vip(20))]));
    node.took();
    node.pass(REFRESH);
    assert_eq!(node.took(), [Effect::Apply(vec![Step::Refresh { ip: ip(20), link: 2 }])]);
}

#[derive(Debug, Clone)]
enum Happens {
    Rights(Vec<u8>),
    Carrier(u32, bool),
    LinkGone(u32),
    Removed(u8),
    Dump,
    Wait(u16),
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        prop::collection::vec(20u8..26, 0..5).prop_map(Happens::Rights),
        (2u32..4, any::<bool>()).prop_map(|(link, up)| Happens::Carrier(link, up)),
        (3u32..4).prop_map(Happens::LinkGone),
        (20u8..26).prop_map(Happens::Removed),
        Just(Happens::Dump),
        (0u16..300).prop_map(Happens::Wait),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_ours_is_what_we_have_the_right_to(events in prop::collection::vec(happens(), 1..25)) {
        let mut node = Node::new();
        let mut wanted: Vec<IpAddr> = Vec::new();
        for event in events {
            match event {
                Happens::Rights(lasts) => {
                    wanted = lasts.iter().map(|last| ip(*last)).collect();
                    wanted.sort();
                    wanted.dedup();
                    let set = wanted.iter().map(|ip| (ip.to_string(), Vip { ip: *ip, ..vip(0) })).collect();
                    node.tell(Input::Rights(set));
                }
                Happens::Carrier(index, carrier) => {
                    let name = if index == 2 { "eth0" } else { "eth1" };
                    node.tell(Input::Link(Link { carrier, ..link(index, name) }));
                }
                Happens::LinkGone(index) => {
                    node.kernel.retain(|&(_, on, _), _| on != index);
                    node.tell(Input::LinkGone(index));
                }
                Happens::Removed(last) => {
                    node.kernel.remove(&(ip(last), 2, 32));
                    node.tell(Input::AddressGone { ip: ip(last), link: 2, prefix: 32 });
                }
                Happens::Dump => node.dump(),
                Happens::Wait(seconds) => node.pass(Duration::from_secs(seconds.into())),
            }
            prop_assert!(node.ours().iter().all(|ip| wanted.contains(ip)), "{:?} of {wanted:?}", node.ours());
            if let Some((at, label)) = node.keeper.poll_timeout() {
                node.keeper.handle_timeout(at);
                node.now = node.now.max(at);
                node.drain();
                prop_assert!(node.keeper.poll_timeout().is_none_or(|(next, _)| next > at), "spins on {label}");
            }
        }
        node.dump();
        prop_assert_eq!(node.ours(), wanted);
        let mine: Vec<&Address> = node.kernel.values().filter(|a| a.protocol != Some(PROTO_AGENT)).collect();
        prop_assert_eq!(mine.len(), 1, "the node's own address is left alone");
    }
}
