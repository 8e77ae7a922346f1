//! Lengths of time as manifests write them: Go's syntax, `3s`, `500ms`, `1h30m`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::rules::{self, duration::DURATION_FORM};

/// A length of time, never negative, at most 292 years (Go's int64 nanoseconds). Its text is Go's
/// (`time.ParseDuration`) without a sign: decimal numbers, each with a unit of ns, us, µs, ms, s, m or h.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Duration(pub std::time::Duration);

const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000), // U+00B5
    ("μs", 1_000), // U+03BC
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

impl Duration {
    /// So many milliseconds.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(std::time::Duration::from_millis(millis))
    }

    /// So many seconds.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(std::time::Duration::from_secs(secs))
    }
}

/// A text that is no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no duration: write numbers with units, such as 3s, 500ms or 1h30m")]
pub struct DurationError(String);

impl FromStr for Duration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || DurationError(text.to_owned());
        if text == "0" {
            return Ok(Self::default());
        }
        let mut rest = text;
        let mut nanos: u64 = 0;
        while {
            let (term, tail) = first_term(rest).ok_or_else(wrong)?;
            nanos = nanos.checked_add(term).filter(|sum| i64::try_from(*sum).is_ok()).ok_or_else(wrong)?;
            rest = tail;
            !rest.is_empty()
        } {}
        Ok(Self(std::time::Duration::from_nanos(nanos)))
    }
}

/// The first number with its unit, in nanoseconds, and what follows it.
fn first_term(text: &str) -> Option<(u64, &str)> {
    let (whole, rest) = split_digits(text);
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => split_digits(rest),
        None => ("0", rest),
    };
    let unit_end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
    let (unit, rest) = rest.split_at_checked(unit_end)?;
    let (_, nanos) = UNITS.into_iter().find(|(name, _)| *name == unit)?;
    if whole.is_empty() || fraction.is_empty() {
        return None;
    }
    let whole: u64 = whole.parse().ok()?;
    // What is finer than 18 digits is less than a nanosecond of any unit.
    let fraction = fraction.get(..18).unwrap_or(fraction);
    let scale = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let part = u128::from(nanos).checked_mul(fraction.parse().ok()?)?.checked_div(scale)?;
    Some((whole.checked_mul(nanos)?.checked_add(u64::try_from(part).ok()?)?, rest))
}

fn split_digits(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

impl fmt::Display for Duration {
    /// The shortest text that reads back as the same duration: whole hours, minutes and seconds as `1h30m5s`, anything
    /// finer in the largest unit of s, ms, us and ns that needs at most three decimals.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = u64::try_from(self.0.as_nanos()).unwrap_or(u64::MAX);
        let (hours, rest) = (nanos / 3_600_000_000_000, nanos % 3_600_000_000_000);
        let (minutes, rest) = (rest / 60_000_000_000, rest % 60_000_000_000);
        if hours > 0 {
            write!(f, "{hours}h")?;
        }
        if minutes > 0 {
            write!(f, "{minutes}m")?;
        }
        match rest {
            0 if nanos > 0 => Ok(()),
            0 => f.write_str("0s"),
            rest if rest % 1_000_000_000 == 0 => write!(f, "{}s", rest / 1_000_000_000),
            rest if rest > 1_000_000_000 && rest % 1_000_000 == 0 => {
                let fraction = format!("{:03}", rest / 1_000_000 % 1_000);
                write!(f, "{}.{}s", rest / 1_000_000_000, fraction.trim_end_matches('0'))
            }
            rest if rest % 1_000_000 == 0 => write!(f, "{}ms", rest / 1_000_000),
            rest if rest % 1_000 == 0 => write!(f, "{}us", rest / 1_000),
            rest => write!(f, "{rest}ns"),
        }
    }
}

impl From<std::time::Duration> for Duration {
    fn from(duration: std::time::Duration) -> Self {
        Self(duration)
    }
}

impl From<Duration> for std::time::Duration {
    fn from(duration: Duration) -> Self {
        duration.0
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Duration {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "maxLength": 32,
            "x-kubernetes-validations": rules::to_schema(&[&DURATION_FORM]),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nanos(text: &str) -> Option<u128> {
        text.parse::<Duration>().ok().map(|d| d.0.as_nanos())
    }

    #[test]
    fn reads_gos_syntax() {
        for (text, expected) in [
            ("0", 0),
            ("0s", 0),
            ("3s", 3_000_000_000),
            ("500ms", 500_000_000),
            ("1.5s", 1_500_000_000),
            ("1h30m", 5_400_000_000_000),
            ("1m0.25s", 60_250_000_000),
            ("2us", 2_000),
            ("2µs", 2_000),
            ("7ns", 7),
            ("0.0000000001s", 0),
            ("2562047h", 9_223_369_200_000_000_000),
        ] {
            assert_eq!(nanos(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn refuses_nonsense_without_a_panic() {
        let long = "9".repeat(400) + "h";
        for text in [
            "",
            "3",
            "s",
            "-1s",
            "+1s",
            "--1s",
            "1s-5s",
            "1 s",
            " 1s",
            "1s ",
            "1S",
            "1d",
            "1e3s",
            "infs",
            "nans",
            ".5s",
            "1.s",
            "1..5s",
            "3000000h",
            "2562047h2562047h",
            "1h1",
            "１s",
            "99999999999999999999s",
            &long,
        ] {
            assert_eq!(nanos(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn reads_what_it_writes(nanos in 0_u64..=9_223_372_036_854_775_807) {
            let duration = Duration(std::time::Duration::from_nanos(nanos));
            prop_assert_eq!(duration.to_string().parse::<Duration>(), Ok(duration));
        }

        #[test]
        fn no_text_panics(text in "[-+.0-9a-zµ ]{0,24}") {
            let _ = text.parse::<Duration>();
        }
    }
}
