//! Agents and controllers against a real API server: each in a network namespace or beside it, each with the token of its
//! own service account of the installed chart.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

mod bed;
mod guards;
mod idle;
mod life;
mod outages;
mod restored;
#[path = "../support/mod.rs"]
mod support;
