//! Faults begin and end; the controller does its part.

use vipkeeper::core::failover::Input;
use vipkeeper::core::view::{Cause, Grant, Right, State, Step, View};

use crate::sim::kernel::Kernel;
use crate::sim::node::Process;
use crate::sim::scenario::Kind;
use crate::sim::world::{Event, MS, World};

impl World {
    pub fn begin(&mut self, index: usize) {
        let fault = self.scenario.faults[index].clone();
        self.note(|| format!("FAULT {:?} for {} ms", fault.kind, fault.last));
        let last = fault.last * MS;
        match fault.kind {
            Kind::Hang { node, between } => {
                if between {
                    self.nodes[node].stop_between = true;
                } else if self.nodes[node].process == Process::Runs {
                    self.nodes[node].process = Process::Hangs;
                    self.nodes[node].kernel.stopped = true;
                }
            }
            Kind::Crash { node } => self.kill(node),
            Kind::Restart { node } => self.restart(node, last),
            Kind::Power { node } => self.power_off(node),
            Kind::Pause { node, .. } => self.pause(node),
            Kind::Leave { node } => {
                if self.nodes[node].runs() && self.nodes.len() > 1 {
                    self.nodes[node].leaving = Some(last);
                    self.give(node, Input::Leave);
                }
            }
            Kind::Loss { percent } => self.net.loss += percent,
            Kind::ApiCut { node } => self.net.api_cut[node] += 1,
            Kind::ApiDown { frozen: true } => self.net.api_frozen += 1,
            Kind::ApiDown { frozen: false } => self.net.api_down += 1,
            Kind::Move { vip, node } => self.hand_over(vip, node),
            Kind::Drain { node } => self.mark_draining(node, true),
            Kind::Delete { vip } => self.delete(vip),
            Kind::Restore { versions } => {
                self.store.restore(versions);
                self.tell_watches();
            }
            Kind::Deaf { .. } | Kind::Mute { .. } | Kind::Isolate { .. } | Kind::Cut { .. } | Kind::Split { .. } => {
                self.cut(&fault.kind, true);
                self.tell_carrier(index, &fault.kind, false);
            }
        }
    }

    /// Each other node that is isolated sees it by its carrier.
    fn tell_carrier(&mut self, index: usize, kind: &Kind, up: bool) {
        if let Kind::Isolate { node } = *kind
            && index.is_multiple_of(2)
        {
            self.give(node, Input::Carrier(up));
        }
    }

    pub fn end(&mut self, index: usize) {
        let fault = self.scenario.faults[index].clone();
        self.note(|| format!("END of {:?}", fault.kind));
        match fault.kind {
            Kind::Hang { node, .. } => self.resume_process(node),
            Kind::Crash { node } | Kind::Power { node } => {
                self.power_on(node, matches!(fault.kind, Kind::Power { .. }))
            }
            Kind::Pause { node, clock_stops } => self.unpause(node, clock_stops, fault.last * MS),
            Kind::Loss { percent } => {
                self.net.loss -= percent;
                let now = self.now;
                self.net.parted.iter_mut().flatten().for_each(|at| *at = now);
                self.look_after_healing();
            }
            Kind::ApiCut { node } => {
                self.net.api_cut[node] -= 1;
                self.catch_up(node);
            }
            Kind::ApiDown { frozen } => self.api_is_back(frozen),
            Kind::Drain { node } => self.mark_draining(node, false),
            Kind::Deaf { .. } | Kind::Mute { .. } | Kind::Isolate { .. } | Kind::Cut { .. } | Kind::Split { .. } => {
                self.cut(&fault.kind, false);
                self.tell_carrier(index, &fault.kind, true);
                self.look_after_healing();
            }
            Kind::Restart { .. }
            | Kind::Leave { .. }
            | Kind::Move { .. }
            | Kind::Delete { .. }
            | Kind::Restore { .. } => {}
        }
    }

    fn kill(&mut self, node: usize) {
        let it = &mut self.nodes[node];
        it.holds += 1;
        it.kernel.stopped = true;
        it.process = Process::Gone;
        it.machine = None;
        it.unfinished.clear();
    }

