//! `vipkeeper udp-ping client`: measure by hand, with the habits of ping(8).

use std::io::Write;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::report::{Report, Style};
use crate::cli::{Exit, Failure};
use crate::core::probe::Settings;
use crate::prober::engine::Options;
use crate::prober::ping::{Ping, PingSettings};
use crate::prober::resolve::{Family, Host};
use crate::wire::legacy_ping;
use crate::wire::stamp;
use crate::wire::stamp::tlv;

/// Measure loss, delay and order of UDP packets to one or more reflectors.
///
/// Prints a line for each answer and a summary at the end (Ctrl-C; Ctrl-\ for one in between). It goes on through refusals,
/// lost routes, restarts of the reflector and changes of a name's address.
///
/// Exit codes as of ping(8): 0 if every target answered (with -c and -w: all the probes), 1 if not, 2 for anything else.
///
/// Example: vipkeeper udp-ping client -c 5 --ports 4 198.51.100.20 gateway.example
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Reflectors: names or addresses, with :PORT if it is not --port's
    #[arg(required = true, value_name = "TARGET")]
    targets: Vec<String>,
    /// Stop after this many probes to each target
    #[arg(short = 'c', long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Seconds between two probes to a target, 0.001 to 3600
    #[arg(short = 'i', long, value_name = "SECONDS", default_value = "1", value_parser = |text: &str| seconds(text, 0.001, 3600.0))]
    interval: Duration,
    /// Seconds after which a probe without an answer is lost, 0.001 to 60
    #[arg(short = 'W', long, value_name = "SECONDS", default_value = "1", value_parser = |text: &str| seconds(text, 0.001, 60.0))]
    timeout: Duration,
    /// Stop after this many seconds, whatever has come
    #[arg(short = 'w', long, value_name = "SECONDS", value_parser = |text: &str| seconds(text, 0.001, 1e9))]
    deadline: Option<Duration>,
    /// Octets of a probe's UDP payload, 44 to 8972 [default: 112, or 200 with a key: room for the answering node's name]
    #[arg(short = 's', long, value_name = "OCTETS", value_parser = clap::value_parser!(u16).range(44..=8972))]
    size: Option<u16>,
    /// Type of service or traffic class: 0 to 255, or 0x00 to 0xff
    #[arg(short = 'Q', long, value_name = "TOS", default_value = "0", value_parser = tos)]
    tos: u8,
    /// Print no line per answer
    #[arg(short = 'q', long)]
    quiet: bool,
    /// Use IPv4 only
    #[arg(short = '4', long, conflicts_with = "ipv6")]
    ipv4: bool,
    /// Use IPv6 only
    #[arg(short = '6', long)]
    ipv6: bool,
    /// Send from this address, or by this interface
    #[arg(short = 'I', long, value_name = "ADDRESS|INTERFACE")]
    interface: Option<String>,
    /// The reflectors' port
    #[arg(short = 'p', long, value_name = "PORT", default_value_t = legacy_ping::PORT, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
    /// Send from this many source ports in turn, so that each path of a balanced network is taken
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=64))]
    ports: u8,
    /// Send the nine-octet probes of the original program
    #[arg(long, conflicts_with_all = ["size", "key_file"])]
    legacy: bool,
    /// Authenticate with the key in this file (RFC 8762 section 4.4)
    #[arg(long, value_name = "FILE", env = "VIPKEEPER_KEY_FILE")]
    key_file: Option<PathBuf>,
    /// Print JSON, an object a line
    #[arg(long)]
    json: bool,
}

/// Which signals have come.
#[derive(Debug, Default)]
struct Signals {
    stop: AtomicBool,
    interim: AtomicBool,
}

