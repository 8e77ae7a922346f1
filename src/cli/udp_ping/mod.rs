//! `vipkeeper udp-ping`: measure a path by hand, and answer those who do.

mod client;
mod report;
mod server;

use clap::Subcommand;

use super::Exit;

/// Measure loss, delay and order of UDP packets, or answer those who measure.
///
/// Both ends speak STAMP (RFC 8762), so that routers' reflectors and senders fit too, and the nine-octet probe of the
/// original UDP ping program.
///
/// Example: vipkeeper udp-ping client 198.51.100.20
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Client(client::Args),
    Server(server::Args),
}

impl Args {
    pub(crate) fn run(self) -> anyhow::Result<Exit> {
        match self.command {
            Command::Client(args) => args.run(),
            Command::Server(args) => args.run(),
        }
    }
}

/// Bits that nobody outside can know: the standard library draws them from the kernel for each hasher.
pub(super) fn random_bits() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::process::id())
}

/// Reads the key of the authenticated mode from a file; a line end at its end is not part of it.
///
/// # Errors
/// The file cannot be read, or is empty.
pub(super) fn read_key(path: &std::path::Path) -> anyhow::Result<crate::wire::stamp::Key> {
    use anyhow::Context;
    let octets = std::fs::read(path).with_context(|| format!("cannot read the key: --key-file {}", path.display()))?;
    let octets = octets.trim_ascii_end();
    if octets.is_empty() {
        return Err(super::Failure::usage(format!("--key-file {}: the file is empty", path.display())));
    }
    crate::wire::stamp::Key::new(octets).context("the key cannot be used")
}
