//! Adding, refreshing and removing addresses, by mark.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use rtnetlink::packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressProtocol, CacheInfo,
};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::core::net::{Address, AddressSpec, Lifetime};

use super::decode::FOREVER;
use super::{Action, Netlink, NetlinkError, request};

/// What became of an address that was to be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// It was not there and is now.
    New,
    /// It was there with our mark, as a former run may have left it; its lifetime is as wanted now.
    Kept,
}

/// What became of an address that was to be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removed {
    /// It was there with our mark and is gone.
    Gone,
    /// It was not there.
    Absent,
}

impl Netlink {
    /// Adds addresses, or corrects the lifetimes of those that are there with the mark wanted; answers in the order
    /// asked. Doing it twice changes nothing more. An address that is there without that mark is left as it is and is
    /// [`NetlinkError::Foreign`].
    pub async fn add_addresses(&self, specs: &[AddressSpec]) -> Vec<Result<Added, NetlinkError>> {
        let messages = specs.iter().map(|spec| add_message(spec, NLM_F_CREATE | NLM_F_EXCL)).collect();
        let answers = self.requests.change(messages).await;
        let mut results: Vec<Option<Result<Added, NetlinkError>>> = Vec::with_capacity(specs.len());
        let mut present = Vec::new();
        let mut failed = Vec::new();
        for (at, (spec, answer)) in specs.iter().zip(answers_or_closed(answers, specs.len())).enumerate() {
            results.push(match answer {
                Ok(()) => Some(Ok(Added::New)),
                Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {
                    present.push((at, spec));
                    None
                }
                Err(error) => {
                    failed.push((at, spec, error));
                    None
                }
            });
        }
        if !present.is_empty() {
            for ((at, _), kept) in present.iter().zip(self.refresh(&present, &mut failed).await) {
                set(&mut results, *at, kept);
            }
        }
        self.explain(Action::Add, failed, &mut results).await;
        results.into_iter().map(|result| result.unwrap_or(Err(NetlinkError::Closed))).collect()
    }

    /// Adds one address; see [`Self::add_addresses`].
    ///
    /// # Errors
    /// [`NetlinkError::Address`] with the kernel's reason, or [`NetlinkError::Foreign`].
    pub async fn add_address(&self, spec: &AddressSpec) -> Result<Added, NetlinkError> {
        self.add_addresses(std::slice::from_ref(spec)).await.pop().unwrap_or(Err(NetlinkError::Closed))
    }

    /// Refreshes the lifetimes of addresses that are there with the mark wanted. The kernel would add an absent one
    /// again; here one that is not there is an error ([`io::ErrorKind::NotFound`]) instead, for it may have expired while
    /// this process was stopped. (Between that look and the refresh no more than a few milliseconds pass; whoever must
    /// never bring an address back relies on its gate.)
    pub async fn refresh_addresses(&self, specs: &[AddressSpec]) -> Vec<Result<Added, NetlinkError>> {
        let mut failed = Vec::new();
        let wanted: Vec<_> = specs.iter().enumerate().collect();
        let mut results = self.refresh(&wanted, &mut failed).await;
        self.explain(Action::Add, failed, &mut results).await;
        results.into_iter().map(|result| result.unwrap_or(Err(NetlinkError::Closed))).collect()
    }

