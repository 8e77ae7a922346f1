//! The look-up service, against registries of the tests' own: real servers of WHOIS, RDAP and DNS in a network namespace
//! that is an internet to the service.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

mod client;
mod databases;
mod dns;
mod ieee;
mod internet;
mod limits;
mod openapi;
mod original;
mod prometheus;
mod rdap;
mod resources;
mod server;
#[path = "../support/mod.rs"]
mod support;
mod whois;
