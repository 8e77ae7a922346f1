//! Why a question got no answer: status, code and words, the same in HTTP, in a batch and on the command line.

use std::sync::Arc;
use std::time::Duration;

use super::chain::{Failure, Hop};
use super::query::QueryError;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// The question is none.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// The body of a batch is none; what is wrong with it.
    #[error("{0}")]
    Body(String),
    /// More questions in a batch than are allowed.
    #[error("a batch has at most {most} questions; this one has {count}")]
    TooMany {
        /// How many there are.
        count: usize,
        /// How many there may be.
        most: usize,
    },
    /// Nobody knows anything about it.
    #[error("there is no record of {value}{because}")]
    NotFound {
        /// What was asked about.
        value: String,
        /// Who says so, as of when; begins with a separator.
        because: String,
        /// Who was asked.
        hops: Arc<[Hop]>,
    },
    /// The client asks too often.
    #[error("too many questions; wait {} s", seconds(*.0))]
    RateLimited(Duration),
    /// What would know is not there.
    #[error("{0}")]
    NoDatabase(String),
    /// The registries gave no answer.
    #[error("no registry gave an answer about {value}: {failure}")]
    Upstream {
        /// What was asked about.
        value: String,
        /// The last reason.
        failure: Failure,
        /// Who was asked.
        hops: Arc<[Hop]>,
    },
}

impl LookupError {
    /// The HTTP status.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::Query(_) | Self::Body(_) => 400,
            Self::NotFound { .. } => 404,
            Self::TooMany { .. } => 413,
            Self::RateLimited(_) => 429,
            Self::NoDatabase(_) | Self::Upstream { failure: Failure::Quota(_), .. } => 503,
            Self::Upstream { failure: Failure::Timeout(_), .. } => 504,
            Self::Upstream { .. } => 502,
        }
    }

    /// The `code` of a JSON answer.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Query(error) => error.code(),
            Self::Body(_) => "bad_request",
            Self::NotFound { .. } => "not_found",
            Self::TooMany { .. } => "too_many",
            Self::RateLimited(_) => "rate_limited",
            Self::NoDatabase(_) => "no_database",
            Self::Upstream { failure, .. } => failure.code(),
        }
    }

    /// The seconds of a `Retry-After` field, at least 1.
    #[must_use]
    pub fn retry_after(&self) -> Option<u64> {
        match self {
            Self::RateLimited(wait) => Some(seconds(*wait)),
            Self::Upstream { failure: Failure::Quota(wait), .. } => Some(wait.map_or(60, seconds)),
            Self::NoDatabase(_) => Some(60),
            Self::Query(_) | Self::Body(_) | Self::TooMany { .. } | Self::NotFound { .. } | Self::Upstream { .. } => {
                None
            }
        }
    }

    /// The error as JSON: `error`, `code`, and `hops` if anybody was asked.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let mut value = serde_json::json!({"error": self.to_string(), "code": self.code()});
        match self {
            Self::NotFound { hops, .. } | Self::Upstream { hops, .. } if !hops.is_empty() => {
                value["hops"] = serde_json::json!(hops);
            }
            Self::Query(_)
            | Self::Body(_)
            | Self::TooMany { .. }
            | Self::RateLimited(_)
            | Self::NoDatabase(_)
            | Self::NotFound { .. }
            | Self::Upstream { .. } => {}
        }
        value
    }
}

/// Whole seconds, rounded up, at least 1.
fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0 || time.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_the_status_and_code_of_the_table() {
        let upstream = |failure| LookupError::Upstream { value: "x".to_owned(), failure, hops: Arc::default() };
        for (error, status, code, retry) in [
            (LookupError::Query(QueryError::Nothing), 400, "bad_request", None),
            (LookupError::Body(String::new()), 400, "bad_request", None),
            (LookupError::TooMany { count: 101, most: 100 }, 413, "too_many", None),
            (LookupError::RateLimited(Duration::from_millis(1100)), 429, "rate_limited", Some(2)),
            (LookupError::NoDatabase(String::new()), 503, "no_database", Some(60)),
            (upstream(Failure::Garbage(String::new())), 502, "upstream_error", None),
            (upstream(Failure::TooLong(1)), 502, "upstream_error", None),
            (upstream(Failure::Loop(String::new())), 502, "referral_loop", None),
            (upstream(Failure::Blocked(String::new())), 502, "referral_blocked", None),
            (upstream(Failure::Quota(Some(Duration::ZERO))), 503, "upstream_quota", Some(1)),
            (upstream(Failure::Timeout("x")), 504, "upstream_timeout", None),
        ] {
            assert_eq!((error.status(), error.code(), error.retry_after()), (status, code, retry), "{error}");
            assert_eq!(error.to_json()["code"], code);
        }
    }
}
