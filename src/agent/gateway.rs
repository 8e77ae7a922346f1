//! The gateway test: whether the default gateway of a segment's link answers this node, asked from the node's own address
//! by unicast. It is evidence for who hears no other member that the fault is not its own.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, warn};

use super::dataplane::{DataPlane, Order};
use crate::clock;
use crate::core::frame::{Form, Frame, Heard, Word};
use crate::core::net::{Link, Mac};
use crate::core::time::Time;
use crate::netlink::{Netlink, NetlinkError};
use crate::packet::{Observations, Packets};

/// How long what the kernel said of routes and neighbours is good for.
const KNOWN: Duration = Duration::from_secs(2);

/// An answer that comes later than this after the question speaks of a time too long ago.
const LATE: Duration = Duration::from_millis(200);

/// A question.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) segment: String,
    /// The index of the segment's link.
    pub(super) link: u32,
    /// The node's address there.
    pub(super) from: IpAddr,
}

/// The task's handle; it ends with it.
#[derive(Debug)]
pub(super) struct Gateway {
    asks: UnboundedSender<Ask>,
    _task: AbortOnDropHandle<()>,
}

impl Gateway {
    /// Starts the task, which tells the data plane of answers.
    pub(super) fn start(netlink: Netlink, plane: DataPlane) -> Self {
        let (asks, waiting) = mpsc::unbounded_channel();
        let (packets, heard) = Packets::new();
        let task = Task { netlink, plane, packets, places: BTreeMap::new(), asked: BTreeMap::new() };
        Self { asks, _task: AbortOnDropHandle::new(tokio::spawn(task.run(waiting, heard))) }
    }

    /// Asks the gateway.
    pub(super) fn ask(&self, ask: Ask) {
        // The task ends only with this handle.
        let _ended = self.asks.send(ask);
    }
}

/// A link, and the gateways that are reached by it.
struct Place {
    link: Link,
    gateways: Vec<(IpAddr, Option<Mac>)>,
    read: Time,
}

struct Task {
    netlink: Netlink,
    plane: DataPlane,
    packets: Packets,
    places: BTreeMap<u32, Place>,
    /// Who was asked on which link, for which segment, and when.
    asked: BTreeMap<(u32, IpAddr), (String, Time)>,
}

impl Task {
    async fn run(mut self, mut asks: UnboundedReceiver<Ask>, mut heard: Observations) {
        loop {
            tokio::select! {
                ask = asks.recv() => match ask {
                    Some(ask) => self.ask(ask).await,
                    None => return,
                },
                Some(batch) = heard.recv() => batch.into_iter().for_each(|one| self.hear(one)),
            }
        }
    }

    async fn ask(&mut self, ask: Ask) {
        let Ask { segment, link, from } = ask;
        let now = clock::now();
        if self.places.get(&link).is_none_or(|place| now.since(place.read) >= KNOWN) {
            match look(&self.netlink, link).await {
                Ok(place) => drop(place.and_then(|place| self.places.insert(link, place))),
                Err(error) => debug!(%error, "the gateway is not known"),
            }
        }
        let Some(place) = self.places.get(&link) else { return };
        if let Err(error) = self.packets.open(&place.link) {
            warn!(%error, "the gateway cannot be asked");
            return;
        }
        for (gateway, mac) in place.gateways.iter().filter(|(gateway, _)| gateway.is_ipv4() == from.is_ipv4()) {
            self.asked.insert((link, *gateway), (segment.clone(), now));
            let form = Form::Ask { target: *gateway, mac: *mac };
            if let Err(error) = self.packets.send(link, &[Frame { link, ip: from, form }]) {
                debug!(%error, "the gateway was not asked");
            }
        }
    }

    fn hear(&mut self, Heard { link, ip, word, .. }: Heard) {
        let Some((segment, at)) = self.asked.get(&(link, ip)).filter(|_| word == Word::Answer) else { return };
        if clock::now().since(*at) < LATE {
            self.plane.order(Order::Gateway(segment.clone()));
        }
    }
}

async fn look(netlink: &Netlink, index: u32) -> Result<Option<Place>, NetlinkError> {
    let Some(link) = netlink.links().await?.into_iter().find(|link| link.index == index) else {
        return Ok(None);
    };
    let routes = netlink.routes().await?;
    let neighbours = netlink.neighbours(index).await?;
    let mac = |ip: IpAddr| neighbours.iter().find(|known| known.ip == ip).map(|known| known.mac);
    let gateways = routes.iter().filter(|route| route.link == index && route.destination.prefix() == 0);
    let gateways = gateways.filter_map(|route| route.gateway).map(|ip| (ip, mac(ip))).collect();
    Ok(Some(Place { link, gateways, read: clock::now() }))
}
