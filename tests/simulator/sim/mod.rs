//! A discrete-event simulation of a segment: nodes with kernels, clocks and processes, a network, the store.
//!
//! Deterministic: a [`scenario::Scenario`] says everything. The code under test is the machine of
//! `vipkeeper::core::failover` and the patches of `vipkeeper::core::view`; all else is here.
#![allow(dead_code, clippy::unwrap_used, clippy::cast_possible_truncation, unreachable_pub)]

pub mod clock;
pub mod directed;
pub mod faults;
pub mod kernel;
pub mod liveness;
pub mod node;
pub mod oracle;
pub mod rng;
pub mod scenario;
pub mod shrink;
pub mod store;
pub mod world;
