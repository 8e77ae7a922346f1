//! Which steps each view needs: grants, moves, releases, removals.

use std::collections::{BTreeMap, BTreeSet};

use super::ground::{Ground, Home, home};
use super::seen::{Id, Notice, Severity, Vip};
use crate::core::placement::{self, Choice, Load, Rejection};
use crate::core::view::{Assignment, Cause, Grant, Right, Step, View};

/// The most steps in one patch: the API server takes 10,000 operations, and a step is up to three.
pub(super) const MAX_STEPS: usize = 2_000;

/// The entry of a `VirtualIP`, and the segment that it is in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'a> {
    pub(super) ground: usize,
    pub(super) assignment: &'a Assignment,
}

/// The entries of all views by uid. One that a second view has as well is listed apart.
pub(super) fn entries<'a>(grounds: &'a [Ground<'a>]) -> (BTreeMap<&'a str, Entry<'a>>, Vec<(usize, &'a str)>) {
    let mut entries = BTreeMap::new();
    let mut doubles = Vec::new();
    for (at, ground) in grounds.iter().enumerate() {
        for (uid, assignment) in &ground.view.assign {
            if entries.contains_key(uid.as_str()) {
                doubles.push((at, uid.as_str()));
            } else {
                entries.insert(uid.as_str(), Entry { ground: at, assignment });
            }
        }
    }
    (entries, doubles)
}

/// Why a `VirtualIP` without a node has none.
#[derive(Debug)]
pub(super) enum Homeless {
    /// No segment fits.
    NoSegment,
    /// It is in nobody's subnet; whether a better segment appears is awaited.
    Stray,
    /// Nobody on the segment may have it.
    NoNode { segment: String, others: BTreeMap<String, Rejection> },
}

/// The steps of every view, and what is to be told when they are done.
#[derive(Debug)]
pub(super) struct Steps<'a> {
    grounds: &'a [Ground<'a>],
    sick: &'a BTreeMap<String, BTreeSet<String>>,
    load: Load,
    pub(super) of: Vec<Vec<(Step, Option<Notice>)>>,
}

