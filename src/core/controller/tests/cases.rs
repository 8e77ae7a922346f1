//! What becomes of pools, addresses and nodes, case by case.

use super::*;
use crate::core::ipam::Family;
use crate::core::placement::{Failback, Preference};

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

#[test]
fn a_service_owns_one_vip_a_family_and_says_its_addresses() {
    let mut store = Store::new(&["a", "b"]);
    let meta = store.meta("shop/web");
    let families = vec![Family::V4, Family::V6];
    let service = Service { meta, families, labels: labels(&[("app", "web")]), ..Service::default() };
    store.services.insert("shop/web".to_owned(), service);
    let mut run = settled(store);
    let status = |run: &Run| run.store.services["shop/web"].status.clone();
    assert_eq!(run.store.address("shop/web-ipv4"), "198.51.100.0");
    assert_eq!(status(&run).ingress, [IpAddr::from([198, 51, 100, 0])]);
    let condition = status(&run).condition.unwrap();
    assert_eq!((condition.holds, condition.reason.as_str()), (false, "NoAddress"));
    assert!(condition.message.contains("shop/web-ipv6"), "{}", condition.message);

    run.store.pool("six", "2001:db8::/126");
    run.store.pools.get_mut("six").unwrap().offer.as_mut().unwrap().services = Some(selector("app", "web"));
    run.store.join("six", "2001:db8::/64", "a", "eth0");
    run.settle();
    assert_eq!(status(&run).ingress.len(), 2);
    assert!(status(&run).condition.unwrap().holds);
    assert_eq!(run.settle(), Vec::<String>::new());

    run.store.services.clear();
    run.settle();
    assert!(run.store.vips.is_empty(), "{:?}", run.store.vips.keys());
}

#[test]
fn a_name_that_is_taken_is_left_alone_and_said() {
    let mut store = Store::new(&["a"]);
    store.vip("shop/web-ipv4", Wish::default());
    let meta = store.meta("shop/web");
    let service = Service { meta, families: vec![Family::V4], ..Service::default() };
    store.services.insert("shop/web".to_owned(), service);
    let run = settled(store);
    let status = &run.store.services["shop/web"].status;
    assert_eq!(status.condition.as_ref().unwrap().reason, "NameTaken");
    assert!(status.ingress.is_empty());
    assert_eq!(run.store.vips.len(), 1);
}

#[test]
fn with_local_traffic_only_nodes_with_a_ready_endpoint_get_the_address() {
    let mut store = Store::new(&["a", "b", "c"]);
    let meta = store.meta("shop/web");
    let service = Service { meta, families: vec![Family::V4], local: true, ..Service::default() };
    store.services.insert("shop/web".to_owned(), service);
    let on = |nodes: &[&str]| Endpoints {
        name: "shop/web-x".to_owned(),
        service: "shop/web".to_owned(),
        nodes: nodes.iter().map(|node| (*node).to_owned()).collect(),
    };
    let mut run = settled(store);
    assert_eq!(run.store.holder("shop/web-ipv4"), None);
    for nodes in [&["b"][..], &["c"], &["a", "c"]] {
        run.store.endpoints.insert("x".to_owned(), on(nodes));
        run.settle();
        let holder = run.store.holder("shop/web-ipv4").unwrap();
        assert!(nodes.contains(&holder.as_str()), "{holder} has no endpoint");
    }
    run.store.endpoints.clear();
    run.settle();
    assert_eq!(run.store.holder("shop/web-ipv4").as_deref(), Some("c"), "with no endpoint anywhere it stays");
}
