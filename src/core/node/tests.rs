use super::*;
use crate::core::keeper::Holding;
use crate::core::membership::Purpose;
use crate::core::net::{Address, Link, Mac};
use crate::core::plan::{self, Observed, Step, host_prefix};
use crate::core::view::{Gate, Grant, Patch, View};

const SEGMENT: &str = "198.51.100.0-24";

fn link(index: u32, name: &str) -> Link {
    let mac = Some(Mac([2, 0, 0, 0, 0, 1]));
    Link { index, name: name.into(), mac, up: true, carrier: true, loopback: false, arp: true, mtu: 1500 }
}

fn address(text: &str, on: u32, protocol: Option<u8>) -> Address {
    let network: ipnetwork::IpNetwork = text.parse().unwrap();
    Address {
        link: on,
        ip: network.ip(),
        prefix: network.prefix(),
        protocol,
        valid: None,
        deprecated: false,
        tentative: false,
    }
}

fn vip(last: u8) -> Vip {
    Vip { name: format!("shop/vip{last}"), ip: IpAddr::from([198, 51, 100, last]), interface: None }
}

/// A node, its kernel and a store, which do at once what they are told.
struct World {
    node: Node,
    now: Time,
    links: Vec<Link>,
    kernel: Observed,
    views: BTreeMap<String, Versioned>,
    /// Whether the store answers.
    store: bool,
    writes: Vec<Purpose>,
    seen: Vec<keeper::Effect>,
}

impl World {
    fn new() -> Self {
        let config = Config {
            node: "a".into(),
            boot_id: "boot1".into(),
            port: 9473,
            gate: Gate::None,
            named: BTreeMap::new(),
            guarded: false,
        };
        let own = address("198.51.100.1/24", 2, None);
        Self {
            node: Node::new(config),
            now: Time::ZERO,
            links: vec![link(2, "eth0")],
            kernel: Observed::from([(plan::place(&own), own)]),
            views: BTreeMap::new(),
            store: true,
            writes: Vec::new(),
            seen: Vec::new(),
        }
    }

    /// The same machine after the agent was killed and started again.
    fn restarted(self) -> Self {
        let config = self.node.config.clone();
        Self { node: Node::new(config), writes: Vec::new(), seen: Vec::new(), ..self }
    }

    fn started(mut self, vips: &[(&str, Vip)]) -> Self {
        self.dump();
        self.vips(vips);
        self.tell(Input::Views(Set::All(self.views.clone())));
        self
    }

    fn vips(&mut self, vips: &[(&str, Vip)]) {
        let vips = vips.iter().map(|(uid, vip)| ((*uid).to_owned(), vip.clone())).collect();
        self.tell(Input::Vips(Set::All(vips)));
    }

    fn dump(&mut self) {
        let (links, addresses) = (self.links.clone(), self.kernel.values().cloned().collect());
        self.tell(Input::Kernel(keeper::Input::Dumped { links, addresses, routes: Vec::new() }));
    }

    fn tell(&mut self, input: Input) {
        self.node.handle(self.now, input);
        self.drain();
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        self.node.handle_timeout(self.now);
        self.drain();
    }

    fn drain(&mut self) {
        for _ in 0..200 {
            let Some(effect) = self.node.poll_effect() else { return };
            match effect {
                Effect::Create(segment) => self.written(&segment, |views, segment| {
                    let view = Versioned { uid: "view".into(), version: "1".into(), view: View::default() };
                    views.entry(segment.to_owned()).or_insert(view);
                    true
                }),
                Effect::Write { segment, purpose, patch } => {
                    self.writes.push(purpose);
                    self.written(&segment, |views, segment| apply(views, segment, &patch));
                }
                Effect::Join { .. } | Effect::Forget(_) => panic!("no machine is there"),
                Effect::Kernel(effect) => {
                    self.seen.push(effect.clone());
                    self.execute(effect);
                }
            }
        }
        panic!("never comes to rest: {:?}", self.writes);
    }

    fn written(&mut self, segment: &str, write: impl Fn(&mut BTreeMap<String, Versioned>, &str) -> bool) {
        let applied = self.store && write(&mut self.views, segment);
        let view = self.views.get(segment).filter(|_| self.store).cloned();
        self.node.handle(self.now, Input::Written { segment: segment.into(), applied, view });
    }

    /// Somebody else changes the view.
    fn change(&mut self, build: impl Fn(&View) -> Patch) {
        let patch = build(&self.views[SEGMENT].view);
        assert!(apply(&mut self.views, SEGMENT, &patch));
        self.tell(Input::Views(Set::One(SEGMENT.into(), self.views[SEGMENT].clone())));
    }

