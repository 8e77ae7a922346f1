//! What commands print: text for people, or one JSON value a line.

use std::fmt::Display;
use std::io::{self, Write};

use serde::Serialize;

/// How to print.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct Format {
    /// Print one JSON value a line.
    #[arg(long)]
    json: bool,
}

impl Format {
    /// A printer on standard output.
    pub(super) fn printer(self) -> Printer<impl Write> {
        Printer { json: self.json, out: crate::cli::output(), blocks: 0 }
    }
}

/// Standard output and how to print on it.
#[derive(Debug)]
pub(super) struct Printer<W> {
    json: bool,
    out: W,
    blocks: u64,
}

impl<W: Write> Printer<W> {
    /// Prints a line: `text`, or `value` as JSON.
    pub(super) fn line(&mut self, text: impl Display, value: &impl Serialize) -> io::Result<()> {
        if self.json { self.value(value) } else { writeln!(self.out, "{text}") }
    }

    /// Prints fields with their labels below each other, apart from the block before; or `value` as JSON.
    pub(super) fn block<'a>(
        &mut self,
        fields: impl IntoIterator<Item = (&'a str, String)>,
        value: &impl Serialize,
    ) -> io::Result<()> {
        if self.json {
            return self.value(value);
        }
        if self.blocks > 0 {
            writeln!(self.out)?;
        }
        self.blocks += 1;
        for (label, field) in fields {
            writeln!(self.out, "{:<13} {field}", format!("{label}:"))?;
        }
        Ok(())
    }

    pub(super) fn is_json(&self) -> bool {
        self.json
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn value(&mut self, value: &impl Serialize) -> io::Result<()> {
        // The conversion gives back the error of the writer itself, by which a closed pipe is known.
        serde_json::to_writer(&mut self.out, value).map_err(io::Error::from)?;
        writeln!(self.out)
    }
}