impl Args {
    pub(crate) fn run(self) -> anyhow::Result<Exit> {
        let wrong = |message: String| Failure::usage(message);
        let hosts: Vec<Host> =
            self.targets.iter().map(|text| Host::parse(text, self.port)).collect::<Result<_, _>>().map_err(wrong)?;
        let key = self.key_file.as_deref().map(super::read_key).transpose()?;
        let source = self.interface.as_deref().and_then(|text| text.parse::<IpAddr>().ok());
        let options = Options {
            source,
            device: self.interface.clone().filter(|_| source.is_none()),
            verbose: true,
            seed: super::random_bits(),
            key,
        };
        let settings = self.settings(&options);
        let style = Style { quiet: self.quiet, json: self.json };
        let ping = Ping::start(hosts, settings, options).map_err(wrong)?;
        let signals = Arc::new(Signals::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let told = Arc::clone(&signals);
        runtime.block_on(async move {
            listen(&told)?;
            tokio::task::spawn_blocking(move || self.watch(ping, style, &signals)).await?
        })
    }

    fn settings(&self, options: &Options) -> PingSettings {
        let key = options.key.as_ref();
        let named = (tlv::HEADER + tlv::RESPONDER_MAX) as u16 + if key.is_some() { 20 } else { 0 };
        let family = match (self.ipv4, self.ipv6, options.source) {
            (true, ..) | (_, _, Some(IpAddr::V4(_))) => Family::Ipv4,
            (_, true, _) | (_, _, Some(IpAddr::V6(_))) => Family::Ipv6,
            _ => Family::Any,
        };
        PingSettings {
            count: self.count,
            deadline: self.deadline,
            family,
            size: self.size.unwrap_or(stamp::base_len(key) as u16 + named),
            tos: self.tos,
            legacy: self.legacy,
            measure: Settings {
                interval: self.interval,
                timeout: self.timeout,
                ports: self.ports,
                spread: false,
                holders: true,
            },
        }
    }

    fn watch(&self, mut ping: Ping, style: Style, signals: &Signals) -> anyhow::Result<Exit> {
        let mut out = std::io::stdout().lock();
        let report = Report { style };
        report.begin(&mut out, &ping)?;
        while !signals.stop.load(Ordering::Relaxed) && !ping.is_done() {
            for news in ping.step()? {
                report.news(&mut out, &ping, &news)?;
            }
            if signals.interim.swap(false, Ordering::Relaxed) {
                report.interim(&ping);
            }
            out.flush()?;
        }
        ping.conclude();
        report.summary(&mut out, &ping)?;
        out.flush()?;
        Ok(self.exit(&ping))
    }

    /// The exit code: ping(8) asks for all the probes only where both a count and a deadline are given.
    fn exit(&self, ping: &Ping) -> Exit {
        let wanted = self.count.filter(|_| self.deadline.is_some()).unwrap_or(1);
        let answered = (0..ping.targets().len()).all(|place| {
            let counts = ping.counts(place);
            counts.received + counts.late >= wanted
        });
        if answered { Exit::Done } else { Exit::No }
    }
}

/// Notes SIGINT, SIGTERM and SIGQUIT from now on.
fn listen(signals: &Arc<Signals>) -> std::io::Result<()> {
    for kind in [SignalKind::interrupt(), SignalKind::terminate()] {
        let (mut arrivals, signals) = (signal(kind)?, Arc::clone(signals));
        tokio::spawn(async move {
            if arrivals.recv().await.is_some() {
                signals.stop.store(true, Ordering::Relaxed);
            }
        });
    }
    let (mut arrivals, signals) = (signal(SignalKind::quit())?, Arc::clone(signals));
    tokio::spawn(async move {
        while arrivals.recv().await.is_some() {
            signals.interim.store(true, Ordering::Relaxed);
        }
    });
    Ok(())
}

/// A number of seconds within bounds, with a fraction if need be.
fn seconds(text: &str, least: f64, greatest: f64) -> Result<Duration, String> {
    let number = text.parse::<f64>().ok().filter(|number| (least..=greatest).contains(number));
    number.map(Duration::from_secs_f64).ok_or_else(|| format!("it must be a number of seconds, {least} to {greatest}"))
}

fn tos(text: &str) -> Result<u8, String> {
    let number = match text.strip_prefix("0x") {
        Some(hex) => u8::from_str_radix(hex, 16),
        None => text.parse(),
    };
    number.map_err(|_| "it must be 0 to 255, or 0x00 to 0xff".to_owned())
}
