//! `vipkeeper ip enumerate`: the addresses of a prefix.

use std::net::IpAddr;

use serde::Serialize;

use super::input::Source;
use super::output::Format;
use super::slice::Slice;
use crate::cli::Exit;
use crate::core::ip::prefix;
use crate::core::ip::text::parse_prefix;

/// Print the addresses of a prefix, upwards.
///
/// These are the ones that hosts may have: of an IPv4 prefix shorter than /31 neither the network's nor the broadcast's.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  vipkeeper ip enumerate 198.51.100.0/24 --count 3
  vipkeeper ip enumerate 2001:db8::/32 --count 2 --from 1024
  vipkeeper ip enumerate 192.0.2.0/29 --all

Exit codes: 0 done, 2 wrong use or a bad item, 3 the outside failed.")]
pub(super) struct Args {
    /// The prefix; '-' or nothing: lines of standard input.
    #[arg(value_name = "PREFIX")]
    item: Option<String>,
    #[command(flatten)]
    slice: Slice,
    /// The addresses of network and broadcast too.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    format: Format,
}

#[derive(Serialize)]
struct Line {
    address: IpAddr,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let mut out = self.format.printer();
        let tally = Source::new(self.item.into_iter().collect())?.each(|item| {
            let prefix = parse_prefix(item)?;
            let mut addresses = if self.all { prefix::all(prefix) } else { prefix::usable(prefix) };
            let total = addresses.remaining();
            let rest = |from| {
                addresses.skip_ahead(from);
                addresses
            };
            self.slice.each(item, total, rest, |address| out.line(address, &Line { address }))
        })?;
        out.flush()?;
        Ok(tally.exit(Exit::Done))
    }
}
