//! A segment that the node takes part in.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::{Config, Effect, Node};
use crate::core::failover::VipState;
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
    /// Whether it is known what may be held there.
    pub(super) started: bool,
    /// Whether everything there was given up.
    pub(super) left: bool,
}

impl Joined {
    const fn new(me: Me, guarded: bool) -> Self {
        Self { me, writing: false, failures: 0, retry: None, started: !guarded, left: false }
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
    /// Takes part in a segment from now on, or from another place.
    pub(super) fn join(&mut self, segment: String, me: Me) {
        let known = self.joined.get(&segment);
        if self.config.guarded && known.is_none_or(|joined| joined.me.registration != me.registration) {
            self.effects.push_back(Effect::Join { segment: segment.clone(), me: me.registration.clone() });
        }
        match self.joined.get_mut(&segment) {
            Some(joined) => joined.me = me,
            None => {
                self.joined.insert(segment, Joined::new(me, self.config.guarded));
            }
        }
    }

    /// Tells the keeper what the node may hold now.
    pub(super) fn look_at_rights(&mut self) {
        let mut rights = BTreeMap::new();
        for (name, joined) in &mut self.joined {
            joined.me.leaving = self.leaving;
            let Some(view) = self.views.as_ref().and_then(|views| views.get(name)) else { continue };
            let held = if self.config.guarded {
                let passing = view.view.assign.iter().filter(|(uid, _)| self.passing.contains_key(*uid));
                passing.map(|(uid, entry)| (uid.as_str(), entry)).collect()
            } else {
                membership::rights(&view.view, &joined.me)
            };
            for (uid, entry) in held {
                let state = self.passing.get(uid).copied().unwrap_or(VipState::Claim);
                if state == VipState::Shut || self.leaving {
                    continue;
                }
                let Some(vip) = self.vips.as_ref().and_then(|vips| vips.get(uid)) else { continue };
                let right = keeper::Vip {
                    name: vip.name.clone(),
                    ip: vip.ip,
                    // A VIP belongs to one segment while it is held, whatever other links would fit.
                    interface: Some(joined.me.registration.interface.clone()),
                    // Whatever became of the addresses meanwhile: this node had them, which is no first grant.
                    probe: entry.after.is_empty() && !self.adopted.contains(uid),
                    claim: state == VipState::Claim,
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
                    let next = if self.config.guarded {
                        membership::next_prefix(view, &joined.me)
                    } else {
                        membership::next(view, &joined.me, &standing).ok().flatten()
                    };
                    next.map(|(purpose, patch)| Effect::Write { segment: name.clone(), purpose, patch })
                }
            };
            if let (Some(effect), Some(joined)) = (effect, self.joined.get_mut(&name)) {
                joined.writing = true;
                self.effects.push_back(effect);
            }
        }
        self.forget_shut();
        let standing = self.standing(self.given.keys());
        self.given.retain(|uid, _| standing.contains(uid) || views.values().any(|v| v.view.assign.contains_key(uid)));
        self.views = Some(views);
    }

    /// What is shut and stands here no more is forgotten, here and by the gate.
    fn forget_shut(&mut self) {
        let shut: Vec<String> =
            self.passing.iter().filter(|(_, state)| **state == VipState::Shut).map(|(uid, _)| uid.clone()).collect();
        for uid in shut {
            let ip = self.vip(&uid).map(|vip| vip.ip).or_else(|| self.given.get(&uid).copied());
            if ip.is_some_and(|ip| self.stands(ip)) {
                continue;
            }
            self.passing.remove(&uid);
            self.adopted.remove(&uid);
            self.effects.extend(ip.map(Effect::Forget));
        }
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
