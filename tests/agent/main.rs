//! The agent as users run it: `vipkeeper run` on a directory of YAML, in a network namespace, with hosts around it that
//! read the wire themselves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, missing_docs)]

#[path = "../support/mod.rs"]
mod support;

mod announcing;
mod conflicts;
mod exclusive;
mod flushed;
mod heartbeats;
mod holding;
mod links;
mod metrics;
mod node;
mod stopping;
