//! What is shipped: the static binary that `make dist` builds, its help, its completions.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod binary;
mod completions;
mod help;
#[path = "../support/mod.rs"]
mod support;
