//! Lengths of time, each within its bounds.

use std::time::Duration as Time;

use serde_json::Value;

use super::{Rule, Twin, text};
use crate::api::Duration;

/// The form of a duration, as a regular expression.
macro_rules! form {
    () => {
        "^([0-9]+(\\\\.[0-9]+)?(ns|us|µs|μs|ms|s|m|h))+$"
    };
}

/// A rule that a duration lies within bounds.
macro_rules! between {
    ($least:literal, $most:literal, $least_millis:literal, $most_millis:literal) => {
        Rule {
            cel: concat!(
                "!self.matches('",
                form!(),
                "') || (duration(self) >= duration('",
                $least,
                "') && duration(self) <= duration('",
                $most,
                "'))"
            ),
            message: concat!("must be from ", $least, " to ", $most),
            field: "",
            twin: Twin::Value(|value| is_between(value, $least_millis, $most_millis)),
        }
    };
}

/// A duration at all.
pub const DURATION_FORM: Rule = Rule {
    cel: concat!("self.matches('", form!(), "')"),
    message: "must be a length of time: numbers with units, such as 3s, 500ms or 1h30m",
    field: "",
    twin: Twin::Value(|value| has_form(text(value))),
};

/// `announce.interval` of a VirtualIP.
pub const ANNOUNCE_INTERVAL: Rule = between!("100ms", "1h", 100, 3_600_000);
/// `healthCheck.interval` of a VirtualIP.
pub const CHECK_INTERVAL: Rule = between!("100ms", "1h", 100, 3_600_000);
/// `healthCheck.timeout` of a VirtualIP.
pub const CHECK_TIMEOUT: Rule = between!("10ms", "1m", 10, 60_000);
/// `interval` of a UDPProbe.
pub const PROBE_INTERVAL: Rule = between!("10ms", "1h", 10, 3_600_000);
/// `timeout` of a UDPProbe.
pub const PROBE_TIMEOUT: Rule = between!("1ms", "1m", 1, 60_000);

/// A check that is over before the next one begins.
pub const TIMEOUT_WITHIN_INTERVAL: Rule = Rule {
    cel: concat!(
        "!self.timeout.matches('",
        form!(),
        "') || !self.interval.matches('",
        form!(),
        "') || duration(self.timeout) <= duration(self.interval)"
    ),
    message: "must not be longer than interval",
    field: ".timeout",
    twin: Twin::Value(|check| match (read(&check["timeout"]), read(&check["interval"])) {
        (Some(timeout), Some(interval)) => timeout <= interval,
        _ => true,
    }),
};

fn read(value: &Value) -> Option<Time> {
    text(value).parse::<Duration>().ok().map(Time::from)
}

/// Whether a text has the form of a duration, be it too long for one.
fn has_form(text: &str) -> bool {
    let mut rest = text;
    while !rest.is_empty() {
        let Some(tail) = after_term(rest) else { return false };
        rest = tail;
    }
    !text.is_empty()
}

fn after_term(text: &str) -> Option<&str> {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let rest = text.get(digits(text)..).filter(|rest| rest.len() < text.len())?;
    let rest = match rest.strip_prefix('.') {
        Some(fraction) => fraction.get(digits(fraction)..).filter(|rest| rest.len() < fraction.len())?,
        None => rest,
    };
    // "ms" before "m": the longest unit that fits is the one that is meant.
    ["ns", "us", "µs", "μs", "ms", "s", "m", "h"].into_iter().find_map(|unit| rest.strip_prefix(unit))
}

fn is_between(value: &Value, least_millis: u64, most_millis: u64) -> bool {
    if !has_form(text(value)) {
        return true;
    }
    read(value).is_some_and(|time| Time::from_millis(least_millis) <= time && time <= Time::from_millis(most_millis))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn keeps(rule: &Rule, text: &str) -> bool {
        match rule.twin {
            Twin::Value(twin) => twin(&json!(text)),
            Twin::Change(_) => panic!("a rule about a change"),
        }
    }

    #[test]
    fn a_duration_has_a_form_and_bounds() {
        for good in ["100ms", "1h", "0.1s", "100000us", "1m30s", "59m60s"] {
            assert!(keeps(&DURATION_FORM, good) && keeps(&ANNOUNCE_INTERVAL, good), "{good}");
        }
        for bad in ["", "3", "-3s", "3 s", "1d", "s", "3s ", ".5s", "1.s"] {
            assert!(!keeps(&DURATION_FORM, bad), "{bad}");
        }
        for bad in ["99ms", "0s", "3601s", "61m", "99999999999999999999h"] {
            assert!(!keeps(&ANNOUNCE_INTERVAL, bad), "{bad}");
        }
    }

    #[test]
    fn a_timeout_fits_into_its_interval() {
        let Twin::Value(twin) = TIMEOUT_WITHIN_INTERVAL.twin else { panic!("about a change") };
        assert!(twin(&json!({"interval": "1s", "timeout": "1s"})));
        assert!(!twin(&json!({"interval": "1s", "timeout": "1001ms"})));
    }
}
