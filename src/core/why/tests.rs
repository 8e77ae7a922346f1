use std::collections::BTreeMap;

use super::*;
use crate::core::controller::{Condition, Listing, Meta, Segment, Status, Vip, Wish, standing};
use crate::core::failover::Pulse;
use crate::core::health::Record;
use crate::core::view::{Grant, Registration};

const SEGMENT: &str = "198.51.100.0-24";

fn registration(node: &str) -> Registration {
    Registration {
        node: node.to_owned(),
        mode: Mode::Peers,
        address: [198, 51, 100, 1].into(),
        port: 9473,
        mac: None,
        interface: "eth0".to_owned(),
        boot_id: "boot".to_owned(),
        gate: Gate::Bpf,
        rho: 10_000,
    }
}

/// A view with these members, the first of which has the VIPs `uids`.
fn view(nodes: &[&str], uids: &[&str]) -> View {
    let joined = nodes.iter().fold(View::default(), |view, node| {
        let (_, patch) = view.register(&registration(node)).unwrap();
        patch.apply(&view).unwrap()
    });
    let joined = joined.record_prefix("198.51.100.0/24", nodes[0]).apply(&joined).unwrap();
    let to = joined.right_of(nodes[0]).unwrap();
    let grant = |uid: &&str| Grant { uid: (*uid).to_owned(), name: format!("shop/{uid}"), to: to.clone() };
    let grants: Vec<Grant> = uids.iter().map(grant).collect();
    joined.grant(&grants).unwrap().apply(&joined).unwrap()
}

fn vip(uid: &str, wish: Wish) -> Vip {
    let ready = Condition {
        kind: READY.to_owned(),
        holds: true,
        reason: "Held".to_owned(),
        message: "a answers for it on eth0".to_owned(),
        generation: 1,
        since: None,
    };
    Vip {
        meta: Meta { uid: uid.to_owned(), name: format!("shop/{uid}"), ..Meta::default() },
        wish: Ok(wish),
        status: Status { address: Some([198, 51, 100, 20].into()), conditions: vec![ready], generation: Some(1) },
        holder: None,
        owner: None,
        health: BTreeMap::new(),
    }
}

fn node(name: &str) -> Node {
    Node { name: name.to_owned(), ..Node::default() }
}

fn stands(vips: Vec<Vip>, nodes: Vec<Node>, view: View) -> Standing {
    let meta = Meta { name: SEGMENT.to_owned(), ..Meta::default() };
    let listings = vec![
        Listing::Vips(vips),
        Listing::Pools(Vec::new()),
        Listing::Nodes(nodes),
        Listing::Views(vec![Segment { meta, view }]),
    ];
    standing(listings, "shop/web").unwrap()
}

/// What an agent says that hears these peers, and has not heard those for a while.
fn agent(node: &str, heard: &[&str], silent: &[&str]) -> AgentState {
    let peer = |silent: u64| PeerPulse { silent: Some(Duration::from_millis(silent)), ..PeerPulse::default() };
    let peers = heard.iter().map(|name| (*name, peer(40))).chain(silent.iter().map(|name| (*name, peer(900))));
    let pulse = Pulse {
        right: None,
        mode: Mode::Peers,
        view_version: 7,
        gate_left: Some(Duration::from_millis(430)),
        evidence_age: Some(Duration::from_millis(70)),
        takeover: Duration::from_millis(531),
        suspicion: Duration::from_millis(350),
        vips: BTreeMap::new(),
        peers: peers.map(|(name, peer)| (name.to_owned(), peer)).collect(),
    };
    let segment = SegmentState { pulse, margin: Some(Duration::from_millis(390)) };
    AgentState {
        node: node.to_owned(),
        guarded: true,
        segments: [(SEGMENT.to_owned(), segment)].into(),
        vips: BTreeMap::new(),
    }
}

fn reasons(explanation: &Explanation) -> Vec<(&str, Rejection)> {
    explanation.others.iter().map(|(name, other)| (name.as_str(), other.reason)).collect()
}

