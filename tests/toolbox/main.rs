//! The address toolbox, through the binary and beside other tools.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod bulk;
mod command;
mod exhaustive;
mod geo;
mod languages;
mod original;
mod sorting;
#[path = "../support/mod.rs"]
mod support;
mod terminal;
