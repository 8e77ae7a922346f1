//! The resources of group `vipkeeper.dev/v1alpha1`, and the few kinds of Kubernetes that we read.
//!
//! The Rust types are the source of the CRDs ([`crd`]). What a value must be stands once, as a [`rules::Rule`]: its CEL
//! text goes into the CRD, its Rust twin checks a manifest where there is no API server. The types themselves are
//! lenient about fields that they do not know, so that an old agent reads what a newer API server stores; manifests are
//! not.

pub mod address_pool;
pub mod crd;
pub mod duration;
pub mod failover_view;
pub mod kind;
pub mod manifest;
pub mod rules;
pub mod selector;
pub mod udp_probe;
pub mod virtual_ip;

/// The Secret that holds the key of heartbeats; the controller makes it, the agents read it.
pub const HEARTBEAT_SECRET: &str = "vipkeeper-heartbeat";

pub use address_pool::{AddressPool, AddressPoolSpec, AddressPoolStatus};
pub use duration::Duration;
pub use failover_view::{FailoverView, FailoverViewSpec};
pub use selector::{Operator, Requirement, Selector};
pub use udp_probe::{ObjectName, ProbeTarget, ProberStatus, UDPProbe, UDPProbeSpec, UDPProbeStatus};
pub use virtual_ip::{
    Announce, Failback, FailoverPolicy, HealthCheck, Holder, HttpCheck, IpFamily, LastFailover, NodeHealth,
    OnApiOutage, PortCheck, PreferredNodes, VirtualIP, VirtualIPSpec, VirtualIPStatus,
};
