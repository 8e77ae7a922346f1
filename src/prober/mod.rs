//! Measuring paths with UDP probes: the reflector that answers, the engine that sends and accounts, and the two that use
//! it, the command for people and the role for Prometheus.

pub mod clock;
pub mod engine;
pub mod ping;
pub mod reflector;
pub mod resolve;
pub mod service;