    fn power_off(&mut self, node: usize) {
        self.kill(node);
        let it = &mut self.nodes[node];
        it.powered = false;
        let Kernel { lateness, slack, hard, .. } = it.kernel;
        it.kernel = Kernel { lateness, slack, hard, ..Kernel::default() };
    }

    fn power_on(&mut self, node: usize, booted: bool) {
        let now = self.now;
        let it = &mut self.nodes[node];
        it.faulty_until = now;
        it.holds -= 1;
        if booted {
            it.boots += 1;
        }
        if it.holds == 0 {
            it.powered = true;
            if it.process == Process::Gone {
                self.start(node);
            }
        }
    }

    fn resume_process(&mut self, node: usize) {
        let now = self.now;
        let it = &mut self.nodes[node];
        it.stop_between = false;
        it.faulty_until = now;
        if it.process == Process::Hangs {
            it.process = Process::Runs;
            it.kernel.stopped = false;
            self.wake(node);
        }
    }

    fn pause(&mut self, node: usize) {
        let it = &mut self.nodes[node];
        it.pauses += 1;
    }

    fn unpause(&mut self, node: usize, clock_stops: bool, lasted: u64) {
        let now = self.now;
        let gate = self.timing.gate.as_nanos() as u64;
        let it = &mut self.nodes[node];
        it.pauses -= 1;
        it.faulty_until = now;
        if clock_stops {
            it.clock.stood_still(now - lasted, now);
            it.excused_until = now + gate * 3 / 2;
        }
        let claimed: Vec<usize> = it.kernel.entries.iter().map(|entry| entry.address).collect();
        for address in claimed {
            if self.claimants(address).contains(&node) {
                self.check_address(node, address);
            }
        }
        self.wake(node);
    }

    fn restart(&mut self, node: usize, last: u64) {
        if self.nodes[node].runs() && self.nodes[node].restart.is_none() {
            self.nodes[node].restart = Some(last);
            self.give(node, Input::Restart);
        }
    }

    /// A process goes by its own will.
    pub fn exit(&mut self, node: usize) {
        let now = self.now;
        let it = &mut self.nodes[node];
        it.process = Process::Gone;
        it.machine = None;
        let incarnation = it.incarnation;
        let wait = it.restart.take();
        let gone = it.leaving.take();
        it.faulty_until = now + wait.or(gone).unwrap_or(0);
        if gone.is_some() {
            it.boots += 1;
        }
        if let Some(wait) = wait.or(gone) {
            self.push(now + wait, Event::Start { node, incarnation });
        }
    }

    fn cut(&mut self, kind: &Kind, begins: bool) {
        let count = self.nodes.len();
        let all = || 0..=count;
        let pairs: Vec<(usize, usize)> = match *kind {
            Kind::Deaf { node } => all().map(|other| (other, node)).collect(),
            Kind::Mute { node } => all().map(|other| (node, other)).collect(),
            Kind::Isolate { node } => all().flat_map(|other| [(other, node), (node, other)]).collect(),
            Kind::Cut { from, to } => vec![(from, to)],
            Kind::Split { side } => {
                let on = |node: usize| side & (1 << node) != 0;
                all().flat_map(|a| all().map(move |b| (a, b))).filter(|(a, b)| on(*a) != on(*b)).collect()
            }
            _ => Vec::new(),
        };
        for (from, to) in pairs.into_iter().filter(|(from, to)| from != to) {
            if begins {
                self.net.cut[from][to] += 1;
            } else {
                self.net.cut[from][to] -= 1;
                self.net.parted[from][to] = self.now;
                self.net.parted[to][from] = self.now;
            }
        }
    }

    fn api_is_back(&mut self, frozen: bool) {
        if frozen {
            self.net.api_frozen -= 1;
        } else {
            self.net.api_down -= 1;
        }
        if self.net.api_frozen == 0 {
            for event in std::mem::take(&mut self.frozen) {
                let wait = self.rng.range(0, 20 * MS);
                self.push(self.now + wait, event);
            }
        }
        for node in 0..self.nodes.len() {
            self.catch_up(node);
        }
    }

