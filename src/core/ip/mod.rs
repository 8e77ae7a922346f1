//! The address toolbox: exact arithmetic, sets and look-ups on IPv4 and IPv6 addresses and prefixes.
//!
//! Prefixes are [`ipnetwork::IpNetwork`]s, sets are [`iprange::IpRange`]s. No result wraps or saturates: what does not fit is a typed error or,
//! for a count, a type that it fits in. What can be long is an iterator. In arithmetic, order and sets an IPv4-mapped IPv6
//! address is an IPv6 address: `::ffff:192.0.2.1` is not inside 192.0.2.0/24 unless it is [`unmapped`](scope::unmapped).

pub mod scope;
