//! `vipkeeper completions`: completions for a shell.

use clap_complete::Shell;

use super::Exit;

/// Print completions for a shell.
///
/// Example: vipkeeper completions bash > /etc/bash_completion.d/vipkeeper
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The shell.
    shell: Shell,
}

impl Args {
    pub(crate) fn run(self, command: &mut clap::Command) -> anyhow::Result<Exit> {
        clap_complete::generate(self.shell, command, "vipkeeper", &mut super::output());
        Ok(Exit::Done)
    }
}
