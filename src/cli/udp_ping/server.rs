//! `vipkeeper udp-ping server`: the reflector.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use tracing::info;

use crate::cli::Exit;
use crate::cli::role::{self, LogArgs, Role};
use crate::core::reflect::{Limit, Seed};
use crate::metrics::ReflectorMetrics;
use crate::prober::reflector::{Reflector, Settings};

/// Answer probes: STAMP (RFC 8762) and those of the original UDP ping program.
///
/// Never answers a reply, a packet from port 0, from its own port or another reflector's, or one between addresses that
/// are not one host's, and never with more octets than it got.
///
/// Example: vipkeeper udp-ping server --bind '[::]:32767' --listen '[::]:9474'
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where to listen for probes; [::] takes IPv4 too
    #[arg(long, value_name = "ADDR:PORT", default_value = "[::]:32767", env = "VIPKEEPER_BIND")]
    bind: SocketAddr,
    /// Serve /healthz, /readyz and /metrics here; without it they are not served
    #[arg(long, value_name = "ADDR:PORT", env = "VIPKEEPER_LISTEN")]
    listen: Option<SocketAddr>,
    /// The name that answers give, for senders that ask who answered [default: $NODE_NAME, else the host name]
    #[arg(long, value_name = "NAME", env = "VIPKEEPER_NODE")]
    node: Option<String>,
    /// How many threads answer, each with a socket of its own [default: one a core, at most 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64), env = "VIPKEEPER_WORKERS")]
    workers: Option<u8>,
    /// Packets a second that one source (an IPv4 address, a /64 of IPv6) may send to each thread; 0 for no limit
    #[arg(long, value_name = "N", default_value_t = 5_000, env = "VIPKEEPER_RATE")]
    rate: u32,
    /// Packets that one source may send at once after a pause
    #[arg(long, value_name = "N", default_value_t = 5_000, env = "VIPKEEPER_BURST")]
    burst: u32,
    /// Repeat the sender's numbers instead of numbering the replies of each session: then nobody can tell on which way a
    /// probe was lost
    #[arg(long, env = "VIPKEEPER_STATELESS")]
    stateless: bool,
    /// Answer only probes that are authenticated with the key in this file (RFC 8762 section 4.4), of at least one octet
    #[arg(long, value_name = "FILE", env = "VIPKEEPER_KEY_FILE")]
    key_file: Option<PathBuf>,
    #[command(flatten)]
    logs: LogArgs,
}

impl Args {
    pub(crate) fn run(self) -> anyhow::Result<Exit> {
        let key = self.key_file.as_deref().map(super::read_key).transpose()?;
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(4);
        let settings = Settings {
            bind: self.bind,
            workers: self.workers.map_or(cores, usize::from),
            name: role::node_name(self.node)?,
            key,
            stateful: !self.stateless,
            limit: Limit { rate: self.rate, burst: self.burst },
        };
        role::start(self.listen, &self.logs, |role| serve(role, settings))?;
        Ok(Exit::Done)
    }
}

async fn serve(role: Role, settings: Settings) -> anyhow::Result<()> {
    let metrics = ReflectorMetrics::new(&role.metrics);
    let (health, stop) = (role.health.clone(), role.stop.clone());
    role.run(None, async move {
        let reflector = Reflector::start(&settings, Seed(super::random_bits()), &metrics)
            .with_context(|| format!("cannot listen on {} (--bind)", settings.bind))?;
        info!(bind = %reflector.local, name = settings.name, workers = settings.workers, "probes are answered");
        health.set_ready(true);
        let mut look = tokio::time::interval(std::time::Duration::from_secs(1));
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                _ = look.tick() => anyhow::ensure!(reflector.is_running(), "a thread that answers has ended"),
            }
        }
    })
    .await
}
