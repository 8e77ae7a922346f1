//! The gate as nftables rules, where BPF is not allowed: each segment has an element with a timeout, which a packet with
//! the segment's mark refreshes on its way out.
//!
//! The timeout is relative: a process that is stopped between its check and its send may refresh it once more when it
//! wakes, so two nodes may claim an address for at most that timeout. It is never refreshed by a transaction, for those
//! wait behind others' (kube-proxy's take up to 0.4 s).

mod message;
mod rules;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::time::Duration;

use self::message::{Attributes, Batch, Socket, Verb, find, parse};
use self::rules::{ALIVE, Map, TABLE};
use super::{Entry, GateError};

/// The abstract name (unix(7)) that one process of a network namespace can have.
const LOCK: &str = "vipkeeper-gate-nft";

/// The gate of a network namespace.
#[derive(Debug)]
pub struct Nft {
    socket: Socket,
    _lock: UnixListener,
    entries: BTreeMap<IpAddr, Entry>,
    /// The segments that have chains.
    segments: BTreeSet<u16>,
    links: BTreeSet<u32>,
}

impl Nft {
    /// Opens the gate of the calling thread's network namespace. What a former process left stays in force, links
    /// included; a segment's addresses pass for `timeout` (whole milliseconds) after each packet with its mark, and not
    /// before the first.
    ///
    /// # Errors
    /// [`GateError`]: another agent has it, or the kernel's reason.
    pub fn open(timeout: Duration) -> Result<Self, GateError> {
        let lock =
            SocketAddr::from_abstract_name(LOCK).and_then(|name| UnixListener::bind_addr(&name)).map_err(|error| {
                match error.kind() {
                    io::ErrorKind::AddrInUse => GateError::Locked(format!("@{LOCK}").into()),
                    _ => GateError::kernel("take the lock of the gate")(error),
                }
            })?;
        let socket = Socket::open().map_err(GateError::kernel("open a netlink socket"))?;
        let read = GateError::kernel("read the table of a former process");
        let entries = entries(&socket).map_err(&read)?;
        let links = links(&socket).map_err(&read)?;
        // One transaction, so that nothing passes between the old table and the new one.
        let mut batch = links.iter().fold(rules::table(timeout), |batch, (link, device)| attach(batch, *link, device));
        let segments: BTreeSet<u16> = entries.values().map(|entry| entry.segment).collect();
        batch = segments.iter().fold(batch, |batch, segment| rules::segment(batch, *segment));
        for (ip, entry) in &entries {
            batch = add(batch, *ip, *entry);
        }
        socket.commit(batch).map_err(GateError::kernel("make the table"))?;
        Ok(Self { socket, _lock: lock, entries, segments, links: links.into_keys().collect() })
    }

    /// The mark (`SO_MARK`, socket(7)) of packets that keep a segment's addresses passing, from whichever link of
    /// [`Self::links`] they leave.
    #[must_use]
    pub const fn mark(segment: u16) -> u32 {
        rules::MARK | segment as u32
    }

    /// Puts the gate on a link; once is enough, twice is no error.
    ///
    /// # Errors
    /// The kernel's reason, such as that the link is gone.
    pub fn attach(&mut self, link: u32) -> Result<(), GateError> {
        if self.links.contains(&link) {
            return Ok(());
        }
        let what = "put the gate on a link";
        let device = self.socket.name_of(link).map_err(GateError::kernel(what))?;
        self.commit(what, attach(Batch::new(), link, &device))?;
        self.links.insert(link);
        Ok(())
    }

    /// Takes the gate off a link, or forgets a link that is gone.
    ///
    /// # Errors
    /// The kernel's reason.
    pub fn detach(&mut self, link: u32) -> Result<(), GateError> {
        if !self.links.remove(&link) {
            return Ok(());
        }
        let chains = [true, false].map(|ingress| rules::base_name(link, ingress));
        let batch = chains.iter().fold(Batch::new(), |batch, name| {
            batch.change(Verb::DelChain, &Attributes::default().text(1, TABLE).text(3, name))
        });
        match self.socket.commit(batch) {
            // The chains went with their link.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result.map_err(GateError::kernel("take the gate off a link")),
        }
    }

    /// The links that the gate is on.
    #[must_use]
    pub const fn links(&self) -> &BTreeSet<u32> {
        &self.links
    }

    /// Says what becomes of an address from now on.
    ///
    /// # Errors
    /// [`GateError::Segment`]; the kernel's reason.
    pub fn set(&mut self, ip: IpAddr, entry: Entry) -> Result<(), GateError> {
        if !super::SEGMENTS.contains(&entry.segment) {
            return Err(GateError::Segment(entry.segment));
        }
        let before = self.entries.get(&ip).copied();
        if before != Some(entry) {
            // The kernel keeps what an element has: a change takes it away and puts it back, in one transaction.
            let mut batch = Batch::new();
            if !self.segments.contains(&entry.segment) {
                batch = rules::segment(batch, entry.segment);
            }
            self.commit("set an address", add(remove(batch, ip, before), ip, entry))?;
            self.segments.insert(entry.segment);
            self.entries.insert(ip, entry);
        }
        Ok(())
    }

