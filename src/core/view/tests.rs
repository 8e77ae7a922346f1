use std::collections::{BTreeMap, BTreeSet};

use super::*;

fn registration(node: &str, mode: Mode) -> Registration {
    Registration {
        node: node.to_owned(),
        mode,
        address: IpAddr::from([192, 0, 2, 1]),
        port: 9473,
        mac: Some(Mac([2, 0, 0, 0, 0, 1])),
        interface: "eth0".to_owned(),
        boot_id: "boot".to_owned(),
        gate: Gate::Bpf,
        rho: 10_000,
    }
}

fn with_members(nodes: &[&str]) -> View {
    nodes.iter().fold(View::default(), |view, node| {
        let (_, patch) = view.register(&registration(node, Mode::Peers)).unwrap();
        patch.apply(&view).unwrap()
    })
}

fn right(view: &View, node: &str) -> Right {
    view.right_of(node).unwrap()
}

fn granted(view: &View, uid: &str, node: &str) -> View {
    let grant = Grant { uid: uid.to_owned(), name: format!("default/{uid}"), to: right(view, node) };
    view.grant(&[grant]).unwrap().apply(view).unwrap()
}

fn fenced(view: &View, victim: &str, by: &str, successors: &[(&str, &str)]) -> Result<View, PatchError> {
    let successors = successors.iter().map(|(uid, node)| ((*uid).to_owned(), right(view, node))).collect();
    view.fence(&right(view, victim), &right(view, by), &successors).unwrap().apply(view)
}

#[test]
fn a_right_reads_what_it_writes_and_refuses_the_rest() {
    assert_eq!("a/b/3".parse(), Ok(Right::new("a/b", 3)));
    assert_eq!(Right::new("node", 12).to_string(), "node/12");
    for wrong in ["", "a", "a/", "/3", "a/-1", "a/x"] {
        assert!(wrong.parse::<Right>().is_err(), "{wrong}");
    }
}

#[test]
fn pointers_escape_what_rfc_6901_says() {
    assert_eq!(pointer(&["fences", "a/3"]), "/fences/a~13");
    assert_eq!(pointer(&["m~n", "~1"]), "/m~0n/~01");
}

#[test]
fn any_quorum_and_any_closing_set_of_the_watchers_share_one() {
    assert_eq!([1, 2, 3].map(quorum), [1, 1, 2]);
    for watchers in 1..=7 {
        assert_eq!(quorum(watchers) + closing_count(watchers), watchers + 1);
    }
}

#[test]
fn the_watchers_are_the_next_on_the_ring_that_are_up() {
    let view = with_members(&["a", "b", "c", "d", "e"]);
    assert_eq!(view.watchers_for("d").into_keys().collect::<Vec<_>>(), ["a", "b", "e"]);
    let view = fenced(&view, "e", "a", &[]).unwrap();
    assert_eq!(view.watchers_for("d").into_keys().collect::<Vec<_>>(), ["a", "b", "c"]);
}

#[test]
fn a_view_is_the_same_after_json() {
    let view = granted(&with_members(&["a", "b"]), "u1", "a");
    let view = fenced(&view, "a", "b", &[("u1", "b")]).unwrap();
    let text = serde_json::to_string(&view).unwrap();
    assert!(text.contains("modeSeq") && text.contains("\"a/1\":\"Fenced\""), "{text}");
    assert_eq!(serde_json::from_str::<View>(&text).unwrap(), view);
    assert_eq!(serde_json::from_str::<View>("{}").unwrap(), View::default());
}

#[test]
fn a_registration_takes_a_new_epoch_and_keeps_what_was_not_fenced() {
    let view = granted(&with_members(&["a", "b"]), "u1", "a");
    let (new, patch) = view.register(&registration("a", Mode::Peers)).unwrap();
    let after = patch.apply(&view).unwrap();
    assert!(new.epoch > right(&view, "b").epoch);
    assert_eq!(after.assign["u1"].holder, Some(new));
    assert!(after.is_over(&right(&view, "a")));

    let fenced = fenced(&view, "a", "b", &[("u1", "b")]).unwrap();
    assert!(patch.apply(&fenced).is_err(), "a registration from before the fence");
    let (new, patch) = fenced.register(&registration("a", Mode::Peers)).unwrap();
    let after = patch.apply(&fenced).unwrap();
    assert_eq!(after.assign["u1"].holder, Some(right(&view, "b")));
    assert_eq!(after.right_of("a"), Some(new));
}

