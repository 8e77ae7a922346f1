//! `vipkeeper agent`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tracing::info;

use super::role::{self, LogArgs, Role};
use super::store_args::StoreArgs;
use super::{Exit, Failure};
use crate::agent::{self, Config, GateChoice};
use crate::api::Duration;
use crate::core::failover::Timing;
use crate::metrics::AgentMetrics;

/// Hold and announce the addresses that this node was given.
///
/// Runs on every node, as root or with NET_ADMIN and NET_RAW. The addresses stay when it ends, for the next run to adopt;
/// the kernel removes them after 300 s if none comes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  vipkeeper agent --store dir:/etc/vipkeeper          one machine, a directory of YAML
  vipkeeper agent --store k8s --node node-a           on a node of a cluster
  vipkeeper agent --cleanup                           remove whatever an agent left in the kernel")]
pub(crate) struct Args {
    /// Address and port of /healthz, /readyz and /metrics
    #[arg(long, default_value = "[::]:9470", env = "VIPKEEPER_LISTEN", value_name = "ADDR:PORT")]
    listen: SocketAddr,
    #[command(flatten)]
    logs: LogArgs,
    /// Remove every address and the gate that an agent left in this network namespace, and end
    #[arg(long)]
    cleanup: bool,
    #[command(flatten)]
    node: NodeArgs,
    #[command(flatten)]
    store: StoreArgs,
}

/// What an agent is told about its node.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Node")]
pub(crate) struct NodeArgs {
    /// Name of this node [default: $NODE_NAME, else the host name]
    #[arg(long, env = "VIPKEEPER_NODE", value_name = "NAME")]
    pub(crate) node: Option<String>,
    /// Label of this node, for node selectors; with --store dir: only (a cluster's nodes have their own)
    #[arg(long, env = "VIPKEEPER_NODE_LABEL", value_name = "KEY=VALUE", value_delimiter = ',', value_parser = pair)]
    pub(crate) node_label: Vec<(String, String)>,
    /// Name the segment of an interface, instead of after its lowest prefix
    #[arg(long, env = "VIPKEEPER_SEGMENT", value_name = "NAME=INTERFACE", value_delimiter = ',', value_parser = pair)]
    pub(crate) segment: Vec<(String, String)>,
    /// Give up all addresses when asked to end, instead of leaving them for the next run
    #[arg(long, env = "VIPKEEPER_RELEASE_ON_EXIT")]
    pub(crate) release_on_exit: bool,
    /// What shuts this node's addresses off when its right to them ends; without it a node takes part only where it is
    /// the first, and nobody succeeds it
    #[arg(long, value_enum, default_value = "auto", env = "VIPKEEPER_GATE")]
    gate: GateArg,
    /// The BPF file system that keeps the gate between two runs
    #[arg(long, default_value = "/sys/fs/bpf", env = "VIPKEEPER_BPFFS", value_name = "PATH")]
    bpffs: PathBuf,
    /// The times of failover; the same on all nodes
    #[arg(long, value_enum, default_value = "lan", env = "VIPKEEPER_PROFILE")]
    profile: Profile,
    /// How long this node holds after the newest heartbeat that was answered, instead of the profile's, such as 600ms; the
    /// same on all nodes, and at least 4.5 times --heartbeat
    #[arg(long, env = "VIPKEEPER_GATE_TIME", value_name = "DURATION")]
    gate_time: Option<Duration>,
    /// Time between heartbeats, instead of the profile's, such as 120ms; the same on all nodes
    #[arg(long, env = "VIPKEEPER_HEARTBEAT", value_name = "DURATION")]
    heartbeat: Option<Duration>,
    /// Ask for real-time priority and locked memory for the thread that keeps heartbeats and gate (wants SYS_NICE and
    /// IPC_LOCK); what is refused is said in the log
    #[arg(long, env = "VIPKEEPER_REALTIME", value_name = "BOOL", num_args = 0..=1, default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    realtime: bool,
    /// Namespace of the heartbeat key [default: $POD_NAMESPACE, else vipkeeper]
    #[arg(long, env = "VIPKEEPER_NAMESPACE", value_name = "NAME")]
    namespace: Option<String>,
}

