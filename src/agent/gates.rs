//! Which gate the agent uses, and what becomes of one that a former run left.

use std::path::Path;

use tracing::{info, warn};

use super::{AgentError, Config, GateChoice, kernel};
use crate::gate::{self, Choice, Gate, GateError};
use crate::netlink::Netlink;

/// Opens the gate; `None` where the node does without.
pub(super) async fn open(config: &Config, netlink: &Netlink) -> Result<Option<Gate>, AgentError> {
    let choice = match config.gate {
        GateChoice::Auto => Choice::Auto,
        GateChoice::Bpf => Choice::Bpf,
        GateChoice::Nft => Choice::Nft,
        GateChoice::None => {
            clear(&config.bpffs, netlink).await?;
            return Ok(None);
        }
    };
    let open = || Gate::open(choice, &config.bpffs, config.timing.nft());
    let opened = match open() {
        Err(error @ GateError::Unread(_)) => {
            warn!(error = %chain(&error), "it is taken down, and its addresses before it");
            clear(&config.bpffs, netlink).await?;
            open()
        }
        opened => opened,
    };
    match opened {
        Ok((gate, why)) => {
            match why {
                Some(why) => {
                    warn!(reason = %chain(&why), "the gate is nftables: two nodes may claim an address for {:?} after this process was stopped", config.timing.nft())
                }
                None => info!(kind = ?gate.kind(), "the gate stands"),
            }
            Ok(Some(gate))
        }
        Err(error) if choice == Choice::Auto && error.is_unavailable() => {
            warn!(reason = %chain(&error), "no gate: this node holds addresses only as long as no other takes part in the segment");
            clear(&config.bpffs, netlink).await?;
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// Takes down the gate of a former run, of whichever kind. What stood behind it may be another node's by now, so all
/// addresses of ours go first.
async fn clear(bpffs: &Path, netlink: &Netlink) -> Result<(), AgentError> {
    if gate::is_left(bpffs)? {
        let removed = kernel::remove_all(netlink).await?;
        gate::take_down(bpffs)?;
        info!(removed, "the gate of a former run is taken down, and what stood behind it before it");
    }
    Ok(())
}

/// An error with its reasons.
fn chain(error: &GateError) -> String {
    let sources = std::iter::successors(std::error::Error::source(error), |error| error.source());
    sources.fold(error.to_string(), |text, source| format!("{text}: {source}"))
}
