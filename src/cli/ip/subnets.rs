//! `vipkeeper ip subnets`: the parts of a prefix.

use ipnetwork::IpNetwork;
use serde::Serialize;

use super::input::Source;
use super::output::Format;
use super::slice::Slice;
use crate::cli::Exit;
use crate::core::ip::prefix;
use crate::core::ip::text::parse_prefix;

/// Print the parts of a prefix that have a given length, upwards.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  vipkeeper ip subnets 192.0.2.0/24 26
  vipkeeper ip subnets 2001:db8::/32 64 --count 2 --from 4294967294

Exit codes: 0 done, 2 wrong use or a bad item, 3 the outside failed.")]
pub(super) struct Args {
    /// The prefix; '-': lines of standard input.
    #[arg(value_name = "PREFIX")]
    item: String,
    /// Length of the parts in bits, 0 to 32 or 128.
    #[arg(value_name = "LENGTH")]
    length: u8,
    #[command(flatten)]
    slice: Slice,
    #[command(flatten)]
    format: Format,
}

/// A prefix as JSON.
#[derive(Serialize)]
pub(super) struct Line {
    pub(super) prefix: IpNetwork,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let mut out = self.format.printer();
        let tally = Source::new(vec![self.item])?.each(|item| {
            let mut parts = prefix::subnets(parse_prefix(item)?, self.length)?;
            let total = parts.total();
            let rest = |from| {
                parts.skip_ahead(from);
                parts
            };
            self.slice.each(item, total, rest, |prefix| out.line(prefix, &Line { prefix }))
        })?;
        out.flush()?;
        Ok(tally.exit(Exit::Done))
    }
}
