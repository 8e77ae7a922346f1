//! `vipkeeper crds`: the CustomResourceDefinitions as YAML.

use std::io::Write;

use anyhow::Context;

use super::Exit;
use crate::api::crd;

/// Print the CustomResourceDefinitions, as kubectl applies them.
///
/// Example: vipkeeper crds | kubectl apply --server-side -f -
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print only the one of this plural name, such as virtualips.
    #[arg(long, value_name = "PLURAL")]
    only: Option<String>,
}

impl Args {
    pub(crate) fn run(self) -> anyhow::Result<Exit> {
        let mut out = super::output();
        let wanted = |plural: &str| self.only.as_deref().is_none_or(|only| only == plural);
        let mut found = false;
        for definition in crd::all().iter().filter(|definition| wanted(definition.kind.plural())) {
            found = true;
            write!(out, "---\n{}", definition.to_yaml().context("print a CRD")?)?;
        }
        out.flush()?;
        if found {
            return Ok(Exit::Done);
        }
        let plurals: Vec<_> = crd::all().iter().map(|definition| definition.kind.plural()).collect();
        Err(super::Failure::usage(format!("--only: no such CRD; there are {}", plurals.join(", "))))
    }
}
