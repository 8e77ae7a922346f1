//! Allocation by tables, and its properties.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn pool(name: &str, ranges: &[&str]) -> Pool {
    let ranges: Vec<Range> = ranges.iter().map(|text| text.parse().unwrap()).collect();
    Pool {
        name: name.to_owned(),
        uid: format!("uid-{name}"),
        space: Space::new(&ranges, &[], false),
        auto_assign: true,
        ..Pool::default()
    }
}

fn claim(name: &str, created: i64) -> Claim {
    Claim {
        uid: format!("uid-{name}"),
        name: format!("shop/{name}"),
        created,
        namespace: [(NAMESPACE_LABEL.to_owned(), "shop".to_owned())].into(),
        ..Claim::default()
    }
}

fn label(key: &str, value: &str) -> Selector {
    Selector { match_labels: [(key.to_owned(), value.to_owned())].into(), ..Selector::default() }
}

/// What became of a claim: its address, or the word for the reason; `address!reason` if it is kept despite one.
fn outcome(ledger: &Ledger, claim: &Claim) -> String {
    match &ledger.claims[&claim.uid] {
        Ok(Allocation { address, despite: None, .. }) => address.to_string(),
        Ok(Allocation { address, despite: Some(why), .. }) => format!("{address}!{}", why.as_str()),
        Err(error) => error.as_str().to_owned(),
    }
}

fn outcomes(pools: &[Pool], claims: &[Claim]) -> Vec<String> {
    let ledger = allocate(pools, claims);
    claims.iter().map(|claim| outcome(&ledger, claim)).collect()
}

#[test]
fn the_lowest_free_address_of_the_pool_of_highest_priority() {
    let pools = [
        pool("low", &["192.0.2.0/24"]),
        Pool { priority: 5, ..pool("high", &["198.51.100.0/31", "2001:db8::/64"]) },
        Pool { auto_assign: false, priority: 9, ..pool("manual", &["203.0.113.0/24"]) },
    ];
    let claims = [
        claim("a", 1),
        claim("b", 2),
        claim("c", 3),
        Claim { family: Some(Family::V6), ..claim("d", 4) },
        Claim { pool: Some("manual".to_owned()), ..claim("e", 5) },
    ];
    assert_eq!(outcomes(&pools, &claims), ["198.51.100.0", "198.51.100.1", "192.0.2.0", "2001:db8::", "203.0.113.0"]);
}

#[test]
fn of_two_that_say_they_have_one_address_the_one_that_a_node_may_claim_keeps_it() {
    let held = Some(ip("198.51.100.7"));
    let claims = [Claim { held, ..claim("old", 1) }, Claim { held, bound: true, ..claim("young", 2) }];
    assert_eq!(outcomes(&[pool("p", &["198.51.100.0/24"])], &claims), ["198.51.100.0", "198.51.100.7"]);
}

#[test]
fn every_refusal_has_its_reason() {
    let pools = [
        pool("tiny", &["192.0.2.0/32"]),
        Pool { namespaces: Some(label(NAMESPACE_LABEL, "bank")), ..pool("bank", &["198.51.100.0/24"]) },
        Pool { services: Some(label("tier", "front")), ..pool("front", &["203.0.113.0/24"]) },
        Pool { deleting: true, ..pool("going", &["203.0.112.0/24"]) },
        Pool { created: 7, ..pool("young", &["198.51.100.128/25"]) },
    ];
    let named = |name: &str, pool: &str| Claim { pool: Some(pool.to_owned()), ..claim(name, 5) };
    let claims = [
        claim("a", 1),
        claim("b", 2),
        named("c", "none"),
        named("d", "bank"),
        named("e", "front"),
        named("f", "going"),
        named("g", "young"),
        named("h", "tiny"),
        Claim { family: Some(Family::V6), ..named("i", "tiny") },
        Claim { family: Some(Family::V6), ..claim("j", 5) },
        Claim { address: Some(ip("192.0.2.9")), ..named("k", "tiny") },
        Claim { address: Some(ip("192.0.2.9")), family: Some(Family::V6), ..claim("l", 5) },
        Claim { address: Some(ip("192.0.2.0")), created: 0, ..claim("m", 9) },
        Claim { address: Some(ip("198.51.100.9")), ..claim("n", 5) },
        Claim { deleting: true, ..claim("o", 5) },
        Claim { service: Some([("tier".to_owned(), "front".to_owned())].into()), ..named("p", "front") },
        Claim { address: Some(ip("10.0.0.1")), ..claim("q", 5) },
    ];
    let expected = [
        "PoolExhausted",
        "PoolExhausted",
        "PoolMissing",
        "NotSelected",
        "NotSelected",
        "PoolUnusable",
        "PoolUnusable",
        "PoolExhausted",
        "FamilyMismatch",
        "NoPool",
        "NotInPool",
        "FamilyMismatch",
        "192.0.2.0",
        "NotSelected",
        "Deleting",
        "203.0.113.0",
        "10.0.0.1",
    ];
    assert_eq!(outcomes(&pools, &claims), expected);
}

