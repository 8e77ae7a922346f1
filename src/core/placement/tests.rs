//! Placement by tables, and its properties.

use proptest::prelude::*;

use super::*;

fn node(name: &str, rack: &str) -> Candidate {
    Candidate { name: name.to_owned(), labels: [("rack".to_owned(), rack.to_owned())].into(), barrier: None }
}

fn rack(value: &str) -> Selector {
    Selector { match_labels: [("rack".to_owned(), value.to_owned())].into(), match_expressions: Vec::new() }
}

fn vip(uid: &str) -> Vip {
    Vip { uid: uid.to_owned(), ..Vip::default() }
}

fn load(pairs: &[(&str, usize)]) -> Load {
    pairs.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

#[test]
fn weight_goes_before_load_and_load_before_the_hash() {
    let nodes = [node("a", "x"), node("b", "y"), node("c", "y")];
    let choice = |vip: &Vip, load: &Load| choose(vip, &nodes, load).node.map(str::to_owned).unwrap();
    let heavy = load(&[("a", 9), ("b", 1), ("c", 2)]);
    assert_eq!(choice(&vip("1"), &heavy), "b");
    let prefers_x = Vip { preferred: vec![Preference { weight: 1, selector: rack("x") }], ..vip("1") };
    assert_eq!(choice(&prefers_x, &heavy), "a");
    let others = choose(&prefers_x, &nodes, &heavy).others;
    assert_eq!(others, [("b", Rejection::LessPreferred), ("c", Rejection::LessPreferred)].into());
    let others = choose(&vip("1"), &nodes, &heavy).others;
    assert_eq!(others, [("a", Rejection::MoreLoaded), ("c", Rejection::MoreLoaded)].into());
}

#[test]
fn weights_that_match_add_up() {
    let nodes = [node("a", "x"), node("b", "y")];
    let preferred = vec![
        Preference { weight: 50, selector: rack("x") },
        Preference { weight: 30, selector: rack("y") },
        Preference { weight: 30, selector: Selector::default() },
        Preference { weight: 21, selector: rack("y") },
    ];
    assert_eq!(choose(&Vip { preferred, ..vip("1") }, &nodes, &Load::new()).node, Some("b"));
}

#[test]
fn every_barrier_is_named() {
    let mut nodes = vec![node("a", "x"), node("b", "y"), node("c", "x"), node("d", "x"), node("e", "x")];
    nodes[2].barrier = Some(Rejection::Cordoned);
    nodes[4].barrier = Some(Rejection::NotReady);
    let vip =
        Vip { node_selector: Some(rack("x")), barred: [("d".to_owned(), Rejection::Unhealthy)].into(), ..vip("1") };
    let choice = choose(&vip, &nodes, &Load::new());
    assert_eq!(choice.node, Some("a"));
    let expected = [
        ("b", Rejection::NodeSelector),
        ("c", Rejection::Cordoned),
        ("d", Rejection::Unhealthy),
        ("e", Rejection::NotReady),
    ];
    assert_eq!(choice.others, expected.into());
}

#[test]
fn a_holder_stays_through_not_ready_and_leaves_a_cordoned_node() {
    let mut nodes = [node("a", "x"), node("b", "x")];
    let held = Vip { holder: Some("a".to_owned()), ..vip("1") };
    let busy = load(&[("a", 100)]);
    for (barrier, expected) in [
        (None, "a"),
        (Some(Rejection::NotReady), "a"),
        (Some(Rejection::Cordoned), "b"),
        (Some(Rejection::Draining), "b"),
        (Some(Rejection::Fenced), "b"),
    ] {
        nodes[0].barrier = barrier;
        assert_eq!(choose(&held, &nodes, &busy).node, Some(expected), "{barrier:?}");
    }
}

#[test]
fn failback_moves_to_strictly_greater_weight_only_and_only_if_asked() {
    let nodes = [node("a", "x"), node("b", "y"), node("c", "y")];
    let prefer = |rack_name: &str| vec![Preference { weight: 10, selector: rack(rack_name) }];
    for (failback, preferred, expected) in [
        (Failback::Never, prefer("x"), "b"),
        (Failback::WhenPreferred, prefer("x"), "a"),
        (Failback::WhenPreferred, prefer("y"), "b"),
        (Failback::WhenPreferred, Vec::new(), "b"),
    ] {
        let held = Vip { holder: Some("b".to_owned()), failback, preferred: preferred.clone(), ..vip("1") };
        assert_eq!(choose(&held, &nodes, &Load::new()).node, Some(expected), "{failback:?} {preferred:?}");
    }
}

#[test]
fn nobody_eligible_is_no_node_and_a_reason_for_each() {
    let mut nodes = [node("a", "x"), node("b", "y")];
    nodes[0].barrier = Some(Rejection::Left);
    let choice = choose(&Vip { node_selector: Some(rack("x")), ..vip("1") }, &nodes, &Load::new()).others;
    assert_eq!(choice, [("a", Rejection::Left), ("b", Rejection::NodeSelector)].into());
}

#[derive(Debug, Clone)]
struct Case {
    vip: Vip,
    nodes: Vec<Candidate>,
    load: Load,
}

fn barrier() -> impl Strategy<Value = Option<Rejection>> {
    prop_oneof![
        4 => Just(None),
        1 => Just(Some(Rejection::Cordoned)),
        1 => Just(Some(Rejection::NotReady)),
        1 => Just(Some(Rejection::Silent)),
    ]
}

fn case() -> impl Strategy<Value = Case> {
    let nodes = prop::collection::vec(("[xyz]", barrier(), 0usize..4), 1..7);
    let preferred = prop::collection::vec((1u32..4, "[xyz]"), 0..3);
    (nodes, preferred, any::<bool>(), prop::option::of("[xyz]"), prop::option::of(0usize..8), any::<u16>()).prop_map(
        |(nodes, preferred, back, selector, holder, uid)| {
            let name = |at: usize| format!("n{at}");
            Case {
                load: nodes.iter().enumerate().map(|(at, node)| (name(at), node.2)).collect(),
                nodes: nodes
                    .iter()
                    .enumerate()
                    .map(|(at, (rack, barrier, _))| Candidate { barrier: *barrier, ..node(&name(at), rack) })
                    .collect(),
                vip: Vip {
                    node_selector: selector.map(|value| rack(&value)),
                    preferred: preferred
                        .into_iter()
                        .map(|(weight, value)| Preference { weight, selector: rack(&value) })
                        .collect(),
                    failback: if back { Failback::WhenPreferred } else { Failback::Never },
                    holder: holder.map(name),
                    ..vip(&uid.to_string())
                },
            }
        },
    )
}

proptest! {
    #[test]
    fn order_does_not_matter_and_every_node_has_its_say(case in case(), turn in 0usize..7) {
        let chosen = choose(&case.vip, &case.nodes, &case.load);
        let mut turned = case.nodes.clone();
        let by = turn % turned.len();
        turned.rotate_left(by);
        turned.reverse();
        prop_assert_eq!(&chosen, &choose(&case.vip, &turned, &case.load));
        prop_assert_eq!(chosen.others.len() + usize::from(chosen.node.is_some()), case.nodes.len());
        let lost = chosen.others.values().any(|reason| reason.is_eligible());
        prop_assert!(chosen.node.is_some() || !lost, "an eligible node was passed over");
    }

    #[test]
    fn a_second_choice_keeps_the_first(case in case(), weight in 0usize..9) {
        if let Some(node) = choose(&case.vip, &case.nodes, &case.load).node {
            let held = Vip { holder: Some(node.to_owned()), ..case.vip.clone() };
            let mut load = case.load.clone();
            *load.entry(node.to_owned()).or_default() += weight;
            prop_assert_eq!(choose(&held, &case.nodes, &load).node, Some(node));
        }
    }

    #[test]
    fn a_loser_that_goes_changes_nothing(case in case(), at in 0usize..7) {
        let chosen = choose(&case.vip, &case.nodes, &case.load).node;
        let mut fewer = case.nodes.clone();
        let gone = fewer.remove(at % fewer.len());
        if chosen != Some(gone.name.as_str()) {
            prop_assert_eq!(choose(&case.vip, &fewer, &case.load).node, chosen);
        }
    }

    #[test]
    fn without_failback_a_holder_that_may_keep_it_does(case in case()) {
        let holder = case.nodes.iter().find(|node| Some(&node.name) == case.vip.holder.as_ref());
        if let Some(holder) = holder.filter(|_| case.vip.failback == Failback::Never) {
            let chosen = choose(&case.vip, &case.nodes, &case.load);
            let keeps = rejection(&case.vip, holder).is_none_or(Rejection::keeps);
            prop_assert_eq!(keeps, chosen.node == Some(holder.name.as_str()));
        }
    }

    #[test]
    fn equal_nodes_share_evenly(count in 1usize..5) {
        let nodes: Vec<_> = (0..count).map(|at| node(&format!("n{at}"), "x")).collect();
        let mut load = Load::new();
        for uid in 0..count * 20 {
            let chosen = choose(&vip(&uid.to_string()), &nodes, &load).node.unwrap().to_owned();
            *load.entry(chosen).or_default() += 1;
        }
        prop_assert!(load.values().all(|held| *held == 20), "{:?}", load);
    }
}
