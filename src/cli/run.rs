//! `vipkeeper run`.

use std::net::SocketAddr;
use std::sync::Arc;

use tracing::info;

use super::agent::NodeArgs;
use super::role::{self, LogArgs, Role};
use super::store_args::StoreArgs;
use super::{Exit, Failure};
use crate::agent;
use crate::controller::{self, Candidacy};
use crate::metrics::{AgentMetrics, ControllerMetrics};

/// Agent and controller in one process: keep the addresses of a directory of YAML on this machine.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  vipkeeper run --store dir:./manifests

Then edit the files: what changes there changes in the kernel. 'vipkeeper get vip' shows who holds what.")]
pub(crate) struct Args {
    /// Address and port of /healthz, /readyz and /metrics
    #[arg(long, default_value = "[::]:9470", env = "VIPKEEPER_LISTEN", value_name = "ADDR:PORT")]
    listen: SocketAddr,
    #[command(flatten)]
    logs: LogArgs,
    #[command(flatten)]
    node: NodeArgs,
    #[command(flatten)]
    store: StoreArgs,
}

impl Args {
    pub(crate) fn run(self) -> anyhow::Result<Exit> {
        if self.store.is_kubernetes()? {
            return Err(Failure::usage(
                "--store k8s: 'run' is for a directory of YAML (--store dir:PATH); a cluster runs 'controller' and 'agent'",
            ));
        }
        let config = self.node.config(true)?;
        role::start(self.listen, &self.logs, async |role: Role| {
            let store = self.store.open_counted(&role.metrics).await?;
            agent::register(&store, &config.node, &self.node.labels()).await?;
            let stop = role.stop.clone();
            let (of_agent, of_controller) = (AgentMetrics::new(&role.metrics), ControllerMetrics::new(&role.metrics));
            let health = role.health.clone();
            info!(node = config.node, "agent and controller start");
            let (handler, asked) = agent::asker();
            role.run(Some(handler), async {
                // The name outlives the process, so that the next run leads at once. Addresses are held without a
                // controller, so this process is ready when its agent is.
                let candidacy = Candidacy::new(config.node.clone(), controller::NAMESPACE.to_owned());
                let controller = controller::run(candidacy, store.clone(), of_controller, Arc::default(), stop.clone());
                let agent = agent::run(config, store, of_agent, health, asked, stop.clone());
                // Whichever ends first ends the other.
                let both = async {
                    let result = agent.await;
                    stop.cancel();
                    result
                };
                let (agent, controller) = tokio::join!(both, controller);
                agent?;
                Ok(controller?)
            })
            .await
        })?;
        Ok(Exit::Done)
    }
}
