//! The address toolbox, through the binary and beside other tools.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod geo;
#[path = "../support/mod.rs"]
mod support;
