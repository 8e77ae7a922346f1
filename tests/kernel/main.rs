//! The adapters and commands that touch the kernel, in network namespaces of their own, as root.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../support/mod.rs"]
mod support;

mod addresses;
mod events;
mod link;
mod packets;
mod segment;
mod vip;