    fn catch_up(&mut self, node: usize) {
        if self.api_answers(node) {
            let (version, view) = (self.store.version, self.store.view.clone());
            let wait = self.rng.range(MS, 100 * MS);
            self.push(self.now + wait, Event::Watch { node, version, view });
        }
    }

    fn uid(&self, vip: usize) -> String {
        format!("{vip}-{}", self.generations[vip])
    }

    fn hand_over(&mut self, vip: usize, to: usize) {
        let uid = self.uid(vip);
        let to = self.nodes[to].name.clone();
        let holder = self.store.view.assign.get(&uid).and_then(|entry| entry.holder.clone());
        let node = holder.and_then(|right| self.nodes.iter().position(|other| other.name == right.node));
        if let Some(node) = node.filter(|node| self.nodes[*node].runs()) {
            self.give(node, Input::Move { uid, to });
        }
    }

    fn mark_draining(&mut self, node: usize, draining: bool) {
        let view = &self.store.view;
        if let Some(right) = view.right_of(&self.nodes[node].name)
            && let Ok(patch) = view.drain(&right, draining)
        {
            self.commit_later(patch);
        }
    }

    /// Addresses of nodes that are being drained go to others.
    fn drained(&mut self, view: &View, up: &[usize]) -> Vec<Step> {
        let is_draining = |name: &str| view.members.get(name).is_some_and(|member| member.draining);
        let fit: Vec<Right> = up
            .iter()
            .map(|node| self.nodes[*node].name.clone())
            .filter(|name| !is_draining(name))
            .filter_map(|name| view.right_of(&name))
            .collect();
        let held = view.assign.iter().filter_map(|(uid, entry)| Some((uid, entry.holder.as_ref()?)));
        let away: Vec<(String, Right)> = held
            .filter(|(_, holder)| is_draining(&holder.node) && view.up(holder).is_ok())
            .map(|(uid, holder)| (uid.clone(), holder.clone()))
            .collect();
        if fit.is_empty() {
            return Vec::new();
        }
        away.into_iter()
            .map(|(uid, from)| Step::Move {
                uid,
                from,
                to: fit[self.rng.index(fit.len())].clone(),
                cause: Cause::Drained,
            })
            .collect()
    }

    fn delete(&mut self, vip: usize) {
        let uid = self.uid(vip);
        if let Ok(patch) = self.store.view.release(&uid) {
            self.commit_later(patch);
        }
    }

    /// The controller's patch, made from what it knows now.
    fn commit_later(&mut self, patch: vipkeeper::core::view::Patch) {
        let wait = if self.rng.percent(80) { self.rng.range(MS, 5 * MS) } else { self.rng.range(5 * MS, 800 * MS) };
        self.push(self.now + wait, Event::Commit { patch });
    }

    /// Grants what nobody has, and makes again what was deleted.
    pub fn controller(&mut self) {
        let again = self.now + 100 * MS;
        self.push(again, Event::Controller);
        let view = self.store.view.clone();
        let up: Vec<usize> = (0..self.nodes.len())
            .filter(|node| view.members.get(&self.nodes[*node].name).is_some_and(|m| m.state == State::Up))
            .collect();
        if up.is_empty() || self.net.api_down + self.net.api_frozen > 0 {
            return;
        }
        let mut grants = Vec::new();
        for vip in 0..self.oracle.addresses {
            let known = view.assign.get(&self.uid(vip));
            if known.is_some_and(|entry| entry.holder.is_some()) || self.making[vip] > self.now {
                continue;
            }
            let to = up[self.rng.index(up.len())];
            let to = view.right_of(&self.nodes[to].name).unwrap();
            if known.is_none() {
                self.generations[vip] += 1;
                self.making[vip] = self.now + 1_000 * MS;
            }
            grants.push(Step::Grant(Grant { uid: self.uid(vip), name: format!("x/{vip}"), to }));
        }
        let drained = self.drained(&view, &up);
        grants.extend(drained);
        if !grants.is_empty()
            && let Ok(patch) = view.batch(&grants)
        {
            self.commit_later(patch);
        }
    }
}
