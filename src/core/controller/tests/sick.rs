//! Health checks, as the controller sees them.

use super::*;
use crate::core::health::Record;

/// Three nodes and an address with a check, somewhere.
fn checked() -> Run {
    let mut store = Store::new(&["a", "b", "c"]);
    store.vip("shop/web", Wish { checked: true, ..Wish::default() });
    settled(store)
}

/// The holder says that the check fails on it, for the `failures`th time.
fn fail(run: &mut Run, failures: u32) -> String {
    let holder = run.store.holder("shop/web").unwrap();
    let vip = run.store.vips.get_mut("shop/web").unwrap();
    vip.health.insert(holder.clone(), Record { failing: true, failures });
    holder
}

fn holder(run: &Run) -> String {
    run.store.holder("shop/web").unwrap()
}

#[test]
fn a_failing_check_moves_the_address_to_each_node_once_and_then_nowhere() {
    let mut run = checked();
    let first = fail(&mut run, 1);
    run.settle_for(Duration::from_secs(1));
    let second = fail(&mut run, 1);
    assert_ne!(first, second);
    let cause = |run: &Run| run.store.views["198.51.100.0-24"].view.assign.values().next().unwrap().cause;
    assert_eq!(cause(&run), crate::core::view::Cause::Unhealthy);
    run.settle_for(Duration::from_secs(1));
    let third = fail(&mut run, 1);
    assert!(third != first && third != second);
    run.settle_for(Duration::from_secs(20));
    assert_eq!(holder(&run), third, "it fails everywhere: nothing moves");
    // 30 s after the first was seen to fail it is as one that was never asked.
    run.settle_for(Duration::from_secs(10));
    assert_eq!(holder(&run), first);
}

#[test]
fn a_node_that_fails_again_is_left_out_for_longer() {
    let mut run = checked();
    let first = fail(&mut run, 5);
    run.settle_for(Duration::from_secs(1));
    let second = fail(&mut run, 1);
    run.settle_for(Duration::from_secs(1));
    let third = fail(&mut run, 1);
    run.settle_for(Duration::from_secs(40));
    assert_eq!(holder(&run), second, "{first} has failed five times, {third} does now");
}

#[test]
fn a_check_that_passes_again_moves_nothing() {
    let mut run = checked();
    let first = fail(&mut run, 1);
    run.settle_for(Duration::from_secs(1));
    let second = holder(&run);
    let vip = run.store.vips.get_mut("shop/web").unwrap();
    vip.health.insert(second.clone(), Record { failing: false, failures: 0 });
    run.settle_for(Duration::from_secs(100));
    assert_eq!(holder(&run), second, "{first} is forgiven, and the address does not move without need");
}

#[test]
fn an_address_that_prefers_a_sick_node_goes_back_when_it_is_forgiven() {
    let mut store = Store::new(&["a", "b"]);
    store.nodes.get_mut("a").unwrap().labels = labels(&[("rack", "a")]);
    let preferred = vec![crate::core::placement::Preference { weight: 10, selector: selector("rack", "a") }];
    let failback = crate::core::placement::Failback::WhenPreferred;
    store.vip("shop/web", Wish { checked: true, preferred, failback, ..Wish::default() });
    let mut run = settled(store);
    assert_eq!(fail(&mut run, 1), "a");
    run.settle_for(Duration::from_secs(25));
    assert_eq!(holder(&run), "b");
    run.settle_for(Duration::from_secs(10));
    assert_eq!(holder(&run), "a");
}

#[test]
fn whoever_takes_the_check_away_forgets_the_failures() {
    let mut run = checked();
    fail(&mut run, 1);
    run.store.wish("shop/web").checked = false;
    let before = holder(&run);
    run.settle_for(Duration::from_secs(1));
    assert_eq!(holder(&run), before);
}

#[test]
fn an_address_that_nobody_has_goes_rather_to_a_sick_node_than_to_none() {
    let mut run = checked();
    for node in ["a", "b", "c"] {
        let vip = run.store.vips.get_mut("shop/web").unwrap();
        vip.health.insert(node.to_owned(), Record { failing: true, failures: 1 });
    }
    let before = holder(&run);
    run.store.edit_view("198.51.100.0-24", |view| {
        let right = view.right_of(&before).unwrap();
        view.leave(&right).unwrap().apply(view).unwrap()
    });
    run.settle_for(Duration::from_secs(1));
    let after = run.store.holder("shop/web");
    assert!(after.as_ref().is_some_and(|after| *after != before), "{after:?}");
}
