//! `vipkeeper prober`: measures what UDPProbe resources name, for Prometheus.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use super::Exit;
use super::role::{self, LogArgs, Role};
use super::store_args::StoreArgs;
use super::udp_ping::{random_bits, read_key};
use crate::prober::engine::Options;
use crate::prober::service::{Prober, Settings};
use crate::wire::legacy_ping;

/// Measure loss, delay and order of UDP packets to what UDPProbe resources name, and export it to Prometheus.
///
/// Serves /metrics, /probe?target=HOST[:PORT]&module=udp (one probe, by the blackbox exporter's names), /paths (JSON, the
/// figures of each source port), /healthz and /readyz.
///
/// Example: vipkeeper prober --store dir:./manifests --listen '[::]:9472'
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    store: StoreArgs,
    /// The prober's name, and its place in a mesh [default: $NODE_NAME, else the host name]
    #[arg(long, value_name = "NAME", env = "VIPKEEPER_NODE")]
    node: Option<String>,
    /// Serve metrics, probes and health here
    #[arg(long, value_name = "ADDR:PORT", default_value = "[::]:9472", env = "VIPKEEPER_LISTEN")]
    listen: SocketAddr,
    /// The port of reflectors, where a Service names none
    #[arg(long, value_name = "PORT", default_value_t = legacy_ping::PORT, value_parser = clap::value_parser!(u16).range(1..), env = "VIPKEEPER_TARGET_PORT")]
    target_port: u16,
    /// How many other nodes of a mesh this one measures: the next on a ring, so that each is measured by as many
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..), env = "VIPKEEPER_MESH_DEGREE")]
    mesh_degree: u16,
    /// Export smokeping's names too, for its dashboards and rules
    #[arg(long, env = "VIPKEEPER_SMOKEPING_NAMES")]
    smokeping_names: bool,
    /// Authenticate probes with the key in this file (RFC 8762 section 4.4)
    #[arg(long, value_name = "FILE", env = "VIPKEEPER_KEY_FILE")]
    key_file: Option<PathBuf>,
    #[command(flatten)]
    logs: LogArgs,
}

impl Args {
    pub(crate) fn run(self) -> anyhow::Result<Exit> {
        let key = self.key_file.as_deref().map(read_key).transpose()?;
        let settings = Settings {
            name: role::node_name(self.node)?,
            port: self.target_port,
            degree: usize::from(self.mesh_degree),
            cluster: self.store.is_kubernetes()?,
            smokeping: self.smokeping_names,
            engine: Options { key, seed: random_bits(), ..Options::default() },
        };
        role::start(self.listen, &self.logs, |role| serve(role, self.store, settings))?;
        Ok(Exit::Done)
    }
}

async fn serve(role: Role, store: StoreArgs, settings: Settings) -> anyhow::Result<()> {
    let store = store.open().await?;
    let prober = Prober::start(settings)?;
    let exported = Arc::clone(&prober);
    role.metrics.add_source(Arc::new(move || exported.render()));
    let (health, stop) = (Arc::clone(&role.health), role.stop.clone());
    let handler = prober.handler();
    role.run(Some(handler), async move { Ok(prober.run(store, health, stop).await?) }).await
}
