//! A part of what would be many lines: `--from` and `--count`.

use std::io;

use super::input::Trouble;
use super::progress::Progress;
use crate::core::ip::number::Count;

/// Which part.
#[derive(Debug, clap::Args)]
pub(super) struct Slice {
    /// At most so many.
    #[arg(long, value_name = "N")]
    count: Option<u128>,
    /// Leave out the first N.
    #[arg(long, value_name = "N", default_value = "0")]
    from: u128,
}

impl Slice {
    /// Does `work` with the wanted ones of `total`; `rest` gives those after the first so many.
    pub(super) fn each<T, I: Iterator<Item = T>>(
        &self,
        item: &str,
        total: Count,
        rest: impl FnOnce(u128) -> I,
        mut work: impl FnMut(T) -> io::Result<()>,
    ) -> Result<(), Trouble> {
        if self.from > 0 && Count::Exactly(self.from) >= total {
            return Err(Trouble::Item(format!("--from {} is behind the end: {item} has {total}", self.from)));
        }
        let mut progress = Progress::new(self.wanted(total));
        let mut left = self.count;
        for one in rest(self.from) {
            if left == Some(0) {
                break;
            }
            left = left.map(|left| left - 1);
            work(one)?;
            progress.advance(1);
        }
        Ok(())
    }

    /// How many lines there will be, if a bar can show so many.
    fn wanted(&self, total: Count) -> Option<u64> {
        let there = match total {
            Count::Exactly(total) => total - self.from.min(total),
            Count::All => u128::MAX,
        };
        u64::try_from(self.count.map_or(there, |count| count.min(there))).ok()
    }
}
