//! The items of a job: arguments, or lines of standard input or of a file, one after the other.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Read};
use std::path::Path;

use anyhow::Context;

use super::progress::Progress;
use crate::cli::{Exit, Failure};
use crate::core::ip::IpError;
use crate::geo::GeoError;

/// No address, prefix or value is longer: what is, is no line of ours, and is not kept in memory.
const LONGEST_LINE: u64 = 4096;

/// Why an item was not done.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The item is wrong; the next one may be right.
    Item(String),
    /// Nothing further can be done.
    Job(anyhow::Error),
}

impl From<IpError> for Trouble {
    fn from(error: IpError) -> Self {
        Self::Item(error.to_string())
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Job(error.into())
    }
}

impl From<GeoError> for Trouble {
    fn from(error: GeoError) -> Self {
        Self::Job(error.into())
    }
}

/// Where the items come from.
pub(super) enum Source {
    Arguments(Vec<String>),
    Lines(Lines),
}

/// Lines, and what to call where they come from.
pub(super) struct Lines {
    name: String,
    input: Box<dyn BufRead>,
    /// Bytes, if that is known.
    size: Option<u64>,
}

/// How a job went.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tally {
    /// Items that were wrong.
    pub(super) bad: u64,
}

impl Tally {
    /// The exit code of a job that would have ended with `otherwise` if all items were right.
    pub(super) fn exit(self, otherwise: Exit) -> Exit {
        if self.bad > 0 { Exit::Usage } else { otherwise }
    }

    pub(super) fn and(self, other: Self) -> Self {
        Self { bad: self.bad + other.bad }
    }

    /// Counts and reports a bad item; `place` says where it stood.
    fn settle(
        &mut self,
        result: Result<(), Trouble>,
        progress: &Progress,
        place: impl FnOnce() -> String,
    ) -> anyhow::Result<()> {
        match result {
            Ok(()) => Ok(()),
            Err(Trouble::Job(error)) => Err(error),
            Err(Trouble::Item(message)) => {
                self.bad += 1;
                progress.report(&format!("vipkeeper: {}{message}", place()));
                Ok(())
            }
        }
    }
}

impl Source {
    /// The arguments, or standard input if there is none or only `-`.
    pub(super) fn new(arguments: Vec<String>) -> anyhow::Result<Self> {
        match arguments.as_slice() {
            [] if io::stdin().is_terminal() => {
                Err(Failure::usage("nothing to do: give items as arguments, or '-' to type them, one a line"))
            }
            [] => Ok(Self::Lines(Lines::stdin())),
            [dash] if dash == "-" => Ok(Self::Lines(Lines::stdin())),
            _ => Ok(Self::Arguments(arguments)),
        }
    }

    /// Whether there is a single item, so that its result needs no label.
    pub(super) fn is_single(&self) -> bool {
        matches!(self, Self::Arguments(items) if items.len() == 1)
    }

    pub(super) fn is_stdin(&self) -> bool {
        matches!(self, Self::Lines(_))
    }

    /// Does `work` with each item; reports bad ones on standard error and goes on.
    pub(super) fn each(self, mut work: impl FnMut(&str) -> Result<(), Trouble>) -> anyhow::Result<Tally> {
        match self {
            Self::Lines(lines) => lines.each(work),
            Self::Arguments(items) => {
                let mut tally = Tally::default();
                let progress = Progress::new(None);
                for item in items {
                    tally.settle(work(&item), &progress, String::new)?;
                }
                Ok(tally)
            }
        }
    }
}

impl Lines {
    fn stdin() -> Self {
        Self { name: "standard input".to_owned(), input: Box::new(buffered(io::stdin())), size: None }
    }

    /// The lines of a file, or of standard input if its name is `-`.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        if path == Path::new("-") {
            return Ok(Self::stdin());
        }
        let name = path.display().to_string();
        let file = File::open(path).with_context(|| format!("cannot open {name}"))?;
        let size = file.metadata().ok().filter(std::fs::Metadata::is_file).map(|metadata| metadata.len());
        Ok(Self { name, input: Box::new(buffered(file)), size })
    }

    /// Does `work` with each line that is neither empty nor a comment, as [`Source::each`].
    pub(super) fn each(mut self, mut work: impl FnMut(&str) -> Result<(), Trouble>) -> anyhow::Result<Tally> {
        let mut tally = Tally::default();
        let mut progress = Progress::new(self.size);
        let mut buffer = Vec::new();
        let mut number = 0_u64;
        loop {
            buffer.clear();
            let mut read = (&mut self.input)
                .take(LONGEST_LINE)
                .read_until(b'\n', &mut buffer)
                .with_context(|| format!("cannot read {}", self.name))?;
            if read == 0 {
                return Ok(tally);
            }
            number += 1;
            let result = if read as u64 == LONGEST_LINE && buffer.last() != Some(&b'\n') {
                read += self.input.skip_until(b'\n').with_context(|| format!("cannot read {}", self.name))?;
                Err(Trouble::Item(format!("the line is longer than {LONGEST_LINE} bytes")))
            } else {
                text(&buffer).and_then(|text| text.map_or(Ok(()), &mut work))
            };
            tally.settle(result, &progress, || format!("{}, line {number}: ", self.name))?;
            progress.advance(read as u64);
        }
    }
}

fn buffered(input: impl Read) -> BufReader<impl Read> {
    BufReader::with_capacity(1 << 16, input)
}

/// What a line says: nothing, if it is empty or a comment.
fn text(line: &[u8]) -> Result<Option<&str>, Trouble> {
    let text = std::str::from_utf8(line.trim_ascii()).map_err(|_| Trouble::Item("the line is not UTF-8".to_owned()))?;
    Ok(Some(text).filter(|text| !text.is_empty() && !text.starts_with('#')))
}
