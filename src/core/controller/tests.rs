//! The controller against a store that keeps the rules of the real ones, tables first, then properties.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::core::placement::{Failback, Preference};
use crate::core::selector::Selector;
use crate::core::view::{Gate, Mode, Registration, Right, View};

/// A store with its objects, and the agents of its nodes.
#[derive(Debug, Clone, Default)]
struct Store {
    vips: BTreeMap<String, Vip>,
    pools: BTreeMap<String, Pool>,
    nodes: BTreeMap<String, Node>,
    views: BTreeMap<String, Segment>,
    version: u64,
    made: i64,
    /// What was written, in order, for tests to read.
    log: Vec<String>,
    told: Vec<String>,
}

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn selector(key: &str, value: &str) -> Selector {
    Selector { match_labels: labels(&[(key, value)]), ..Selector::default() }
}

impl Store {
    /// Pool `public` (198.51.100.0/29), and these nodes on segment 198.51.100.0/24.
    fn new(nodes: &[&str]) -> Self {
        let mut store = Self::default();
        store.pool("public", "198.51.100.0/29");
        for node in nodes {
            store.join("198.51.100.0-24", "198.51.100.0/24", node, "eth0");
        }
        store
    }

    fn meta(&mut self, name: &str) -> Meta {
        self.made += 1;
        self.version += 1;
        Meta {
            uid: format!("uid-{}", self.made),
            name: name.to_owned(),
            version: self.version.to_string(),
            generation: 1,
            created: self.made,
            ..Meta::default()
        }
    }

    fn pool(&mut self, name: &str, range: &str) {
        let offer = Offer { ranges: vec![range.parse().unwrap()], auto_assign: true, ..Offer::default() };
        let meta = self.meta(name);
        self.pools.insert(name.to_owned(), Pool { meta, offer: Ok(offer), status: PoolStatus::default() });
    }

    fn join(&mut self, segment: &str, prefix: &str, node: &str, interface: &str) {
        self.nodes.entry(node.to_owned()).or_insert_with(|| Node { name: node.to_owned(), ..Node::default() });
        if !self.views.contains_key(segment) {
            let meta = self.meta(segment);
            self.views.insert(segment.to_owned(), Segment { meta, view: View::default() });
        }
        let registration = Registration {
            node: node.to_owned(),
            mode: Mode::Peers,
            address: [198, 51, 100, 200].into(),
            port: 9473,
            mac: None,
            interface: interface.to_owned(),
            boot_id: "boot".to_owned(),
            gate: Gate::Bpf,
            rho: 10_000,
        };
        self.edit_view(segment, |view| {
            let view = view.register(&registration).unwrap().1.apply(view).unwrap();
            view.record_prefix(prefix, node).apply(&view).unwrap()
        });
    }

    fn edit_view(&mut self, segment: &str, edit: impl FnOnce(&View) -> View) {
        self.version += 1;
        let object = self.views.get_mut(segment).unwrap();
        object.view = edit(&object.view);
        object.meta.version = self.version.to_string();
    }

    fn vip(&mut self, name: &str, wish: Wish) {
        let meta = self.meta(name);
        let vip = Vip { meta, wish: Ok(Wish { gated: true, ..wish }), status: Status::default(), holder: None };
        self.vips.insert(name.to_owned(), vip);
    }

    fn delete(&mut self, name: &str) {
        let vip = self.vips.get_mut(name).unwrap();
        vip.meta.deleting = true;
        if vip.meta.finalizers.is_empty() {
            self.vips.remove(name);
        }
    }

    fn wish(&mut self, name: &str) -> &mut Wish {
        let vip = self.vips.get_mut(name).unwrap();
        vip.meta.generation += 1;
        vip.wish.as_mut().unwrap()
    }

    /// Everything, as a watch lists it.
    fn list(&self, machine: &mut Controller, now: Time) {
        for listing in [
            Listing::Vips(self.vips.values().cloned().collect()),
            Listing::Pools(self.pools.values().cloned().collect()),
            Listing::Nodes(self.nodes.values().cloned().collect()),
            Listing::Views(self.views.values().cloned().collect()),
        ] {
            machine.handle(now, Input::Listed(listing));
        }
    }

