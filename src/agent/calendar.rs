//! The time as people read it.

use jiff::Timestamp;

/// Now, in whole seconds of UTC, as the Kubernetes API writes times.
pub(super) fn utc() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}
