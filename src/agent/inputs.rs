//! What the agent is told, passed on to whom it concerns.

use std::collections::BTreeMap;

use super::announcer::{Order, Wire};
use super::dataplane::{Address, Order as PlaneOrder};
use super::watches::Watched;
use super::{Agent, AgentError, Told};
use crate::clock;
use crate::core::keeper;
use crate::core::net::Link;
use crate::core::node::{self, Input, Set};

impl Agent {
    /// Begins to end; whether there is something to wait for.
    pub(super) fn stop(&mut self, release: bool) -> bool {
        if release {
            self.node.handle(clock::now(), Input::Leave);
        }
        let order = if release { PlaneOrder::Leave } else { PlaneOrder::Restart };
        let waits = self.node.segments().next().is_some();
        if let Some(plane) = &self.plane {
            plane.order(order);
            return waits;
        }
        release
    }

    /// # Errors
    /// The agent must not go on.
    pub(super) fn take(&mut self, told: Told) -> Result<(), AgentError> {
        let now = clock::now();
        match told {
            Told::Vips(set) => {
                let set = self.without_server(set)?;
                self.take_vips(set);
            }
            Told::Views(set) => {
                match &set {
                    Set::All(views) => views.iter().for_each(|(segment, view)| self.tell_view(segment, view)),
                    Set::One(segment, view) => self.tell_view(segment, view),
                    Set::Gone(_) => {}
                }
                self.node.handle(now, Input::Views(set));
                self.view_changed();
                self.say_again();
                self.tell_peers();
            }
            Told::Nodes(set) => {
                match set {
                    Set::All(nodes) => self.candidates = nodes,
                    Set::One(name, node) => drop(self.candidates.insert(name, node)),
                    Set::Gone(name) => drop(self.candidates.remove(&name)),
                }
                self.placement_changed = true;
            }
            Told::Node(input) => {
                self.node.handle(now, input);
                self.view_changed();
                self.say_again();
            }
            Told::Kernel(input) => {
                self.announcer.tell_kernel(&input);
                self.tell_gate(&input);
                self.node.handle(now, Input::Kernel(input));
            }
            Told::Wire(Wire::Probed { uid, answered }) => {
                self.node.handle(now, Input::Kernel(keeper::Input::Probed { uid, answered }));
            }
            Told::Wire(Wire::Claimed { uid, mac }) => self.claimed(&uid, mac),
            Told::Wire(Wire::Unclaimed { uid }) => self.unclaimed(&uid),
            Told::Checked(ran) => self.checks.handle(now, ran),
            Told::Asked(reply) => self.answer(reply),
        }
        Ok(())
    }

    pub(super) fn take_vips(&mut self, set: Set<Watched>) {
        let known = |watched: &Watched| node::Vip {
            name: watched.key.to_string(),
            ip: watched.ip,
            interface: watched.interface.clone(),
        };
        let gated = |watched: &Watched| Address { ip: watched.ip, hard: watched.exclusive };
        let mut known_like_this = false;
        let set = match set {
            Set::All(all) => {
                self.tell_plane(|| PlaneOrder::Vips(all.iter().map(|(uid, vip)| (uid.clone(), gated(vip))).collect()));
                let vips = all.iter().map(|(uid, watched)| (uid.clone(), known(watched))).collect();
                self.replace_vips(all);
                Set::All(vips)
            }
            Set::One(uid, watched) => {
                let vip = known(&watched);
                self.announcer.order(Order::Pace { ip: watched.ip, timing: watched.timing() });
                self.tell_plane(|| PlaneOrder::Vip(uid.clone(), gated(&watched)));
                let before = self.vips.get(&uid);
                known_like_this = before.is_some_and(|before| before.is_treated_like(&watched));
                self.vips.insert(uid.clone(), watched);
                self.amend(&uid);
                Set::One(uid, vip)
            }
            Set::Gone(uid) => {
                self.vips.remove(&uid);
                self.tell_plane(|| PlaneOrder::VipGone(uid.clone()));
                Set::Gone(uid)
            }
        };
        self.placement_changed |= !known_like_this;
        self.checks_changed |= !known_like_this;
        self.node.handle(clock::now(), Input::Vips(set));
    }

    /// Takes all there are for what is known: whatever changed since the watch told of it last, it changed unseen.
    fn replace_vips(&mut self, all: BTreeMap<String, Watched>) {
        let before = std::mem::replace(&mut self.vips, all);
        let mut to_amend = Vec::new();
        for (uid, vip) in &self.vips {
            let Some(before) = before.get(uid) else { continue };
            if before.timing() != vip.timing() {
                self.announcer.order(Order::Pace { ip: vip.ip, timing: vip.timing() });
            }
            if before.status != vip.status {
                to_amend.push(uid.clone());
            }
        }
        to_amend.iter().for_each(|uid| self.amend(uid));
    }

    /// The interfaces that the members of a segment have decide where a VIP that names one may go.
    fn view_changed(&mut self) {
        self.placement_changed |= self.vips.values().any(|vip| vip.interface.is_some());
    }

    /// Whose claims are no stranger's.
    fn tell_peers(&mut self) {
        let peers = self.node.peers();
        if self.peers != peers {
            self.announcer.order(Order::Peers(peers.clone()));
            self.peers = peers;
            self.placement_changed = true;
        }
    }

    pub(super) fn tell_plane(&self, order: impl FnOnce() -> PlaneOrder) {
        if let Some(plane) = &self.plane {
            plane.order(order());
        }
    }

    /// The gate stands on every link that neighbours are resolved on.
    fn tell_gate(&self, input: &keeper::Input) {
        let arp = |link: &Link| link.arp && !link.loopback;
        match input {
            keeper::Input::Dumped { links, .. } => {
                links.iter().filter(|link| arp(link)).for_each(|link| self.tell_plane(|| PlaneOrder::Link(link.index)));
            }
            keeper::Input::Link(link) if arp(link) => self.tell_plane(|| PlaneOrder::Link(link.index)),
            keeper::Input::LinkGone(index) => self.tell_plane(|| PlaneOrder::LinkGone(*index)),
            _ => {}
        }
    }
}
