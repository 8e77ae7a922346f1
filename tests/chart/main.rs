//! The chart: rendered, linted, refused, installed into a real API server, and beside the binary that it runs.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

mod api_server;
mod monitoring;
mod render;
#[path = "../support/mod.rs"]
mod support;
mod values;
