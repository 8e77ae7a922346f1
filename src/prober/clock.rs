//! Both clocks at once: the one that never goes back and the one that packets carry.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::core::time::Time;

/// How far apart the two readings may be before they are taken again.
const CLOSE: Duration = Duration::from_micros(20);
/// How often they are taken at most.
const ATTEMPTS: usize = 4;

/// The time by `CLOCK_MONOTONIC`.
#[must_use]
pub fn monotonic() -> Time {
    Time(read(ClockId::Monotonic))
}

/// The time by `CLOCK_REALTIME`, in nanoseconds since 1970.
#[must_use]
pub fn wall() -> u64 {
    u64::try_from(read(ClockId::Realtime).as_nanos()).unwrap_or(u64::MAX)
}

/// Both, as they were at one moment: read again if the process was interrupted between.
#[must_use]
pub fn both() -> (Time, u64) {
    let mut best = None;
    for _ in 0..ATTEMPTS {
        let before = monotonic();
        let wall = wall();
        let apart = monotonic().since(before);
        if best.is_none_or(|(least, _, _)| apart < least) {
            best = Some((apart, before + apart / 2, wall));
        }
        if apart < CLOSE {
            break;
        }
    }
    best.map_or((Time::ZERO, 0), |(_, time, wall)| (time, wall))
}

fn read(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), nanos)
}
