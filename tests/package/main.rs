//! What is shipped with the binary: its help, its completions.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod completions;
mod help;
#[path = "../support/mod.rs"]
mod support;
