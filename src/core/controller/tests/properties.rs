//! Properties of the controller over whatever happens.

use proptest::prelude::*;

use super::*;

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
