//! Services of type LoadBalancer: each owns one `VirtualIP` for each of its families, and says in its status which
//! addresses they have.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::decide::Urgency;
use super::seen::{Id, NewVip, Notice, Service, ServiceStatus, Severity, Vip, Write};
use super::status::{ALLOCATED, Said};
use super::world::World;
use crate::core::ipam::Family;

/// The condition of a Service that says whether all its addresses are found.
pub const ADDRESSES: &str = "vipkeeper.dev/Addresses";

/// The `VirtualIP` of a Service for a family: `namespace/service-ipv4`.
fn name_of(service: &str, family: Family) -> String {
    format!("{service}-{}", family.as_str().to_lowercase())
}

/// The Services by uid, and the nodes with a ready endpoint of each by name.
pub(super) struct Owners<'a> {
    by_uid: BTreeMap<&'a str, &'a Service>,
    nodes: BTreeMap<&'a str, BTreeSet<String>>,
}

impl<'a> Owners<'a> {
    pub(super) fn new(world: &'a World) -> Self {
        let by_uid = world.services.values().map(|service| (service.meta.uid.as_str(), service)).collect();
        let mut nodes: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for endpoints in world.endpoints.values() {
            nodes.entry(&endpoints.service).or_default().extend(endpoints.nodes.iter().cloned());
        }
        Self { by_uid, nodes }
    }

    /// A `VirtualIP` with what its Service adds to its wish: its labels, and where its endpoints are.
    pub(super) fn complete(&self, vip: &'a Vip) -> Cow<'a, Vip> {
        let owner = vip.owner.as_deref().and_then(|uid| self.by_uid.get(uid));
        let (Some(owner), Ok(wish)) = (owner, &vip.wish) else { return Cow::Borrowed(vip) };
        let mut wish = wish.clone();
        wish.service = Some(owner.labels.clone());
        wish.only = owner.local.then(|| self.nodes.get(owner.meta.name.as_str()).cloned().unwrap_or_default());
        Cow::Owned(Vip { wish: Ok(wish), ..vip.clone() })
    }
}

/// A write that Services need.
pub(super) type Need = (Id, Urgency, Write, Vec<Notice>);

/// What is missing for the Services to have their `VirtualIP`s and to say so, and which of these are nobody's.
pub(super) fn needs(world: &World) -> Vec<Need> {
    let mut needs = Vec::new();
    if !world.has_services() {
        return needs;
    }
    let mut owned = BTreeSet::new();
    for (name, service) in world.services.iter().filter(|(_, service)| !service.meta.deleting) {
        for family in &service.families {
            let vip = name_of(name, *family);
            if !world.vips.contains_key(&vip) && !world.unreadable.contains(&vip) && !world.obscure {
                let write = Write::CreateVip(NewVip::of(service, *family));
                needs.push((Id::Vip(vip.clone()), Urgency::Status, write, Vec::new()));
            }
            owned.insert((vip, service.meta.uid.as_str()));
        }
        needs.extend(status(world, name, service));
    }
    for (name, vip) in world.vips.iter().filter(|(_, vip)| !vip.meta.deleting) {
        if vip.owner.as_deref().is_some_and(|owner| !owned.contains(&(name.clone(), owner))) {
            needs.push((Id::Vip(name.clone()), Urgency::Status, Write::DeleteVip, Vec::new()));
        }
    }
    needs
}

/// The status of a Service, if it is not what is stored.
fn status(world: &World, name: &str, service: &Service) -> Option<Need> {
    let mut ingress = Vec::new();
    let mut fault: Option<(&'static str, String)> = None;
    for family in &service.families {
        let vip = name_of(name, *family);
        let of_ours = world.vips.get(&vip).map(|vip| (vip, vip.owner.as_deref() == Some(service.meta.uid.as_str())));
        match of_ours {
            Some((_, false)) => {
                fault = Some(("NameTaken", format!("VirtualIP {vip} is there already and not its own")))
            }
            Some((found, true)) => match (found.status.address, found.status.condition(ALLOCATED)) {
                (Some(address), _) => ingress.push(address),
                (None, Some(why)) => fault = Some(("NoAddress", format!("VirtualIP {vip}: {}", why.message))),
                (None, None) => fault = fault.or_else(|| Some(("Pending", pending()))),
            },
            None => fault = fault.or_else(|| Some(("Pending", pending()))),
        }
    }
    let holds = fault.is_none();
    let (reason, message) = fault.unwrap_or_else(|| ("Assigned", "every family has its address".to_owned()));
    let tell = (reason != "Pending").then_some(if holds { Severity::Normal } else { Severity::Warning });
    let said = Said { kind: ADDRESSES, holds, reason, message, tell };
    let old = service.status.condition.as_ref();
    let condition = said.condition(&service.meta, old);
    let same = service.status.ingress == ingress && old.is_some_and(|old| old.says_the_same(&condition));
    if same {
        return None;
    }
    let turned = service.status.ingress != ingress || old.is_none_or(|old| old.reason != condition.reason);
    let urgency = if turned && reason != "Pending" { Urgency::Status } else { Urgency::Words };
    let notices = said.notice(Id::Service(name.to_owned()), &service.meta, old).into_iter().collect();
    let write = Write::ServiceStatus(ServiceStatus { ingress, condition: Some(condition) });
    Some((Id::Service(name.to_owned()), urgency, write, notices))
}

fn pending() -> String {
    "its addresses are being found".to_owned()
}
