//! Which addresses stand on this node's links, from what it has the right to hold and what its kernel says.
//!
//! The keeper is level-triggered: whatever changes, it looks again at the VIPs concerned and asks for the difference. It
//! holds no opinion on rights; whoever decides about them (the view and, later, the evidence of peers) hands it the set.

mod state;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::state::{Holding, Waiting};
use super::interface::{self, Subnet};
use super::net::{Address, Link, Mac, REFRESH, Route};
use super::plan::{self, Observed, Step, host_prefix};
use super::time::Time;

/// How long a foreign answer to the probe before the first installation keeps us from installing. A probe is a hint:
/// proxy ARP answers for everything, so it never vetoes for ever.
pub const PROBE_VETO: Duration = Duration::from_secs(10);

/// How long to wait before an address that the kernel refused is tried again.
const RETRY: Duration = Duration::from_secs(2);

/// A VIP that this node may hold now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vip {
    /// Namespace and name, for people.
    pub name: String,
    /// Its address.
    pub ip: IpAddr,
    /// The interface asked for, a name or a glob; `None` for the link whose subnet contains the address.
    pub interface: Option<String>,
    /// Whether to ask the segment first if somebody uses the address: on a first grant, never on a takeover.
    pub probe: bool,
    /// Whether to announce it; otherwise it only stands, for another node still answers for it.
    pub claim: bool,
}

/// What the keeper is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Input {
    /// Everything that this node may hold now, by uid.
    Rights(BTreeMap<String, Vip>),
    /// All links, addresses and default routes of the node.
    Dumped {
        /// The links.
        links: Vec<Link>,
        /// The addresses.
        addresses: Vec<Address>,
        /// The default routes, best first.
        routes: Vec<Route>,
    },
    /// A link is new or different.
    Link(Link),
    /// A link is gone, and its addresses with it.
    LinkGone(u32),
    /// An address is new or different.
    Address(Address),
    /// An address is gone.
    AddressGone {
        /// The address.
        ip: IpAddr,
        /// Its link's index.
        link: u32,
        /// Its prefix length.
        prefix: u8,
    },
    /// A step is done; the text says why it was not.
    Done {
        /// The step.
        step: Step,
        /// The kernel's words, if it refused.
        error: Option<String>,
    },
    /// A probe is over.
    Probed {
        /// The VIP.
        uid: String,
        /// Who answered for its address, if anybody.
        answered: Option<Mac>,
    },
}

/// What the keeper asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// Change the node's addresses; each step is answered by [`Input::Done`].
    Apply(Vec<Step>),
    /// Ask the segment who has the address; answered by [`Input::Probed`].
    Probe {
        /// The VIP.
        uid: String,
        /// The address.
        ip: IpAddr,
        /// The link's index.
        link: u32,
    },
    /// The address stands on the link: announce it, from now until [`Effect::Silence`].
    Announce {
        /// The VIP.
        uid: String,
        /// The address.
        ip: IpAddr,
        /// The link's index.
        link: u32,
    },
    /// The address is no longer on the link, or must not be announced there.
    Silence {
        /// The address.
        ip: IpAddr,
    },
    /// Somebody removed an address that we hold; it is being put back.
    Repaired {
        /// The VIP.
        uid: String,
        /// The address.
        ip: IpAddr,
    },
    /// The node may not hold the VIP any more; its address is being removed if nothing else wants it.
    Released {
        /// The VIP.
        uid: String,
        /// Its name.
        name: String,
        /// The address.
        ip: IpAddr,
    },
    /// What becomes of a VIP changed.
    Report {
        /// The VIP.
        uid: String,
        /// Held, or why not.
        holding: Holding,
    },
}

#[derive(Debug)]
struct Entry {
    vip: Vip,
    holding: Holding,
    announced: Option<u32>,
    probe: ProbeState,
    /// When the segment was first asked; what [`PROBE_VETO`] counts from.
    first_probe: Option<Time>,
    retry: Option<Time>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ProbeState {
    Needed,
    Running,
    Refused { again: Time },
    Passed,
}

/// The addresses of one node. See the module's text.
#[derive(Debug, Default)]
pub struct Keeper {
    now: Time,
    vips: BTreeMap<String, Entry>,
    owners: BTreeMap<IpAddr, String>,
    links: BTreeMap<u32, Link>,
    observed: Observed,
    subnets: Vec<Subnet>,
    routes: Vec<Route>,
    dumped: bool,
    in_flight: BTreeSet<Step>,
    /// The VIPs, by uid, that may wait for a time; all that do are among them.
    timed: BTreeSet<String>,
    next_refresh: Option<Time>,
    dirty: BTreeSet<IpAddr>,
    effects: VecDeque<Effect>,
}

impl Keeper {
    /// Takes an input; drain [`Keeper::poll_effect`] afterwards, at the latest after a batch.
    pub fn handle(&mut self, now: Time, input: Input) {
        self.now = self.now.max(now);
        match input {
            Input::Rights(vips) => self.set_rights(vips),
            Input::Dumped { links, addresses, routes } => self.set_observed(links, addresses, routes),
            Input::Link(link) => self.set_link(link),
            Input::LinkGone(index) => self.remove_link(index),
            Input::Address(address) => self.set_address(address),
            Input::AddressGone { ip, link, prefix } => self.remove_address(ip, link, prefix),
            Input::Done { step, error } => self.finish(step, error),
            Input::Probed { uid, answered } => self.probed(&uid, answered),
        }
    }

