//! UDP ping in network namespaces: reflector, client and prober, against programs written here from the wire formats'
//! descriptions, and on links that lose what a packet filter is told to drop.
#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub)]

#[path = "../support/mod.rs"]
mod support;

mod client;
mod common;
mod observed;
mod prober;
mod reflector;
mod safety;
