//! The segments that a node is on: one for each network that a link of it is part of.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::interface::{self, matches};
use super::net::{Link, Mac, Route};
use super::plan::{Observed, host_prefix};
use super::segment::{is_on_link, lowest_prefix, segment_name, without_host_bits};

/// A node's place on one segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The segment's name, and so that of its view.
    pub segment: String,
    /// The link's index.
    pub link: u32,
    /// The link's name.
    pub interface: String,
    /// The link's Ethernet address.
    pub mac: Option<Mac>,
    /// The node's own address there.
    pub address: IpAddr,
    /// The on-link prefixes.
    pub prefixes: BTreeSet<IpNetwork>,
}

/// A VIP as far as it decides which segments matter.
#[derive(Debug, Clone, Copy)]
pub struct Sought<'a> {
    /// Its address.
    pub ip: IpAddr,
    /// The interface asked for.
    pub interface: Option<&'a str>,
}

/// All segments of the node by name, one link each: that with the lowest index that carries traffic. `named` gives a
/// segment a name of its own by its interface (`--segment NAME=INTERFACE`).
#[must_use]
pub fn places(
    links: &BTreeMap<u32, Link>,
    observed: &Observed,
    named: &BTreeMap<String, String>,
) -> BTreeMap<String, Place> {
    let mut found: BTreeMap<String, Place> = BTreeMap::new();
    let usable = links.values().filter(|link| !link.loopback && link.arp);
    let (live, dead): (Vec<&Link>, Vec<&Link>) = usable.partition(|link| link.up && link.carrier);
    for place in live.into_iter().chain(dead).filter_map(|link| place(link, observed, named)) {
        found.entry(place.segment.clone()).or_insert(place);
    }
    found
}

fn place(link: &Link, observed: &Observed, named: &BTreeMap<String, String>) -> Option<Place> {
    let own: Vec<IpNetwork> = observed
        .values()
        .filter(|address| address.link == link.index && !address.is_ours() && address.prefix < host_prefix(address.ip))
        .filter_map(|address| IpNetwork::new(address.ip, address.prefix).ok())
        .filter(|network| is_on_link(*network))
        .collect();
    let lowest = lowest_prefix(own.iter().copied())?;
    let address = own.iter().find(|network| without_host_bits(**network) == Some(lowest))?.ip();
    Some(Place {
        segment: named.get(&link.name).cloned().unwrap_or_else(|| segment_name(lowest)),
        link: link.index,
        interface: link.name.clone(),
        mac: link.mac,
        address,
        prefixes: own.into_iter().filter_map(without_host_bits).collect(),
    })
}

/// The segments that a node takes part in: those of VIPs that could go there, and that of the default route, where a VIP
/// goes that is in nobody's subnet. The bridges and tunnels of containers are left out by this.
#[must_use]
pub fn wanted<'a>(
    places: &'a BTreeMap<String, Place>,
    vips: &[Sought<'_>],
    links: &BTreeMap<u32, Link>,
    observed: &Observed,
    routes: &[Route],
) -> Vec<&'a Place> {
    let subnets = interface::subnets(observed);
    let by_route: BTreeSet<u32> =
        routes.iter().filter(|route| route.destination.prefix() == 0).map(|r| r.link).collect();
    let chosen: BTreeSet<u32> =
        vips.iter().filter_map(|vip| interface::select(vip.interface, vip.ip, links, &subnets, routes).ok()).collect();
    places
        .values()
        .filter(|place| {
            let in_subnet = |vip: &Sought<'_>| {
                vip.interface.is_none_or(|glob| matches(glob, &place.interface))
                    && place.prefixes.iter().any(|prefix| prefix.contains(vip.ip))
            };
            by_route.contains(&place.link) || chosen.contains(&place.link) || vips.iter().any(in_subnet)
        })
        .collect()
}
