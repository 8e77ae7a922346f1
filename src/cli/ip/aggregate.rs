//! `vipkeeper ip aggregate`: the fewest prefixes with the same addresses.

use std::path::PathBuf;

use super::input::{Source, Tally};
use super::output::Format;
use super::prefixes;
use super::subnets::Line;
use crate::cli::Exit;
use crate::core::ip::set::AddressSet;
use crate::core::ip::text::parse_prefix;

/// Print the fewest prefixes that have the same addresses, sorted.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  vipkeeper ip aggregate 192.0.2.0/25 192.0.2.128/25
  vipkeeper ip aggregate --exclude reserved.txt < networks.txt

Exit codes: 0 done, 2 wrong use or a bad item, 3 the outside failed.")]
pub(super) struct Args {
    /// Prefixes and addresses; none or '-': lines of standard input.
    #[arg(value_name = "PREFIX")]
    items: Vec<String>,
    /// Leave out the addresses of a file of prefixes, one a line.
    #[arg(long, value_name = "FILE")]
    exclude: Option<PathBuf>,
    #[command(flatten)]
    format: Format,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let mut set = AddressSet::default();
        let mut tally = Source::new(self.items)?.each(|item| {
            set.add(parse_prefix(item)?);
            Ok(())
        })?;
        set = set.simplified();
        if let Some(path) = self.exclude {
            let (excluded, bad): (_, Tally) = prefixes::read(&path)?;
            set = set.without(&excluded.into_iter().map(|(prefix, _)| prefix).collect());
            tally = tally.and(bad);
        }
        let mut out = self.format.printer();
        for prefix in set.prefixes() {
            out.line(prefix, &Line { prefix })?;
        }
        out.flush()?;
        Ok(tally.exit(Exit::Done))
    }
}