#[test]
fn of_two_the_older_keeps_the_address_and_the_younger_names_it() {
    let wish = |name: &str, created| Claim { address: Some(ip("192.0.2.7")), ..claim(name, created) };
    let ledger = allocate(&[], &[wish("young", 2), wish("old", 1)]);
    assert_eq!(outcome(&ledger, &claim("old", 1)), "192.0.2.7");
    let error = ledger.claims["uid-young"].clone().unwrap_err();
    assert_eq!(error.to_string(), "192.0.2.7 is used by shop/old");
    assert_eq!(outcomes(&[], &[wish("b", 1), wish("a", 1)]), ["InUse", "192.0.2.7"]);
    let has_it = Claim { held: Some(ip("192.0.2.7")), ..wish("young", 2) };
    assert_eq!(outcomes(&[], &[wish("old", 1), has_it.clone()]), ["InUse", "192.0.2.7"]);
    let both = Claim { held: Some(ip("192.0.2.7")), ..wish("old", 1) };
    assert_eq!(outcomes(&[], &[both, has_it]), ["192.0.2.7", "InUse"]);
}

#[test]
fn an_explicit_wish_goes_before_an_older_automatic_one() {
    let pools = [pool("p", &["192.0.2.0/30"])];
    let explicit = Claim { address: Some(ip("192.0.2.0")), ..claim("explicit", 9) };
    assert_eq!(outcomes(&pools, &[claim("automatic", 1), explicit.clone()]), ["192.0.2.1", "192.0.2.0"]);
    let has_it = Claim { held: Some(ip("192.0.2.0")), ..claim("automatic", 1) };
    assert_eq!(outcomes(&pools, &[has_it, explicit]), ["192.0.2.0", "InUse"]);
}

#[test]
fn two_that_were_given_the_same_address_part_by_age() {
    let pools = [pool("p", &["192.0.2.0/30"])];
    let held = |name: &str, created| Claim { held: Some(ip("192.0.2.2")), ..claim(name, created) };
    assert_eq!(outcomes(&pools, &[held("young", 2), held("old", 1)]), ["192.0.2.0", "192.0.2.2"]);
}

#[test]
fn an_address_in_use_outlives_its_pool_and_is_reported() {
    let held = Claim { held: Some(ip("192.0.2.9")), ..claim("a", 1) };
    let named = Claim { pool: Some("p".to_owned()), ..held.clone() };
    let shrunk = [pool("p", &["192.0.2.0/30"])];
    let other = [Pool { namespaces: Some(label("x", "y")), ..pool("p", &["192.0.2.0/24"]) }];
    assert_eq!(outcomes(&shrunk, std::slice::from_ref(&held)), ["192.0.2.9!OutsidePools"]);
    assert_eq!(outcomes(&shrunk, std::slice::from_ref(&named)), ["192.0.2.9!NotInPool"]);
    assert_eq!(outcomes(&[], std::slice::from_ref(&named)), ["192.0.2.9!PoolMissing"]);
    assert_eq!(outcomes(&other, &[named]), ["192.0.2.9!NotSelected"]);
    let usage = &allocate(&shrunk, &[held]).pools["p"];
    assert_eq!((usage.used, usage.total, usage.free), (0, 4.into(), 4.into()));
}

