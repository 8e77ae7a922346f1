//! `vipkeeper lookup`: what an address, a name or a number is; as a service, or one question from the command line.

mod ask;
mod serve;
mod sources;

use super::Exit;

/// Look up hardware addresses, IP addresses, domains and autonomous systems.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  vipkeeper lookup mac 68b5.99fc.d1df\n  vipkeeper lookup ip 1.1.1.1 --json\n  \
                        vipkeeper lookup serve --networks networks.txt")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Serve(Box<serve::Args>),
    /// Who made the hardware with this address.
    ///
    /// Example: vipkeeper lookup mac 68b5.99fc.d1df
    Mac(ask::Args),
    /// Whose this IP address is.
    ///
    /// Example: vipkeeper lookup ip 1.1.1.1 --server http://lookup:8080
    Ip(ask::Args),
    /// Whose this domain is.
    ///
    /// Example: vipkeeper lookup domain example.com
    Domain(ask::Args),
    /// Whose this autonomous system is.
    ///
    /// Example: vipkeeper lookup asn AS13335 --json
    Asn(ask::Args),
    Check(ask::CheckArgs),
}

impl Args {
    pub(crate) fn run(self) -> anyhow::Result<Exit> {
        match self.command {
            Command::Serve(args) => args.run(),
            Command::Mac(args) => args.run("mac"),
            Command::Ip(args) => args.run("ip"),
            Command::Domain(args) => args.run("domain"),
            Command::Asn(args) => args.run("asn"),
            Command::Check(args) => args.run(),
        }
    }
}