    /// Lets an address pass as if there were no gate.
    ///
    /// # Errors
    /// The kernel's reason.
    pub fn remove(&mut self, ip: IpAddr) -> Result<(), GateError> {
        if let Some(before) = self.entries.get(&ip).copied() {
            self.commit("remove an address", remove(Batch::new(), ip, Some(before)))?;
            self.entries.remove(&ip);
        }
        Ok(())
    }

    /// All addresses that something is said of.
    #[must_use]
    pub const fn entries(&self) -> &BTreeMap<IpAddr, Entry> {
        &self.entries
    }

    /// Lets a segment's addresses pass without end, for a node that is alone; [`Self::shut`] ends it.
    ///
    /// # Errors
    /// The kernel's reason.
    pub fn open_without_end(&self, segment: u16) -> Result<(), GateError> {
        // An element that is there keeps its timeout, so it is taken away first; for that it must be there.
        let element = alive(segment);
        let batch = Batch::new().change(Verb::NewElements, &element).change(Verb::DelElements, &element);
        self.commit("open a segment", batch.change(Verb::NewElements, &element))
    }

    /// Shuts a segment now; the next marked packet opens it again.
    ///
    /// # Errors
    /// The kernel's reason.
    pub fn shut(&self, segment: u16) -> Result<(), GateError> {
        let element = alive(segment);
        let batch = Batch::new().change(Verb::NewElements, &element).change(Verb::DelElements, &element);
        self.commit("shut a segment", batch)
    }

    /// Removes the table: every address passes then.
    ///
    /// # Errors
    /// The kernel's reason.
    pub fn dismantle(self) -> Result<(), GateError> {
        let table = Attributes::default().text(1, TABLE);
        self.commit("remove the table", Batch::new().change(Verb::NewTable, &table).change(Verb::DelTable, &table))
    }

    fn commit(&self, what: &'static str, batch: Batch) -> Result<(), GateError> {
        self.socket.commit(batch).map_err(GateError::kernel(what))
    }
}

fn attach(batch: Batch, link: u32, device: &str) -> Batch {
    [true, false].into_iter().fold(batch, |batch, ingress| rules::base(batch, link, device, ingress))
}

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

/// One element of a set; with a chain, of a map of jumps.
fn element(set: &str, key: &[u8], chain: Option<&str>) -> Attributes {
    let element = Attributes::default().nest(1, Attributes::default().bytes(1, key));
    let element = chain.into_iter().fold(element, |element, chain| element.nest(2, rules::jump_data(chain)));
    Attributes::default().text(1, TABLE).text(2, set).list(3, [element])
}

fn alive(segment: u16) -> Attributes {
    element(ALIVE, &Nft::mark(segment).to_ne_bytes(), None)
}

/// The maps that an address is in.
fn maps(entry: Entry) -> impl Iterator<Item = Map> {
    [Some(Map::Claim), entry.hard.then_some(Map::Serve)].into_iter().flatten()
}

fn add(batch: Batch, ip: IpAddr, entry: Entry) -> Batch {
    let key = octets(ip);
    maps(entry).fold(batch, |batch, map| {
        let chain = map.chain(entry.segment, entry.state);
        batch.change(Verb::NewElements, &element(map.name(key.len()), &key, Some(&chain)))
    })
}

fn remove(batch: Batch, ip: IpAddr, entry: Option<Entry>) -> Batch {
    let key = octets(ip);
    entry
        .into_iter()
        .flat_map(maps)
        .fold(batch, |batch, map| batch.change(Verb::DelElements, &element(map.name(key.len()), &key, None)))
}

/// What a former process said of addresses.
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

/// The elements of a map; none if there is no such map.
fn jumps(socket: &Socket, map: &str) -> io::Result<Vec<(IpAddr, String)>> {
    let mut found = Vec::new();
    let result = socket.dump(Verb::GetElements, &Attributes::default().text(1, TABLE).text(2, map), |body| {
        let list = find(body, &[3]).map(parse).unwrap_or_default();
        found.extend(list.into_iter().filter_map(|(_, element)| {
            let chain = message::text(find(element, &[2, 2, 2])?);
            let key = find(element, &[1, 1])?;
            let ip =
                <[u8; 4]>::try_from(key).map(IpAddr::from).or_else(|_| <[u8; 16]>::try_from(key).map(IpAddr::from));
            Some((ip.ok()?, chain))
        }));
    });
    absent_is_empty(result)?;
    Ok(found)
}

/// The links that a former process put the gate on, with their names.
fn links(socket: &Socket) -> io::Result<BTreeMap<u32, String>> {
    let mut numbers = BTreeSet::new();
    let result = socket.dump(Verb::GetChains, &Attributes::default().text(1, TABLE), |body| {
        let text = |kind| find(body, &[kind]).map(message::text);
        if text(1).is_some_and(|table| table == TABLE) {
            let name = text(3).unwrap_or_default();
            numbers.extend(name.strip_prefix("ingress-").and_then(|link| link.parse::<u32>().ok()));
        }
    });
    absent_is_empty(result)?;
    Ok(numbers.into_iter().filter_map(|link| Some((link, socket.name_of(link).ok()?))).collect())
}

fn absent_is_empty(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
