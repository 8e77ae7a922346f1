//! The stores: one contract, written once, and what each store must stand beside it.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

mod commands;
mod contract;
mod dir;
mod kubernetes;
mod manifests;
mod processes;
#[path = "../support/mod.rs"]
mod support;
