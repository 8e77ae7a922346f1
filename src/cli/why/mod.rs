//! `vipkeeper why`.

mod text;

use std::io::Write;
use std::net::SocketAddr;

use futures::future::join_all;

use super::store_args::StoreArgs;
use super::{Exit, Failure, output};
use crate::api::duration::Duration;
use crate::controller;
use crate::core::controller::Standing;
use crate::core::view::State;
use crate::core::why::{AgentState, Said, explain};
use crate::http::client;

/// Explain who has an address and why, why each other node has not, and who would have it if that node died now.
///
/// From the store, and from the agents of the address's segment, which are asked over HTTP; what one that does not answer
/// would have said is left out. Ends with exit code 1 if no node answers for the address.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  vipkeeper why web -n shop --store dir:/etc/vipkeeper
  vipkeeper why web -n shop --context lab --json")]
pub(crate) struct Args {
    /// The VirtualIP's name
    #[arg(value_name = "VIP")]
    name: String,
    /// Its namespace
    #[arg(short, long, default_value = "default", env = "VIPKEEPER_NAMESPACE")]
    namespace: String,
    /// Print JSON; times are in milliseconds
    #[arg(long)]
    json: bool,
    /// The port of the agents' health and metrics
    #[arg(long, default_value_t = 9470, env = "VIPKEEPER_AGENT_PORT", value_name = "PORT")]
    agent_port: u16,
    /// How long to wait for the agents
    #[arg(long, default_value = "2s", env = "VIPKEEPER_TIMEOUT", value_name = "TIME")]
    timeout: Duration,
    #[command(flatten)]
    store: StoreArgs,
}

impl Args {
    pub(crate) fn run(self) -> anyhow::Result<Exit> {
        tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(self.work())
    }

    async fn work(self) -> anyhow::Result<Exit> {
        let store = self.store.open().await?;
        let name = format!("{}/{}", self.namespace, self.name);
        let Some(standing) = controller::standing(&store, &name).await? else {
            let message = format!("virtualips.vipkeeper.dev {name:?} not found");
            return Err(anyhow::Error::new(Failure { exit: Exit::No, message }));
        };
        let said = self.ask(&standing).await;
        let explanation = explain(&standing, &said);
        let mut out = output();
        if self.json {
            serde_json::to_writer_pretty(&mut out, &explanation)?;
            writeln!(out)?;
        } else {
            text::print(&mut out, &explanation)?;
        }
        out.flush()?;
        let held = explanation.ready.is_some_and(|ready| ready.holds);
        Ok(if held { Exit::Done } else { Exit::No })
    }

    /// Asks every member of the segment that is up.
    async fn ask(&self, standing: &Standing) -> Said {
        let members = standing.segment.iter().flat_map(|(_, view)| &view.members);
        let asked = members.filter(|(_, member)| member.state != State::Left).map(|(name, member)| async move {
            let to = SocketAddr::new(member.address, self.agent_port);
            let answer = client::get(to, "/state", self.timeout.0).await;
            let state = answer.and_then(|body| read(name, &body).map_err(|why| format!("the answer of {to}: {why}")));
            (name.clone(), state)
        });
        join_all(asked).await.into_iter().collect()
    }
}

fn read(node: &str, body: &[u8]) -> Result<AgentState, String> {
    let state: AgentState = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    if state.node == node { Ok(state) } else { Err(format!("it is the agent of {}", state.node)) }
}
