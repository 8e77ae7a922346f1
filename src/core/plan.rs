//! Desired minus observed: what to do to a node's addresses, and nothing else.
//!
//! The plan looks only at what is wanted and at what the kernel has, never at how things came to be so: a missed event, a
//! crash or another program's meddling heals by itself. Executing a plan twice changes nothing. What does not carry our
//! mark is never in a plan.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::net::{Address, JANITOR, REFRESH};

/// One change of one address on one link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Step {
    /// Put the address on the link.
    Add {
        /// The address; always a /32 or a /128.
        ip: IpAddr,
        /// The link's index.
        link: u32,
    },
    /// Give an address that is there its full lifetime again.
    Refresh {
        /// The address.
        ip: IpAddr,
        /// The link's index.
        link: u32,
    },
    /// Take an address that carries our mark from a link.
    Remove {
        /// The address.
        ip: IpAddr,
        /// The link's index.
        link: u32,
        /// Its prefix length, ours or that of a former version.
        prefix: u8,
    },
}

impl Step {
    /// The address that the step is about.
    #[must_use]
    pub const fn ip(&self) -> IpAddr {
        match self {
            Self::Add { ip, .. } | Self::Refresh { ip, .. } | Self::Remove { ip, .. } => *ip,
        }
    }
}

/// What is to be done, and what stands in the way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// In the order in which to do it: additions before removals, so that an address that changes its link is never gone.
    pub steps: Vec<Step>,
    /// Wanted addresses that stand on their link without our mark: somebody else's, to be reported and left alone.
    pub foreign: BTreeSet<IpAddr>,
}