#[test]
fn of_two_registrations_from_one_version_one_applies() {
    let view = with_members(&["a"]);
    let (_, b) = view.register(&registration("b", Mode::Peers)).unwrap();
    let (_, c) = view.register(&registration("c", Mode::Peers)).unwrap();
    assert!(c.apply(&b.apply(&view).unwrap()).is_err());
}

#[test]
fn solo_is_for_who_is_alone_in_the_very_version_it_applies_to() {
    let empty = View::default();
    let (right, solo) = empty.register(&registration("a", Mode::Solo)).unwrap();
    let view = solo.apply(&empty).unwrap();
    assert_eq!(view.up(&right).unwrap().mode, Mode::Solo);
    let (_, joined) = empty.register(&registration("b", Mode::Peers)).unwrap();
    assert!(solo.apply(&joined.apply(&empty).unwrap()).is_err());
    let two = with_members(&["a", "b"]);
    assert!(matches!(two.register(&registration("c", Mode::Solo)), Err(ViewError::NotAlone { .. })));
    let lonely = fenced(&granted(&two, "u1", "a"), "a", "b", &[]).unwrap();
    let change = lonely.change_mode(&lonely.right_of("b").unwrap(), Mode::Solo, &BTreeMap::new());
    assert!(matches!(change, Err(ViewError::NotAlone { .. })), "u1 still waits for a");
}

#[test]
fn a_mode_change_that_comes_late_does_not_apply() {
    let view = with_members(&["a", "b"]);
    let a = right(&view, "a");
    let late = view.change_mode(&a, Mode::Api, &view.members["a"].watchers).unwrap();
    let peers = view.change_mode_and_gate(&a, Mode::Peers, &view.members["a"].watchers, Gate::Nft).unwrap();
    let view = peers.apply(&view).unwrap();
    assert_eq!(view.members["a"].gate, Gate::Nft);
    assert!(late.apply(&view).is_err());
    assert!(matches!(view.renew(&a), Err(ViewError::WrongMode { .. })));
    let api = view.change_mode(&a, Mode::Api, &view.members["a"].watchers).unwrap().apply(&view).unwrap();
    let renewal = api.renew(&a).unwrap();
    assert_eq!(renewal.apply(&api).unwrap().members["a"].renewed, 1);
    assert!(renewal.apply(&fenced(&api, "a", "b", &[]).unwrap()).is_err());
}

#[test]
fn a_grant_does_not_overwrite_another_from_the_same_version() {
    let view = with_members(&["a", "b"]);
    let grant =
        |node: &str| view.grant(&[Grant { uid: "u1".into(), name: "n/u1".into(), to: right(&view, node) }]).unwrap();
    let first = grant("a").apply(&view).unwrap();
    assert!(grant("b").apply(&first).is_err());
    assert!(matches!(
        first.grant(&[Grant { uid: "u1".into(), name: "n/u1".into(), to: right(&view, "b") }]),
        Err(ViewError::HeldBy { .. })
    ));
}

#[test]
fn a_fence_moves_everything_or_does_not_apply() {
    let view = granted(&granted(&with_members(&["a", "b", "c"]), "u1", "a"), "u2", "a");
    let stale = view.fence(&right(&view, "a"), &right(&view, "b"), &BTreeMap::new()).unwrap();
    let newer = granted(&view, "u3", "a");
    assert!(stale.apply(&newer).is_err(), "it would leave u3 with a fenced holder");

    let after = fenced(&newer, "a", "b", &[("u1", "b"), ("u2", "c")]).unwrap();
    let a = right(&view, "a");
    assert_eq!(after.assign["u1"].holder, after.right_of("b"));
    assert_eq!(after.assign["u2"].holder, after.right_of("c"));
    assert_eq!(after.assign["u3"].holder, None);
    assert!(after.assign.values().all(|entry| entry.after == BTreeMap::from([(a.clone(), After::Fenced)])));
    assert_eq!(after.fences[&a].by, right(&view, "b"));
    assert!(matches!(after.up(&a), Err(ViewError::NotUp { .. })));
}

