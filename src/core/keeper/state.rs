//! What becomes of a VIP on this node, and how it is looked at again.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{Effect, Entry, Keeper, ProbeState, Vip, interface};
use crate::core::net::{Address, JANITOR, Mac, PROTO_AGENT};
use crate::core::plan::{self, Plan, host_prefix};
use crate::core::time::Time;

/// What has become of a VIP that this node may hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Holding {
    /// The address stands on the link and is announced.
    Held {
        /// The link's index.
        link: u32,
        /// The link's name.
        interface: String,
        /// The link's Ethernet address.
        mac: Option<Mac>,
    },
    /// Not yet, or no longer.
    Waiting(Waiting),
}

/// Why a VIP that this node may hold is not held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Waiting {
    /// Nothing is known of the node's links yet, or the address is about to be installed.
    Installing,
    /// No link fits; the text says which were looked at.
    NoInterface(String),
    /// The link has no carrier or is down.
    LinkDown(String),
    /// The address stands and serves, and another node still answers for it.
    Standby,
    /// The segment is being asked whether somebody uses the address.
    Probing,
    /// A host with this Ethernet address answers for it.
    InUse(Mac),
    /// The address stands on the link, put there by somebody else.
    Foreign(String),
    /// The kernel refused it.
    Refused(String),
    /// Another VIP has the same address.
    Duplicate(String),
}

impl Waiting {
    /// The reason as a word in UpperCamelCase, for conditions and metrics; a closed set.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Installing => "Installing",
            Self::NoInterface(_) => "NoInterface",
            Self::LinkDown(_) => "LinkDown",
            Self::Standby => "Standby",
            Self::Probing => "Probing",
            Self::InUse(_) => "AddressInUse",
            Self::Foreign(_) => "ForeignAddress",
            Self::Refused(_) => "KernelRefused",
            Self::Duplicate(_) => "DuplicateAddress",
        }
    }
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Installing => f.write_str("about to be installed"),
            Self::NoInterface(why) => f.write_str(why),
            Self::LinkDown(name) => write!(f, "{name} is down or has no carrier"),
            Self::Standby => f.write_str("the address stands; the node that had it is about to let go"),
            Self::Probing => f.write_str("asking the segment whether the address is in use"),
            Self::InUse(mac) => write!(f, "{mac} answers for the address"),
            Self::Foreign(name) => write!(f, "the address stands on {name} and was put there by something else"),
            Self::Refused(why) => write!(f, "the kernel refused the address: {why}"),
            Self::Duplicate(other) => write!(f, "{other} has the same address"),
        }
    }
}

/// An address as the kernel has it right after we put it there.
pub(super) const fn ours(ip: IpAddr, link: u32) -> Address {
    Address {
        link,
        ip,
        prefix: host_prefix(ip),
        protocol: Some(PROTO_AGENT),
        valid: Some(JANITOR),
        deprecated: ip.is_ipv6(),
        tentative: false,
    }
}

impl Entry {
    pub(super) fn new(vip: Vip) -> Self {
        let probe = if vip.probe { ProbeState::Needed } else { ProbeState::Passed };
        Self {
            vip,
            holding: Holding::Waiting(Waiting::Installing),
            announced: None,
            probe,
            first_probe: None,
            retry: None,
        }
    }

    /// What it waits for, if it is a time.
    pub(super) fn due(&self) -> Option<(Time, &'static str)> {
        let probe = match self.probe {
            ProbeState::Refused { again } => Some((again, "probe again")),
            ProbeState::Needed | ProbeState::Running | ProbeState::Passed => None,
        };
        self.retry.map(|at| (at, "retry")).into_iter().chain(probe).min()
    }
}

/// What should be so for an address now.
enum Want {
    /// On this link.
    On(u32),
    /// Nowhere, for this reason.
    Nowhere(Waiting),
}

impl Keeper {
    /// Looks at every address that something changed for, and asks for the difference.
    pub(super) fn evaluate(&mut self) {
        let mut plan = Plan::default();
        for ip in std::mem::take(&mut self.dirty) {
            let owner = self.owners.get(&ip).cloned();
            let want = owner.as_deref().map(|uid| self.want(uid, ip));
            let link = match &want {
                Some(Want::On(link)) => Some(*link),
                Some(Want::Nowhere(_)) | None => None,
            };
            plan::plan_one(ip, link, &self.observed, &mut plan);
            if let (Some(uid), Some(want)) = (owner, want) {
                self.settle(&uid, ip, want, &plan.foreign);
                self.tell_twins(&uid, ip);
            }
        }
        self.start(plan.steps);
    }

