//! Files of prefixes: one a line, and behind it, if there is more, its value.

use std::path::Path;

use ipnetwork::IpNetwork;

use super::input::{Lines, Tally};
use crate::core::ip::text::parse_prefix;

/// A prefix and its value.
pub(super) type Valued = (IpNetwork, Option<Box<str>>);

/// The prefixes of a file (`-`: standard input), with what stands behind each.
pub(super) fn read(path: &Path) -> anyhow::Result<(Vec<Valued>, Tally)> {
    let mut prefixes = Vec::new();
    let tally = Lines::open(path)?.each(|line| {
        let (prefix, value) = line.split_once(|c: char| c.is_ascii_whitespace()).unwrap_or((line, ""));
        let value = value.trim_ascii();
        prefixes.push((parse_prefix(prefix)?, (!value.is_empty()).then(|| value.into())));
        Ok(())
    })?;
    Ok((prefixes, tally))
}