    fn write(&mut self, id: &Id, write: &Write) -> Outcome {
        self.version += 1;
        let version = self.version.to_string();
        match (id, write) {
            (Id::View(name), Write::View(patch)) => {
                let Some(object) = self.views.get_mut(name) else { return Outcome::Gone };
                let Ok(view) = patch.apply(&object.view) else {
                    return Outcome::Overtaken(Object::View(object.clone()));
                };
                object.view = view;
                object.meta.version = version;
                self.log.push(format!("view {name}"));
                Outcome::Done(Object::View(object.clone()))
            }
            (Id::Vip(name), _) => self.write_vip(name, write, version),
            (Id::Pool(name), Write::PoolStatus(status)) => {
                let Some(pool) = self.pools.get_mut(name) else { return Outcome::Gone };
                pool.status = PoolStatus { conditions: timed(&status.conditions), ..status.clone() };
                pool.meta.version = version;
                self.log.push(format!("status of pool {name}"));
                Outcome::Done(Object::Pool(pool.clone()))
            }
            other => panic!("{other:?}"),
        }
    }

    fn write_vip(&mut self, name: &str, write: &Write, version: String) -> Outcome {
        let Some(vip) = self.vips.get_mut(name) else { return Outcome::Gone };
        match write {
            Write::AddFinalizer { version, .. } if *version != vip.meta.version => {
                return Outcome::Overtaken(Object::Vip(vip.clone()));
            }
            Write::AddFinalizer { count, .. } => {
                assert_eq!(*count, vip.meta.finalizers.len());
                vip.meta.finalizers.push(FINALIZER.to_owned());
                self.log.push(format!("finalizer of {name}"));
            }
            Write::RemoveFinalizer { at } => {
                assert_eq!(vip.meta.finalizers.remove(*at), FINALIZER);
                self.log.push(format!("no finalizer of {name}"));
                if vip.meta.deleting && vip.meta.finalizers.is_empty() {
                    let uid = vip.meta.uid.clone();
                    self.vips.remove(name);
                    assert!(self.views.values().all(|view| !view.view.assign.contains_key(&uid)), "{name} has a right");
                    return Outcome::Gone;
                }
            }
            Write::VipStatus(status) => {
                vip.status = Status { conditions: timed(&status.conditions), ..status.clone() };
                self.log.push(format!("status of {name}"));
            }
            Write::View(_) | Write::PoolStatus(_) => panic!("{write:?} of {name}"),
        }
        vip.meta.version = version;
        Outcome::Done(Object::Vip(vip.clone()))
    }

    /// What agents do: report what they were given, trim what is over, and give up what they must.
    fn agents(&mut self) {
        let segments: Vec<String> = self.views.keys().cloned().collect();
        for segment in segments {
            let view = self.views[&segment].view.clone();
            let mut after = view.clone();
            for (uid, entry) in &view.assign {
                let Some(holder) = &entry.holder else { continue };
                let former: BTreeSet<Right> = entry.after.keys().cloned().collect();
                if entry.releasing {
                    after = after.remove_all(&[uid.as_str()], holder).unwrap().apply(&after).unwrap();
                } else if !former.is_empty() {
                    let closed = BTreeMap::from([(uid.clone(), former)]);
                    after = after.trim(holder, &closed).unwrap().apply(&after).unwrap();
                }
                if let Some(vip) = self.vips.values_mut().find(|vip| vip.meta.uid == *uid && !entry.releasing) {
                    vip.holder = Some((holder.clone(), "eth0".to_owned()));
                }
            }
            if after != view {
                self.edit_view(&segment, |_| after);
            }
        }
    }

    fn holder(&self, name: &str) -> Option<String> {
        let uid = &self.vips.get(name)?.meta.uid;
        let entry = self.views.values().find_map(|view| view.view.assign.get(uid))?;
        entry.holder.as_ref().map(|holder| holder.node.clone())
    }

    fn address(&self, name: &str) -> String {
        self.vips[name].status.address.map(|address| address.to_string()).unwrap_or_default()
    }

    /// `Allocated` or `Ready`, as `True/Reason`.
    fn condition(&self, name: &str, kind: &str) -> String {
        let condition = self.vips[name].status.condition(kind).unwrap();
        format!("{}/{}", if condition.holds { "True" } else { "False" }, condition.reason)
    }
}

