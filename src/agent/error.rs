//! Why an agent ends.

use std::io;
use std::net::IpAddr;

use crate::gate::GateError;
use crate::netlink::NetlinkError;
use crate::store::StoreError;

/// Why an agent could not go on.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The kernel did not say which boot this is.
    #[error("cannot read the boot id: {0}")]
    BootId(#[source] io::Error),
    /// Another agent runs here.
    #[error("another vipkeeper agent runs in this network namespace; there can be one")]
    Locked,
    /// The lock could not be taken.
    #[error("cannot take the lock of this network namespace: {0}")]
    Lock(#[source] io::Error),
    /// Netlink failed.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// The store cannot be watched.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The gate that was asked for is not to be had.
    #[error("no gate: {0}")]
    Gate(#[from] GateError),
    /// The data plane did not start.
    #[error("cannot start the data plane: {0}")]
    DataPlane(#[source] io::Error),
    /// The store is reached through an address that the agent itself would hold.
    #[error(
        "the API server is reached through VirtualIP {vip} ({ip}), which fails over only while the API server answers: \
         give the agents another way to it (--kubeconfig, or KUBERNETES_SERVICE_HOST and _PORT), such as 127.0.0.1 or the \
         node addresses of the control plane"
    )]
    ThroughVip {
        /// The VirtualIP.
        vip: String,
        /// Its address.
        ip: IpAddr,
    },
    /// A part of the agent ended that never should.
    #[error("a part of the agent ended: {0}")]
    Ended(String),
}
