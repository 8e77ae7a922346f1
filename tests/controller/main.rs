//! `vipkeeper controller`: the real program on real stores; agents are played by the tests.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

mod addresses;
mod agent;
mod bed;
mod leaders;
mod many;
mod services;
#[path = "../support/mod.rs"]
mod support;
