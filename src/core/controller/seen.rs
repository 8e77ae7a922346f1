//! What the controller has seen of the store, and what it wants written there.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::core::health::Record;
use crate::core::ipam::{Count, Family, Range};
use crate::core::placement::{Failback, Preference};
use crate::core::selector::{Labels, Selector};
use crate::core::view::{Patch, Right, View};

/// The finalizer of a `VirtualIP`: it goes, and its address is free, only when its last right is closed.
pub const FINALIZER: &str = "vipkeeper.dev/closed";

/// An object, by kind and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Id {
    /// A `FailoverView`.
    View(String),
    /// A `VirtualIP`, `namespace/name`.
    Vip(String),
    /// A Service, `namespace/name`.
    Service(String),
    /// An `EndpointSlice`, `namespace/name`.
    Endpoints(String),
    /// An `AddressPool`.
    Pool(String),
    /// A node.
    Node(String),
}

/// The metadata that decisions need.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Meta {
    /// The identity that an object of the same name made later does not share.
    pub uid: String,
    /// `namespace/name`, or the name alone of what has no namespace.
    pub name: String,
    /// The store's version of the object.
    pub version: String,
    /// Counts the changes of the spec.
    pub generation: i64,
    /// When it was first seen; any unit, the same for all objects.
    pub created: i64,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// What must be done before it goes.
    pub finalizers: Vec<String>,
}

/// A condition of an object's status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// Its `type`.
    pub kind: String,
    /// Whether it holds.
    pub holds: bool,
    /// A word in UpperCamelCase from a closed set.
    pub reason: String,
    /// A sentence for a person.
    pub message: String,
    /// The generation that it speaks of.
    pub generation: i64,
    /// Since when it has held, or not held, as the store has it; `None` is now.
    pub since: Option<String>,
}

/// What a condition says, whenever it began to.
fn said(condition: &Condition) -> (&str, bool, &str, &str, i64) {
    let Condition { kind, holds, reason, message, generation, .. } = condition;
    (kind, *holds, reason, message, *generation)
}

impl Condition {
    /// Whether both say the same, whenever they began to.
    #[must_use]
    pub fn says_the_same(&self, other: &Self) -> bool {
        said(self) == said(other)
    }
}

/// A `VirtualIP`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vip {
    /// Its metadata.
    pub meta: Meta,
    /// What is wanted, or why that cannot be understood.
    pub wish: Result<Wish, String>,
    /// The controller's part of the status, as stored.
    pub status: Status,
    /// The holder's report: right and interface.
    pub holder: Option<(Right, String)>,
    /// The uid of the Service that it was made for.
    pub owner: Option<String>,
    /// What its health check found, by node.
    pub health: BTreeMap<String, Record>,
}

/// What is wanted of a `VirtualIP`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Wish {
    /// The labels of its namespace.
    pub namespace: Labels,
    /// The labels of the Service that it belongs to.
    pub service: Option<Labels>,
    /// The address asked for.
    pub address: Option<IpAddr>,
    /// The pool asked for.
    pub pool: Option<String>,
    /// The family asked for.
    pub family: Option<Family>,
    /// A name or glob of the interface.
    pub interface: Option<String>,
    /// The nodes that may have it.
    pub nodes: Option<Selector>,
    /// By name, the only nodes that may have it.
    pub only: Option<BTreeSet<String>>,
    /// The nodes that should have it.
    pub preferred: Vec<Preference>,
    /// Whether it goes back to a preferred node.
    pub failback: Failback,
    /// Whether only a node with a gate may have it (failover policy `Safe`).
    pub gated: bool,
    /// Whether it has a health check.
    pub checked: bool,
}

/// The controller's part of a `VirtualIP`'s status.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Status {
    /// The address.
    pub address: Option<IpAddr>,
    /// `Allocated` and `Ready`.
    pub conditions: Vec<Condition>,
    /// The generation that the whole speaks of.
    pub generation: Option<i64>,
}

impl Status {
    /// The condition of this type.
    #[must_use]
    pub fn condition(&self, kind: &str) -> Option<&Condition> {
        self.conditions.iter().find(|condition| condition.kind == kind)
    }
}

/// An `AddressPool`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// Its metadata.
    pub meta: Meta,
    /// Its addresses and whom they are for, or why that cannot be understood.
    pub offer: Result<Offer, String>,
    /// Its status, as stored.
    pub status: PoolStatus,
}

/// What a pool offers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Offer {
    /// Its addresses.
    pub ranges: Vec<Range>,
    /// Addresses of `ranges` that are not given out.
    pub exclude: Vec<Range>,
    /// Whether IPv4 addresses that end in .0 and .255 are not given out.
    pub avoid_buggy: bool,
    /// Whether claims that name no pool may use it.
    pub auto_assign: bool,
    /// Higher is asked first.
    pub priority: i32,
    /// For which namespaces.
    pub namespaces: Option<Selector>,
    /// For which Services.
    pub services: Option<Selector>,
}