/// Conditions with a time, as a store has them.
fn timed(conditions: &[Condition]) -> Vec<Condition> {
    let since = |one: &Condition| one.since.clone().or_else(|| Some("then".to_owned()));
    conditions.iter().map(|one| Condition { since: since(one), ..one.clone() }).collect()
}

/// A controller that has just begun to lead, its store and the time.
struct Run {
    store: Store,
    machine: Controller,
    now: Time,
}

impl Run {
    fn new(store: Store) -> Self {
        let mut run = Self { store, machine: Controller::new(), now: Time::from_millis(1) };
        run.machine.handle(run.now, Input::Leading(true));
        run
    }

    /// Lists everything, and carries out whatever the controller asks for until it asks for no more, and so on with what
    /// the agents do, for `span` of time.
    fn settle_for(&mut self, span: Duration) {
        let end = self.now + span;
        self.store.list(&mut self.machine, self.now);
        loop {
            self.machine.handle_timeout(self.now);
            let mut wrote = false;
            while let Some(effect) = self.machine.poll_effect() {
                match effect {
                    Effect::Write { id, write } => {
                        let outcome = self.store.write(&id, &write);
                        wrote |= matches!(id, Id::View(_));
                        self.machine.handle(self.now, Input::Wrote { id, outcome });
                    }
                    Effect::Tell(notice) => self.store.told.push(format!("{} {:?}", notice.reason, notice.about)),
                }
            }
            if wrote {
                self.store.agents();
                self.store.list(&mut self.machine, self.now);
            }
            assert!(self.store.log.len() < 5_000, "it never settles: {:?}", &self.store.log[4_980..]);
            match self.machine.poll_timeout() {
                Some(due) if due <= end => self.now = self.now.max(due),
                _ => break,
            }
        }
        self.now = end;
    }

    fn settle(&mut self) -> Vec<String> {
        self.store.log.clear();
        self.store.told.clear();
        self.settle_for(Duration::from_secs(10));
        self.store.log.clone()
    }
}

fn settled(store: Store) -> Run {
    let mut run = Run::new(store);
    run.settle();
    run
}

fn fixed(address: &str) -> Wish {
    Wish { address: Some(address.parse().unwrap()), ..Wish::default() }
}

#[test]
fn a_vip_gets_an_address_then_a_node_and_a_second_look_writes_nothing() {
    let mut store = Store::new(&["a", "b"]);
    store.vip("shop/web", Wish::default());
    store.vip("shop/fixed", fixed("198.51.100.99"));
    let mut run = settled(store);
    assert_eq!(run.store.address("shop/web"), "198.51.100.0");
    assert_eq!(run.store.address("shop/fixed"), "198.51.100.99");
    for vip in ["shop/web", "shop/fixed"] {
        assert!(run.store.holder(vip).is_some());
        assert_eq!(run.store.condition(vip, ALLOCATED), "True/Allocated");
        assert_eq!(run.store.condition(vip, READY), "True/Held");
        assert_eq!(run.store.vips[vip].status.generation, Some(1));
    }
    assert_eq!(run.store.holder("shop/web").into_iter().chain(run.store.holder("shop/fixed")).count(), 2);
    assert_eq!(run.store.pools["public"].status.allocated.as_deref(), Some("1"));
    assert_eq!(run.settle(), Vec::<String>::new());
    let mut again = Run::new(run.store);
    assert_eq!(again.settle(), Vec::<String>::new(), "a restart changes nothing");
}

#[test]
fn the_address_and_the_finalizer_are_stored_before_a_node_is_given_it() {
    let mut store = Store::new(&["a"]);
    store.vip("shop/web", Wish::default());
    let mut run = Run::new(store);
    let log = run.settle();
    let at = |what: &str| log.iter().position(|line| line == what).unwrap_or_else(|| panic!("{what}: {log:?}"));
    assert!(at("finalizer of shop/web") < at("view 198.51.100.0-24"));
    assert!(at("status of shop/web") < at("view 198.51.100.0-24"));
}

