//! What a former process left in the table.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use super::message::{self, Attributes, Socket, Verb, find, parse};
use super::rules::{self, ALIVE, Map, OWNER, PERSIST, TABLE};
use crate::gate::Entry;

/// The table as it was found.
#[derive(Debug, Default)]
pub(super) struct Former {
    /// There is one, of the form that this version makes for this timeout.
    pub(super) fits: bool,
    /// A process that has not ended yet, or not quite, owns it.
    pub(super) owned: bool,
    /// It stays without an owner.
    pub(super) persists: bool,
    pub(super) entries: BTreeMap<IpAddr, Entry>,
    /// The segments that have chains.
    pub(super) segments: BTreeSet<u16>,
    /// The links that it stands on, with their names.
    pub(super) links: BTreeMap<u32, String>,
    /// For how long each segment's element is still there; `None` without end.
    pub(super) alive: BTreeMap<u16, Option<Duration>>,
}

impl Former {
    /// Reads the table, if there is one.
    pub(super) fn read(socket: &Socket, timeout: Duration) -> io::Result<Self> {
        let (flags, chains) = (flags(socket)?, names_of_chains(socket, TABLE)?);
        let links = chains.iter().filter_map(|name| name.strip_prefix("ingress-")?.parse().ok());
        Ok(Self {
            fits: chains.contains(&rules::form(timeout)),
            owned: flags & OWNER != 0,
            persists: flags & PERSIST != 0,
            entries: entries(socket)?,
            segments: chains.iter().filter_map(|name| Some(rules::meaning(name)?.0)).collect(),
            links: links.filter_map(|link| Some((link, socket.name_of(link).ok()?))).collect(),
            alive: alive(socket)?,
        })
    }

    /// Whether there is a table of any form.
    pub(super) fn exists(socket: &Socket) -> io::Result<bool> {
        Ok(!names_of_chains(socket, TABLE)?.is_empty())
    }
}

/// The table's flags; none if there is no table.
fn flags(socket: &Socket) -> io::Result<u32> {
    let mut flags = 0;
    socket.dump(Verb::GetTables, &Attributes::default(), |body| {
        if find(body, &[1]).map(message::text).is_some_and(|table| table == TABLE) {
            let octets = find(body, &[2]).and_then(|octets| octets.first_chunk().copied());
            flags = octets.map_or(0, u32::from_be_bytes);
        }
    })?;
    Ok(flags)
}

/// The names of a table's chains; none if there is no table.
pub(super) fn names_of_chains(socket: &Socket, table: &str) -> io::Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    let result = socket.dump(Verb::GetChains, &Attributes::default().text(1, table), |body| {
        let text = |kind| find(body, &[kind]).map(message::text);
        if text(1).is_some_and(|found| found == table) {
            names.extend(text(3));
        }
    });
    absent_is_empty(result)?;
    Ok(names)
}

fn entries(socket: &Socket) -> io::Result<BTreeMap<IpAddr, Entry>> {
    let mut entries = BTreeMap::new();
    for size in [4, 16] {
        for (ip, chain) in jumps(socket, Map::Claim.name(size))? {
            if let Some((segment, state)) = rules::meaning(&chain) {
                entries.insert(ip, Entry { segment, state, hard: false });
            }
        }
        for (ip, _) in jumps(socket, Map::Serve.name(size))? {
            if let Some(entry) = entries.get_mut(&ip) {
                entry.hard = true;
            }
        }
    }
    Ok(entries)
}

/// The elements of a map of addresses.
fn jumps(socket: &Socket, map: &str) -> io::Result<Vec<(IpAddr, String)>> {
    elements(socket, map, |element| {
        let key = find(element, &[1, 1])?;
        let ip = <[u8; 4]>::try_from(key).map(IpAddr::from).or_else(|_| <[u8; 16]>::try_from(key).map(IpAddr::from));
        Some((ip.ok()?, message::text(find(element, &[2, 2, 2])?)))
    })
}

/// The segments that are alive, and for how long still.
fn alive(socket: &Socket) -> io::Result<BTreeMap<u16, Option<Duration>>> {
    let found = elements(socket, ALIVE, |element| {
        let segment = rules::segment_of(u32::from_ne_bytes(find(element, &[1, 1])?.try_into().ok()?))?;
        let left = find(element, &[5]).and_then(|octets| <[u8; 8]>::try_from(octets).ok());
        Some((segment, left.map(|octets| Duration::from_millis(u64::from_be_bytes(octets)))))
    })?;
    Ok(found.into_iter().collect())
}

/// What `read` makes of the elements of a set; nothing if there is no such set.
fn elements<T>(socket: &Socket, set: &str, read: impl Fn(&[u8]) -> Option<T>) -> io::Result<Vec<T>> {
    let mut found = Vec::new();
    let result = socket.dump(Verb::GetElements, &Attributes::default().text(1, TABLE).text(2, set), |body| {
        let list = find(body, &[3]).map(parse).unwrap_or_default();
        found.extend(list.into_iter().filter_map(|(_, element)| read(element)));
    });
    absent_is_empty(result)?;
    Ok(found)
}

fn absent_is_empty(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
