//! The gate on real kernels: what passes and what does not, and that it shuts on time whoever keeps it, as root.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../support/mod.rs"]
mod support;

mod former;
mod keeping;
mod lateness;
mod nft;
mod others;
mod verdicts;
mod wire;
