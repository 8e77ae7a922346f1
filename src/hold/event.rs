//! What happens to held addresses, as people and programs read it.

use std::error::Error;
use std::fmt;
use std::net::IpAddr;

use serde::Serialize;

use crate::core::net::{AddressSpec, Mac};

/// A transition; never more than one for many packets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// An address was added and is announced.
    Added {
        /// With its prefix length.
        address: String,
        /// The interface's name.
        interface: String,
        /// The Ethernet address it is announced with.
        mac: Option<Mac>,
    },
    /// An address that a former run left is held and announced.
    Kept {
        /// With its prefix length.
        address: String,
        /// The interface's name.
        interface: String,
        /// The Ethernet address it is announced with.
        mac: Option<Mac>,
    },
    /// Somebody removed an address, and it was put back.
    Restored {
        /// With its prefix length.
        address: String,
        /// The interface's name.
        interface: String,
    },
    /// An address was removed, and is announced no more.
    Removed {
        /// With its prefix length.
        address: String,
        /// The interface's name.
        interface: String,
    },
    /// The interface is gone; the addresses are added again when it returns.
    LinkGone {
        /// The interface's name.
        interface: String,
    },
    /// An announcement could not be sent. The address is held all the same, and announced again by the schedule.
    AnnouncingFailed {
        /// Why.
        error: String,
    },
    /// Announcements are sent again.
    AnnouncingAgain,
    /// An address could not be added; it is tried again.
    Failed {
        /// Why.
        error: String,
    },
    /// Another host claims an address.
    Conflict {
        /// The address.
        ip: IpAddr,
        /// The host's Ethernet address.
        mac: Mac,
    },
    /// Nobody else claims it any more.
    ConflictOver {
        /// The address.
        ip: IpAddr,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let from = |mac: &Option<Mac>| mac.map_or_else(String::new, |mac| format!(" from {mac}"));
        match self {
            Self::Added { address, interface, mac } => {
                write!(f, "{address} added to {interface}, announced{}", from(mac))
            }
            Self::Kept { address, interface, mac } => {
                write!(f, "{address} was on {interface} from a former run, announced{}", from(mac))
            }
            Self::Restored { address, interface } => {
                write!(f, "{address} was removed from {interface} by somebody else and is back")
            }
            Self::Removed { address, interface } => write!(f, "{address} removed from {interface}"),
            Self::LinkGone { interface } => write!(f, "{interface} is gone; waiting for it to return"),
            Self::AnnouncingFailed { error } => write!(f, "announcing failed, and is tried again: {error}"),
            Self::AnnouncingAgain => f.write_str("announcing again"),
            Self::Failed { error } => write!(f, "{error}; tried again"),
            Self::Conflict { ip, mac } => write!(f, "{mac} claims {ip} too; defending it"),
            Self::ConflictOver { ip } => write!(f, "nobody else claims {ip} any more"),
        }
    }
}

/// An address with its prefix length.
pub(super) fn text(spec: &AddressSpec) -> String {
    format!("{}/{}", spec.ip, spec.prefix)
}

/// An error with all its causes in one line.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
