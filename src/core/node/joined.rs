//! A segment that the node takes part in.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::{Config, Effect, Node};
use crate::core::keeper;
use crate::core::membership::{self, Me};
use crate::core::net::Address;
use crate::core::segments::Place;
use crate::core::time::Time;
use crate::core::view::{Mode, Registration};

/// Bound of a clock's rate error, in parts per million, as long as nobody measured it (DESIGN 5.1: 1 %).
const RHO: u32 = 10_000;

/// The node's part in one segment.
#[derive(Debug)]
pub(super) struct Joined {
    /// Who it is there; the last place that was seen, while its link is away.
    pub(super) me: Me,
    /// A patch is under way: one at a time.
    pub(super) writing: bool,
    /// How many patches in a row did not apply.
    pub(super) failures: u32,
    /// When to look again after one did not.
    pub(super) retry: Option<Time>,
}

impl Joined {
    pub(super) const fn new(me: Me) -> Self {
        Self { me, writing: false, failures: 0, retry: None }
    }
}

/// The node as it registers at this place.
pub(super) fn me(config: &Config, place: &Place, leaving: bool) -> Me {
    Me {
        registration: Registration {
            node: config.node.clone(),
            mode: Mode::Solo,
            address: place.address,
            port: config.port,
            mac: place.mac,
            interface: place.interface.clone(),
            boot_id: config.boot_id.clone(),
            gate: config.gate,
            rho: RHO,
        },
        prefixes: place.prefixes.iter().map(ToString::to_string).collect(),
        leaving,
    }
}

impl Node {
    /// Tells the keeper what the node may hold now.
    pub(super) fn look_at_rights(&mut self) {
        let mut rights = BTreeMap::new();
        for (name, joined) in &mut self.joined {
            joined.me.leaving = self.leaving;
            let Some(view) = self.views.as_ref().and_then(|views| views.get(name)) else { continue };
            for (uid, entry) in membership::rights(&view.view, &joined.me) {
                let Some(vip) = self.vips.as_ref().and_then(|vips| vips.get(uid)) else { continue };
                let right = keeper::Vip {
                    name: vip.name.clone(),
                    ip: vip.ip,
                    // A VIP belongs to one segment while it is held, whatever other links would fit.
                    interface: Some(joined.me.registration.interface.clone()),
                    probe: entry.after.is_empty(),
                };
                self.given.insert(uid.to_owned(), vip.ip);
                rights.insert(uid.to_owned(), right);
            }
        }
        self.keeper.handle(self.now, keeper::Input::Rights(rights));
    }

    /// Sends what comes next for each segment that waits for nothing.
    pub(super) fn look_at_views(&mut self) {
        let views = self.views.take().unwrap_or_default();
        for name in self.joined.keys().cloned().collect::<Vec<_>>() {
            let Some(joined) = self.joined.get(&name).filter(|joined| !joined.writing && joined.retry.is_none()) else {
                continue;
            };
            let effect = match views.get(&name) {
                None if self.leaving => None,
                None => Some(Effect::Create(name.clone())),
                Some(versioned) => {
                    let view = &versioned.view;
                    let standing = self.standing(view.assign.keys());
                    // What the view forbids now, a later version may allow; it is looked at again then.
                    let next = membership::next(view, &joined.me, &standing).ok().flatten();
                    next.map(|(purpose, patch)| Effect::Write { segment: name.clone(), purpose, patch })
                }
            };
            if let (Some(effect), Some(joined)) = (effect, self.joined.get_mut(&name)) {
                joined.writing = true;
                self.effects.push_back(effect);
            }
        }
        let standing = self.standing(self.given.keys());
        self.given.retain(|uid, _| standing.contains(uid) || views.values().any(|v| v.view.assign.contains_key(uid)));
        self.views = Some(views);
    }

    /// Which of these VIPs have their address on this node.
    fn standing<'a>(&self, uids: impl Iterator<Item = &'a String>) -> BTreeSet<String> {
        let known = |uid: &str| self.vip(uid).map(|vip| vip.ip).or_else(|| self.given.get(uid).copied());
        let mut unknown = None;
        uids.filter(|uid| match known(uid) {
            Some(ip) => self.stands(ip),
            // Nobody can say which of our addresses was this VIP's: as long as one is there that nothing accounts for,
            // it may be.
            None => *unknown.get_or_insert_with(|| self.unaccounted()),
        })
        .cloned()
        .collect()
    }

    fn stands(&self, ip: IpAddr) -> bool {
        self.keeper.observed().range((ip, 0, 0)..=(ip, u32::MAX, u8::MAX)).any(|(_, there)| there.is_ours())
    }

    fn unaccounted(&self) -> bool {
        let held: BTreeSet<IpAddr> = self.keeper.holdings().map(|(_, vip, _)| vip.ip).collect();
        self.keeper.observed().values().any(|there| there.is_ours() && !held.contains(&there.ip))
    }

    pub(super) fn anything_stands(&self) -> bool {
        self.keeper.observed().values().any(Address::is_ours)
    }
}
