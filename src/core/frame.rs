//! What is said to a segment about an address, and what is heard there: ARP and neighbour discovery without their bytes.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::net::Mac;

/// A frame to send. Whoever sends it puts the link's own Ethernet address in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Frame {
    /// The index of the link to send it on.
    pub link: u32,
    /// The address that it is about.
    pub ip: IpAddr,
    /// What it says.
    pub form: Form,
}

/// What a frame says about its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Form {
    /// "I have it", to everybody: an ARP request for itself (RFC 5227 section 2.3), or an advertisement to ff02::1 with
    /// Override and the target's link-layer address (RFC 4861 section 7.2.6).
    Announcement,
    /// "I have it", to everybody, as an ARP reply; there is no such form for IPv6, and [`Form::Announcement`] is sent.
    Reply,
    /// "Who has `target`? Tell me": asked from the address. It moves even those that take no gratuitous announcement.
    Ask {
        /// The neighbour, of the address's family.
        target: IpAddr,
        /// Its Ethernet address, if it is known; otherwise everybody is asked.
        mac: Option<Mac>,
    },
    /// "Has anybody got it?", asked without claiming it: an ARP probe (RFC 5227 section 2.1.1), or a solicitation from
    /// `::` (RFC 4862 section 5.4.2).
    Probe {
        /// Who is asked; `None` for everybody.
        mac: Option<Mac>,
    },
}

/// What a frame from another host says about an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heard {
    /// The index of the link that it came in on.
    pub link: u32,
    /// The address.
    pub ip: IpAddr,
    /// The Ethernet address of the host that says it.
    pub mac: Mac,
    /// What it says.
    pub word: Word,
}

/// What another host says about an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Word {
    /// That it has it: the sender of an ARP packet, the target of an advertisement, the source of a solicitation.
    Claim,
    /// The same, to a host that asked for it: an ARP reply that is no announcement, or a solicited advertisement.
    Answer,
    /// That it would like to have it: an ARP probe, or a solicitation from `::`.
    Probe,
}