#[test]
fn of_two_nodes_that_fence_each_other_one_succeeds() {
    let view = granted(&granted(&with_members(&["a", "b"]), "u1", "a"), "u2", "b");
    let (a, b) = (right(&view, "a"), right(&view, "b"));
    let by_a = view.fence(&b, &a, &BTreeMap::from([("u2".to_owned(), a.clone())])).unwrap();
    let by_b = view.fence(&a, &b, &BTreeMap::from([("u1".to_owned(), b.clone())])).unwrap();
    assert!(by_b.apply(&by_a.apply(&view).unwrap()).is_err());
    assert!(by_a.apply(&by_b.apply(&view).unwrap()).is_err());
}

#[test]
fn nobody_succeeds_itself_or_a_fenced_one() {
    let view = granted(&with_members(&["a", "b", "c"]), "u1", "a");
    let (a, b, c) = (right(&view, "a"), right(&view, "b"), right(&view, "c"));
    let own = view.fence(&a, &b, &BTreeMap::from([("u1".to_owned(), Right::new("a", 9))]));
    assert!(matches!(own, Err(ViewError::OwnSuccessor(_))));
    let to_c = view.fence(&a, &b, &BTreeMap::from([("u1".to_owned(), c)])).unwrap();
    assert!(to_c.apply(&fenced(&view, "c", "b", &[]).unwrap()).is_err());
}

#[test]
fn a_move_waits_for_the_former_holder_and_trimming_ends_the_wait() {
    let view = granted(&with_members(&["a", "b", "c"]), "u1", "a");
    let (a, b) = (right(&view, "a"), right(&view, "b"));
    let moved = view.move_to("u1", &a, &b).unwrap().apply(&view).unwrap();
    assert_eq!(moved.assign["u1"].after, BTreeMap::from([(a.clone(), After::Moved)]));
    assert!(matches!(moved.move_to("u1", &a, &b), Err(ViewError::HeldBy { .. })));
    let fenced = fenced(&moved, "a", "c", &[]).unwrap();
    assert_eq!(fenced.assign["u1"].holder, Some(b.clone()));
    let closed = BTreeMap::from([("u1".to_owned(), BTreeSet::from([a]))]);
    let trimmed = fenced.trim(&b, &closed).unwrap().apply(&fenced).unwrap();
    assert!(trimmed.assign["u1"].after.is_empty() && trimmed.fences.is_empty());
}

#[test]
fn an_address_is_free_only_when_everything_before_it_is_closed() {
    let view = granted(&with_members(&["a", "b"]), "u1", "a");
    let view = view.release("u1").unwrap().apply(&view).unwrap();
    let (a, b) = (right(&view, "a"), right(&view, "b"));
    let view = fenced(&view, "a", "b", &[("u1", "b")]).unwrap();
    assert!(view.assign["u1"].releasing);
    assert!(matches!(view.remove("u1", Some(&b), &BTreeSet::new()), Err(ViewError::NotClosed { .. })));
    let free = view.remove("u1", Some(&b), &BTreeSet::from([a.clone()])).unwrap().apply(&view).unwrap();
    assert!(free.assign.is_empty());
    let free = free.drop_fence(&a).unwrap().apply(&free).unwrap();
    assert!(free.forget("a").unwrap().apply(&free).unwrap().members.keys().eq(["b"]));
    assert!(free.forget("b").is_err());
}

#[test]
fn who_leaves_leaves_its_addresses_to_be_granted() {
    let view = granted(&with_members(&["a", "b"]), "u1", "a");
    let a = right(&view, "a");
    let view = view.leave(&a).unwrap().apply(&view).unwrap();
    assert!(view.is_over(&a) && view.assign["u1"].holder.is_none());
    let granted = granted(&view, "u1", "b");
    assert_eq!(granted.assign["u1"].holder, granted.right_of("b"));
}

