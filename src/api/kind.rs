//! Which kinds the store seam carries, and how the Kubernetes API names them.

/// The group of our own resources.
pub const GROUP: &str = "vipkeeper.dev";
/// The version of our own resources.
pub const VERSION: &str = "v1alpha1";

/// A kind of object that a store keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// An address that one node answers for.
    VirtualIP,
    /// Addresses to take for a `VirtualIP` that names none.
    AddressPool,
    /// What the probers measure.
    UDPProbe,
    /// Who has which address on one segment; not for users.
    FailoverView,
    /// A machine that may hold addresses (core/v1).
    Node,
    /// Leadership of the controller (coordination.k8s.io/v1).
    Lease,
    /// A Service, for load balancers and probes (core/v1).
    Service,
    /// The ready endpoints of a Service (discovery.k8s.io/v1).
    EndpointSlice,
    /// A pod, for probes (core/v1).
    Pod,
    /// The heartbeat key (core/v1).
    Secret,
}

impl Kind {
    /// Every kind, in a fixed order.
    pub const ALL: [Self; 10] = [
        Self::VirtualIP,
        Self::AddressPool,
        Self::UDPProbe,
        Self::FailoverView,
        Self::Node,
        Self::Lease,
        Self::Service,
        Self::EndpointSlice,
        Self::Pod,
        Self::Secret,
    ];

    /// The `kind` field of such an object.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::VirtualIP => "VirtualIP",
            Self::AddressPool => "AddressPool",
            Self::UDPProbe => "UDPProbe",
            Self::FailoverView => "FailoverView",
            Self::Node => "Node",
            Self::Lease => "Lease",
            Self::Service => "Service",
            Self::EndpointSlice => "EndpointSlice",
            Self::Pod => "Pod",
            Self::Secret => "Secret",
        }
    }

    /// The plural, as it stands in a URL.
    #[must_use]
    pub const fn plural(self) -> &'static str {
        match self {
            Self::VirtualIP => "virtualips",
            Self::AddressPool => "addresspools",
            Self::UDPProbe => "udpprobes",
            Self::FailoverView => "failoverviews",
            Self::Node => "nodes",
            Self::Lease => "leases",
            Self::Service => "services",
            Self::EndpointSlice => "endpointslices",
            Self::Pod => "pods",
            Self::Secret => "secrets",
        }
    }

    /// The API group; empty for core/v1.
    #[must_use]
    pub const fn group(self) -> &'static str {
        match self {
            Self::VirtualIP | Self::AddressPool | Self::UDPProbe | Self::FailoverView => GROUP,
            Self::Lease => "coordination.k8s.io",
            Self::EndpointSlice => "discovery.k8s.io",
            Self::Node | Self::Service | Self::Pod | Self::Secret => "",
        }
    }

    /// The version within the group.
    #[must_use]
    pub const fn version(self) -> &'static str {
        match self {
            Self::VirtualIP | Self::AddressPool | Self::UDPProbe | Self::FailoverView => VERSION,
            Self::Lease | Self::EndpointSlice | Self::Node | Self::Service | Self::Pod | Self::Secret => "v1",
        }
    }

    /// The `apiVersion` field of such an object.
    #[must_use]
    pub fn api_version(self) -> String {
        match self.group() {
            "" => self.version().to_owned(),
            group => format!("{group}/{}", self.version()),
        }
    }

    /// Whether such an object lives in a namespace.
    #[must_use]
    pub const fn namespaced(self) -> bool {
        !matches!(self, Self::AddressPool | Self::FailoverView | Self::Node)
    }

    /// Whether such an object has a status that is written apart from the rest.
    #[must_use]
    pub const fn has_status(self) -> bool {
        matches!(self, Self::VirtualIP | Self::AddressPool | Self::UDPProbe | Self::Node | Self::Service | Self::Pod)
    }

    /// Whether users write such objects as manifests of ours.
    #[must_use]
    pub const fn user_written(self) -> bool {
        matches!(self, Self::VirtualIP | Self::AddressPool | Self::UDPProbe)
    }

    /// The kind of an object with this `apiVersion` and `kind`, if the store keeps it.
    #[must_use]
    pub fn find(api_version: &str, kind: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.name() == kind && k.api_version() == api_version)
    }
}