    /// Does what is due: retries, further probes, refreshes.
    pub fn handle_timeout(&mut self, now: Time) {
        self.now = self.now.max(now);
        for uid in std::mem::take(&mut self.timed) {
            let Some(entry) = self.vips.get_mut(&uid) else { continue };
            if entry.retry.is_some_and(|at| at <= self.now) {
                entry.retry = None;
                self.dirty.insert(entry.vip.ip);
            }
            if let ProbeState::Refused { again } = entry.probe
                && again <= self.now
            {
                let over = entry.first_probe.is_some_and(|first| self.now.since(first) >= PROBE_VETO);
                entry.probe = if over { ProbeState::Passed } else { ProbeState::Needed };
                self.dirty.insert(entry.vip.ip);
            }
            if entry.due().is_some() {
                self.timed.insert(uid);
            }
        }
        if self.next_refresh.is_some_and(|at| at <= self.now) {
            self.refresh_all();
        }
    }

    /// The next effect, `None` when there is nothing to do for now.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        if self.dumped && !self.dirty.is_empty() {
            self.evaluate();
        }
        self.effects.pop_front()
    }

    /// When to call [`Keeper::handle_timeout`], and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Time, &'static str)> {
        let timed = self.timed.iter().filter_map(|uid| self.vips.get(uid)?.due());
        timed.chain(self.next_refresh.map(|at| (at, "refresh lifetimes"))).min()
    }

    /// The VIPs and what has become of them, by uid.
    pub fn holdings(&self) -> impl Iterator<Item = (&str, &Vip, &Holding)> {
        self.vips.iter().map(|(uid, entry)| (uid.as_str(), &entry.vip, &entry.holding))
    }

    /// What has become of a VIP; `None` if this node may not hold it.
    #[must_use]
    pub fn holding(&self, uid: &str) -> Option<&Holding> {
        self.vips.get(uid).map(|entry| &entry.holding)
    }

    /// The links as the kernel last told.
    #[must_use]
    pub const fn links(&self) -> &BTreeMap<u32, Link> {
        &self.links
    }

    /// The default routes as of the last dump.
    #[must_use]
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// The addresses as the kernel last told.
    #[must_use]
    pub const fn observed(&self) -> &Observed {
        &self.observed
    }

    fn set_rights(&mut self, vips: BTreeMap<String, Vip>) {
        let gone: Vec<String> = self.vips.keys().filter(|uid| !vips.contains_key(*uid)).cloned().collect();
        for uid in gone {
            if let Some(Entry { vip, announced, .. }) = self.vips.remove(&uid) {
                self.forget(&uid, vip.ip, announced.is_some());
                self.effects.push_back(Effect::Released { uid, name: vip.name, ip: vip.ip });
            }
        }
        for (uid, vip) in vips {
            self.set_right(uid, vip);
        }
    }

    fn set_right(&mut self, uid: String, vip: Vip) {
        match self.vips.get_mut(&uid) {
            Some(entry) if entry.vip == vip => return,
            Some(entry) if entry.vip.ip == vip.ip => entry.vip = vip,
            Some(entry) => {
                let (old, announced) = (entry.vip.ip, entry.announced.take().is_some());
                *entry = Entry::new(vip);
                self.forget(&uid, old, announced);
            }
            None => {
                self.vips.insert(uid.clone(), Entry::new(vip));
            }
        }
        let ip = self.vips[&uid].vip.ip;
        self.owners.entry(ip).or_insert(uid);
        self.dirty.insert(ip);
    }

    fn forget(&mut self, uid: &str, ip: IpAddr, announced: bool) {
        if announced {
            self.effects.push_back(Effect::Silence { ip });
        }
        if self.owners.get(&ip).is_some_and(|owner| owner == uid) {
            self.owners.remove(&ip);
            let heir = self.vips.iter().find(|(_, entry)| entry.vip.ip == ip).map(|(uid, _)| uid.clone());
            self.owners.extend(heir.map(|uid| (ip, uid)));
        }
        self.dirty.insert(ip);
    }

    fn set_observed(&mut self, links: Vec<Link>, addresses: Vec<Address>, routes: Vec<Route>) {
        self.links = links.into_iter().map(|link| (link.index, link)).collect();
        self.observed = addresses.into_iter().map(|address| (plan::place(&address), address)).collect();
        self.routes = routes;
        self.dumped = true;
        self.next_refresh.get_or_insert(self.now + REFRESH);
        self.look_again_at_all();
    }

    fn set_link(&mut self, link: Link) {
        if self.links.get(&link.index) != Some(&link) {
            self.links.insert(link.index, link);
            self.look_again_at_all();
        }
    }

    fn remove_link(&mut self, index: u32) {
        if self.links.remove(&index).is_some() {
            self.observed.retain(|&(_, link, _), _| link != index);
            self.look_again_at_all();
        }
    }

    fn look_again_at_all(&mut self) {
        self.subnets = interface::subnets(&self.observed);
        self.dirty.extend(self.owners.keys());
        self.dirty.extend(self.observed.values().filter(|address| address.is_ours()).map(|address| address.ip));
    }

    fn set_address(&mut self, address: Address) {
        let (ip, ours) = (address.ip, address.is_ours());
        let before = self.observed.insert(plan::place(&address), address);
        if before.is_some_and(|before| before.is_ours() == ours) {
            return;
        }
        // An address of somebody else may be the subnet that another VIP's interface is chosen by.
        if ours { self.dirty.extend([ip]) } else { self.look_again_at_all() }
    }

    fn remove_address(&mut self, ip: IpAddr, link: u32, prefix: u8) {
        let Some(before) = self.observed.remove(&(ip, link, prefix)) else { return };
        if !before.is_ours() {
            self.look_again_at_all();
            return;
        }
        self.dirty.insert(ip);
        let held = self.owners.get(&ip).filter(|uid| self.vips[*uid].announced == Some(link)).cloned();
        if let Some(uid) = held
            && !self.in_flight.contains(&Step::Remove { ip, link, prefix })
        {
            if let Some(entry) = self.vips.get_mut(&uid) {
                entry.announced = None;
            }
            self.effects.push_back(Effect::Repaired { uid, ip });
        }
    }

    fn finish(&mut self, step: Step, error: Option<String>) {
        self.in_flight.remove(&step);
        let ip = step.ip();
        self.dirty.insert(ip);
        if let Some(error) = error {
            self.failed(ip, error);
            return;
        }
        match step {
            Step::Add { ip, link } | Step::Refresh { ip, link } => {
                let address = state::ours(ip, link);
                self.observed.insert(plan::place(&address), address);
            }
            Step::Remove { ip, link, prefix } => {
                self.observed.remove(&(ip, link, prefix));
            }
        }
    }

    fn failed(&mut self, ip: IpAddr, error: String) {
        let retry = self.now + RETRY;
        if let Some(uid) = self.owners.get(&ip)
            && let Some(entry) = self.vips.get_mut(uid)
        {
            self.timed.insert(uid.clone());
            entry.retry = Some(retry);
            entry.holding = Holding::Waiting(Waiting::Refused(error));
            let report = Effect::Report { uid: self.owners[&ip].clone(), holding: entry.holding.clone() };
            self.effects.push_back(report);
        }
    }

    fn probed(&mut self, uid: &str, answered: Option<Mac>) {
        let Some(entry) = self.vips.get_mut(uid) else { return };
        if entry.probe != ProbeState::Running {
            return;
        }
        entry.probe = match answered {
            None => ProbeState::Passed,
            Some(mac) => {
                entry.holding = Holding::Waiting(Waiting::InUse(mac));
                self.effects.push_back(Effect::Report { uid: uid.to_owned(), holding: entry.holding.clone() });
                self.timed.insert(uid.to_owned());
                ProbeState::Refused { again: self.now + PROBE_VETO / 3 }
            }
        };
        self.dirty.insert(entry.vip.ip);
    }

    fn refresh_all(&mut self) {
        self.next_refresh = Some(self.now + REFRESH);
        let held = self.observed.values().filter(|address| {
            address.is_ours() && self.owners.contains_key(&address.ip) && address.prefix == host_prefix(address.ip)
        });
        let steps: Vec<Step> = held.map(|address| Step::Refresh { ip: address.ip, link: address.link }).collect();
        self.start(steps);
    }

    fn start(&mut self, steps: Vec<Step>) {
        let fresh: Vec<Step> = steps.into_iter().filter(|step| self.in_flight.insert(*step)).collect();
        if !fresh.is_empty() {
            self.effects.push_back(Effect::Apply(fresh));
        }
    }
}
