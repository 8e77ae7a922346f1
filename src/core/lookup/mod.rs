//! What an address, a hardware address, a domain name or an autonomous system is: everything about the answer but the
//! asking.
//!
//! A question is typed first ([`query`]); what is known here answers it (makers of hardware in [`vendor`], what documents
//! set apart in [`special`], [`wellknown`] and [`crate::core::ip::scope`], our own resources in [`owners`]); for the rest
//! [`chain`] decides whom to ask and what a hostile answer means. [`cache`] and [`limit`] say when not to ask.

pub mod answer;
pub mod bootstrap;
pub mod cache;
pub mod chain;
pub mod csv;
pub mod domain;
pub mod error;
pub mod limit;
pub mod mac;
pub mod owners;
pub mod query;
pub mod rdap;
pub mod record;
pub mod special;
pub mod url;
pub mod vendor;
pub mod wellknown;
pub mod whois;
