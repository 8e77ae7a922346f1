use std::time::Duration;

use crate::client::Pings;
use crate::support::wait_until;
use crate::trio::{NAMES, SOON, Trio, VIP};

/// Moves the address away from its holder while a client pings it and every node is asked for it.
fn moved_by(trio: &Trio, how: impl FnOnce(&str)) {
    let holder = trio.wait_holder();
    let observer = trio.observe();
    let pings = Pings::start(&trio.client, 1_000);
    how(NAMES[holder]);
    trio.wait_other_holder(holder);
    let (sent, answered) = pings.end();
    wait_until(SOON, "the former holder to let go", || !trio.hosts[holder].has_address(VIP));
    trio.settle();
    let seen = observer.end();
    eprintln!("{answered} of {sent} pings answered; nobody for {:?}, two for {:?}", seen.gap, seen.overlap);
    assert!(
        seen.answers.iter().filter(|count| **count > 0).count() >= 2,
        "the observer saw no move: {:?}",
        seen.answers
    );
    assert_eq!((sent, answered), (1_000, 1_000));
    assert_eq!(seen.overlap, Duration::ZERO);
}

#[test]
fn a_cordoned_node_gives_its_address_away_without_a_loss_and_two_never_answer() {
    let trio = Trio::new();
    moved_by(&trio, |holder| drop(trio.ask(&["node", "cordon", holder])));
}

#[test]
fn a_node_with_a_taint_gives_its_address_away_without_a_loss_and_two_never_answer() {
    let trio = Trio::new();
    moved_by(&trio, |holder| drop(trio.ask(&["node", "taint", holder, "maintenance:NoExecute"])));
}
