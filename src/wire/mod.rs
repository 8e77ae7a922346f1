//! Bytes into structs and back: every format that we put on a wire or read from one.
//!
//! Each file draws its header above its struct and names the RFC section. Parsing never panics: whatever is not that
//! format is an error value. Nothing here does IO or decides anything.

pub mod arp;
pub mod ethernet;
pub mod heartbeat;
pub mod legacy_ping;
pub mod ndp;
pub mod stamp;