#[test]
fn many_steps_are_one_patch_that_names_each_right_once() {
    let view = granted(&granted(&granted(&with_members(&["a", "b"]), "u1", "a"), "u2", "a"), "u3", "a");
    let (a, b) = (right(&view, "a"), right(&view, "b"));
    let step = |uid: &str| Step::Move { uid: uid.into(), from: a.clone(), to: b.clone(), cause: Cause::Drained };
    let first = Step::Grant(Grant { uid: "u4".into(), name: "default/u4".into(), to: b.clone() });
    let steps = [step("u1"), step("u2"), Step::Release { uid: "u3".into() }, first];
    let after = view.batch(&steps).unwrap().apply(&view).unwrap();
    assert_eq!(after.held_by(&b).map(|(uid, _)| uid.as_str()).collect::<Vec<_>>(), ["u1", "u2", "u4"]);
    assert!(after.assign["u3"].releasing && after.counter == view.counter + 1);
    assert_eq!(["a", "b"].map(|node| after.members[node].rev - view.members[node].rev), [1, 1]);
    assert!(matches!(
        view.batch(&[Step::Remove { uid: "u1".into(), closed: BTreeSet::new() }]),
        Err(ViewError::HeldBy { .. })
    ));
}

#[test]
fn who_leaves_may_give_what_it_has_to_others() {
    let view = granted(&with_members(&["a", "b"]), "one", "a");
    let (a, b) = (right(&view, "a"), right(&view, "b"));
    let successors = |to: &Right| BTreeMap::from([("one".to_owned(), to.clone())]);
    let left = view.leave_to(&a, &successors(&b)).unwrap().apply(&view).unwrap();
    assert_eq!((left.members["a"].state, left.assign["one"].holder.as_ref()), (State::Left, Some(&b)));
    assert!(left.is_over(&a) && left.assign["one"].after.contains_key(&a));
    assert!(matches!(view.leave_to(&a, &successors(&a)), Err(ViewError::OwnSuccessor(_))));
}

#[test]
fn who_was_fenced_resigns_and_is_over() {
    let view = with_members(&["a", "b"]);
    let victim = right(&view, "a");
    assert_eq!(view.resign(&victim).unwrap_err().to_string(), "a/1 is not fenced: the member is Up at epoch 1");
    let view = fenced(&view, "a", "b", &[]).unwrap();
    assert!(!view.is_over(&victim));
    let view = view.resign(&victim).unwrap().apply(&view).unwrap();
    assert!(view.is_over(&victim));
}

#[test]
fn a_view_that_went_back_is_written_again_with_rights_that_nobody_had() {
    let old = granted(&with_members(&["a", "b", "c"]), "web", "a");
    let new = fenced(&old, "a", "b", &[("web", "c")]).unwrap();
    let (_, back) = new.register(&registration("a", Mode::Peers)).unwrap();
    let new = back.apply(&new).unwrap();
    assert!(new.is_forgotten_by(&old) && !old.is_forgotten_by(&new));

    let (mine, patch) = new.remake(&old, &registration("b", Mode::Peers));
    let remade = patch.apply(&old).unwrap();
    assert!(patch.apply(&new).is_err(), "only what has forgotten is written over");
    assert!(new.counter < mine.epoch && remade.counter == mine.epoch && remade.right_of("b") == Some(mine.clone()));
    let web = &remade.assign["web"];
    let c = Right::new("c", remade.members["c"].epoch);
    assert_eq!((web.holder.as_ref(), remade.members["c"].state), (Some(&c), State::Fenced));
    assert_eq!(web.after.keys().map(|right| right.node.as_str()).collect::<Vec<_>>(), ["a"]);

    // It comes back for what it had; or another gets it, and waits for it.
    let (again, patch) = remade.register(&registration("c", Mode::Peers)).unwrap();
    assert_eq!(patch.apply(&remade).unwrap().assign["web"].holder, Some(again));
    let successors = BTreeMap::from([("web".to_owned(), mine.clone())]);
    let passed = remade.bequeath(&c, &mine, &successors).unwrap().apply(&remade).unwrap();
    assert_eq!(passed.assign["web"].holder, Some(mine));
    assert!(passed.assign["web"].after.contains_key(&c));
}