#[test]
fn a_changed_wish_waits_while_a_node_holds_the_address() {
    let pools = [pool("p", &["192.0.2.0/24", "2001:db8::/64"])];
    let moved = Claim { held: Some(ip("192.0.2.9")), address: Some(ip("192.0.2.1")), ..claim("a", 1) };
    let bound = Claim { bound: true, ..moved.clone() };
    assert_eq!(outcomes(&pools, &[bound]), ["192.0.2.9!AddressChanged"]);
    assert_eq!(outcomes(&pools, &[moved]), ["192.0.2.1"]);
    let family = Claim { held: Some(ip("192.0.2.9")), family: Some(Family::V6), ..claim("a", 1) };
    let bound = Claim { bound: true, ..family.clone() };
    assert_eq!(outcomes(&pools, &[bound]), ["192.0.2.9!FamilyMismatch"]);
    assert_eq!(outcomes(&pools, &[family]), ["2001:db8::"]);
}

#[test]
fn an_overlapping_pool_gives_nothing_but_what_it_gave_stays() {
    let pools =
        [Pool { created: 2, priority: 9, ..pool("young", &["192.0.2.0/24"]) }, pool("old", &["192.0.2.128/25"])];
    let held = Claim { held: Some(ip("192.0.2.3")), ..claim("a", 1) };
    assert_eq!(outcomes(&pools, &[held.clone(), claim("b", 2)]), ["192.0.2.3", "192.0.2.128"]);
    let ledger = allocate(&pools, &[held]);
    assert_eq!(ledger.pools["young"].fault, Some(PoolFault::Overlaps { with: "old".to_owned() }));
    assert_eq!(ledger.pools["old"].fault, None);
}

#[derive(Debug, Clone)]
struct World {
    pools: Vec<Pool>,
    claims: Vec<Claim>,
}

fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        (0u8..24).prop_map(|last| IpAddr::from([192, 0, 2, last])),
        (0u16..6).prop_map(|last| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, last])),
    ]
}

fn a_pool() -> impl Strategy<Value = Pool> {
    let ranges = prop::collection::vec((0u8..20, 0u8..6), 1..3);
    (ranges, any::<bool>(), 0u8..24, any::<bool>(), 0i32..3, 0i64..3, prop::option::of("[xy]")).prop_map(
        |(ranges, v6, exclude, auto_assign, priority, created, team)| {
            let v4 = |last: u8| IpAddr::from([192, 0, 2, last]);
            let mut ranges: Vec<Range> = ranges
                .into_iter()
                .map(|(first, length)| Range::between(v4(first), v4(first + length)).unwrap())
                .collect();
            if v6 {
                ranges.push("2001:db8::/126".parse().unwrap());
            }
            Pool {
                space: Space::new(&ranges, &[Range::between(v4(exclude), v4(exclude)).unwrap()], true),
                auto_assign,
                priority,
                created,
                namespaces: team.map(|team| label("team", &team)),
                ..pool("", &[])
            }
        },
    )
}

fn a_claim() -> impl Strategy<Value = Claim> {
    let wish = (prop::option::of(address()), prop::option::of(0usize..4), prop::option::of(any::<bool>()));
    (wish, prop::option::of(address()), any::<bool>(), 0i64..3, "[xy]", prop::bool::weighted(0.1)).prop_map(
        |((address, pool, v6), held, bound, created, team, deleting)| Claim {
            created,
            address,
            pool: pool.map(|at| format!("p{at}")),
            family: v6.map(|v6| if v6 { Family::V6 } else { Family::V4 }),
            held,
            bound,
            deleting,
            namespace: [("team".to_owned(), team)].into(),
            ..claim("", 0)
        },
    )
}