#[test]
fn each_other_node_has_the_reason_that_keeps_it_away() {
    let nodes = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let mut view = view(&nodes, &["web"]);
    view.members.get_mut("d").unwrap().gate = Gate::None;
    view.members.get_mut("e").unwrap().interface = "wlan0".to_owned();
    view.members.get_mut("f").unwrap().state = State::Fenced;
    let mut seen: Vec<Node> = nodes.iter().map(|name| node(name)).collect();
    seen[1].cordoned = true;
    seen[2].no_execute = vec!["maintenance".to_owned()];
    seen.push(node("elsewhere"));
    let wish = Wish { interface: Some("eth*".to_owned()), gated: true, checked: true, ..Wish::default() };
    let mut web = vip("web", wish);
    web.health.insert("g".to_owned(), Record { failing: true, failures: 1 });
    let said = [("a".to_owned(), Ok(agent("a", &[], &["h"])))].into();
    let explanation = explain(&stands(vec![web], seen, view), &said);
    assert_eq!(
        reasons(&explanation),
        [
            ("b", Rejection::Cordoned),
            ("c", Rejection::Tainted),
            ("d", Rejection::NoGate),
            ("e", Rejection::NoInterface),
            ("elsewhere", Rejection::NotOnSegment),
            ("f", Rejection::Fenced),
            ("g", Rejection::Unhealthy),
            ("h", Rejection::Silent),
        ]
    );
    // A check that fails is better than nobody.
    assert_eq!(explanation.if_lost.unwrap().successor.as_deref(), Some("g"));
}

#[test]
fn the_successor_is_the_one_that_the_fencer_would_choose() {
    let view = view(&["a", "b", "c"], &["other", "web"]);
    let vips = vec![vip("web", Wish::default()), vip("other", Wish::default())];
    let standing = stands(vips, ["a", "b", "c"].map(node).into(), view.clone());
    let said: Said = [("a".to_owned(), Ok(agent("a", &["b", "c"], &[])))].into();
    let explanation = explain(&standing, &said);
    let lost = explanation.if_lost.clone().unwrap();
    let (first, second) = (placement::Vip { uid: "other".into(), ..placement::Vip::default() }, "web");
    let candidates: Vec<Candidate> = standing.candidates.iter().filter(|c| c.name != "a").cloned().collect();
    let both = [first, placement::Vip { uid: second.into(), ..placement::Vip::default() }];
    let chosen = placement::successors(both.into_iter(), &candidates, &standing.load);
    assert_eq!(lost.successor.as_deref(), Some(chosen["web"]));
    assert_ne!(chosen["web"], chosen["other"], "each that is given counts for the next");
    assert_eq!(lost.within, Some(Duration::from_millis(531)));
    let held = explanation.others.values().filter(|other| other.reason == Rejection::HeldElsewhere).count();
    assert_eq!((explanation.others.len(), held), (2, 1), "one of them would be chosen if nobody had it");
}

#[test]
fn whoever_is_alone_has_no_successor_and_api_mode_takes_longer() {
    let mut alone = view(&["a"], &["web"]);
    alone.members.get_mut("a").unwrap().mode = Mode::Solo;
    let explanation = explain(&stands(vec![vip("web", Wish::default())], vec![node("a")], alone), &Said::new());
    assert_eq!(explanation.if_lost.unwrap().successor, None);
    assert_eq!(explanation.holder.unwrap().agent, HolderAgent::Silent("it was not asked".to_owned()));
    let mut two = view(&["a", "b"], &["web"]);
    two.members.get_mut("a").unwrap().mode = Mode::Api;
    let said: Said =
        [("b".to_owned(), Ok(agent("b", &["a"], &[]))), ("a".to_owned(), Err("refused".to_owned()))].into();
    let explanation = explain(&stands(vec![vip("web", Wish::default())], Vec::new(), two), &said);
    let lost = explanation.if_lost.unwrap();
    assert_eq!((lost.successor.as_deref(), lost.within), (Some("b"), Some(Duration::from_millis(3_531))));
    assert_eq!(explanation.holder.unwrap().agent, HolderAgent::Silent("refused".to_owned()));
}

#[test]
fn an_address_that_nobody_has_is_explained_by_its_nodes() {
    let mut view = view(&["a"], &[]);
    view.members.get_mut("a").unwrap().draining = true;
    let explanation = explain(&stands(vec![vip("web", Wish::default())], vec![node("b")], view), &Said::new());
    assert_eq!(
        (explanation.segment.as_deref(), &explanation.holder, &explanation.if_lost),
        (Some(SEGMENT), &None, &None)
    );
    assert_eq!(reasons(&explanation), [("a", Rejection::Draining), ("b", Rejection::NotOnSegment)]);
}
