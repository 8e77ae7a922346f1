//! `vipkeeper ip delta` and `compare`: what lies between two addresses.

use std::cmp::Ordering;

use serde::Serialize;

use super::input::{Source, Trouble};
use super::output::Format;
use crate::cli::{Exit, Failure};
use crate::core::ip::number::{self, Offset};
use crate::core::ip::order::Key;
use crate::core::ip::text::parse_address;

/// Print how far it is from one address to another; negative if the second is lower.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  vipkeeper ip delta 192.0.2.1 192.0.2.21
  echo '2001:db8::2 2001:db8::1' | vipkeeper ip delta

Exit codes: 0 done, 2 wrong use or a bad item, 3 the outside failed.")]
pub(super) struct Delta {
    /// The two addresses, of one family; none or '-': lines of standard input with two on each.
    #[arg(value_name = "A B", num_args = 0..=2)]
    items: Vec<String>,
    #[command(flatten)]
    format: Format,
}

/// Print -1, 0 or 1: the first is lower, equal or higher.
///
/// IPv4 is lower than IPv6; of prefixes that begin alike the wider is lower, and all are lower than the bare address.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  vipkeeper ip compare 192.0.2.1 192.0.2.2
  vipkeeper ip compare 10.0.0.0/8 10.0.0.0/16 --json

Exit codes: 0 done, 2 wrong use or a bad item, 3 the outside failed.")]
pub(super) struct Compare {
    /// The two addresses or prefixes; none or '-': lines of standard input with two on each.
    #[arg(value_name = "A B", num_args = 0..=2)]
    items: Vec<String>,
    #[command(flatten)]
    format: Format,
}

#[derive(Serialize)]
struct Distance<'a> {
    a: &'a str,
    b: &'a str,
    delta: Offset,
}

#[derive(Serialize)]
struct Order<'a> {
    a: &'a str,
    b: &'a str,
    order: i8,
}

impl Delta {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let mut out = self.format.printer();
        let tally = pairs(self.items)?.each(|item| {
            let (a, b) = split(item)?;
            let delta = number::delta(parse_address(a)?, parse_address(b)?)?;
            Ok(out.line(delta, &Distance { a, b, delta })?)
        })?;
        out.flush()?;
        Ok(tally.exit(Exit::Done))
    }
}

impl Compare {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let mut out = self.format.printer();
        let tally = pairs(self.items)?.each(|item| {
            let (a, b) = split(item)?;
            let order = match Key::parse(a)?.cmp(&Key::parse(b)?) {
                Ordering::Less => -1,
                Ordering::Equal => 0,
                Ordering::Greater => 1,
            };
            Ok(out.line(order, &Order { a, b, order })?)
        })?;
        out.flush()?;
        Ok(tally.exit(Exit::Done))
    }
}

/// Two arguments as one item, or lines.
fn pairs(items: Vec<String>) -> anyhow::Result<Source> {
    match items.as_slice() {
        [a, b] => Source::new(vec![format!("{a} {b}")]),
        [one] if one != "-" => Err(Failure::usage(format!("{one} stands alone: give two, or '-' to read lines"))),
        _ => Source::new(items),
    }
}

fn split(item: &str) -> Result<(&str, &str), Trouble> {
    let mut words = item.split_ascii_whitespace();
    match (words.next(), words.next(), words.next()) {
        (Some(a), Some(b), None) => Ok((a, b)),
        _ => Err(Trouble::Item(format!("{item:?} is no pair: write two addresses with a space between them"))),
    }
}
