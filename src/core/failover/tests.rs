#![allow(clippy::wildcard_enum_match_arm)]

use proptest::prelude::*;

use super::*;
use crate::core::view::{Gate, Mode};

fn start(node: &str) -> Start {
    Start {
        segment: "segment".into(),
        me: Registration {
            node: node.into(),
            mode: Mode::Peers,
            address: "198.51.100.1".parse().unwrap(),
            port: 9473,
            mac: None,
            interface: "eth0".into(),
            boot_id: "boot".into(),
            gate: Gate::Bpf,
            rho: 10_000,
        },
        timing: Timing::lan(),
        rules: Rules::all(),
        gate: Time::ZERO,
        vips: BTreeMap::new(),
    }
}

fn drain(machine: &mut Failover) -> Vec<Effect> {
    std::iter::from_fn(|| machine.poll_effect()).collect()
}

fn patches(effects: &[Effect]) -> Vec<(u64, Purpose, crate::core::view::Patch)> {
    let patch = |effect: &Effect| match effect {
        Effect::Patch { ticket, purpose, patch } => Some((*ticket, *purpose, patch.clone())),
        _ => None,
    };
    effects.iter().filter_map(patch).collect()
}

#[test]
fn the_first_node_of_a_segment_holds_alone_and_without_a_deadline() {
    let now = Time::from_millis(1_000);
    let mut machine = Failover::new(now, start("a"));
    assert_eq!(drain(&mut machine), [Effect::Read]);
    let view = Arc::new(View::default());
    machine.handle(now, Input::View { version: 1, view: Arc::clone(&view), fresh: true });
    let sent = patches(&drain(&mut machine));
    let [(ticket, Purpose::Register, patch)] = sent.as_slice() else { panic!("{sent:?}") };
    let view = Arc::new(patch.apply(&view).unwrap());
    assert_eq!(view.members["a"].mode, Mode::Solo);
    machine.handle(now, Input::Patched { ticket: *ticket, outcome: Outcome::Applied { version: 2, view } });
    assert!(drain(&mut machine).contains(&Effect::Gate(FOREVER)));
    assert_eq!(machine.right().map(|right| right.epoch), Some(1));
}

#[test]
fn who_has_no_right_goes_at_once() {
    let now = Time::from_millis(1_000);
    for wish in [Input::Restart, Input::Leave] {
        let mut machine = Failover::new(now, start("a"));
        machine.handle(now, Input::View { version: 1, view: Arc::default(), fresh: true });
        drain(&mut machine);
        machine.patched(now, 1, Outcome::Refused);
        machine.handle(now, wish);
        machine.handle_timeout(now + std::time::Duration::from_secs(1));
        assert!(drain(&mut machine).contains(&Effect::Exit));
    }
}

#[test]
fn nobody_is_answered_before_the_view_was_read() {
    let now = Time::from_millis(1_000);
    let mut machine = Failover::new(now, start("a"));
    drain(&mut machine);
    let body = Body::Heartbeat { sent: 1, age: 0, shut: false };
    let packet = Packet { segment: 0, node: id("b"), boot: 1, epoch: 1, sequence: 1, version: 1, body };
    machine.handle(now, Input::Packet(packet));
    assert_eq!(drain(&mut machine), []);
}

/// A node that holds a VIP alone, and the version of its view; the VIP is given up while the API does not answer or is not.
fn holding(release: bool) -> (Failover, u64, Time) {
    let now = Time::from_millis(1_000);
    let mut machine = Failover::new(now, start("a"));
    let (right, patch) = View::default().register(&Registration { mode: Mode::Solo, ..start("a").me }).unwrap();
    let view = patch.apply(&View::default()).unwrap();
    let grant = crate::core::view::Grant { uid: "u".into(), name: "shop/web".into(), to: right };
    let view = view.grant(&[grant]).unwrap().apply(&view).unwrap();
    let release = release.then(|| "u".to_owned()).into_iter().collect();
    machine.handle(now, Input::Placement(Arc::new(Placement { release, ..Placement::default() })));
    machine.own.registering = true;
    machine.handle(now, Input::View { version: 1, view: Arc::new(view), fresh: true });
    assert!(drain(&mut machine).contains(&Effect::Set { uid: "u".into(), state: VipState::Claim }));
    (machine, 1, now)
}

/// Lets time pass, the API answering or not, and returns what became of the VIP.
fn pass(machine: &mut Failover, now: &mut Time, millis: u64, answers: bool) -> Vec<VipState> {
    let end = *now + Duration::from_millis(millis);
    let mut states = Vec::new();
    while *now < end {
        *now = (*now).max(machine.poll_timeout().0);
        machine.handle_timeout(*now);
        let mut effects: VecDeque<Effect> = drain(machine).into();
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::Set { state, .. } => states.push(state),
                Effect::Read if answers => {
                    let (version, view) = machine.current_view();
                    let view = Arc::clone(view);
                    machine.handle(*now, Input::View { version, view, fresh: true });
                    effects.extend(drain(machine));
                }
                _ => {}
            }
        }
    }
    states
}

#[test]
fn an_address_is_given_up_while_the_api_does_not_answer_only_if_it_is_to_be() {
    let (mut machine, _, mut now) = holding(false);
    assert_eq!(pass(&mut machine, &mut now, 60_000, false), []);
    let (mut machine, _, mut now) = holding(true);
    assert_eq!(pass(&mut machine, &mut now, 60_000, true), [], "the API answers");
    assert_eq!(pass(&mut machine, &mut now, 2_000, false), [], "a moment is no outage");
    assert_eq!(pass(&mut machine, &mut now, 3_000, false), [VipState::Shut]);
    assert_eq!(pass(&mut machine, &mut now, 2_000, true), [VipState::Claim]);
}

proptest! {
    /// Whatever comes, and however late a process wakes, it never asks to be woken for what is already due.
    #[test]
    fn waking_when_asked_never_spins(steps in prop::collection::vec((0_u8..4, 0_u64..400), 1..60)) {
        let mut now = Time::from_millis(1_000);
        let mut machine = Failover::new(now, start("a"));
        let mut view = View::default();
        let mut version = 1;
        let (_, joined) = view.register(&start("b").me).unwrap();
        view = joined.apply(&view).unwrap();
        for (what, millis) in steps {
            now = now.max(machine.poll_timeout().0) + std::time::Duration::from_millis(millis);
            machine.handle_timeout(now);
            prop_assert!(machine.poll_timeout().0 > now, "{:?} at {now}", machine.poll_timeout());
            for (ticket, _, patch) in patches(&drain(&mut machine)) {
                let outcome = match (what, patch.apply(&view)) {
                    (0, _) => Outcome::Unknown,
                    (_, Ok(next)) => {
                        version += 1;
                        view = next.clone();
                        Outcome::Applied { version, view: Arc::new(next) }
                    }
                    (_, Err(_)) => Outcome::Refused,
                };
                machine.handle(now, Input::Patched { ticket, outcome });
            }
            match what {
                1 => machine.handle(now, Input::View { version, view: Arc::new(view.clone()), fresh: true }),
                2 => {
                    let body = Body::Heartbeat { sent: 1, age: 0, shut: false };
                    let packet = Packet { segment: 0, node: id("b"), boot: id("boot"), epoch: 1, sequence: 1, version, body };
                    machine.handle(now, Input::Packet(packet));
                }
                3 => machine.handle(now, Input::Gateway),
                _ => {}
            }
            prop_assert!(machine.poll_timeout().0 > now, "{:?} at {now}", machine.poll_timeout());
        }
    }
}
