//! The table's contents as changes: element by element, and all of it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use super::Nft;
use super::alive::Step;
use super::message::{Attributes, Batch, Verb};
use super::rules::{self, ALIVE, Map, TABLE};
use crate::gate::Entry;

pub(super) fn attach(batch: Batch, link: u32, device: &str) -> Batch {
    [true, false].into_iter().fold(batch, |batch, ingress| rules::base(batch, link, device, ingress))
}

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

pub(super) fn segments_of(entries: &BTreeMap<IpAddr, Entry>) -> BTreeSet<u16> {
    entries.values().map(|entry| entry.segment).collect()
}

/// All that the table is to say.
#[derive(Debug)]
pub(super) struct Whole<'a> {
    pub(super) timeout: Duration,
    /// Nobody else may change it.
    pub(super) owned: bool,
    /// With the links' names.
    pub(super) links: &'a BTreeMap<u32, String>,
    pub(super) segments: &'a BTreeSet<u16>,
    pub(super) entries: &'a BTreeMap<IpAddr, Entry>,
    pub(super) alive: &'a BTreeMap<u16, Step>,
}

impl Whole<'_> {
    /// Makes the table anew: one transaction, so that nothing passes between what was there and this.
    pub(super) fn batch(&self) -> Batch {
        let mut batch = rules::table(self.timeout, self.owned);
        batch = self.links.iter().fold(batch, |batch, (link, device)| attach(batch, *link, device));
        batch = self.segments.iter().copied().fold(batch, rules::segment);
        batch = self.entries.iter().fold(batch, |batch, (ip, entry)| add(batch, *ip, *entry));
        self.alive.iter().fold(batch, |batch, (segment, step)| match step {
            Step::Nothing | Step::Shut => batch,
            Step::Forever => batch.change(Verb::NewElements, &alive(*segment, None)),
            Step::For(left) => batch.change(Verb::NewElements, &alive(*segment, Some(*left))),
        })
    }
}

fn key(octets: &[u8]) -> Attributes {
    Attributes::default().nest(1, Attributes::default().bytes(1, octets))
}

fn element(set: &str, element: Attributes) -> Attributes {
    Attributes::default().text(1, TABLE).text(2, set).list(3, [element])
}

/// The element of a segment, which goes after so long.
pub(super) fn alive(segment: u16, timeout: Option<Duration>) -> Attributes {
    let millis = timeout.map(|timeout| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
    element(ALIVE, millis.into_iter().fold(key(&Nft::mark(segment).to_ne_bytes()), |key, millis| key.wide(4, millis)))
}

/// The maps that an address is in.
fn maps(entry: Entry) -> impl Iterator<Item = Map> {
    [Some(Map::Claim), entry.hard.then_some(Map::Serve)].into_iter().flatten()
}

pub(super) fn add(batch: Batch, ip: IpAddr, entry: Entry) -> Batch {
    let octets = octets(ip);
    maps(entry).fold(batch, |batch, map| {
        let jump = rules::jump_data(&map.chain(entry.segment, entry.state));
        batch.change(Verb::NewElements, &element(map.name(octets.len()), key(&octets).nest(2, jump)))
    })
}

pub(super) fn remove(batch: Batch, ip: IpAddr, entry: Option<Entry>) -> Batch {
    let octets = octets(ip);
    entry
        .into_iter()
        .flat_map(maps)
        .fold(batch, |batch, map| batch.change(Verb::DelElements, &element(map.name(octets.len()), key(&octets))))
}