    fn grant(&mut self, uid: &str) {
        self.change(|view| {
            let to = view.right_of("a").unwrap();
            view.grant(&[Grant { uid: uid.into(), name: format!("shop/{uid}"), to }]).unwrap()
        });
    }

    fn execute(&mut self, effect: keeper::Effect) {
        match effect {
            keeper::Effect::Apply(steps) => {
                for step in steps {
                    match step {
                        Step::Add { ip, link } | Step::Refresh { ip, link } => {
                            let there = address(&format!("{ip}/{}", host_prefix(ip)), link, Some(0x56));
                            self.kernel.insert(plan::place(&there), there);
                        }
                        Step::Remove { ip, link, prefix } => {
                            self.kernel.remove(&(ip, link, prefix));
                        }
                    }
                    self.node.handle(self.now, Input::Kernel(keeper::Input::Done { step, error: None }));
                }
            }
            keeper::Effect::Probe { uid, .. } => {
                self.node.handle(self.now, Input::Kernel(keeper::Input::Probed { uid, answered: None }));
            }
            keeper::Effect::Announce { .. }
            | keeper::Effect::Silence { .. }
            | keeper::Effect::Repaired { .. }
            | keeper::Effect::Released { .. }
            | keeper::Effect::Report { .. } => {}
        }
    }

    fn ours(&self) -> Vec<String> {
        self.kernel.values().filter(|a| a.is_ours()).map(|a| a.ip.to_string()).collect()
    }

    fn removed_anything(&self) -> bool {
        let removes = |step: &Step| matches!(step, Step::Remove { .. });
        self.seen.iter().any(|e| matches!(e, keeper::Effect::Apply(steps) if steps.iter().any(removes)))
    }
}

fn apply(views: &mut BTreeMap<String, Versioned>, segment: &str, patch: &Patch) -> bool {
    let Some(old) = views.get_mut(segment) else { return false };
    let Ok(view) = patch.apply(&old.view) else { return false };
    *old = Versioned { view, version: (old.version.parse::<u64>().unwrap() + 1).to_string(), uid: old.uid.clone() };
    true
}

#[test]
fn a_node_makes_its_segment_registers_and_holds_what_it_is_given() {
    let mut world = World::new().started(&[("u1", vip(20))]);
    assert_eq!(world.writes, [Purpose::Register, Purpose::RecordPrefix]);
    assert!(world.ours().is_empty(), "nobody gave it anything yet");
    world.grant("u1");
    assert_eq!(world.ours(), ["198.51.100.20"]);
    let held = world.node.keeper().holdings().next().map(|(_, _, holding)| holding.clone());
    assert!(matches!(held, Some(Holding::Held { ref interface, .. }) if interface == "eth0"), "{held:?}");
    assert_eq!(world.node.epoch("u1"), Some(1));
}

#[test]
fn what_a_former_run_holds_is_kept_until_all_is_known_and_then_adopted() {
    let mut world = World::new().started(&[("u1", vip(20))]);
    world.grant("u1");
    let mut world = world.restarted();
    world.dump();
    world.vips(&[("u1", vip(20))]);
    assert_eq!(world.ours(), ["198.51.100.20"]);
    world.tell(Input::Views(Set::All(world.views.clone())));
    assert_eq!(world.ours(), ["198.51.100.20"]);
    assert!(!world.removed_anything());
    assert_eq!(world.writes, [], "a restart writes nothing");
}

#[test]
fn behind_a_gate_what_a_former_run_holds_is_kept_until_the_machine_has_started() {
    let mut world = World::new().started(&[("u", vip(20))]);
    world.grant("u");
    assert_eq!(world.ours(), ["198.51.100.20"]);
    let mut world = world.restarted();
    world.node.config.guarded = true;
    world.node.handle(world.now, Input::Views(Set::All(world.views.clone())));
    world.node.handle(world.now, Input::Vips(Set::All(BTreeMap::from([("u".to_owned(), vip(20))]))));
    let (links, addresses) = (world.links.clone(), world.kernel.values().cloned().collect());
    world.node.handle(world.now, Input::Kernel(keeper::Input::Dumped { links, addresses, routes: Vec::new() }));
    let mut effects: Vec<Effect> = std::iter::from_fn(|| world.node.poll_effect()).collect();
    let vips = BTreeMap::from([("u".to_owned(), VipState::Claim)]);
    world.node.handle(world.now, Input::Started { segment: SEGMENT.to_owned(), vips });
    effects.extend(std::iter::from_fn(|| world.node.poll_effect()));
    let removes = |step: &Step| matches!(step, Step::Remove { .. });
    let mut applied = effects.iter().filter_map(|effect| {
        if let Effect::Kernel(keeper::Effect::Apply(steps)) = effect { Some(steps) } else { None }
    });
    assert!(!applied.any(|steps| steps.iter().any(removes)), "{effects:?}");
    assert!(
        effects.iter().any(|effect| matches!(effect, Effect::Kernel(keeper::Effect::Announce { .. }))),
        "{effects:?}"
    );
}

