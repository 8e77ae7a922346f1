//! `vipkeeper ip contains`: whether addresses are inside a prefix, or inside the prefixes of a file.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::input::{Source, Tally};
use super::output::Format;
use super::prefixes;
use crate::cli::{Exit, Failure};
use crate::core::ip::set::AddressSet;
use crate::core::ip::text::parse_prefix;

/// Tell whether addresses, or whole prefixes, are inside a prefix.
///
/// With --prefixes the prefixes of a file together take the place of PREFIX. Of one item 'true' or 'false' is printed,
/// of more or of lines the item before it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  vipkeeper ip contains 192.0.2.0/24 192.0.2.18
  vipkeeper ip contains 10.0.0.0/8 < addresses.txt
  vipkeeper ip contains --prefixes networks.txt 127.0.0.1

Exit codes: 0 all are inside, 1 some are not, 2 wrong use or a bad item, 3 the outside failed.")]
pub(super) struct Args {
    /// The prefix (not with --prefixes), then what may be inside; nothing more or '-': lines of standard input.
    #[arg(value_name = "PREFIX ADDR|PREFIX")]
    items: Vec<String>,
    /// A file of prefixes, one a line ('-': standard input).
    #[arg(long, value_name = "FILE")]
    prefixes: Option<PathBuf>,
    #[command(flatten)]
    format: Format,
}

#[derive(Serialize)]
struct Answer<'a> {
    item: &'a str,
    inside: bool,
}

impl Args {
    pub(super) fn run(mut self) -> anyhow::Result<Exit> {
        let (set, bad_prefixes): (AddressSet, _) = match &self.prefixes {
            Some(path) => {
                let (prefixes, tally) = prefixes::read(path)?;
                (prefixes.into_iter().map(|(prefix, _)| prefix).collect(), tally)
            }
            None if self.items.is_empty() => return Err(Failure::usage("give a prefix, or --prefixes FILE")),
            None => {
                let prefix = parse_prefix(&self.items.remove(0)).map_err(|error| Failure::usage(error.to_string()))?;
                (std::iter::once(prefix).collect(), Tally::default())
            }
        };
        let source = Source::new(self.items)?;
        if source.is_stdin() && self.prefixes.as_deref() == Some(Path::new("-")) {
            return Err(Failure::usage(
                "--prefixes -: standard input cannot give the items too; give them as arguments",
            ));
        }
        let single = source.is_single();
        let mut out = self.format.printer();
        let mut exit = Exit::Done;
        let tally = source.each(|item| {
            let inside = set.contains(parse_prefix(item)?);
            if !inside {
                exit = Exit::No;
            }
            let answer = Answer { item, inside };
            if single {
                out.line(inside, &answer)?;
            } else {
                out.line(format_args!("{item} {inside}"), &answer)?;
            }
            Ok(())
        })?;
        out.flush()?;
        Ok(tally.and(bad_prefixes).exit(exit))
    }
}