fn world() -> impl Strategy<Value = World> {
    (prop::collection::vec(a_pool(), 0..4), prop::collection::vec(a_claim(), 0..24)).prop_map(
        |(mut pools, mut claims)| {
            for (at, pool) in pools.iter_mut().enumerate() {
                pool.name = format!("p{at}");
                pool.uid = format!("uid-p{at}");
            }
            for (at, claim) in claims.iter_mut().enumerate() {
                claim.name = format!("shop/c{at}");
                claim.uid = format!("uid-c{at}");
            }
            World { pools, claims }
        },
    )
}

/// The claims after the pass: each holds what it was given.
fn after(ledger: &Ledger, claims: &[Claim]) -> Vec<Claim> {
    let held = |claim: &Claim| ledger.claims[&claim.uid].as_ref().ok().map(|allocation| allocation.address);
    claims.iter().map(|claim| Claim { held: held(claim), ..claim.clone() }).collect()
}

fn addresses(ledger: &Ledger) -> BTreeMap<&str, Option<IpAddr>> {
    ledger.claims.iter().map(|(uid, result)| (uid.as_str(), result.as_ref().ok().map(|a| a.address))).collect()
}

proptest! {
    #[test]
    fn every_claim_is_answered_and_no_address_given_twice(world in world()) {
        let ledger = allocate(&world.pools, &world.claims);
        prop_assert_eq!(ledger.claims.len(), world.claims.len());
        let given: Vec<IpAddr> = addresses(&ledger).values().flatten().copied().collect();
        prop_assert_eq!(given.len(), given.iter().collect::<BTreeSet<_>>().len());
    }

    #[test]
    fn used_and_free_are_the_total(world in world()) {
        let ledger = allocate(&world.pools, &world.claims);
        for pool in &world.pools {
            let usage = &ledger.pools[&pool.name];
            let inside = addresses(&ledger).values().flatten().filter(|ip| pool.space.contains(**ip)).count() as u64;
            prop_assert_eq!(usage.used, inside);
            prop_assert_eq!(usage.free.plus(usage.used.into()), usage.total);
            prop_assert_eq!(usage.total, pool.space.total());
        }
    }

    #[test]
    fn a_second_pass_changes_nothing(world in world()) {
        let first = allocate(&world.pools, &world.claims);
        let second = allocate(&world.pools, &after(&first, &world.claims));
        prop_assert_eq!(addresses(&first), addresses(&second));
        prop_assert_eq!(first.pools, second.pools);
    }

    #[test]
    fn the_order_of_the_input_does_not_matter(world in world(), turn in 0usize..24) {
        let World { mut pools, mut claims } = world.clone();
        pools.reverse();
        claims.reverse();
        let by = turn % claims.len().max(1);
        claims.rotate_left(by);
        prop_assert_eq!(allocate(&pools, &claims), allocate(&world.pools, &world.claims));
    }

    #[test]
    fn nobody_else_moves_when_a_claim_or_a_pool_goes(world in world(), at in 0usize..24) {
        let settled = after(&allocate(&world.pools, &world.claims), &world.claims);
        let mut fewer = settled.clone();
        if !fewer.is_empty() {
            fewer.remove(at % settled.len());
        }
        let pools = if at % 2 == 0 { &world.pools[..] } else { &world.pools[..world.pools.len().saturating_sub(1)] };
        let ledger = allocate(pools, &fewer);
        for claim in fewer.iter().filter(|claim| claim.held.is_some()) {
            prop_assert_eq!(addresses(&ledger)[claim.uid.as_str()], claim.held);
        }
    }

    #[test]
    fn what_is_given_anew_fits_every_wish(world in world()) {
        let ledger = allocate(&world.pools, &world.claims);
        for claim in world.claims.iter().filter(|claim| claim.held.is_none()) {
            let Ok(allocation) = &ledger.claims[&claim.uid] else { continue };
            prop_assert_eq!(&allocation.despite, &None);
            prop_assert!(claim.address.is_none_or(|wanted| wanted == allocation.address));
            prop_assert!(claim.family.is_none_or(|family| family == Family::of(allocation.address)));
            prop_assert!(claim.pool.is_none() || claim.pool == allocation.pool);
            prop_assert!(claim.address.is_some() || allocation.pool.is_some());
        }
    }
}
