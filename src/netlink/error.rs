//! What can go wrong between us and the kernel, and at which address and link.

use std::fmt;
use std::io;
use std::net::IpAddr;

/// What was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Adding or refreshing an address.
    Add,
    /// Removing an address.
    Remove,
    /// Setting a link up.
    Up,
    /// Setting a link down.
    Down,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Add => "add",
            Self::Remove => "remove",
            Self::Up => "up",
            Self::Down => "down",
        })
    }
}

/// An error of the kernel's network configuration.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// No netlink socket; nothing was done.
    #[error("cannot open a netlink socket")]
    Socket(#[source] io::Error),
    /// A list could not be read.
    #[error("cannot read {what} from the kernel")]
    Read {
        /// Which list.
        what: &'static str,
        /// The kernel's reason.
        source: io::Error,
    },
    /// The kernel refused a change of an address; nothing changed.
    #[error("cannot {action} {ip}/{prefix} on {link}")]
    Address {
        /// What was tried.
        action: Action,
        /// The address.
        ip: IpAddr,
        /// Its prefix length.
        prefix: u8,
        /// The link's name.
        link: String,
        /// The kernel's reason.
        source: io::Error,
    },
    /// The address is on the link already and somebody else's; nothing changed.
    #[error("{ip}/{prefix} is on {link} already and not ours ({})", owner(*.protocol))]
    Foreign {
        /// The address.
        ip: IpAddr,
        /// The prefix length it has.
        prefix: u8,
        /// The link's name.
        link: String,
        /// Its mark (`IFA_PROTO`), if it has one.
        protocol: Option<u8>,
    },
    /// The kernel refused to change a link.
    #[error("cannot set {link} {action}")]
    Link {
        /// What was tried.
        action: Action,
        /// The link's name.
        link: String,
        /// The kernel's reason.
        source: io::Error,
    },
    /// The connection's task is gone, as when the runtime shuts down; what was under way may be done or not.
    #[error("the netlink connection is closed")]
    Closed,
}

fn owner(protocol: Option<u8>) -> String {
    protocol.map_or_else(|| "without a mark".to_owned(), |protocol| format!("its mark is protocol {protocol}"))
}
