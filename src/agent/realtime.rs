//! What keeps the data-plane thread on time, where the system allows it, and how true the clock is that it goes by.

use std::io;

use crate::memory;

/// The lowest real-time priority: above everything that is not real-time, below whoever asks for more.
const PRIORITY: libc::c_int = 1;

/// What was got.
#[derive(Debug)]
pub(super) struct Got {
    /// `SCHED_FIFO` for the calling thread (sched(7); wants `CAP_SYS_NICE`).
    pub(super) priority: io::Result<()>,
    /// All memory that was touched stays in memory (mlockall(2); wants `CAP_IPC_LOCK`).
    pub(super) memory: io::Result<()>,
}

/// Asks for both; what is refused changes nothing.
pub(super) fn take() -> Got {
    // SAFETY: all zeros is a value of this plain structure.
    #[allow(unsafe_code)]
    let mut parameters: libc::sched_param = unsafe { std::mem::zeroed() };
    parameters.sched_priority = PRIORITY;
    // A thread or process that this one starts is an ordinary one again.
    let policy = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
    // SAFETY: 0 is the calling thread, and `parameters` lives through the call.
    #[allow(unsafe_code)]
    let priority = result(unsafe { libc::sched_setscheduler(0, policy, &raw const parameters) });
    Got { priority, memory: memory::lock() }
}

fn result(code: libc::c_int) -> io::Result<()> {
    if code == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// By how many parts per million the kernel makes the clock run faster or slower than its source, at most (adjtimex(2)).
pub(super) fn slew() -> u32 {
    // SAFETY: all zeros is a value of this plain structure, and asks for no change.
    #[allow(unsafe_code)]
    let mut read: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: `read` lives through the call.
    #[allow(unsafe_code)]
    let state = unsafe { libc::adjtimex(&raw mut read) };
    if state < 0 { 0 } else { rate(read.freq, read.tick, read.offset) }
}

/// `freq` is in parts per million, 16 bits of them behind the point; `tick` in microseconds to each of 100 ticks a second;
/// an offset is worked off by at most 500 parts per million.
fn rate(freq: i64, tick: i64, offset: i64) -> u32 {
    let frequency = freq.unsigned_abs().div_ceil(1 << 16);
    let ticks = (tick - 10_000).unsigned_abs().saturating_mul(100);
    let offset = if offset == 0 { 0 } else { 500 };
    u32::try_from(frequency.saturating_add(ticks).saturating_add(offset)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_frequency_tick_and_offset() {
        assert_eq!(rate(0, 10_000, 0), 0);
        assert_eq!(rate(-(20 << 16) - 1, 10_000, 0), 21);
        // The most that chrony asks for.
        assert_eq!(rate(0, 9_167, -1), 83_300 + 500);
        assert!(slew() < 100_000, "no clock is off by a tenth");
    }
}