    /// Removes addresses that carry the mark of their spec; answers in the order asked. An absent one is done; one with
    /// another mark is left and is [`NetlinkError::Foreign`].
    pub async fn remove_addresses(&self, specs: &[AddressSpec]) -> Vec<Result<Removed, NetlinkError>> {
        let mut results: Vec<Option<Result<Removed, NetlinkError>>> = specs.iter().map(|_| None).collect();
        let mut failed = Vec::new();
        let mut ours = Vec::new();
        match self.observed(specs).await {
            Err(error) => return specs.iter().map(|_| Err(clone_read(&error))).collect(),
            Ok(observed) => {
                for (at, spec) in specs.iter().enumerate() {
                    match observed.get(&(spec.link, spec.ip)) {
                        None => set(&mut results, at, Some(Ok(Removed::Absent))),
                        Some(address) if is_marked(address, spec) => ours.push((at, spec)),
                        Some(address) => set(&mut results, at, Some(Err(self.foreign(address).await))),
                    }
                }
            }
        }
        let messages =
            ours.iter().map(|(_, spec)| request::change(RouteNetlinkMessage::DelAddress(message(spec)), 0)).collect();
        let answers = self.requests.change(messages).await;
        for ((at, spec), answer) in ours.iter().zip(answers_or_closed(answers, ours.len())) {
            match answer {
                Ok(()) => set(&mut results, *at, Some(Ok(Removed::Gone))),
                // It went between the look and the request, or its link did.
                Err(error) if matches!(error.raw_os_error(), Some(libc::EADDRNOTAVAIL | libc::ENODEV)) => {
                    set(&mut results, *at, Some(Ok(Removed::Absent)));
                }
                Err(error) => failed.push((*at, *spec, error)),
            }
        }
        self.explain(Action::Remove, failed, &mut results).await;
        results.into_iter().map(|result| result.unwrap_or(Err(NetlinkError::Closed))).collect()
    }

    /// Removes one address; see [`Self::remove_addresses`].
    ///
    /// # Errors
    /// [`NetlinkError::Address`] with the kernel's reason, or [`NetlinkError::Foreign`].
    pub async fn remove_address(&self, spec: &AddressSpec) -> Result<Removed, NetlinkError> {
        self.remove_addresses(std::slice::from_ref(spec)).await.pop().unwrap_or(Err(NetlinkError::Closed))
    }

