//! Logs an operator can read: one line a transition, none a packet.

use std::io::IsTerminal;

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;
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

/// Sends logs to standard error, at level `info` unless `VIPKEEPER_LOG` says otherwise (`debug`, or
/// `vipkeeper::store=trace`). What kube says of each failed request is left out: the store says it once. Called once, by the command that starts a role.
pub fn init(format: LogFormat) {
    let filter = EnvFilter::try_from_env("VIPKEEPER_LOG").unwrap_or_else(|_| EnvFilter::new("info,kube_client=off"));
    let registry = tracing_subscriber::registry().with(filter);
    let is_terminal = std::io::stderr().is_terminal();
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false).with_ansi(is_terminal);
    match format {
        LogFormat::Text => registry.with(layer).init(),
        LogFormat::Json => registry.with(layer.json()).init(),
    }
}