#[test]
fn many_vips_are_one_patch() {
    let mut store = Store::new(&["a", "b", "c"]);
    store.pool("large", "203.0.113.0/24");
    store.join("203.0.113.0-24", "203.0.113.0/24", "a", "eth1");
    store.join("203.0.113.0-24", "203.0.113.0/24", "b", "eth1");
    for at in 0..200 {
        store.vip(&format!("shop/v{at}"), Wish { pool: Some("large".to_owned()), ..Wish::default() });
    }
    let mut run = Run::new(store);
    let log = run.settle();
    let patches = log.iter().filter(|line| line.starts_with("view")).count();
    assert!(patches <= 10, "{patches} patches");
    let view = &run.store.views["203.0.113.0-24"].view;
    for node in ["a", "b"] {
        assert_eq!(view.held_by(&view.right_of(node).unwrap()).count(), 100);
    }
}

#[test]
fn a_deleted_vip_stays_until_its_last_right_is_closed() {
    let mut store = Store::new(&["a"]);
    store.vip("shop/web", fixed("198.51.100.99"));
    let mut run = settled(store);
    run.store.delete("shop/web");
    run.store.vip("shop/next", fixed("198.51.100.99"));
    run.settle();
    assert!(!run.store.vips.contains_key("shop/web"));
    assert!(run.store.log.contains(&"no finalizer of shop/web".to_owned()));
    assert_eq!(run.store.address("shop/next"), "198.51.100.99");
}

#[test]
fn of_two_that_ask_for_one_address_the_older_keeps_it_and_the_younger_says_why_not() {
    let mut store = Store::new(&["a"]);
    store.vip("shop/first", fixed("198.51.100.99"));
    store.vip("shop/second", fixed("198.51.100.99"));
    let mut run = settled(store);
    assert_eq!(run.store.address("shop/second"), "");
    assert_eq!(run.store.condition("shop/second", ALLOCATED), "False/InUse");
    assert_eq!(run.store.condition("shop/second", READY), "False/NotAllocated");
    assert!(run.store.vips["shop/second"].status.condition(ALLOCATED).unwrap().message.contains("shop/first"));
    assert!(run.store.vips["shop/second"].meta.finalizers.is_empty());
    run.store.delete("shop/first");
    run.settle();
    assert_eq!(run.store.condition("shop/second", READY), "True/Held");
}

#[test]
fn a_pool_that_shrinks_or_goes_takes_nothing_away_and_says_so() {
    let mut store = Store::new(&["a"]);
    store.vip("shop/web", Wish::default());
    let mut run = settled(store);
    run.store.pools.get_mut("public").unwrap().offer.as_mut().unwrap().ranges =
        vec!["198.51.100.6/31".parse().unwrap()];
    run.store.pools.get_mut("public").unwrap().meta.generation = 2;
    run.settle();
    assert_eq!(run.store.address("shop/web"), "198.51.100.0");
    assert_eq!(run.store.condition("shop/web", ALLOCATED), "True/OutsidePools");
    assert_eq!(run.store.condition("shop/web", READY), "True/Held");
    assert_eq!(run.store.told, ["OutsidePools Vip(\"shop/web\")"]);
    assert_eq!(run.store.pools["public"].status.generation, Some(2));
    run.store.pools.clear();
    run.settle();
    assert_eq!(run.store.address("shop/web"), "198.51.100.0");
    run.store.pool("again", "198.51.100.0/29");
    run.settle();
    assert_eq!(run.store.condition("shop/web", ALLOCATED), "True/Allocated");
}

#[test]
fn pools_that_are_full_or_overlap_say_so() {
    let mut store = Store::new(&["a"]);
    store.pool("overlapping", "198.51.100.4-198.51.100.20");
    for at in 0..9 {
        store.vip(&format!("shop/v{at}"), Wish::default());
    }
    let run = settled(store);
    let reason = |pool: &str| run.store.pools[pool].status.conditions[0].reason.clone();
    assert_eq!(reason("public"), "Exhausted");
    assert_eq!(reason("overlapping"), "Overlaps");
    assert_eq!(run.store.condition("shop/v8", ALLOCATED), "False/PoolExhausted");
    assert_eq!(run.store.pools["public"].status.free.as_deref(), Some("0"));
}