    fn want(&mut self, uid: &str, ip: IpAddr) -> Want {
        let Some(entry) = self.vips.get(uid) else { return Want::Nowhere(Waiting::Installing) };
        let chosen = interface::select(entry.vip.interface.as_deref(), ip, &self.links, &self.subnets, &self.routes);
        let link = match chosen {
            Ok(link) => link,
            Err(why) => return Want::Nowhere(Waiting::NoInterface(why.to_string())),
        };
        let there = self.observed.get(&(ip, link, host_prefix(ip))).is_some_and(Address::is_ours);
        let (carrier, name) =
            self.links.get(&link).map_or((false, String::new()), |l| (l.up && l.carrier, l.name.clone()));
        if there {
            // It stood before we came, or we put it there: whoever removes it makes no stranger's address of it.
            if let Some(entry) = self.vips.get_mut(uid) {
                entry.probe = ProbeState::Passed;
            }
            return Want::On(link);
        }
        if let (Some(_), Holding::Waiting(why)) = (entry.retry, &entry.holding) {
            return Want::Nowhere(why.clone());
        }
        if !carrier {
            return Want::Nowhere(Waiting::LinkDown(name));
        }
        self.pass_probe(uid, ip, link)
    }

    /// Installation comes after the probe, unless the address is on another link of ours already.
    fn pass_probe(&mut self, uid: &str, ip: IpAddr, link: u32) -> Want {
        let held_elsewhere = self.observed.range((ip, 0, 0)..=(ip, u32::MAX, u8::MAX)).any(|(_, a)| a.is_ours());
        let now = self.now;
        let Some(entry) = self.vips.get_mut(uid) else { return Want::Nowhere(Waiting::Installing) };
        match entry.probe {
            ProbeState::Passed => Want::On(link),
            ProbeState::Needed if held_elsewhere => {
                entry.probe = ProbeState::Passed;
                Want::On(link)
            }
            ProbeState::Needed => {
                entry.probe = ProbeState::Running;
                entry.first_probe.get_or_insert(now);
                self.effects.push_back(Effect::Probe { uid: uid.to_owned(), ip, link });
                Want::Nowhere(Waiting::Probing)
            }
            ProbeState::Running => Want::Nowhere(Waiting::Probing),
            ProbeState::Refused { .. } => match &entry.holding {
                Holding::Waiting(why) => Want::Nowhere(why.clone()),
                Holding::Held { .. } => Want::Nowhere(Waiting::Probing),
            },
        }
    }

    /// Brings what is announced and reported in line with what is wanted and there.
    fn settle(&mut self, uid: &str, ip: IpAddr, want: Want, foreign: &BTreeSet<IpAddr>) {
        let holding = match want {
            Want::Nowhere(why) => Holding::Waiting(why),
            Want::On(link) => self.holding_on(uid, ip, link, foreign),
        };
        let announce = match &holding {
            Holding::Held { link, .. } => Some(*link),
            Holding::Waiting(_) => None,
        };
        let Some(entry) = self.vips.get_mut(uid) else { return };
        if entry.announced != announce {
            let was = std::mem::replace(&mut entry.announced, announce);
            let effect = match announce {
                Some(link) => Some(Effect::Announce { uid: uid.to_owned(), ip, link }),
                None => was.map(|_| Effect::Silence { ip }),
            };
            self.effects.extend(effect);
        }
        if entry.holding != holding {
            entry.holding = holding.clone();
            self.effects.push_back(Effect::Report { uid: uid.to_owned(), holding });
        }
    }

    fn holding_on(&self, uid: &str, ip: IpAddr, link: u32, foreign: &BTreeSet<IpAddr>) -> Holding {
        let Some(on) = self.links.get(&link) else { return Holding::Waiting(Waiting::Installing) };
        let there = self.observed.get(&(ip, link, host_prefix(ip))).is_some_and(Address::is_ours);
        if foreign.contains(&ip) {
            Holding::Waiting(Waiting::Foreign(on.name.clone()))
        } else if there && !(on.up && on.carrier) {
            Holding::Waiting(Waiting::LinkDown(on.name.clone()))
        } else if there && self.vips.get(uid).is_some_and(|entry| !entry.vip.claim) {
            Holding::Waiting(Waiting::Standby)
        } else if there {
            Holding::Held { link, interface: on.name.clone(), mac: on.mac }
        } else {
            Holding::Waiting(Waiting::Installing)
        }
    }

    /// Other VIPs of the same address wait for the owner to go.
    fn tell_twins(&mut self, owner: &str, ip: IpAddr) {
        if self.owners.len() == self.vips.len() {
            return;
        }
        let name = self.vips.get(owner).map(|entry| entry.vip.name.clone()).unwrap_or_default();
        let holding = Holding::Waiting(Waiting::Duplicate(name));
        for (uid, entry) in self.vips.iter_mut().filter(|(uid, entry)| entry.vip.ip == ip && *uid != owner) {
            if entry.holding != holding {
                entry.holding = holding.clone();
                self.effects.push_back(Effect::Report { uid: uid.clone(), holding: holding.clone() });
            }
        }
    }
}
