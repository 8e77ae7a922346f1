//! The command line: one file a command, one match that calls it, no logic.
//!
//! A command's file has its clap arguments and `run(self) -> Result<Exit, anyhow::Error>`; an error is printed as one
//! line and is exit code 3, unless a [`Failure`] in its chain says otherwise.

mod agent;
mod completions;
mod controller;
mod crds;
mod ip;
mod link;
mod lookup;
mod prober;
mod role;
mod run;
mod show;
mod store_args;
mod udp_ping;
mod validate;
mod vip;
mod why;
mod withdraw;

use std::fmt;
use std::io;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

/// How a command ended, as the shell sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// What was asked for is done; or the answer is yes.
    Done = 0,
    /// The answer is no.
    No = 1,
    /// The command was used in a wrong way.
    Usage = 2,
    /// The outside failed: kernel, network, store, file.
    Outside = 3,
}

/// An error with an exit code of its own; any other error is [`Exit::Outside`].
#[derive(Debug)]
pub struct Failure {
    /// The code.
    pub exit: Exit,
    /// What to print.
    pub message: String,
}

impl Failure {
    /// A wrong use of a command: exit code 2.
    #[must_use]
    pub fn usage(message: impl Into<String>) -> anyhow::Error {
        anyhow::Error::new(Self { exit: Exit::Usage, message: message.into() })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// Keeps virtual IP addresses alive: on a Kubernetes cluster, or from a directory of YAML.
#[derive(Debug, Parser)]
#[command(name = "vipkeeper", version, propagate_version = true, max_term_width = 100)]
#[command(after_help = "Exit codes: 0 done, 1 the answer is no, 2 wrong use, 3 the outside failed.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Agent(agent::Args),
    Completions(completions::Args),
    Controller(controller::Args),
    Crds(crds::Args),
    Describe(show::DescribeArgs),
    Get(show::GetArgs),
    Ip(ip::Args),
    Link(link::Args),
    Node(show::NodeArgs),
    Run(run::Args),
    Prober(prober::Args),
    UdpPing(udp_ping::Args),
    Lookup(Box<lookup::Args>),
    Validate(validate::Args),
    Vip(vip::Args),
    Why(why::Args),
    Withdraw(withdraw::Args),
}

/// Runs the command that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        Command::Agent(args) => args.run(),
        Command::Completions(args) => args.run(&mut Cli::command()),
        Command::Controller(args) => args.run(),
        Command::Crds(args) => args.run(),
        Command::Describe(args) => args.run(),
        Command::Get(args) => args.run(),
        Command::Ip(args) => args.run(),
        Command::Link(args) => args.run(),
        Command::Node(args) => args.run(),
        Command::Run(args) => args.run(),
        Command::Prober(args) => args.run(),
        Command::UdpPing(args) => args.run(),
        Command::Lookup(args) => args.run(),
        Command::Validate(args) => args.run(),
        Command::Vip(args) => args.run(),
        Command::Why(args) => args.run(),
        Command::Withdraw(args) => args.run(),
    };
    let exit = result.unwrap_or_else(|error| {
        if error.chain().any(is_broken_pipe) {
            return Exit::Done;
        }
        report(&error);
        error.chain().find_map(|cause| cause.downcast_ref::<Failure>()).map_or(Exit::Outside, |failure| failure.exit)
    });
    ExitCode::from(exit as u8)
}

/// Whether the reader of our output went away, as `head` does: no fault of the command.
fn is_broken_pipe(cause: &(dyn std::error::Error + 'static)) -> bool {
    cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Standard output, locked and buffered; a command that prints more than a line writes here and flushes once.
pub(crate) fn output() -> impl io::Write {
    io::BufWriter::new(io::stdout().lock())
}

/// A word for a person beside the output, on standard error.
#[expect(clippy::print_stderr, reason = "it is no part of the output")]
pub(crate) fn note(text: &str) {
    eprintln!("{text}");
}

#[expect(clippy::print_stderr, reason = "the last word of a failed command")]
fn report(error: &anyhow::Error) {
    eprintln!("vipkeeper: {error:#}");
}
