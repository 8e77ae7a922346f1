//! What spans objects: the same object twice, pools that overlap, one address asked for twice.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde_json::Value;

use super::{Manifest, Problem};
use crate::api::kind::Kind;
use crate::api::rules::address::parse_address;
use crate::api::rules::range::Range;

/// What two objects have against each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClashKind {
    /// They have the same kind, namespace and name: the second is refused.
    Duplicate,
    /// Two pools, or two ranges of one, have addresses in common: the second pool is refused.
    Overlap,
    /// Both ask for the same address: the one that came first has it, and the allocation tells the other so.
    SameAddress,
}

/// An object that cannot stand beside an earlier one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clash {
    /// What they have against each other.
    pub kind: ClashKind,
    /// The index of the object at fault.
    pub at: usize,
    /// What to say about it.
    pub problem: Problem,
}

/// The objects that cannot stand beside an earlier one, or not by themselves. The order of `manifests` is the order of
/// right: the first of two has it.
#[must_use]
pub fn clashes(manifests: &[Manifest]) -> Vec<Clash> {
    let mut found = duplicates(manifests);
    let refused: BTreeSet<usize> = found.iter().map(|clash| clash.at).collect();
    let others: Vec<(usize, &Manifest)> =
        manifests.iter().enumerate().filter(|(index, _)| !refused.contains(index)).collect();
    found.extend(overlaps(&others));
    found.extend(same_addresses(&others));
    found
}

fn duplicates(manifests: &[Manifest]) -> Vec<Clash> {
    let mut first = BTreeMap::new();
    let mut found = Vec::new();
    for (at, manifest) in manifests.iter().enumerate() {
        match first.entry(&manifest.object) {
            Entry::Vacant(entry) => drop(entry.insert(manifest)),
            Entry::Occupied(entry) => {
                let message = format!("stands twice: {} has it already", place(entry.get(), "metadata.name"));
                let problem = manifest.problem("metadata.name", message);
                found.push(Clash { kind: ClashKind::Duplicate, at, problem });
            }
        }
    }
    found
}

/// Where a field of a manifest stands.
fn place(manifest: &Manifest, field: &str) -> String {
    format!("{}:{}", manifest.file, manifest.line(field))
}

/// A range of a pool.
struct Part<'a> {
    range: Range,
    manifest: &'a Manifest,
    field: String,
    text: &'a str,
}

fn parts(manifest: &Manifest) -> Vec<Part<'_>> {
    let ranges = manifest.body["spec"]["ranges"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let part = |(index, text)| {
        Some(Part { range: Range::read(text)?, manifest, field: format!("spec.ranges[{index}]"), text })
    };
    ranges.enumerate().filter_map(part).collect()
}

/// A pool that is refused refuses no other.
fn overlaps(manifests: &[(usize, &Manifest)]) -> Vec<Clash> {
    let mut accepted: BTreeMap<IpAddr, Part<'_>> = BTreeMap::new();
    let mut found = Vec::new();
    for &(at, manifest) in manifests.iter().filter(|(_, manifest)| manifest.object.kind == Kind::AddressPool) {
        let mut own: BTreeMap<IpAddr, Part<'_>> = BTreeMap::new();
        let mut clash = None;
        for part in parts(manifest) {
            let other = overlapping(&own, &part).or_else(|| overlapping(&accepted, &part));
            clash = clash.or_else(|| other.map(|other| overlap(&part, other)));
            own.insert(part.range.first, part);
        }
        match clash {
            Some(problem) => found.push(Clash { kind: ClashKind::Overlap, at, problem }),
            None => accepted.append(&mut own),
        }
    }
    found
}

/// Of ranges that do not overlap each other, one that overlaps this one.
fn overlapping<'a, 'b>(ranges: &'b BTreeMap<IpAddr, Part<'a>>, part: &Part<'_>) -> Option<&'b Part<'a>> {
    let (_, other) = ranges.range(..=part.range.last).next_back()?;
    other.range.overlaps(&part.range).then_some(other)
}

fn overlap(later: &Part<'_>, earlier: &Part<'_>) -> Problem {
    let of = if later.manifest.object == earlier.manifest.object {
        "this pool".to_owned()
    } else {
        earlier.manifest.object.to_string()
    };
    let at = place(earlier.manifest, &earlier.field);
    let message = format!("must not overlap another range, but {} of {of} ({at}) has addresses of it", earlier.text);
    later.manifest.problem(&later.field, message)
}

fn same_addresses(manifests: &[(usize, &Manifest)]) -> Vec<Clash> {
    let mut first: BTreeMap<IpAddr, &Manifest> = BTreeMap::new();
    let mut found = Vec::new();
    for &(at, manifest) in manifests.iter().filter(|(_, manifest)| manifest.object.kind == Kind::VirtualIP) {
        let address = manifest.body["spec"]["address"].as_str().and_then(parse_address);
        let Some((address, _)) = address else { continue };
        match first.entry(address) {
            Entry::Vacant(entry) => drop(entry.insert(manifest)),
            Entry::Occupied(entry) => {
                let other = entry.get();
                let message = format!("is the address of {} ({}) already", other.object, place(other, "spec.address"));
                let problem = manifest.problem("spec.address", message);
                found.push(Clash { kind: ClashKind::SameAddress, at, problem });
            }
        }
    }
    found
}