#[test]
fn every_way_to_drain_a_node_moves_what_it_has_and_only_that() {
    type Edit = fn(&mut Node);
    let ways: [(Edit, bool); 7] = [
        (|node| node.cordoned = true, true),
        (|node| node.no_execute = vec!["maintenance".to_owned()], true),
        (|node| node.no_execute = vec!["node.kubernetes.io/out-of-service".to_owned()], true),
        (
            |node| {
                node.labels = labels(&[("node.kubernetes.io/exclude-from-external-load-balancers", "")]);
            },
            true,
        ),
        (|node| node.no_execute = vec!["node.kubernetes.io/unreachable".to_owned()], false),
        (|node| node.no_execute = vec!["node.kubernetes.io/not-ready".to_owned()], false),
        (|node| node.ready = Some(false), false),
    ];
    for (at, (edit, moves)) in ways.into_iter().enumerate() {
        let mut store = Store::new(&["a", "b", "c"]);
        for at in 0..6 {
            store.vip(&format!("shop/v{at}"), Wish::default());
        }
        let mut run = settled(store);
        let before: Vec<_> = (0..6).map(|at| run.store.holder(&format!("shop/v{at}"))).collect();
        edit(run.store.nodes.get_mut("a").unwrap());
        run.settle();
        for (vip, before) in before.iter().enumerate() {
            let after = run.store.holder(&format!("shop/v{vip}"));
            assert!(after.is_some());
            let drained = moves && before.as_deref() == Some("a");
            assert_eq!(after != *before, drained, "way {at}: v{vip} from {before:?} to {after:?}");
        }
        run.store.nodes.get_mut("a").unwrap().clone_from(&Node { name: "a".to_owned(), ..Node::default() });
        run.settle();
        assert_eq!(run.store.log.iter().filter(|line| line.starts_with("view")).count(), 0, "nothing comes back");
    }
}

#[test]
fn where_nobody_else_may_have_it_an_address_stays() {
    let mut store = Store::new(&["a", "b"]);
    store.nodes.get_mut("a").unwrap().labels = labels(&[("edge", "true")]);
    store.vip("shop/web", Wish { nodes: Some(selector("edge", "true")), ..Wish::default() });
    let mut run = settled(store);
    run.store.nodes.get_mut("a").unwrap().cordoned = true;
    run.settle();
    assert_eq!(run.store.holder("shop/web").as_deref(), Some("a"));
    run.store.wish("shop/web").nodes = Some(selector("edge", "false"));
    run.settle();
    assert_eq!(run.store.holder("shop/web").as_deref(), Some("a"));
    run.store.nodes.get_mut("b").unwrap().labels = labels(&[("edge", "false")]);
    run.settle();
    assert_eq!(run.store.holder("shop/web").as_deref(), Some("b"));
}

#[test]
fn an_address_goes_back_only_where_that_is_asked_for() {
    let mut store = Store::new(&["a"]);
    let preferred = vec![Preference { weight: 10, selector: selector("rack", "b") }];
    store.vip("shop/stays", Wish { preferred: preferred.clone(), ..Wish::default() });
    store.vip("shop/returns", Wish { preferred, failback: Failback::WhenPreferred, ..Wish::default() });
    let mut run = settled(store);
    run.store.join("198.51.100.0-24", "198.51.100.0/24", "b", "eth0");
    run.store.nodes.get_mut("b").unwrap().labels = labels(&[("rack", "b")]);
    run.settle();
    assert_eq!(run.store.holder("shop/stays").as_deref(), Some("a"));
    assert_eq!(run.store.holder("shop/returns").as_deref(), Some("b"));
}

#[test]
fn the_segment_is_the_one_around_the_address_or_that_of_the_interface() {
    let mut store = Store::new(&["a"]);
    store.join("198.51.100.64-26", "198.51.100.64/26", "a", "eth1");
    store.join("203.0.113.0-24", "203.0.113.0/24", "b", "eth2");
    store.vip("shop/longest", fixed("198.51.100.70"));
    store.vip("shop/named", Wish { interface: Some("eth2".to_owned()), ..fixed("198.51.100.71") });
    store.vip("shop/stray", Wish { interface: Some("eth0".to_owned()), ..fixed("192.0.2.1") });
    store.vip("shop/nowhere", Wish { interface: Some("wlan*".to_owned()), ..fixed("192.0.2.2") });
    let run = settled(store);
    let segment = |name: &str| {
        let uid = &run.store.vips[name].meta.uid;
        run.store.views.iter().find(|(_, view)| view.view.assign.contains_key(uid)).map(|(name, _)| name.as_str())
    };
    assert_eq!(segment("shop/longest"), Some("198.51.100.64-26"));
    assert_eq!(segment("shop/named"), Some("203.0.113.0-24"));
    assert_eq!(segment("shop/stray"), Some("198.51.100.0-24"));
    assert_eq!(segment("shop/nowhere"), None);
    assert_eq!(run.store.condition("shop/nowhere", READY), "False/NoSegment");
}

