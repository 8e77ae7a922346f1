//! `vipkeeper withdraw`: the end of an installation.

use std::io::Write;

use super::role;
use super::store_args::StoreArgs;
use super::{Exit, output};
use crate::api::duration::Duration;
use crate::controller::withdraw;

/// Have every node give up its addresses, before vipkeeper is uninstalled.
///
/// Agents and the controller must still run. It ends when no node holds anything any more, or with exit code 1 and the
/// names of what is left. VirtualIPs, pools and probes stay as they are. The chart runs it before it removes anything.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  vipkeeper withdraw --store k8s
  vipkeeper withdraw --store k8s --purge      afterwards, when agents and controller have gone: remove their own objects")]
pub(crate) struct Args {
    /// How long to wait
    #[arg(long, default_value = "60s", env = "VIPKEEPER_TIMEOUT", value_name = "TIME")]
    timeout: Duration,
    /// Delete what agents and controller made for themselves: the views of segments, the lease and the heartbeat key. A new
    /// installation starts from nothing then
    #[arg(long)]
    purge: bool,
    /// Namespace of the lease and of the key [default: $POD_NAMESPACE, else vipkeeper]
    #[arg(long, env = "VIPKEEPER_LEASE_NAMESPACE", value_name = "NAME")]
    lease_namespace: Option<String>,
    #[command(flatten)]
    store: StoreArgs,
}

impl Args {
    pub(crate) fn run(self) -> anyhow::Result<Exit> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(self.work())
    }

    async fn work(self) -> anyhow::Result<Exit> {
        let store = self.store.open().await?;
        let mut out = output();
        let exit = if self.purge {
            let namespace = role::namespace(self.lease_namespace);
            writeln!(out, "{} objects deleted", withdraw::purge(&store, &namespace).await?)?;
            Exit::Done
        } else {
            let left = withdraw::withdraw(&store, self.timeout.0).await?;
            if left.is_nothing() {
                writeln!(out, "no node holds an address")?;
                Exit::Done
            } else {
                writeln!(out, "after {}: {left}", self.timeout)?;
                Exit::No
            }
        };
        out.flush()?;
        Ok(exit)
    }
}