#[test]
fn what_a_former_run_left_without_a_right_is_removed() {
    let mut world = World::new().started(&[("u1", vip(20))]);
    world.grant("u1");
    let mut world = world.restarted();
    world.change(|view| {
        let released = view.release("u1").unwrap().apply(view).unwrap();
        let patch = released.remove("u1", Some(&view.right_of("a").unwrap()), &BTreeSet::new()).unwrap();
        Patch(view.release("u1").unwrap().0.into_iter().chain(patch.0).filter(|op| !is_rev(op)).collect())
    });
    let world = world.started(&[]);
    assert!(world.ours().is_empty());
}

/// Two patches joined to one raise the same counter twice, which the view's tests would refuse.
fn is_rev(op: &crate::core::view::Op) -> bool {
    serde_json::to_value(op).unwrap()["path"].as_str().unwrap().ends_with("/rev")
}

#[test]
fn a_deleted_vip_is_taken_from_the_kernel_first_and_from_the_view_then() {
    let mut world = World::new().started(&[("u1", vip(20))]);
    world.grant("u1");
    world.writes.clear();
    world.change(|view| view.release("u1").unwrap());
    assert!(world.ours().is_empty());
    assert_eq!(world.writes, [Purpose::Release]);
    assert!(world.views[SEGMENT].view.assign.is_empty());
}

#[test]
fn a_store_that_does_not_answer_changes_nothing_and_is_asked_again() {
    let mut world = World::new();
    world.store = false;
    let mut world = world.started(&[("u1", vip(20))]);
    let asked = |world: &World| world.node.poll_timeout().map(|(_, why)| why);
    assert_eq!(asked(&world), Some("patch again"));
    world.store = true;
    for _ in 0..20 {
        world.pass(SHORTEST);
    }
    world.grant("u1");
    assert_eq!(world.ours(), ["198.51.100.20"]);
    world.store = false;
    world.change(|view| view.drain(&view.right_of("a").unwrap(), true).unwrap());
    assert_eq!(world.ours(), ["198.51.100.20"]);
}

#[test]
fn an_older_state_of_the_view_is_not_believed() {
    let mut world = World::new().started(&[("u1", vip(20))]);
    let old = world.views[SEGMENT].clone();
    world.grant("u1");
    world.tell(Input::Views(Set::One(SEGMENT.into(), old.clone())));
    world.tell(Input::Views(Set::All(BTreeMap::from([(SEGMENT.to_owned(), old)]))));
    assert_eq!(world.ours(), ["198.51.100.20"]);
}

#[test]
fn who_leaves_takes_its_addresses_down_first_and_then_goes() {
    let mut world = World::new().started(&[("u1", vip(20))]);
    world.grant("u1");
    assert!(!world.node.is_gone());
    world.writes.clear();
    world.tell(Input::Leave);
    assert_eq!((world.ours(), world.writes.clone()), (Vec::new(), vec![Purpose::Leave]));
    assert!(world.node.is_gone());
}

#[test]
fn a_link_that_is_renamed_keeps_its_addresses() {
    let mut world = World::new().started(&[("u1", vip(20))]);
    world.grant("u1");
    world.seen.clear();
    world.tell(Input::Kernel(keeper::Input::Link(link(2, "lan0"))));
    assert_eq!(world.ours(), ["198.51.100.20"]);
    assert!(!world.removed_anything());
}

#[test]
fn a_link_that_goes_and_comes_back_under_another_number_gets_its_addresses_again() {
    let mut world = World::new().started(&[("u1", vip(20))]);
    world.grant("u1");
    world.kernel.clear();
    world.tell(Input::Kernel(keeper::Input::LinkGone(2)));
    assert_eq!(world.views[SEGMENT].view.assign["u1"].holder, world.views[SEGMENT].view.right_of("a"));
    world.tell(Input::Kernel(keeper::Input::Link(link(7, "eth0"))));
    world.tell(Input::Kernel(keeper::Input::Address(address("198.51.100.1/24", 7, None))));
    assert_eq!(world.ours(), ["198.51.100.20"]);
    assert!(world.kernel.values().all(|there| there.link == 7));
}