/// A pool's status.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PoolStatus {
    /// All its addresses, as decimal digits.
    pub total: Option<String>,
    /// Those in use.
    pub allocated: Option<String>,
    /// The others.
    pub free: Option<String>,
    /// `Ready`.
    pub conditions: Vec<Condition>,
    /// The generation that the whole speaks of.
    pub generation: Option<i64>,
}

/// A node, as far as it decides who gets what.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: Labels,
    /// Whether it is marked unschedulable.
    pub cordoned: bool,
    /// Keys of its taints with the effect `NoExecute`.
    pub no_execute: Vec<String>,
    /// What its condition `Ready` says; `None` if it has none.
    pub ready: Option<bool>,
}

/// A `FailoverView`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Segment {
    /// Its metadata.
    pub meta: Meta,
    /// The view.
    pub view: View,
}

/// A Service, as far as it is of type LoadBalancer and ours.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Service {
    /// Its metadata.
    pub meta: Meta,
    /// Its labels.
    pub labels: Labels,
    /// The families that it wants an address of; none if it is not ours.
    pub families: Vec<Family>,
    /// The address that it asks for (`spec.loadBalancerIP`).
    pub address: Option<IpAddr>,
    /// The pool that it asks for.
    pub pool: Option<String>,
    /// Whether only nodes with a ready endpoint may have its addresses (`externalTrafficPolicy: Local`).
    pub local: bool,
    /// The controller's part of its status, as stored.
    pub status: ServiceStatus,
}

/// The controller's part of a Service's status.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// The addresses.
    pub ingress: Vec<IpAddr>,
    /// Whether all of them are found.
    pub condition: Option<Condition>,
}

/// Some of a Service's endpoints.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Endpoints {
    /// The slice, `namespace/name`.
    pub name: String,
    /// The Service, `namespace/name`.
    pub service: String,
    /// The nodes that have a ready one.
    pub nodes: BTreeSet<String>,
}

/// A `VirtualIP` to be made for a Service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NewVip {
    /// The Service's name in its namespace.
    pub service: String,
    /// The Service's uid.
    pub owner: String,
    /// The family.
    pub family: Family,
    /// The address that the Service asks for, if it is of that family.
    pub address: Option<IpAddr>,
    /// The pool that it asks for.
    pub pool: Option<String>,
}

impl NewVip {
    /// What a Service wants of a family.
    #[must_use]
    pub fn of(service: &Service, family: Family) -> Self {
        let name = service.meta.name.rsplit('/').next().unwrap_or(&service.meta.name);
        Self {
            service: name.to_owned(),
            owner: service.meta.uid.clone(),
            family,
            address: service.address.filter(|address| Family::of(*address) == family),
            pool: service.pool.clone(),
        }
    }
}

/// An object of any kind that the controller watches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Object {
    /// A `VirtualIP`.
    Vip(Vip),
    /// An `AddressPool`.
    Pool(Pool),
    /// A node.
    Node(Node),
    /// A `FailoverView`.
    View(Segment),
    /// A Service.
    Service(Service),
    /// Endpoints of a Service.
    Endpoints(Endpoints),
}

/// All objects of a kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Listing {
    /// The `VirtualIP`s.
    Vips(Vec<Vip>),
    /// The `AddressPool`s.
    Pools(Vec<Pool>),
    /// The nodes.
    Nodes(Vec<Node>),
    /// The `FailoverView`s.
    Views(Vec<Segment>),
    /// The Services.
    Services(Vec<Service>),
    /// The endpoints.
    Endpoints(Vec<Endpoints>),
}

/// Something to be written, to the object that an [`Id`] names.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub enum Write {
    /// A patch of a view.
    View(Patch),
    /// [`FINALIZER`] is removed.
    RemoveFinalizer {
        /// Its place in the list.
        at: usize,
    },
    /// The controller's part of a `VirtualIP`'s status.
    VipStatus {
        /// Where [`FINALIZER`] is missing it is added first.
        missing: Option<Missing>,
        /// The status.
        status: Status,
    },
    /// A pool's status.
    PoolStatus(PoolStatus),
    /// A `VirtualIP` is made for a Service.
    CreateVip(NewVip),
    /// A `VirtualIP` whose Service wants it no more is deleted.
    DeleteVip,
    /// The controller's part of a Service's status.
    ServiceStatus(ServiceStatus),
}

/// A `VirtualIP` without [`FINALIZER`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// The version of the object.
    pub version: String,
    /// How many finalizers that version has.
    pub others: usize,
}

/// Severity of a [`Notice`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Severity {
    /// For information.
    Normal,
    /// A person may want to do something.
    Warning,
}

/// A transition that is told to users as an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Notice {
    /// What it happened to.
    pub about: Id,
    /// Its uid.
    pub uid: String,
    /// Severity.
    pub severity: Severity,
    /// A word in UpperCamelCase from a closed set.
    pub reason: &'static str,
    /// One sentence.
    pub message: String,
}

/// Figures for metrics.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Figures {
    /// For each pool: all its addresses, and those in use.
    pub pools: BTreeMap<String, (Count, u64)>,
    /// How many `VirtualIP`s there are.
    pub vips: usize,
    /// How many of them have an address.
    pub allocated: usize,
    /// How many of them a node answers for.
    pub ready: usize,
}