#[test]
fn who_is_in_no_subnet_waits_for_a_segment_of_its_own() {
    let mut store = Store::new(&["a"]);
    store.vip("shop/stray", fixed("203.0.113.1"));
    let mut run = Run::new(store);
    run.settle_for(STRAY / 2);
    assert_eq!(run.store.holder("shop/stray"), None);
    run.store.join("203.0.113.0-24", "203.0.113.0/24", "b", "eth1");
    run.settle_for(STRAY / 4);
    assert_eq!(run.store.holder("shop/stray").as_deref(), Some("b"));
}

#[test]
fn a_node_without_a_gate_gets_only_what_asks_for_no_gate() {
    let mut store = Store::new(&["a"]);
    store.edit_view("198.51.100.0-24", |view| {
        let mut view = view.clone();
        view.members.get_mut("a").unwrap().gate = Gate::None;
        view
    });
    store.vip("shop/safe", Wish::default());
    store.vip("shop/fast", Wish::default());
    store.wish("shop/fast").gated = false;
    let run = settled(store);
    assert_eq!(run.store.condition("shop/safe", READY), "False/NoNode");
    assert!(run.store.vips["shop/safe"].status.condition(READY).unwrap().message.contains("a: NoGate"));
    assert_eq!(run.store.condition("shop/fast", READY), "True/Held");
}

#[test]
fn an_entry_without_a_virtual_ip_goes_unless_something_cannot_be_read() {
    let mut store = Store::new(&["a"]);
    store.vip("shop/web", Wish::default());
    let mut run = settled(store);
    let lost = run.store.vips.remove("shop/web").unwrap();
    run.store.log.clear();
    run.store.list(&mut run.machine, run.now);
    run.machine.handle(run.now, Input::Unreadable(Some(Id::Vip("shop/web".to_owned()))));
    run.machine.handle_timeout(run.now + WORDS);
    assert!(!run.machine.planned.iter().any(|planned| matches!(planned.write, Write::View(_))));
    run.settle();
    assert!(!run.store.views["198.51.100.0-24"].view.assign.contains_key(&lost.meta.uid));
}

#[test]
fn an_uninstall_takes_the_finalizers_away() {
    let mut store = Store::new(&["a"]);
    store.vip("shop/web", Wish::default());
    let mut run = settled(store);
    run.store.edit_view("198.51.100.0-24", |view| {
        let view = View::withdraw_all().apply(view).unwrap();
        view.leave(&view.right_of("a").unwrap()).unwrap().apply(&view).unwrap()
    });
    run.settle();
    assert!(run.store.views["198.51.100.0-24"].view.assign.is_empty());
    assert!(run.store.vips["shop/web"].meta.finalizers.is_empty());
    assert_eq!(run.store.condition("shop/web", READY), "False/Withdrawn");
}

#[test]
fn a_write_that_fails_is_tried_again_later_and_later() {
    let mut store = Store::new(&["a"]);
    store.vip("shop/web", Wish::default());
    let mut run = Run::new(store);
    run.store.list(&mut run.machine, run.now);
    let mut pauses = Vec::new();
    let mut last = run.now;
    while pauses.len() < 14 {
        run.machine.handle_timeout(run.now);
        while let Some(effect) = run.machine.poll_effect() {
            let Effect::Write { id, write } = effect else { continue };
            let outcome = if matches!(id, Id::Vip(_)) { Outcome::Failed } else { run.store.write(&id, &write) };
            if outcome == Outcome::Failed {
                pauses.push(run.now.since(last));
                last = run.now;
            }
            run.machine.handle(run.now, Input::Wrote { id, outcome });
        }
        run.now = run.machine.poll_timeout().unwrap().max(run.now);
    }
    assert!(pauses[2] >= SHORTEST * 2 && pauses[13] == LONGEST, "{pauses:?}");
}

