//! What an address, a hardware address, a domain name or an autonomous system is: everything about the answer but the
//! asking.
//!
//! A question is typed first ([`query`]); what is known here answers it (makers of hardware in [`vendor`], special
//! addresses in [`crate::core::ip::scope`], configured prefixes); for the rest it is decided whom to ask and
//! what a hostile answer means.

pub mod csv;
pub mod domain;
pub mod mac;
pub mod query;
pub mod vendor;
pub mod wellknown;
