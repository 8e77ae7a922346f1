//! Planned moves on real kernels: three agents in network namespaces that share one directory, a client that pings the
//! address, and an observer that asks each node for it by its own MAC. Make before break: nothing is lost, and two nodes
//! never answer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, missing_docs)]

#[path = "../support/mod.rs"]
mod support;

mod client;
mod conflicts;
mod draining;
mod exclusive;
mod failback;
mod health;
mod observed;
mod observer;
mod server;
mod trio;
mod why;