/// What may happen to a store.
#[derive(Debug, Clone)]
enum Happening {
    Make(usize, Option<u8>),
    Delete(usize),
    Cordon(usize, bool),
    Join(usize),
    Leave(usize),
    Shrink(u8),
    Restart,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => (0usize..12, prop::option::of(0u8..10)).prop_map(|(at, address)| Happening::Make(at, address)),
        2 => (0usize..12).prop_map(Happening::Delete),
        1 => (0usize..3, any::<bool>()).prop_map(|(at, cordoned)| Happening::Cordon(at, cordoned)),
        1 => (0usize..3).prop_map(Happening::Join),
        1 => (0usize..3).prop_map(Happening::Leave),
        1 => (0u8..8).prop_map(Happening::Shrink),
        1 => Just(Happening::Restart),
    ]
}

const NODES: [&str; 3] = ["a", "b", "c"];
const SEGMENT: &str = "198.51.100.0-24";

fn happen(run: &mut Run, what: &Happening) {
    let store = &mut run.store;
    match what {
        Happening::Make(at, address) => {
            let name = format!("shop/v{at}");
            if !store.vips.contains_key(&name) {
                let address = address.map(|last| IpAddr::from([198, 51, 100, last]));
                store.vip(&name, Wish { address, ..Wish::default() });
            }
        }
        Happening::Delete(at) => {
            let name = format!("shop/v{at}");
            if store.vips.contains_key(&name) {
                store.delete(&name);
            }
        }
        Happening::Cordon(at, cordoned) => {
            if let Some(node) = store.nodes.get_mut(NODES[*at]) {
                node.cordoned = *cordoned;
            }
        }
        Happening::Join(at) => store.join(SEGMENT, "198.51.100.0/24", NODES[*at], "eth0"),
        Happening::Leave(at) => {
            if let Some(right) = store.views.get(SEGMENT).and_then(|view| view.view.right_of(NODES[*at])) {
                store.edit_view(SEGMENT, |view| view.leave(&right).unwrap().apply(view).unwrap());
            }
        }
        Happening::Shrink(last) => {
            let range = format!("198.51.100.0-198.51.100.{last}").parse().unwrap();
            store.pools.get_mut("public").unwrap().offer.as_mut().unwrap().ranges = vec![range];
        }
        Happening::Restart => {
            run.machine = Controller::new();
            run.machine.handle(run.now, Input::Leading(true));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    /// Whatever happens, in whatever order and however far the controller had come: no address twice, nothing moves
    /// that need not, and once it has settled another look writes nothing.
    #[test]
    fn it_settles_and_nothing_moves_that_need_not(
        steps in prop::collection::vec((happening(), 0u64..3_000), 1..25),
    ) {
        let mut run = Run::new(Store::new(&["a", "b"]));
        for (what, pause) in steps {
            let before: Vec<(String, String, IpAddr)> = run
                .store
                .vips
                .iter()
                .filter(|(_, vip)| !vip.meta.deleting)
                .filter_map(|(name, vip)| Some((name.clone(), run.store.holder(name)?, vip.status.address?)))
                .collect();
            happen(&mut run, &what);
            run.settle_for(Duration::from_millis(pause));
            for (name, node, address) in before {
                let Some(vip) = run.store.vips.get(&name).filter(|vip| !vip.meta.deleting) else { continue };
                prop_assert_eq!(vip.status.address, Some(address), "{} has another address", name);
                let sound = run.store.views[SEGMENT].view.right_of(&node).is_some() && !run.store.nodes[&node].cordoned;
                if sound {
                    prop_assert_eq!(run.store.holder(&name), Some(node), "{} moved", name);
                }
            }
            let addresses: Vec<IpAddr> = run.store.vips.values().filter_map(|vip| vip.status.address).collect();
            prop_assert_eq!(addresses.iter().collect::<BTreeSet<_>>().len(), addresses.len(), "an address twice");
        }
        run.settle();
        prop_assert_eq!(run.settle(), Vec::<String>::new());
        let wanting = run.store.vips.values().filter(|vip| vip.status.address.is_some());
        let able = run.store.views[SEGMENT].view.up_members().any(|(name, _)| !run.store.nodes[name].cordoned);
        for vip in wanting.filter(|_| able) {
            prop_assert!(run.store.holder(&vip.meta.name).is_some(), "{} has no node", vip.meta.name);
        }
    }
}
