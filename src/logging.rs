//! Logs an operator can read: one line a transition, none a packet.

use std::io::IsTerminal;
use std::str::FromStr;

use clap::ValueEnum;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What is logged unless `VIPKEEPER_LOG` says otherwise. What kube says of each failed request is left out: the store
/// says it once.
const DEFAULT: [(&str, LevelFilter); 1] = [("kube_client", LevelFilter::OFF)];

/// Sends logs to standard error, at level `info` unless `VIPKEEPER_LOG` says otherwise (`debug`, or
/// `vipkeeper::store=trace`). Called once, by the command that starts a role.
pub fn init(format: LogFormat) {
    let wanted = std::env::var("VIPKEEPER_LOG").ok().filter(|wanted| !wanted.is_empty());
    let read = wanted.as_deref().map(Targets::from_str).transpose();
    let default = || Targets::new().with_default(LevelFilter::INFO).with_targets(DEFAULT);
    let (filter, wrong) = match read {
        Ok(filter) => (filter.unwrap_or_else(default), None),
        Err(error) => (default(), Some(error)),
    };
    let registry = tracing_subscriber::registry().with(filter);
    let is_terminal = std::io::stderr().is_terminal();
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false).with_ansi(is_terminal);
    match format {
        LogFormat::Text => registry.with(layer).init(),
        LogFormat::Json => registry.with(layer.json()).init(),
    }
    if let Some(error) = wrong {
        tracing::warn!(%error, "VIPKEEPER_LOG is not read: a level, or TARGET=LEVEL, comma-separated");
    }
}