/// The prefix length of a held address: the whole address, so that it brings no route and no secondaries with it.
#[must_use]
pub const fn host_prefix(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

/// The addresses of a node as decisions index them: by address, link and prefix length. The kernel keeps one address
/// twice on a link if the prefix lengths differ.
pub type Observed = BTreeMap<(IpAddr, u32, u8), Address>;

/// The place of an address among the observed ones.
#[must_use]
pub const fn place(address: &Address) -> (IpAddr, u32, u8) {
    (address.ip, address.link, address.prefix)
}

/// All that is observed of one address on one link.
pub fn on_link(observed: &Observed, ip: IpAddr, link: u32) -> impl Iterator<Item = &Address> {
    observed.range((ip, link, 0)..=(ip, link, u8::MAX)).map(|(_, address)| address)
}

/// Compares what is wanted (address to link index) with what is there.
///
/// An address with our mark and less than two thirds of its lifetime left is refreshed, which also adopts what a former
/// run left behind.
#[must_use]
pub fn plan(wanted: &BTreeMap<IpAddr, u32>, observed: &Observed) -> Plan {
    let ours = observed.values().filter(|address| address.is_ours()).map(|address| address.ip);
    let concerned: BTreeSet<IpAddr> = wanted.keys().copied().chain(ours).collect();
    let mut plan = Plan::default();
    for ip in concerned {
        plan_one(ip, wanted.get(&ip).copied(), observed, &mut plan);
    }
    plan
}

/// The part of [`plan`] that concerns one address, added to `plan`; `wanted` is the link on which it should be.
pub fn plan_one(ip: IpAddr, wanted: Option<u32>, observed: &Observed, plan: &mut Plan) {
    if let Some(link) = wanted {
        let own = observed.get(&(ip, link, host_prefix(ip))).filter(|there| there.is_ours());
        match own {
            Some(there) if needs_refresh(there) => plan.steps.push(Step::Refresh { ip, link }),
            Some(_) => {}
            None if on_link(observed, ip, link).any(|there| !there.is_ours()) => {
                plan.foreign.insert(ip);
            }
            None => plan.steps.push(Step::Add { ip, link }),
        }
    }
    for (&(ip, link, prefix), there) in observed.range((ip, 0, 0)..=(ip, u32::MAX, u8::MAX)) {
        let kept = wanted == Some(link) && prefix == host_prefix(ip);
        if there.is_ours() && !kept {
            plan.steps.push(Step::Remove { ip, link, prefix });
        }
    }
}

fn needs_refresh(address: &Address) -> bool {
    address.valid.is_some_and(|left| left <= JANITOR - REFRESH)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::core::net::PROTO_AGENT;

    fn address(last: u8, link: u32, prefix: u8, protocol: Option<u8>, left: u64) -> Address {
        Address {
            link,
            ip: Ipv4Addr::new(198, 51, 100, last).into(),
            prefix,
            protocol,
            valid: Some(Duration::from_secs(left)),
            deprecated: false,
            tentative: false,
        }
    }

    fn index(addresses: impl IntoIterator<Item = Address>) -> Observed {
        addresses.into_iter().map(|a| (place(&a), a)).collect()
    }

    /// What a kernel would have after the plan.
    fn execute(plan: &Plan, observed: &Observed) -> Observed {
        let mut after = observed.clone();
        for step in &plan.steps {
            match *step {
                Step::Remove { ip, link, prefix } => {
                    after.remove(&(ip, link, prefix));
                }
                Step::Add { ip, link } | Step::Refresh { ip, link } => {
                    let ours = Address {
                        link,
                        ip,
                        prefix: host_prefix(ip),
                        protocol: Some(PROTO_AGENT),
                        valid: Some(JANITOR),
                        deprecated: false,
                        tentative: false,
                    };
                    after.insert(place(&ours), ours);
                }
            }
        }
        after
    }

    fn wanted() -> impl Strategy<Value = BTreeMap<IpAddr, u32>> {
        prop::collection::btree_map((0u8..12).prop_map(|last| Ipv4Addr::new(198, 51, 100, last).into()), 1u32..4, 0..8)
    }

    fn observed() -> impl Strategy<Value = Observed> {
        let protocol = prop_oneof![Just(None), Just(Some(2)), Just(Some(PROTO_AGENT))];
        let one = (0u8..12, 1u32..4, prop_oneof![Just(24u8), Just(32)], protocol, 0u64..301)
            .prop_map(|(last, link, prefix, protocol, left)| address(last, link, prefix, protocol, left));
        prop::collection::vec(one, 0..12).prop_map(index)
    }

    proptest! {
        #[test]
        fn a_plan_applied_twice_is_empty(wanted in wanted(), observed in observed()) {
            let after = execute(&plan(&wanted, &observed), &observed);
            prop_assert_eq!(plan(&wanted, &after).steps, vec![]);
        }

        #[test]
        fn what_is_not_ours_is_never_touched(wanted in wanted(), observed in observed()) {
            let after = execute(&plan(&wanted, &observed), &observed);
            for (place, there) in observed.iter().filter(|(_, there)| !there.is_ours()) {
                prop_assert_eq!(after.get(place), Some(there));
            }
        }

        #[test]
        fn afterwards_ours_is_what_is_wanted(wanted in wanted(), observed in observed()) {
            let plan = plan(&wanted, &observed);
            let after = execute(&plan, &observed);
            let ours: BTreeMap<IpAddr, u32> =
                after.values().filter(|a| a.is_ours()).map(|a| (a.ip, a.link)).collect();
            let mut left = wanted.clone();
            left.retain(|ip, _| !plan.foreign.contains(ip));
            for (ip, link) in &left {
                prop_assert_eq!(ours.get(ip), Some(link));
            }
            for (ip, link) in ours {
                prop_assert_eq!(wanted.get(&ip), Some(&link), "{} is ours and not wanted", ip);
            }
        }
    }

    #[test]
    fn an_address_left_by_a_former_run_is_adopted_by_a_refresh() {
        let there = address(20, 2, 32, Some(PROTO_AGENT), 150);
        let wanted = BTreeMap::from([(there.ip, 2)]);
        assert_eq!(plan(&wanted, &index([there.clone()])).steps, [Step::Refresh { ip: there.ip, link: 2 }]);
    }

    #[test]
    fn an_address_that_changes_its_link_is_added_before_it_is_removed() {
        let there = address(20, 2, 32, Some(PROTO_AGENT), 300);
        let wanted = BTreeMap::from([(there.ip, 3)]);
        let steps = plan(&wanted, &index([there.clone()])).steps;
        let ip = there.ip;
        assert_eq!(steps, [Step::Add { ip, link: 3 }, Step::Remove { ip, link: 2, prefix: 32 }]);
    }
}
