//! vipkeeper keeps virtual IP addresses alive: one node of a segment answers for an address, and when it dies another
//! does, never two for longer than a stated bound.
//!
//! Imports go one way (tests/architecture.rs holds us to it): `cli` → roles (`agent`, `controller`, …) → adapters
//! (`store`, `netlink`, `packet`, `http`, …) → `api`, `wire`, `core`. What decides lives in [`core`]; the rest is thin.

pub mod agent;
pub mod api;
pub mod check;
pub mod cli;
pub mod clock;
pub mod controller;
pub mod core;
pub mod gate;
pub mod geo;
pub mod hold;
pub mod http;
pub mod logging;
pub mod lookup;
pub mod memory;
pub mod metrics;
pub mod netlink;
pub mod packet;
pub mod prober;
pub mod store;
pub mod udp;
pub mod upstream;
pub mod wire;
