//! The stores: one contract, written once, and what each store must stand beside it.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

mod commands;
mod contract;
mod dir;
mod kubeconfig;
mod kubernetes;
mod manifests;
mod processes;
mod scripted;
#[path = "../support/mod.rs"]
mod support;
