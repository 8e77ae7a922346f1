//! The clock of decisions, and that of people.

use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};

use crate::core::time::Time;

/// Now, on a clock that goes on while the machine sleeps (`CLOCK_BOOTTIME`, clock_gettime(2)).
pub(super) fn now() -> Time {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Time(std::time::Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default()))
}

/// Now, in whole seconds of UTC, as the Kubernetes API writes times.
pub(super) fn utc() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}