    /// Refreshes those of `wanted` that are ours; one answer for each, `None` where `failed` has its reason.
    async fn refresh<'a>(
        &self,
        wanted: &[(usize, &'a AddressSpec)],
        failed: &mut Vec<(usize, &'a AddressSpec, io::Error)>,
    ) -> Vec<Option<Result<Added, NetlinkError>>> {
        let observed = match self.observed(wanted.iter().map(|(_, spec)| *spec)).await {
            Ok(observed) => observed,
            Err(error) => return wanted.iter().map(|_| Some(Err(clone_read(&error)))).collect(),
        };
        let mut results: Vec<Option<Result<Added, NetlinkError>>> = wanted.iter().map(|_| None).collect();
        let mut ours = Vec::new();
        for (place, (at, spec)) in wanted.iter().enumerate() {
            match observed.get(&(spec.link, spec.ip)) {
                Some(address) if is_marked(address, spec) => ours.push((place, *at, *spec)),
                Some(address) => set(&mut results, place, Some(Err(self.foreign(address).await))),
                None => failed.push((*at, spec, io::Error::from(io::ErrorKind::NotFound))),
            }
        }
        let messages = ours.iter().map(|(_, _, spec)| add_message(spec, NLM_F_REPLACE)).collect();
        let answers = self.requests.change(messages).await;
        for ((place, at, spec), answer) in ours.iter().zip(answers_or_closed(answers, ours.len())) {
            match answer {
                Ok(()) => set(&mut results, *place, Some(Ok(Added::Kept))),
                Err(error) => failed.push((*at, spec, error)),
            }
        }
        results
    }

    /// What the links of these addresses have, by link and address; of two with one address that with the mark wanted.
    async fn observed<'a>(
        &self,
        specs: impl IntoIterator<Item = &'a AddressSpec>,
    ) -> Result<BTreeMap<(u32, IpAddr), Address>, NetlinkError> {
        let wanted: BTreeMap<_, _> = specs.into_iter().map(|spec| ((spec.link, spec.ip), spec)).collect();
        let mut observed = BTreeMap::new();
        for address in self.addresses().await? {
            let key = (address.link, address.ip);
            if wanted.get(&key).is_some_and(|spec| !observed.contains_key(&key) || is_marked(&address, spec)) {
                observed.insert(key, address);
            }
        }
        Ok(observed)
    }

    async fn foreign(&self, address: &Address) -> NetlinkError {
        let link = self.name_of(address.link).await;
        NetlinkError::Foreign { ip: address.ip, prefix: address.prefix, link, protocol: address.protocol }
    }

    /// Turns the kernel's reasons into errors with the address and the link's name.
    async fn explain<T>(
        &self,
        action: Action,
        failed: Vec<(usize, &AddressSpec, io::Error)>,
        results: &mut [Option<Result<T, NetlinkError>>],
    ) {
        if failed.is_empty() {
            return;
        }
        let names: BTreeMap<_, _> =
            self.links().await.unwrap_or_default().into_iter().map(|link| (link.index, link.name)).collect();
        for (at, spec, source) in failed {
            let link = names.get(&spec.link).cloned().unwrap_or_else(|| format!("link {}", spec.link));
            let error = NetlinkError::Address { action, ip: spec.ip, prefix: spec.prefix, link, source };
            set(results, at, Some(Err(error)));
        }
    }
}

fn set<T>(results: &mut [T], at: usize, value: T) {
    if let Some(place) = results.get_mut(at) {
        *place = value;
    }
}

/// The answers, or as many errors as there would have been answers.
fn answers_or_closed(answers: Result<Vec<io::Result<()>>, NetlinkError>, count: usize) -> Vec<io::Result<()>> {
    answers.unwrap_or_else(|_| (0..count).map(|_| Err(io::Error::from(io::ErrorKind::NotConnected))).collect())
}

/// The same failure to read once more, for each address it concerns.
fn clone_read(error: &NetlinkError) -> NetlinkError {
    match error {
        NetlinkError::Read { what, source } => NetlinkError::Read {
            what,
            source: source.raw_os_error().map_or(source.kind().into(), io::Error::from_raw_os_error),
        },
        _ => NetlinkError::Closed,
    }
}

fn is_marked(address: &Address, spec: &AddressSpec) -> bool {
    address.protocol == Some(spec.protocol) && address.prefix == spec.prefix
}

fn add_message(spec: &AddressSpec, flags: u16) -> rtnetlink::packet_core::NetlinkMessage<RouteNetlinkMessage> {
    request::change(RouteNetlinkMessage::NewAddress(message(spec)), flags)
}

/// The message that names an address and says how it shall be (rtnetlink(7), `RTM_NEWADDR`).
fn message(spec: &AddressSpec) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = if spec.ip.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.header.prefix_len = spec.prefix;
    message.header.index = spec.link;
    let flags =
        AddressFlags::Noprefixroute | if spec.ip.is_ipv6() { AddressFlags::Nodad } else { AddressFlags::empty() };
    message.header.flags = AddressHeaderFlags::from_bits_truncate(u8::try_from(flags.bits() & 0xff).unwrap_or(0));
    let mut lifetimes = CacheInfo::default();
    (lifetimes.ifa_valid, lifetimes.ifa_preferred) = seconds(spec.lifetime);
    message.attributes = vec![
        AddressAttribute::Local(spec.ip),
        AddressAttribute::Address(spec.ip),
        AddressAttribute::Flags(flags),
        AddressAttribute::CacheInfo(lifetimes),
        AddressAttribute::Protocol(AddressProtocol::from(spec.protocol)),
    ];
    message
}

/// Valid and preferred lifetime in the kernel's unit. It refuses a valid lifetime of zero, so there is none below 1 s.
fn seconds(lifetime: Lifetime) -> (u32, u32) {
    match lifetime {
        Lifetime::Forever => (FOREVER, FOREVER),
        Lifetime::Limited { valid, deprecated } => {
            let valid = whole_seconds(valid);
            (valid, if deprecated { 0 } else { valid })
        }
    }
}

fn whole_seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(FOREVER - 1).clamp(1, FOREVER - 1)
}
