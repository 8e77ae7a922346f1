//! `vipkeeper validate`: whether manifests are right, without touching anything.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::Exit;
use crate::api::manifest::{Reading, clashes};
use crate::store::dir::walk;

/// Check manifests of VirtualIPs, AddressPools and UDPProbes, without touching anything.
///
/// The rules are those by which an API server and 'vipkeeper run' refuse an object; overlapping pools, an object that
/// stands twice and an address that is asked for twice are found across all files. Each problem is one line: file, line,
/// document, object, field, value, and what would be right. Objects of other groups, such as a Deployment, are passed
/// over.
///
/// Example: vipkeeper validate manifests/
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit codes: 0 all is right, 1 something is wrong, 2 wrong use, 3 something cannot be read.")]
pub(crate) struct Args {
    /// Files, and folders whose .yaml, .yml and .json files are meant.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Print one JSON object with all objects and problems.
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(crate) fn run(self) -> anyhow::Result<Exit> {
        let mut reading = read(&self.paths);
        reading.problems.extend(clashes(&reading.manifests).into_iter().map(|clash| clash.problem));
        reading.problems.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
        let mut out = super::output();
        if self.json {
            print_json(&mut out, &reading)?;
        } else {
            print_lines(&mut out, &reading)?;
        }
        out.flush()?;
        Ok(match reading.problems.iter().map(|problem| problem.unreadable).max() {
            None => Exit::Done,
            Some(false) => Exit::No,
            Some(true) => Exit::Outside,
        })
    }
}

/// Reads each file once, however many paths lead to it.
fn read(paths: &[PathBuf]) -> Reading {
    let mut reading = Reading::default();
    let mut seen = BTreeSet::new();
    for path in paths {
        let mut files = vec![path.clone()];
        if path.is_dir() {
            let walk = walk::walk(path);
            reading.problems.extend(walk.problems);
            files = walk.files;
        }
        files.retain(|file| seen.insert(identity(file)));
        files.iter().for_each(|file| reading.extend(walk::read_file(file)));
    }
    reading
}

fn identity(file: &Path) -> PathBuf {
    file.canonicalize().unwrap_or_else(|_| file.to_owned())
}

fn print_lines(out: &mut impl Write, reading: &Reading) -> std::io::Result<()> {
    for problem in &reading.problems {
        writeln!(out, "{problem}")?;
    }
    let objects = reading.manifests.len();
    let problems = reading.problems.len();
    write!(out, "{}, {}", counted(objects, "good object"), counted(problems, "problem"))?;
    if reading.foreign > 0 {
        write!(out, "; {} of other groups not looked at", counted(reading.foreign, "object"))?;
    }
    writeln!(out)
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn print_json(out: &mut impl Write, reading: &Reading) -> anyhow::Result<()> {
    let objects: Vec<_> = reading
        .manifests
        .iter()
        .map(|manifest| {
            let mut object = json!(manifest.object);
            object["file"] = manifest.file.clone().into();
            object["line"] = manifest.line("").into();
            object["document"] = manifest.document.into();
            object
        })
        .collect();
    let all = json!({"objects": objects, "problems": reading.problems, "foreign": reading.foreign});
    serde_json::to_writer_pretty(&mut *out, &all)?;
    Ok(writeln!(out)?)
}