impl<'a> Steps<'a> {
    pub(super) fn new(grounds: &'a [Ground<'a>], sick: &'a BTreeMap<String, BTreeSet<String>>) -> Self {
        let mut load = Load::new();
        for holder in grounds.iter().flat_map(|ground| ground.view.assign.values()).filter_map(|e| e.holder.as_ref()) {
            match load.get_mut(&holder.node) {
                Some(count) => *count += 1,
                None => _ = load.insert(holder.node.clone(), 1),
            }
        }
        Self { grounds, sick, load, of: grounds.iter().map(|_| Vec::new()).collect() }
    }

    /// Gives an address to a node: on the segment of its entry, or on the one where it belongs. `patient` says that it
    /// has waited long enough for a segment whose prefix contains it.
    pub(super) fn grant(&mut self, vip: &Vip, entry: Option<Entry<'a>>, patient: bool) -> Result<(), Homeless> {
        let (Ok(wish), Some(address)) = (&vip.wish, vip.status.address) else { return Err(Homeless::NoSegment) };
        let at = match entry {
            Some(entry) => entry.ground,
            None => {
                let ground = match home(self.grounds, address, wish) {
                    Home::On(ground) => ground,
                    Home::Stray(ground) if patient => ground,
                    Home::Stray(_) => return Err(Homeless::Stray),
                    Home::Nowhere => return Err(Homeless::NoSegment),
                };
                self.grounds.iter().position(|other| other.name == ground.name).unwrap_or_default()
            }
        };
        let ground = &self.grounds[at];
        if ground.view.withdraw {
            return Err(Homeless::NoSegment);
        }
        let asker = ground.asker(&vip.meta.uid, wish, None, self.sick.get(&vip.meta.uid));
        let choice = placement::choose(&asker, &ground.candidates, &self.load);
        let Some(to) = choice.node.and_then(|node| ground.view.right_of(node)) else {
            let others = choice.others.into_iter().map(|(node, why)| (node.to_owned(), why)).collect();
            return Err(Homeless::NoNode { segment: ground.name.to_owned(), others });
        };
        *self.load.entry(to.node.clone()).or_default() += 1;
        let message = format!("{address} is given to {} on segment {}{}", to.node, ground.name, the_others(&choice));
        let notice = notice(vip, "Assigned", message);
        let grant = Grant { uid: vip.meta.uid.clone(), name: vip.meta.name.clone(), to };
        self.of[at].push((Step::Grant(grant), Some(notice)));
        Ok(())
    }

    /// Moves an address that its holder should not keep, or that a preferred node should have; where no other node may
    /// have it, it stays. One that is still on its way from another holder waits.
    pub(super) fn move_if_better(&mut self, vip: &Vip, entry: Entry<'a>, holder: &Right) {
        let ground = &self.grounds[entry.ground];
        let settled = entry.assignment.after.keys().all(|former| former == holder || ground.view.is_over(former));
        let Ok(wish) = &vip.wish else { return };
        if ground.view.up(holder).is_err() || !settled || ground.view.withdraw {
            return;
        }
        let asker = ground.asker(&vip.meta.uid, wish, Some(&holder.node), self.sick.get(&vip.meta.uid));
        let own = ground.candidates.iter().find(|candidate| candidate.name == holder.node);
        let why = own.and_then(|own| placement::rejection(&asker, own)).filter(|why| !why.keeps());
        if why.is_none() && asker.failback == placement::Failback::Never {
            return;
        }
        let choice = placement::choose(&asker, &ground.candidates, &self.load);
        let node = choice.node.filter(|node| *node != holder.node);
        let Some(to) = node.and_then(|node| ground.view.right_of(node)) else { return };
        *self.load.entry(to.node.clone()).or_default() += 1;
        if let Some(load) = self.load.get_mut(&holder.node) {
            *load = load.saturating_sub(1);
        }
        let cause = why.map_or(Cause::Preferred, cause_of);
        let why = why.map_or_else(|| "the other is preferred".to_owned(), |why| why.to_string());
        let message = format!("moves from {} to {}: {why}", holder.node, to.node);
        let step = Step::Move { uid: vip.meta.uid.clone(), from: holder.clone(), to, cause };
        self.of[entry.ground].push((step, Some(notice(vip, "Moved", message))));
    }

    /// Brings an entry that must go one step further: its holder is told; without a holder it goes when its former
    /// rights are over, and else gets a holder that can close them.
    pub(super) fn close(&mut self, at: usize, uid: &str) {
        let ground = &self.grounds[at];
        let Some(entry) = ground.view.assign.get(uid) else { return };
        let step = match &entry.holder {
            Some(holder) if !entry.releasing && ground.view.up(holder).is_ok() => {
                Some(Step::Release { uid: uid.to_owned() })
            }
            Some(_) => None,
            None if entry.after.keys().all(|former| ground.view.is_over(former)) => {
                Some(Step::Remove { uid: uid.to_owned(), closed: entry.after.keys().cloned().collect() })
            }
            None if !entry.releasing => Some(Step::Release { uid: uid.to_owned() }),
            None => self
                .closer(ground, uid)
                .map(|to| Step::Grant(Grant { uid: uid.to_owned(), name: entry.name.clone(), to })),
        };
        self.of[at].extend(step.map(|step| (step, None)));
    }

    /// Any member that is up, the least loaded without a barrier if there is one.
    fn closer(&self, ground: &Ground<'_>, uid: &str) -> Option<Right> {
        let asker = placement::Vip { uid: uid.to_owned(), ..placement::Vip::default() };
        let chosen = placement::choose(&asker, &ground.candidates, &self.load).node;
        let up = |view: &View| view.up_members().next().map(|(name, _)| name.clone());
        chosen.map(str::to_owned).or_else(|| up(ground.view)).and_then(|node| ground.view.right_of(&node))
    }
}

/// Why an address leaves a node that should not keep it.
const fn cause_of(why: Rejection) -> Cause {
    match why {
        Rejection::Unhealthy => Cause::Unhealthy,
        Rejection::Cordoned | Rejection::Tainted | Rejection::Draining | Rejection::NotReady => Cause::Drained,
        Rejection::LessPreferred | Rejection::MoreLoaded | Rejection::TieLost | Rejection::HeldElsewhere => {
            Cause::Preferred
        }
        Rejection::NotOnSegment
        | Rejection::Fenced
        | Rejection::Left
        | Rejection::Silent
        | Rejection::NoInterface
        | Rejection::NoCarrier
        | Rejection::NoGate
        | Rejection::NodeSelector
        | Rejection::NoEndpoint => Cause::Ineligible,
    }
}

/// Why the others do not have it; not more than five of them.
fn the_others(choice: &Choice<'_>) -> String {
    list_of(choice.others.iter().map(|(node, why)| (*node, *why)))
}

/// `; node-b: Cordoned, node-c: NotOnSegment`, at most five; empty without any.
pub(super) fn list_of<'b>(others: impl Iterator<Item = (&'b str, Rejection)>) -> String {
    const SHOWN: usize = 5;
    let all: Vec<String> = others.map(|(node, why)| format!("{node}: {why}")).collect();
    match all.len() {
        0 => String::new(),
        1..=SHOWN => format!("; {}", all.join(", ")),
        many => format!("; {} and {} more", all[..SHOWN].join(", "), many - SHOWN),
    }
}

fn notice(vip: &Vip, reason: &'static str, message: String) -> Notice {
    let about = Id::Vip(vip.meta.name.clone());
    Notice { about, uid: vip.meta.uid.clone(), severity: Severity::Normal, reason, message }
}
