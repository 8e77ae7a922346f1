//! Every metric that vipkeeper exports, in this one file: name, help, labels.
//!
//! Prefix `vipkeeper_`, base units, `_total` for counters, ratios from 0 to 1. Label values come from closed sets or
//! from the names of resources, never from error texts or client addresses; series appear with what they speak of and go
//! with it. One struct a role, registered in its `new`.

use prometheus::core::Collector;
use prometheus::{IntGauge, Opts, Registry, TextEncoder};

/// The metrics of one process.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
}

impl Metrics {
    /// An empty set, with the build's version and the process's start time.
    #[must_use]
    pub fn new() -> Self {
        let metrics = Self { registry: Registry::new() };
        let info = Opts::new("vipkeeper_build_info", "Always 1; the label says which version runs.")
            .const_label("version", env!("CARGO_PKG_VERSION"));
        if let Ok(info) = IntGauge::with_opts(info) {
            metrics.register(&info).set(1);
        }
        metrics
    }

    /// Adds a metric. A name that is there already is a mistake in this file, which its tests find.
    fn register<C: Collector + Clone + 'static>(&self, collector: &C) -> C {
        let registered = self.registry.register(Box::new(collector.clone()));
        debug_assert!(registered.is_ok(), "{registered:?}");
        collector.clone()
    }

    /// All metrics in the text exposition format 0.0.4.
    #[must_use]
    pub fn render(&self) -> String {
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_default()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_set_says_which_version_runs() {
        assert!(Metrics::new().render().contains("vipkeeper_build_info{version=\""));
    }
}
