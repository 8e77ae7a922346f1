//! `vipkeeper controller`.

use std::net::SocketAddr;

use tracing::warn;

use super::Exit;
use super::role::{self, LogArgs, Role};
use super::store_args::StoreArgs;
use crate::agent;
use crate::controller::{self, Candidacy};
use crate::metrics::ControllerMetrics;

/// Give addresses to VirtualIPs and VirtualIPs to nodes.
///
/// Several may run on one store: one leads, the others take over when it ends or dies. Nodes go on holding what they have
/// while none runs.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  vipkeeper controller --store k8s                       in a cluster, beside the agents
  vipkeeper controller --store dir:/etc/vipkeeper        beside 'vipkeeper agent' on one machine; 'run' is both")]
pub(crate) struct Args {
    /// Address and port of /healthz, /readyz and /metrics
    #[arg(long, default_value = "[::]:9471", env = "VIPKEEPER_LISTEN", value_name = "ADDR:PORT")]
    listen: SocketAddr,
    #[command(flatten)]
    logs: LogArgs,
    /// Name of this controller in the lease; no other may bear it at the same time [default: $POD_NAME, else host name
    /// and process id]
    #[arg(long, env = "VIPKEEPER_IDENTITY", value_name = "NAME")]
    identity: Option<String>,
    /// Namespace of the lease by which one of several leads [default: $POD_NAMESPACE, else vipkeeper]
    #[arg(long, env = "VIPKEEPER_LEASE_NAMESPACE", value_name = "NAME")]
    lease_namespace: Option<String>,
    #[command(flatten)]
    store: StoreArgs,
}

impl Args {
    pub(crate) fn run(self) -> anyhow::Result<Exit> {
        let candidacy = self.candidacy()?;
        role::start(self.listen, &self.logs, async |role: Role| {
            let store = self.store.open_counted(&role.metrics).await?;
            let (metrics, health, stop) =
                (ControllerMetrics::new(&role.metrics), role.health.clone(), role.stop.clone());
            // The agents wait for the key; whatever else the controller does needs none.
            let (keys, namespace) = (store.clone(), candidacy.namespace.clone());
            tokio::spawn(async move {
                if let Err(error) = agent::make_key(&keys, &namespace).await {
                    warn!(%error, "the heartbeat key was not made: agents with a gate wait for it");
                }
            });
            role.run(None, async { Ok(controller::run(candidacy, store, metrics, health, stop).await?) }).await
        })?;
        Ok(Exit::Done)
    }

    fn candidacy(&self) -> anyhow::Result<Candidacy> {
        let from_env = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let identity = match self.identity.clone().or_else(|| from_env("POD_NAME")) {
            Some(identity) => identity,
            None => format!("{}_{}", role::node_name(None)?, std::process::id()),
        };
        Ok(Candidacy::new(identity, role::namespace(self.lease_namespace.clone())))
    }
}
