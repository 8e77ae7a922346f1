//! `vipkeeper ip match`: which of many networks contain an address.

use std::fmt;
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnetwork::IpNetwork;
use serde::Serialize;

use super::input::Source;
use super::output::{Format, Printer};
use super::prefixes;
use crate::cli::{Exit, Failure};
use crate::core::ip::table::Table;
use crate::core::ip::text::parse_address;

/// Tell which networks of a list contain an address, the longest first.
///
/// Of one address its networks are printed, one a line; of more, or of lines, a line each: the address and its networks,
/// or '-' if there is none. What stands behind a prefix in the list is its value, printed as (value). Of a prefix that is
/// listed twice the last value counts. The list is held in memory, the addresses are not.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  vipkeeper ip match 192.0.2.18 --prefixes networks.txt
  printf '192.0.2.0/24 office\\n192.0.2.0/25 lab\\n' | vipkeeper ip match 192.0.2.18 --prefixes -
  vipkeeper ip match --longest --json --prefixes networks.txt < addresses.txt

Exit codes: 0 each address is in some network, 1 some are in none, 2 wrong use or a bad item, 3 the outside failed.")]
pub(super) struct Args {
    /// Addresses; none or '-': lines of standard input.
    #[arg(value_name = "ADDR")]
    items: Vec<String>,
    /// The list: a file with a prefix a line, and behind it its value, if any ('-': standard input).
    #[arg(long, value_name = "FILE")]
    prefixes: PathBuf,
    /// Only the longest network.
    #[arg(long)]
    longest: bool,
    #[command(flatten)]
    format: Format,
}

type Networks = Table<Option<Box<str>>>;

#[derive(Serialize)]
struct Network<'a> {
    prefix: IpNetwork,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a str>,
}

#[derive(Serialize)]
struct Answer<'a> {
    address: IpAddr,
    networks: Vec<Network<'a>>,
}

impl fmt::Display for Network<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.prefix)?;
        self.value.map_or(Ok(()), |value| write!(f, " ({value})"))
    }
}

impl fmt::Display for Answer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.address)?;
        if self.networks.is_empty() {
            return f.write_str(" -");
        }
        self.networks.iter().try_for_each(|network| write!(f, " {network}"))
    }
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let source = Source::new(self.items)?;
        if source.is_stdin() && self.prefixes == Path::new("-") {
            return Err(Failure::usage(
                "--prefixes -: standard input cannot give the addresses too; give them as arguments",
            ));
        }
        let (prefixes, bad_prefixes) = prefixes::read(&self.prefixes)?;
        let table = Table::new(prefixes)?;
        let single = source.is_single();
        let mut out = self.format.printer();
        let mut exit = Exit::Done;
        let tally = source.each(|item| {
            let answer = answer(&table, parse_address(item)?, self.longest);
            if answer.networks.is_empty() {
                exit = Exit::No;
            }
            Ok(print(&mut out, &answer, single)?)
        })?;
        out.flush()?;
        Ok(tally.and(bad_prefixes).exit(exit))
    }
}

fn answer(table: &Networks, address: IpAddr, longest: bool) -> Answer<'_> {
    let most = if longest { 1 } else { usize::MAX };
    let networks = table
        .containing(address)
        .take(most)
        .map(|entry| Network { prefix: entry.prefix, value: entry.value.as_deref() })
        .collect();
    Answer { address, networks }
}

fn print(out: &mut Printer<impl Write>, answer: &Answer<'_>, single: bool) -> io::Result<()> {
    if !single || out.is_json() {
        return out.line(answer, answer);
    }
    answer.networks.iter().try_for_each(|network| out.line(network, network))
}
