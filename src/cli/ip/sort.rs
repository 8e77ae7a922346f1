//! `vipkeeper ip sort`: addresses and prefixes in order.

use std::path::PathBuf;

use serde::Serialize;

use super::external::{Order, Sorter};
use super::input::Lines;
use super::output::Format;
use crate::cli::Exit;
use crate::core::ip::order::Key;

/// Sort addresses and prefixes: IPv4 before IPv6, then by number, then the wider prefix first.
///
/// What does not fit in --memory goes to files without a name in --temp-dir, which are gone when the command ends,
/// however it ends. Items are printed in canonical form.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  vipkeeper ip sort addresses.txt
  zcat log.gz | cut -d' ' -f1 | vipkeeper ip sort --unique --memory 16

Exit codes: 0 done, 2 wrong use or a bad line, 3 the outside failed.")]
pub(super) struct Args {
    /// A file with an address or prefix a line; '-' or nothing: standard input.
    #[arg(value_name = "FILE", default_value = "-", hide_default_value = true)]
    file: PathBuf,
    /// The highest first.
    #[arg(long, short)]
    reverse: bool,
    /// Of equal items only one.
    #[arg(long, short)]
    unique: bool,
    /// MiB of items to hold in memory (8 bytes an IPv4 item, 24 an IPv6 item).
    #[arg(long, value_name = "MIB", default_value = "64", value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    memory: u32,
    /// Where to put what does not fit.
    #[arg(long, value_name = "DIR", env = "TMPDIR", default_value = "/tmp")]
    temp_dir: PathBuf,
    #[command(flatten)]
    format: Format,
}

#[derive(Serialize)]
struct Line {
    #[serde(serialize_with = "as_text")]
    item: Key,
}

fn as_text<S: serde::Serializer>(key: &Key, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(key)
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let order = if self.reverse { Order::Descending } else { Order::Ascending };
        let memory = usize::try_from(u64::from(self.memory) << 20)?;
        let mut sorter = Sorter::new(order, memory, self.temp_dir);
        let tally = Lines::open(&self.file)?.each(|line| Ok(sorter.push(Key::parse(line)?)?))?;
        let mut out = self.format.printer();
        let mut before = None;
        sorter.finish(|item| {
            if self.unique && before.replace(item) == Some(item) {
                return Ok(());
            }
            out.line(item, &Line { item })
        })?;
        out.flush()?;
        Ok(tally.exit(Exit::Done))
    }
}
