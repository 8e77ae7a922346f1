//! `vipkeeper ip supernet`: the prefix around prefixes.

use super::input::{Source, Trouble};
use super::output::Format;
use super::subnets::Line;
use crate::cli::{Exit, Failure};
use crate::core::ip::prefix;
use crate::core::ip::text::parse_prefix;

/// Print the prefix around a prefix, or the longest around several.
///
/// With --length each prefix is answered on its own. Without it, several prefixes or lines give one answer, the longest
/// prefix that contains them all; a single one gives the prefix one bit shorter.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  vipkeeper ip supernet 192.0.2.128/25
  vipkeeper ip supernet 192.0.2.1 192.0.2.21
  vipkeeper ip supernet --length 16 < prefixes.txt

Exit codes: 0 done, 2 wrong use or a bad item, 3 the outside failed.")]
pub(super) struct Args {
    /// Prefixes and addresses, of one family if there is no --length; none or '-': lines of standard input.
    #[arg(value_name = "PREFIX")]
    items: Vec<String>,
    /// Length of the answer in bits, 0 to 32 or 128.
    #[arg(long, value_name = "LENGTH")]
    length: Option<u8>,
    #[command(flatten)]
    format: Format,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let mut out = self.format.printer();
        let source = Source::new(self.items)?;
        let single = source.is_single();
        let mut around = None;
        let tally = source.each(|item| {
            let inner = parse_prefix(item)?;
            if let Some(length) = self.length {
                let prefix = prefix::supernet(inner, length)?;
                return Ok(out.line(prefix, &Line { prefix })?);
            }
            around = Some(match around {
                Some(around) => prefix::common(around, inner)?,
                None if single => {
                    let length = inner.prefix().checked_sub(1);
                    let length = length.ok_or_else(|| Trouble::Item(format!("nothing is around {inner}")))?;
                    prefix::supernet(inner, length)?
                }
                None => prefix::masked(inner),
            });
            Ok(())
        })?;
        match around {
            // What is around the good ones only is no answer.
            _ if tally.bad > 0 || self.length.is_some() => {}
            Some(prefix) => out.line(prefix, &Line { prefix })?,
            None => return Err(Failure::usage("there is no prefix to be around")),
        }
        out.flush()?;
        Ok(tally.exit(Exit::Done))
    }
}
