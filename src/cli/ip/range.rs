//! `vipkeeper ip range`: from ranges to prefixes and back.

use std::net::IpAddr;

use serde::Serialize;

use super::input::{Source, Trouble};
use super::output::Format;
use super::subnets::Line;
use crate::cli::Exit;
use crate::core::ip::set::{AddressSet, range_to_prefixes, ranges};
use crate::core::ip::text::{parse_address, parse_prefix};

/// Print the fewest prefixes of a range of addresses; or, of prefixes, their ranges.
///
/// Ranges (two addresses, or FIRST-LAST) become prefixes. Prefixes become ranges, joined where they touch and sorted,
/// after all else.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  vipkeeper ip range 198.51.100.1 198.51.100.6
  vipkeeper ip range 198.51.100.1-198.51.100.6 2001:db8::-2001:db8::ff
  vipkeeper ip range 198.51.100.0/25 198.51.100.128/26

Exit codes: 0 done, 2 wrong use or a bad item, 3 the outside failed.")]
pub(super) struct Args {
    /// First and last address, or ranges FIRST-LAST, or prefixes; none or '-': lines of standard input.
    #[arg(value_name = "FIRST LAST|FIRST-LAST|PREFIX")]
    items: Vec<String>,
    #[command(flatten)]
    format: Format,
}

#[derive(Serialize)]
struct Range {
    first: IpAddr,
    last: IpAddr,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let mut out = self.format.printer();
        let mut prefixes = AddressSet::default();
        let tally = Source::new(joined(self.items))?.each(|item| {
            let Some((first, last)) = ends(item) else {
                prefixes.add(parse_prefix(item)?);
                return Ok(());
            };
            for prefix in range_to_prefixes(parse_address(first)?, parse_address(last)?)? {
                out.line(prefix, &Line { prefix })?;
            }
            Ok::<(), Trouble>(())
        })?;
        for (first, last) in ranges(prefixes.prefixes()) {
            out.line(format_args!("{first}-{last}"), &Range { first, last })?;
        }
        out.flush()?;
        Ok(tally.exit(Exit::Done))
    }
}

/// Two bare addresses are one range.
fn joined(items: Vec<String>) -> Vec<String> {
    match items.as_slice() {
        [first, last] if parse_address(first).is_ok() && parse_address(last).is_ok() => vec![format!("{first}-{last}")],
        _ => items,
    }
}

/// The ends of `FIRST-LAST` or `FIRST LAST`.
fn ends(item: &str) -> Option<(&str, &str)> {
    let (first, last) = item.split_once(|c: char| c == '-' || c.is_ascii_whitespace())?;
    Some((first, last.trim_ascii()))
}
