//! The clock of the controller's decisions.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::core::time::Time;

/// `CLOCK_BOOTTIME` (clock_gettime(2)): it goes on while the machine sleeps, as the leases of others do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock;

impl Clock {
    /// Now.
    pub(super) fn now(self) -> Time {
        let now = clock_gettime(ClockId::Boottime);
        let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
        let nanos = u32::try_from(now.tv_nsec).unwrap_or_default();
        Time(Duration::new(seconds, nanos))
    }

    /// The time from now to an instant; zero if it has passed.
    pub(super) fn until(self, due: Time) -> Duration {
        due.since(self.now())
    }
}
