//! `vipkeeper ip`: questions about addresses and prefixes; what answers them is [`crate::core::ip`].
//!
//! All commands share their manners: one item an argument, or one a line of standard input; text for people, one JSON
//! value a line with `--json`; a bad item is reported and the rest goes on, and the exit code is 2 then.

mod aggregate;
mod contains;
mod enumerate;
mod external;
mod geo;
mod info;
mod input;
mod matching;
mod output;
mod pair;
mod prefixes;
mod progress;
mod range;
mod slice;
mod sort;
mod step;
mod subnets;
mod supernet;

use clap::Subcommand;

use super::Exit;

/// Answer questions about IP addresses and prefixes.
///
/// Where a command takes addresses or prefixes, it reads them from standard input, one a line, if none is given or if
/// '-' is; empty lines and lines that begin with '#' are left out. A bad item is reported with the number of its line,
/// and the rest goes on. --json prints one JSON value a line; numbers of addresses are decimal text there, since they
/// may have 39 digits. An IPv4-mapped IPv6 address (::ffff:192.0.2.1) is an IPv6 address in all commands, inside no IPv4
/// prefix; 'ip info' tells what it maps.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  vipkeeper ip info 192.0.2.1
  vipkeeper ip sort addresses.txt | vipkeeper ip match --prefixes networks.txt

Exit codes: 0 done, 1 the answer is no, 2 wrong use or a bad item, 3 the outside failed.")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Info(info::Args),
    Contains(contains::Args),
    Match(matching::Args),
    Next(step::Next),
    Prev(step::Prev),
    Add(step::Add),
    Delta(pair::Delta),
    Compare(pair::Compare),
    Sort(sort::Args),
    Enumerate(enumerate::Args),
    Subnets(subnets::Args),
    Supernet(supernet::Args),
    Aggregate(aggregate::Args),
    Range(range::Args),
    Geo(geo::Args),
}

impl Args {
    pub(crate) fn run(self) -> anyhow::Result<Exit> {
        match self.command {
            Command::Info(args) => args.run(),
            Command::Contains(args) => args.run(),
            Command::Match(args) => args.run(),
            Command::Next(args) => args.run(),
            Command::Prev(args) => args.run(),
            Command::Add(args) => args.run(),
            Command::Delta(args) => args.run(),
            Command::Compare(args) => args.run(),
            Command::Sort(args) => args.run(),
            Command::Enumerate(args) => args.run(),
            Command::Subnets(args) => args.run(),
            Command::Supernet(args) => args.run(),
            Command::Aggregate(args) => args.run(),
            Command::Range(args) => args.run(),
            Command::Geo(args) => args.run(),
        }
    }
}
