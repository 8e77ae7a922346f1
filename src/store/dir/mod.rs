//! The embedded store: a directory of YAML on one machine.

pub mod walk;
