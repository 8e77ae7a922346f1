//! Decisions, and nothing else: no IO, no clock, no randomness, no unordered maps.
//!
//! A machine here has four verbs, and a thin loop outside drives it: `handle(now, input)`, `handle_timeout(now)`,
//! `poll_effect()` and `poll_timeout()`. After every call of a `handle*`, drain `poll_effect` until it is `None`.
//! Inputs, effects and [`time::Time`] are serde types, so that a run can be journalled and replayed as a test.
#![deny(clippy::disallowed_types, clippy::disallowed_methods, clippy::wildcard_enum_match_arm, clippy::too_many_lines)]

pub mod announce;
pub mod conflict;
pub mod controller;
pub mod failover;
pub mod frame;
pub mod health;
pub mod interface;
pub mod ip;
pub mod ipam;
pub mod keeper;
pub mod lease;
pub mod lookup;
pub mod membership;
pub mod net;
pub mod node;
pub mod placement;
pub mod plan;
pub mod probe;
pub mod reflect;
pub mod segment;
pub mod segments;
pub mod selector;
pub mod time;
pub mod view;
pub mod why;
