//! The one binary; every role and tool is a subcommand (see `vipkeeper --help`).

use std::process::ExitCode;

fn main() -> ExitCode {
    vipkeeper::cli::main()
}