/// A kind of gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum GateArg {
    /// BPF where it is to be had, else nftables, else none
    Auto,
    /// BPF at tcx, or refuse to start
    Bpf,
    /// nftables, or refuse to start
    Nft,
    /// None
    None,
}

/// Times of failover.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Profile {
    /// Gate time 500 ms, heartbeats each 100 ms
    Lan,
    /// For virtual machines: 800 and 160 ms
    Virtual,
    /// For a quiet network: 250 and 50 ms
    FastLan,
}

impl NodeArgs {
    /// The agent's configuration; `makes_key` in a store that nobody else makes the heartbeat key in.
    ///
    /// # Errors
    /// The host name is no text, or the times do not fit together.
    pub(crate) fn config(&self, makes_key: bool) -> anyhow::Result<Config> {
        Ok(Config {
            gate: match self.gate {
                GateArg::Auto => GateChoice::Auto,
                GateArg::Bpf => GateChoice::Bpf,
                GateArg::Nft => GateChoice::Nft,
                GateArg::None => GateChoice::None,
            },
            bpffs: self.bpffs.clone(),
            realtime: self.realtime,
            timing: self.timing()?,
            namespace: role::namespace(self.namespace.clone().filter(|name| !name.is_empty())),
            makes_key,
            node: role::node_name(self.node.clone())?,
            segments: self.segment.iter().map(|(name, interface)| (interface.clone(), name.clone())).collect(),
            release_on_exit: self.release_on_exit,
        })
    }

    fn timing(&self) -> anyhow::Result<Timing> {
        let profile = match self.profile {
            Profile::Lan => Timing::lan(),
            Profile::Virtual => Timing::virtual_machines(),
            Profile::FastLan => Timing::fast_lan(),
        };
        let own = |time: Option<Duration>| time.map(|Duration(time)| time);
        let times = profile.with(own(self.gate_time), own(self.heartbeat));
        times.map_err(|error| Failure::usage(format!("--profile, --gate-time, --heartbeat: {error}")))
    }

    /// The labels given.
    pub(crate) fn labels(&self) -> BTreeMap<String, String> {
        self.node_label.iter().cloned().collect()
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() && !value.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("two words joined by '='".to_owned()),
    }
}

impl Args {
    pub(crate) fn run(self) -> anyhow::Result<Exit> {
        if self.cleanup {
            return cleanup(&self.node.bpffs);
        }
        let config = self.node.config(!self.store.is_kubernetes()?)?;
        if self.store.is_kubernetes()? && !self.node.node_label.is_empty() {
            return Err(Failure::usage("--node-label is for --store dir:PATH; label the Node of the cluster instead"));
        }
        role::start(self.listen, &self.logs, async |role: Role| {
            let store = self.store.open_counted(&role.metrics).await?;
            if !self.store.is_kubernetes()? {
                agent::register(&store, &config.node, &self.node.labels()).await?;
            }
            let (metrics, health, stop) = (AgentMetrics::new(&role.metrics), role.health.clone(), role.stop.clone());
            info!(node = config.node, "the agent starts");
            let (handler, asked) = agent::asker();
            role.run(Some(handler), async { Ok(agent::run(config, store, metrics, health, asked, stop).await?) }).await
        })?;
        Ok(Exit::Done)
    }
}

fn cleanup(bpffs: &Path) -> anyhow::Result<Exit> {
    use std::io::Write;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let removed = runtime.block_on(agent::cleanup(bpffs))?;
    let mut output = super::output();
    writeln!(output, "removed {removed} address{}", if removed == 1 { "" } else { "es" })?;
    output.flush()?;
    Ok(Exit::Done)
}
