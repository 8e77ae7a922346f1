//! A table that says that a BPF gate stands in this network namespace. Its pins can be seen only where its bpffs is
//! mounted, so a process without that would take the gate for gone while it drops what the process says.
//!
//! Whoever flushes nftables removes it; then it is as if there were no such table.

use super::former::names_of_chains;
use super::message::{Attributes, Batch, Socket, Verb};
use super::rules;
use crate::gate::GateError;

const TABLE: &str = "vipkeeper-bpf";
/// What a person reads in the table.
const CHAIN: &str = "kept-in-bpffs";

/// Leaves the trace; twice is no error.
///
/// # Errors
/// The kernel's reason, such as that it has no nftables.
pub(in crate::gate) fn leave() -> Result<(), GateError> {
    let table = Attributes::default().text(1, TABLE);
    let chain = Attributes::default().text(1, TABLE).text(3, CHAIN);
    let batch = Batch::new().change(Verb::NewTable, &table).change(Verb::NewChain, &chain);
    commit("leave a trace of the gate", &batch)
}

/// Removes the trace; it need not be there.
///
/// # Errors
/// The kernel's reason, such as that it has no nftables.
pub(in crate::gate) fn remove() -> Result<(), GateError> {
    commit("remove the trace of a gate", &rules::no_table(TABLE))
}

/// Whether the trace is there; where there is no nftables, there is none.
///
/// # Errors
/// The kernel's reason.
pub(in crate::gate) fn is_there() -> Result<bool, GateError> {
    let found = Socket::open().and_then(|socket| names_of_chains(&socket, TABLE));
    match found.map_err(GateError::kernel("look for the trace of a gate")) {
        Ok(names) => Ok(!names.is_empty()),
        Err(error) if error.is_unavailable() => Ok(false),
        Err(error) => Err(error),
    }
}

fn commit(what: &'static str, batch: &Batch) -> Result<(), GateError> {
    Socket::open().and_then(|socket| socket.commit(batch)).map_err(GateError::kernel(what))
}
