//! The address toolbox: exact arithmetic, sets and look-ups on IPv4 and IPv6 addresses and prefixes.
//!
//! Prefixes are [`ipnetwork::IpNetwork`]s, sets are [`iprange::IpRange`]s; [`table`] answers what neither can, all
//! networks that contain an address, with values. No result wraps or saturates: what does not fit is a typed error or,
//! for a count, a type that it fits in. What can be long is an iterator. In arithmetic, order and sets an IPv4-mapped
//! IPv6 address is an IPv6 address: `::ffff:192.0.2.1` is not inside 192.0.2.0/24 unless it is
//! [`unmapped`](scope::unmapped) first. IPv4 comes before IPv6.

pub mod info;
pub mod number;
pub mod order;
pub mod prefix;
pub mod scope;
pub mod set;
pub mod table;
pub mod text;

use std::net::IpAddr;

use ipnetwork::IpNetwork;

use number::{Family, Offset};

/// Why a question about addresses has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IpError {
    /// The text is no address.
    #[error("{text:?} is not an IP address: {expected}")]
    Address {
        /// What was read.
        text: String,
        /// What would be right.
        expected: &'static str,
    },
    /// The text is no prefix.
    #[error("{text:?} is not a prefix: {expected}")]
    Prefix {
        /// What was read.
        text: String,
        /// What would be right.
        expected: &'static str,
    },
    /// The text is no number of addresses.
    #[error("{text:?} is not a number of addresses: write a whole number from -{max} to {max}", max = u128::MAX)]
    Offset {
        /// What was read.
        text: String,
    },
    /// The address would lie outside its family.
    #[error("{address} {offset:+} is outside {family}")]
    Overflow {
        /// Where the step began.
        address: IpAddr,
        /// How far it would go.
        offset: Offset,
        /// The family that has no such address.
        family: Family,
    },
    /// Two addresses of different families where one family is needed.
    #[error("{0} and {1} are of different families")]
    Families(IpAddr, IpAddr),
    /// A range that goes downwards.
    #[error("the range {first}-{last} goes downwards: write the lower address first")]
    Backwards {
        /// The first address as given.
        first: IpAddr,
        /// The last address as given.
        last: IpAddr,
    },
    /// A prefix length that the question does not allow.
    #[error("length {length} does not suit {prefix}: it must be from {least} to {most}")]
    Length {
        /// The prefix asked about.
        prefix: IpNetwork,
        /// The length asked for.
        length: u8,
        /// The shortest that would do.
        least: u8,
        /// The longest that would do.
        most: u8,
    },
    /// More prefixes than a table numbers.
    #[error("a table holds at most {} prefixes", (1_u32 << 31) - 1)]
    TooMany,
}
