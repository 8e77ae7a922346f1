//! What the controller has before it when it looks at one `VirtualIP`: for whoever explains.

use std::collections::{BTreeMap, BTreeSet};

use super::assign::entries;
use super::ground::{Ground, Home, home};
use super::seen::{Listing, Node, Vip};
use super::service::Owners;
use super::world::World;
use crate::core::placement::{self, Candidate, Load};
use crate::core::view::{Right, View};

/// One `VirtualIP` and its surroundings.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// The `VirtualIP`, with what its Service adds.
    pub vip: Vip,
    /// The segment where it is, or would be put, and its view.
    pub segment: Option<(String, View)>,
    /// The segment's members as places for addresses.
    pub candidates: Vec<Candidate>,
    /// What decides who gets it, with the nodes where its health check fails by its status.
    pub asker: placement::Vip,
    /// The same of each `VirtualIP` that its holder has.
    pub askers: Vec<placement::Vip>,
    /// How many addresses each node has.
    pub load: Load,
    /// All nodes.
    pub nodes: BTreeMap<String, Node>,
}

/// The surroundings of the `VirtualIP` `namespace/name` in what a store has; `None` if there is none of that name.
#[must_use]
pub fn standing(listings: Vec<Listing>, name: &str) -> Option<Standing> {
    let mut world = World::default();
    listings.into_iter().for_each(|listing| world.reset(listing));
    let owners = Owners::new(&world);
    let vip = owners.complete(world.vips.get(name)?).into_owned();
    let grounds = Ground::all(&world);
    let (entries, _) = entries(&grounds);
    let entry = entries.get(vip.meta.uid.as_str()).copied();
    let ground = entry.map(|entry| &grounds[entry.ground]).or_else(|| {
        let wish = vip.wish.as_ref().ok()?;
        match home(&grounds, vip.status.address?, wish) {
            Home::On(ground) | Home::Stray(ground) => Some(ground),
            Home::Nowhere => None,
        }
    });
    let holder = entry.and_then(|entry| entry.assignment.holder.clone());
    let asker = |ground: &Ground<'_>, vip: &Vip, holder: Option<&Right>| {
        let wish = vip.wish.clone().unwrap_or_default();
        let failing = vip.health.iter().filter(|(_, record)| record.failing && wish.checked);
        let sick: BTreeSet<String> = failing.map(|(node, _)| node.clone()).collect();
        ground.asker(&vip.meta.uid, &wish, holder.map(|right| right.node.as_str()), Some(&sick))
    };
    let by_uid: BTreeMap<&str, &Vip> = world.vips.values().map(|vip| (vip.meta.uid.as_str(), vip)).collect();
    let siblings = ground.zip(holder.as_ref()).map_or_else(Vec::new, |(ground, right)| {
        let held = ground.view.held_by(right).filter_map(|(uid, _)| by_uid.get(uid.as_str()));
        held.map(|vip| asker(ground, &owners.complete(vip), None)).collect()
    });
    let mut load = Load::new();
    for right in grounds.iter().flat_map(|ground| ground.view.assign.values()).filter_map(|entry| entry.holder.as_ref())
    {
        *load.entry(right.node.clone()).or_default() += 1;
    }
    Some(Standing {
        asker: ground.map(|ground| asker(ground, &vip, holder.as_ref())).unwrap_or_default(),
        segment: ground.map(|ground| (ground.name.to_owned(), ground.view.clone())),
        candidates: ground.map(|ground| ground.candidates.clone()).unwrap_or_default(),
        askers: siblings,
        load,
        nodes: world.nodes.clone(),
        vip,
    })
}
