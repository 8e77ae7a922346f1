//! `vipkeeper ip next`, `prev` and `add`: the address so many further.

use std::net::IpAddr;

use serde::Serialize;

use super::input::Source;
use super::output::Format;
use crate::cli::{Exit, Failure};
use crate::core::ip::number::{self, Offset};
use crate::core::ip::text::parse_address;

/// Print the address after an address, or the Nth after it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  vipkeeper ip next 192.0.2.1
  vipkeeper ip next - 256 < addresses.txt

Exit codes: 0 done, 2 wrong use, a bad item or no such address, 3 the outside failed.")]
pub(super) struct Next {
    /// The address; '-' or nothing: lines of standard input.
    #[arg(value_name = "ADDR")]
    item: Option<String>,
    /// How many further.
    #[arg(value_name = "N", default_value = "1")]
    count: u128,
    #[command(flatten)]
    format: Format,
}

/// Print the address before an address, or the Nth before it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  vipkeeper ip prev 192.0.2.1
  vipkeeper ip prev 2001:db8::1:0 65536

Exit codes: 0 done, 2 wrong use, a bad item or no such address, 3 the outside failed.")]
pub(super) struct Prev {
    /// The address; '-' or nothing: lines of standard input.
    #[arg(value_name = "ADDR")]
    item: Option<String>,
    /// How many back.
    #[arg(value_name = "N", default_value = "1")]
    count: u128,
    #[command(flatten)]
    format: Format,
}

/// Add a number, which may be negative, to an address.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  vipkeeper ip add 192.0.2.1 20
  vipkeeper ip add 192.0.2.21 -20

Exit codes: 0 done, 2 wrong use, a bad item or no such address, 3 the outside failed.")]
pub(super) struct Add {
    /// The address; '-': lines of standard input.
    #[arg(value_name = "ADDR")]
    item: String,
    /// How many further; negative: how many back.
    #[arg(value_name = "N", allow_negative_numbers = true)]
    offset: String,
    #[command(flatten)]
    format: Format,
}

#[derive(Serialize)]
struct Sum {
    address: IpAddr,
    offset: Offset,
    result: IpAddr,
}

impl Next {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        step(self.item, Offset::new(false, self.count), self.format)
    }
}

impl Prev {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        step(self.item, Offset::new(true, self.count), self.format)
    }
}

impl Add {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let offset = self.offset.parse().map_err(|error| Failure::usage(format!("N: {error}")))?;
        step(Some(self.item), offset, self.format)
    }
}

fn step(item: Option<String>, offset: Offset, format: Format) -> anyhow::Result<Exit> {
    let mut out = format.printer();
    let tally = Source::new(item.into_iter().collect())?.each(|item| {
        let address = parse_address(item)?;
        let result = number::add(address, offset)?;
        Ok(out.line(result, &Sum { address, offset, result })?)
    })?;
    out.flush()?;
    Ok(tally.exit(Exit::Done))
}
