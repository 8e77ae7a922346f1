//! A round trip from stamps of two clocks that may be set at any moment.

use std::time::Duration;

use crate::core::time::Time;

/// How far wall clock and monotonic clock may drift apart, as a part of the time between: an NTP daemon slews at most
/// 500 parts in a million (adjtimex(2)), and twice that is forgiven.
const SLEW_DIVISOR: u64 = 1_000;
/// How far the two clocks may seem apart because they are not read at once.
const READ_ERROR: u64 = 100_000;
/// The longest time that an answer waits in the kernel's buffer and is still dated by the kernel's stamp.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// What is known of when a probe and its answer passed. Wall times are nanoseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamps {
    /// When the probe was handed to the kernel.
    pub sent: Time,
    /// The same by the wall clock.
    pub sent_wall: u64,
    /// When the kernel handed it to the device.
    pub sent_kernel: Option<u64>,
    /// When the answer was read.
    pub heard: Time,
    /// The same by the wall clock.
    pub heard_wall: u64,
    /// When the kernel got the answer.
    pub heard_kernel: Option<u64>,
    /// When the reflector got the probe and when its answer left, by its clock.
    pub reflector: Option<(u64, u64)>,
}

/// A round trip that is not known, because a clock was set while it lasted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dropped;

/// The time on the way there and back, without the time that the answer took at the reflector.
///
/// The kernel's stamps are used where they are there: they do not depend on when the process gets to run.
///
/// # Errors
/// [`Dropped`] if the wall clock was set between the two readings, or the figures contradict each other.
pub fn rtt(stamps: &Stamps) -> Result<Duration, Dropped> {
    let elapsed = nanos(stamps.heard.since(stamps.sent));
    let by_wall = stamps.heard_wall.checked_sub(stamps.sent_wall).ok_or(Dropped)?;
    let tolerance = elapsed / SLEW_DIVISOR + READ_ERROR;
    if by_wall.abs_diff(elapsed) > tolerance {
        return Err(Dropped);
    }
    let out = stamps.sent_kernel.unwrap_or(stamps.sent_wall);
    let back = stamps.heard_kernel.unwrap_or(stamps.heard_wall);
    let raw = back.checked_sub(out).filter(|raw| *raw <= elapsed + tolerance).ok_or(Dropped)?;
    let residence =
        stamps.reflector.and_then(|(got, left)| left.checked_sub(got)).filter(|residence| *residence <= raw);
    Ok(Duration::from_nanos(raw - residence.unwrap_or(0)))
}

/// When an answer came in, by the monotonic clock: as long before it was read as the kernel says.
#[must_use]
pub fn arrival(heard: Time, heard_wall: u64, heard_kernel: Option<u64>) -> Time {
    let waited = heard_kernel.and_then(|kernel| heard_wall.checked_sub(kernel)).map(Duration::from_nanos);
    heard - waited.filter(|waited| *waited <= MAX_WAIT).unwrap_or(Duration::ZERO)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WALL: u64 = 1_700_000_000_000_000_000;

    fn stamps(elapsed: u64) -> Stamps {
        Stamps {
            sent: Time::from_millis(5_000),
            sent_wall: WALL,
            sent_kernel: Some(WALL + 4_000),
            heard: Time::from_millis(5_000) + Duration::from_nanos(elapsed),
            heard_wall: WALL + elapsed,
            heard_kernel: Some(WALL + 40_000),
            reflector: Some((7_000, 17_000)),
        }
    }

    #[test]
    fn the_kernels_stamps_count_and_the_reflectors_time_does_not() {
        assert_eq!(rtt(&stamps(3_000_000)), Ok(Duration::from_nanos(26_000)));
        let userspace = Stamps { sent_kernel: None, heard_kernel: None, reflector: None, ..stamps(3_000_000) };
        assert_eq!(rtt(&userspace), Ok(Duration::from_millis(3)));
    }

    #[test]
    fn a_reflectors_impossible_stamps_are_not_believed() {
        for reflector in [(17_000, 7_000), (0, 1_000_000_000)] {
            let odd = Stamps { reflector: Some(reflector), ..stamps(3_000_000) };
            assert_eq!(rtt(&odd), Ok(Duration::from_nanos(36_000)), "{reflector:?}");
        }
    }

    #[test]
    fn a_clock_that_was_set_on_the_way_gives_no_figure() {
        for wall in [WALL - 1_000_000_000, WALL + 5_000_000_000, WALL + 2_000_000] {
            assert_eq!(rtt(&Stamps { heard_wall: wall, ..stamps(3_000_000) }), Err(Dropped), "{wall}");
        }
        let back_before_out = Stamps { heard_kernel: Some(WALL), ..stamps(3_000_000) };
        assert_eq!(rtt(&back_before_out), Err(Dropped));
    }

    #[test]
    fn an_answer_came_when_the_kernel_says_and_never_later_than_it_was_read() {
        let heard = Time::from_millis(9_000);
        assert_eq!(arrival(heard, WALL, Some(WALL - 2_000_000_000)), Time::from_millis(7_000));
        assert_eq!(arrival(heard, WALL, Some(WALL + 1)), heard);
        assert_eq!(arrival(heard, WALL, Some(WALL - 3_600_000_000_000)), heard);
        assert_eq!(arrival(heard, WALL, None), heard);
    }

    proptest! {
        #[test]
        fn a_figure_is_never_longer_than_what_passed(
            elapsed in 0u64..5_000_000_000,
            step in -3_000_000_000i64..3_000_000_000,
            out in 0u64..6_000_000_000,
            back in 0u64..6_000_000_000,
            got: u64,
            left: u64,
        ) {
            let odd = Stamps {
                heard_wall: (WALL + elapsed).saturating_add_signed(step),
                sent_kernel: Some(WALL + out),
                heard_kernel: Some(WALL + back),
                reflector: Some((got, left)),
                ..stamps(elapsed)
            };
            if let Ok(figure) = rtt(&odd) {
                prop_assert!(nanos(figure) <= elapsed + elapsed / SLEW_DIVISOR + READ_ERROR);
                prop_assert!(step.unsigned_abs() <= elapsed / SLEW_DIVISOR + READ_ERROR);
            }
        }
    }
}
