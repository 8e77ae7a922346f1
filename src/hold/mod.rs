//! Addresses held by one process for as long as it runs, without a store and without a right from anybody: what
//! `vipkeeper vip` does.
//!
//! Whatever happens to the link or to the addresses, the whole is looked at again: what is missing is added, what stands
//! is announced. At the end every address that carries our mark is removed, whether or not it could be announced.

mod event;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use futures::StreamExt;
use ipnetwork::IpNetwork;

pub use self::event::Event;
use crate::clock;
use crate::core::announce::{self, Announcer, Target, Timing};
use crate::core::conflict::{self, Conflicts};
use crate::core::frame::Heard;
use crate::core::net::{AddressSpec, Lifetime, Link, PROTO_COMMAND, REFRESH};
use crate::core::time::Time;
use crate::netlink::{self, Added, Netlink, NetlinkError, Removed};
use crate::packet::{PacketError, Packets};

/// How long to wait before what the kernel refused is tried again.
const RETRY: Duration = Duration::from_secs(2);

/// What to hold, and how.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The interface's name.
    pub interface: String,
    /// The addresses with their prefix lengths.
    pub addresses: Vec<IpNetwork>,
    /// How often they are announced.
    pub timing: Timing,
}

/// Why addresses could not be held; what had been added is removed again.
#[derive(Debug, thiserror::Error)]
pub enum HoldError {
    /// There is no such interface.
    #[error("no interface {name}; there are: {}", there.join(", "))]
    NoInterface {
        /// The name asked for.
        name: String,
        /// The names of those that are there.
        there: Vec<String>,
    },
    /// The kernel refused, or an address is somebody else's.
    #[error(transparent)]
    Kernel(#[from] NetlinkError),
    /// No packet socket.
    #[error(transparent)]
    Packets(#[from] PacketError),
    /// Nobody can be told of events any more.
    #[error("cannot write what happens")]
    Report(#[source] std::io::Error),
}

/// Holds the addresses until `stop` is ready, and tells `report` of each transition. On a tokio runtime, in the network
/// namespace of the calling thread.
///
/// # Errors
/// [`HoldError`], if it cannot begin (later, what fails is told and tried again), if an address cannot be removed in the
/// end, or if `report` fails, which also ends it.
pub async fn run(
    wanted: Wanted,
    stop: impl Future<Output = ()>,
    report: impl FnMut(Event) -> std::io::Result<()>,
) -> Result<(), HoldError> {
    let netlink = Netlink::new()?;
    let mut monitor = netlink.monitor()?;
    let (packets, mut observations) = Packets::new();
    let mut holder = Holder {
        netlink,
        packets,
        announcer: Announcer::default(),
        conflicts: Conflicts::default(),
        wanted,
        link: None,
        standing: BTreeSet::new(),
        look_again: None,
        refresh: clock::now() + REFRESH,
        broken: false,
        report,
    };
    let mut stop = std::pin::pin!(stop);
    let held = async {
        holder.begin().await?;
        loop {
            let (wake, _) = holder.next_timeout();
            tokio::select! {
                () = &mut stop => return Ok(()),
                () = clock::sleep_until(Some(wake)) => {}
                event = monitor.next() => holder.note(event.ok_or(NetlinkError::Closed)?)?,
                batch = observations.recv() => holder.hear(batch.unwrap_or_default()),
            }
            holder.work().await?;
        }
    }
    .await;
    let removed = holder.remove_all().await;
    held.and(removed)
}

struct Holder<R> {
    netlink: Netlink,
    packets: Packets,
    announcer: Announcer,
    conflicts: Conflicts,
    wanted: Wanted,
    /// The link as last seen; `None` while it is gone.
    link: Option<Link>,
    /// The addresses that stand on it.
    standing: BTreeSet<IpAddr>,
    /// When to look at everything again.
    look_again: Option<Time>,
    refresh: Time,
    /// Whether sending failed the last time, so that it is told once.
    broken: bool,
    report: R,
}

impl<R: FnMut(Event) -> std::io::Result<()>> Holder<R> {
    fn tell(&mut self, event: Event) -> Result<(), HoldError> {
        (self.report)(event).map_err(HoldError::Report)
    }

    fn specs(&self, link: u32) -> Vec<AddressSpec> {
        let spec = |address: &IpNetwork| {
            let lifetime = Lifetime::held(address.ip());
            AddressSpec { link, ip: address.ip(), prefix: address.prefix(), protocol: PROTO_COMMAND, lifetime }
        };
        self.wanted.addresses.iter().map(spec).collect()
    }

    /// The first look, at which everything must succeed.
    async fn begin(&mut self) -> Result<(), HoldError> {
        let links = self.netlink.links().await?;
        if !links.iter().any(|link| link.name == self.wanted.interface) {
            let there = links.into_iter().map(|link| link.name).collect();
            return Err(HoldError::NoInterface { name: self.wanted.interface.clone(), there });
        }
        match self.look(links).await?.into_iter().next() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Brings the kernel and the announcements in line with what is wanted; what went wrong is returned.
    async fn look(&mut self, links: Vec<Link>) -> Result<Vec<HoldError>, HoldError> {
        let own = links.iter().filter_map(|link| link.mac).collect();
        self.conflicts.handle(clock::now(), conflict::Input::Known { own, peers: BTreeSet::new() });
        let found = links.into_iter().find(|link| link.name == self.wanted.interface);
        if let Some(gone) = self.link.take().filter(|old| found.as_ref().is_none_or(|new| new.index != old.index)) {
            self.packets.close(gone.index);
            for ip in std::mem::take(&mut self.standing) {
                self.silence(ip);
            }
            self.tell(Event::LinkGone { interface: gone.name })?;
        }
        let Some(link) = found else { return Ok(Vec::new()) };
        self.link = Some(link.clone());
        if let Err(error) = self.packets.open(&link) {
            return Ok(vec![error.into()]);
        }
        self.learn_neighbours(link.index).await?;
        let mut errors = Vec::new();
        let specs = self.specs(link.index);
        for (spec, result) in specs.iter().zip(self.netlink.add_addresses(&specs).await) {
            match result {
                Ok(added) => self.stands(&link, spec, added)?,
                Err(error) => {
                    self.standing.remove(&spec.ip);
                    self.silence(spec.ip);
                    errors.push(error.into());
                }
            }
        }
        self.send()?;
        Ok(errors)
    }

    /// An address is in the kernel: it is announced before anything is told of it.
    fn stands(&mut self, link: &Link, spec: &AddressSpec, added: Added) -> Result<(), HoldError> {
        let known = !self.standing.insert(spec.ip);
        if known && added == Added::Kept {
            return Ok(());
        }
        let now = clock::now();
        let (ip, index, timing) = (spec.ip, link.index, self.wanted.timing);
        self.announcer.handle(now, announce::Input::Announce { ip, link: index, timing });
        self.conflicts.handle(now, conflict::Input::Hold { ip, link: index });
        self.send()?;
        let (address, interface, mac) = (event::text(spec), link.name.clone(), link.mac);
        self.tell(match (known, added) {
            (true, _) => Event::Restored { address, interface },
            (false, Added::New) => Event::Added { address, interface, mac },
            (false, Added::Kept) => Event::Kept { address, interface, mac },
        })
    }

    fn silence(&mut self, ip: IpAddr) {
        let now = clock::now();
        self.announcer.handle(now, announce::Input::Silence { ip });
        self.conflicts.handle(now, conflict::Input::Release { ip });
    }

    /// Gateways and known neighbours are asked in the addresses' names.
    async fn learn_neighbours(&mut self, link: u32) -> Result<(), HoldError> {
        let routes = self.netlink.routes().await?;
        let gateways: BTreeSet<IpAddr> =
            routes.iter().filter(|route| route.link == link).filter_map(|route| route.gateway).collect();
        let mut targets: Vec<Target> = gateways.iter().map(|ip| Target { ip: *ip, mac: None, gateway: true }).collect();
        for neighbour in self.netlink.neighbours(link).await? {
            match targets.iter_mut().find(|target| target.ip == neighbour.ip) {
                Some(target) => target.mac = Some(neighbour.mac),
                None => targets.push(Target { ip: neighbour.ip, mac: Some(neighbour.mac), gateway: false }),
            }
        }
        self.announcer.handle(clock::now(), announce::Input::Neighbours { link, targets });
        Ok(())
    }

    /// Takes note of what changed in the kernel.
    fn note(&mut self, event: netlink::Event) -> Result<(), HoldError> {
        let now = clock::now();
        match event {
            netlink::Event::Link(link) if link.name == self.wanted.interface => match &self.link {
                Some(known) if known.index == link.index => {
                    let again = (link.carrier && !known.carrier) || link.mac != known.mac;
                    if again {
                        self.packets.open(&link)?;
                        self.announcer.handle(now, announce::Input::Again { link: link.index });
                    }
                    // A link that was down has lost its IPv6 addresses.
                    if again || link.up != known.up {
                        self.look_again = Some(now);
                    }
                    self.link = Some(link);
                }
                _ => self.look_again = Some(now),
            },
            netlink::Event::Link(link) if self.link.as_ref().is_some_and(|known| known.index == link.index) => {
                self.look_again = Some(now);
            }
            netlink::Event::LinkGone { index } if self.link.as_ref().is_some_and(|known| known.index == index) => {
                self.look_again = Some(now);
            }
            netlink::Event::AddressGone(address)
                if self.standing.contains(&address.ip) && address.protocol == Some(PROTO_COMMAND) =>
            {
                self.look_again = Some(now);
            }
            netlink::Event::Overrun => self.look_again = Some(now),
            netlink::Event::Link(_)
            | netlink::Event::LinkGone { .. }
            | netlink::Event::Address(_)
            | netlink::Event::AddressGone(_) => {}
        }
        Ok(())
    }

    fn hear(&mut self, batch: Vec<Heard>) {
        let now = clock::now();
        for heard in batch {
            self.conflicts.handle(now, conflict::Input::Heard(heard));
        }
    }

    fn next_timeout(&self) -> (Time, &'static str) {
        [self.look_again.map(|at| (at, "look again")), self.announcer.poll_timeout(), self.conflicts.poll_timeout()]
            .into_iter()
            .flatten()
            .fold((self.refresh, "refresh lifetimes"), std::cmp::Ord::min)
    }

    /// Does what is due.
    async fn work(&mut self) -> Result<(), HoldError> {
        let now = clock::now();
        if self.refresh <= now {
            self.refresh = now + REFRESH;
            self.look_again = Some(now);
        }
        if self.look_again.is_some_and(|at| at <= now) {
            self.look_again = None;
            let links = self.netlink.links().await?;
            for error in self.look(links).await? {
                self.look_again = Some(clock::now() + RETRY);
                self.tell(Event::Failed { error: event::chain(&error) })?;
            }
        }
        self.announcer.handle_timeout(now);
        self.conflicts.handle_timeout(now);
        self.send()
    }

    /// Carries out what announcer and conflicts ask for.
    fn send(&mut self) -> Result<(), HoldError> {
        while let Some(effect) = self.conflicts.poll_effect() {
            match effect {
                conflict::Effect::Send { link, frames } => {
                    // What fails here fails for the next announcement too, and is told then.
                    let _failed = self.packets.send(link, &frames);
                }
                conflict::Effect::Defend { ip } => {
                    self.announcer.handle(clock::now(), announce::Input::Defend { ip });
                }
                conflict::Effect::Conflict { ip, mac, .. } => self.tell(Event::Conflict { ip, mac })?,
                conflict::Effect::Cleared { ip } => self.tell(Event::ConflictOver { ip })?,
                conflict::Effect::Probed { .. } => {}
            }
        }
        while let Some(announce::Effect::Send { link, frames }) = self.announcer.poll_effect() {
            let failed = self.packets.send(link, &frames).err();
            if failed.is_some() != self.broken {
                self.broken = failed.is_some();
                self.tell(match failed {
                    Some(error) => Event::AnnouncingFailed { error: event::chain(&error) },
                    None => Event::AnnouncingAgain,
                })?;
            }
        }
        Ok(())
    }

    /// Removes every address that carries our mark; tries all, and returns the first failure.
    async fn remove_all(&mut self) -> Result<(), HoldError> {
        for ip in std::mem::take(&mut self.standing) {
            self.silence(ip);
        }
        let Some(link) = self.link.clone() else { return Ok(()) };
        let specs = self.specs(link.index);
        let mut result = Ok(());
        for (spec, removed) in specs.iter().zip(self.netlink.remove_addresses(&specs).await) {
            match removed {
                Ok(Removed::Gone) => {
                    let told = self.tell(Event::Removed { address: event::text(spec), interface: link.name.clone() });
                    result = result.and(told);
                }
                Ok(Removed::Absent) | Err(NetlinkError::Foreign { .. }) => {}
                Err(error) => result = result.and(Err(error.into())),
            }
        }
        result
    }
}
