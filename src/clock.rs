//! The clock of decisions.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::core::time::Time;

/// Now, on a clock that goes on while the machine sleeps (`CLOCK_BOOTTIME`, clock_gettime(2)).
#[must_use]
pub fn now() -> Time {
    let now = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    Time(Duration::new(seconds, u32::try_from(now.tv_nsec).unwrap_or_default()))
}

/// Waits until `at`; for ever without one. After the machine slept it wakes late by as long as that took.
pub async fn sleep_until(at: Option<Time>) {
    match at {
        Some(at) => tokio::time::sleep_until((Instant::now() + at.since(now())).into()).await,
        None => std::future::pending().await,
    }
}
