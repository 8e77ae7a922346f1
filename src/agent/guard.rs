//! What the failover machines need from the store, and what they ask of it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::Node as ApiNode;
use serde_json::json;
use tokio::sync::mpsc::UnboundedReceiver;
use tracing::{debug, info, warn};

use super::announcer::Order::Again;
use super::dataplane::{DataPlane, News, Order};
use super::gateway;
use super::requests::{Ask, Requests};
use super::state::Pulse;
use super::transitions::Arrival;
use super::watches::{self, Watched};
use super::{Agent, Told, views};
use crate::api::HEARTBEAT_SECRET;
use crate::api::kind::Kind;
use crate::clock;
use crate::core::failover::{Event, Outcome, Placement, Purpose};
use crate::core::interface::matches;
use crate::core::node::{Input, Versioned};
use crate::core::placement::{self, Candidate, Rejection};
use crate::core::view::Patch;
use crate::metrics::AgentMetrics;
use crate::store::{Key, SharedStore, StoreError};
use crate::wire::heartbeat::{Key as HeartbeatKey, Keys};

/// How long, and how often, a view that is not there yet is looked for within one read.
const UNMADE: Duration = Duration::from_millis(50);
const UNMADE_READS: usize = 10;

/// A view's version as machines compare them; 0 for a store whose versions are no numbers.
fn number(view: &Versioned) -> u64 {
    view.version.parse().unwrap_or_default()
}

impl Agent {
    /// Passes on a version of a view that the watch told.
    pub(super) fn tell_view(&mut self, segment: &str, view: &Versioned) {
        self.withdrawn = view.view.withdraw;
        if let Some(plane) = &self.plane {
            let (version, view) = (number(view), Arc::new(view.view.clone()));
            // The uninstall: everything is given up, and this process waits to be ended.
            if view.withdraw {
                plane.order(Order::Leave);
            }
            plane.order(Order::View { segment: segment.to_owned(), version, view, fresh: false });
        }
    }

    /// Takes in what the data plane tells.
    pub(super) fn news(&mut self, news: News) {
        let now = clock::now();
        match news {
            News::Started { segment, vips } => {
                info!(segment, adopted = vips.len(), "watching over the segment");
                self.node.handle(now, Input::Started { segment, vips });
            }
            News::Set { uid, state } => self.node.handle(now, Input::Set { uid, state }),
            News::Exit { segment } => self.node.handle(now, Input::Left(segment)),
            News::Event { segment, event } => self.failover_event(&segment, &event),
            News::Pulse { segment, pulse, margin } => {
                self.metrics.pulse(&segment, &pulse, margin);
                let before = self.pulses.get(&segment).into_iter().flat_map(|before| before.pulse.peers.keys());
                before
                    .filter(|peer| !pulse.peers.contains_key(*peer))
                    .for_each(|peer| self.metrics.forget_peer(&segment, peer));
                self.pulses.insert(segment, Pulse { pulse, margin });
            }
            News::Failed(what) => warn!("{what}"),
            News::Again { link } => self.announcer.order(Again { link }),
            News::ProbeGateway { segment, link, from } => {
                if let Some(gateway) = &self.gateway {
                    gateway.ask(gateway::Ask { segment, link, from });
                }
            }
            News::Patch { segment, ticket, purpose, patch } => {
                self.ask(Ask::Write { segment, ticket, purpose, patch });
            }
            News::Read { segment } => self.ask(Ask::Read { segment }),
        }
    }

    fn ask(&self, ask: Ask) {
        if let Some(requests) = &self.requests {
            requests.ask(ask);
        }
    }

    /// Takes the gate away: nothing that it gates stands any more, and nobody comes after this process.
    pub(super) async fn dismantle(&self, news: &mut UnboundedReceiver<News>) {
        let Some(plane) = &self.plane else { return };
        plane.order(Order::Dismantle);
        // The thread ends with it.
        while let Some(last) = news.recv().await {
            if let News::Failed(what) = last {
                warn!("{what}");
            }
        }
        info!("the gate is gone");
    }

    /// Has the gate forget an address that stands here no more. What it forgets passes, so first the announcer, which may
    /// be about to speak of it, has to be done.
    pub(super) fn ungate(&self, ip: IpAddr) {
        let Some(plane) = self.plane.clone() else { return };
        let settled = self.announcer.settled();
        tokio::spawn(async move {
            let _ended = settled.await;
            plane.order(Order::Forget(ip));
        });
    }

    fn failover_event(&mut self, segment: &str, event: &Event) {
        match event {
            Event::Suspected(node) => {
                self.metrics.suspected();
                warn!(segment, node, "suspected: it is silent");
            }
            Event::Refuted(node) => {
                self.metrics.refuted();
                info!(segment, node, "heard again");
            }
            Event::Lost => {
                self.metrics.right_lost();
                warn!(segment, "the right to hold is lost; everything is given up");
            }
            Event::SelfFenced => {
                self.metrics.self_fenced();
                warn!(segment, "no evidence of the right to hold: the gate has shut");
            }
            Event::Reunited => info!(segment, "others are heard again; what is held is announced again"),
            Event::ApiOutage { uid } => {
                let vip = self.vips.get(uid).map(|vip| vip.key.to_string());
                warn!(segment, vip, "the API does not answer: given up, as onApiOutage says");
            }
            Event::Claimed { uid, fallback, from, silent } => {
                debug!(segment, uid, fallback, "claimed");
                let from = from.as_ref().map(|right| right.node.clone());
                let arrival = Arrival { from, silent: *silent, at: clock::now() };
                self.told_of.arrivals.insert(uid.clone(), arrival);
            }
        }
    }

    fn those(&self, which: impl Fn(&Watched) -> bool) -> BTreeSet<String> {
        self.vips.iter().filter(|(_, vip)| which(vip)).map(|(uid, _)| uid.clone()).collect()
    }

    /// Tells the machines of all VIPs and nodes, as what successors are chosen by, if that has changed.
    pub(super) fn tell_placement(&mut self) {
        if !std::mem::take(&mut self.placement_changed) {
            return;
        }
        let Some(plane) = &self.plane else { return };
        let asker = |(uid, vip): (&String, &Watched)| (uid.clone(), asker(uid, vip, self.node.interfaces(uid)));
        let vips = self.vips.iter().map(asker).collect();
        let placement = Placement {
            vips,
            nodes: self.candidates.clone(),
            fast: self.those(|vip| vip.fast),
            release: self.those(|vip| vip.release),
            exclusive: self.those(|vip| vip.exclusive),
        };
        plane.order(Order::Placement(Arc::new(placement)));
    }
}

/// What successors are chosen by, among members with these interfaces. Where a Service's endpoints are only the
/// controller knows, which moves an address on.
fn asker<'a>(uid: &str, vip: &Watched, interfaces: impl Iterator<Item = (&'a str, &'a str)>) -> placement::Vip {
    let failing = vip.status.health.iter().filter(|one| one.failing && vip.check.is_some());
    let failing = failing.map(|one| (one.node.clone(), Rejection::Unhealthy));
    let other =
        interfaces.filter(|(_, interface)| vip.interface.as_ref().is_some_and(|glob| !matches(glob, interface)));
    let other = other.map(|(node, _)| (node.to_owned(), Rejection::NoInterface));
    placement::Vip {
        uid: uid.to_owned(),
        node_selector: vip.nodes.clone(),
        preferred: vip.preferred.clone(),
        failback: placement::Failback::Never,
        holder: None,
        barred: failing.chain(other).collect(),
    }
}

/// A node as a place for addresses.
pub(super) fn candidate(name: &str, node: ApiNode) -> Candidate {
    let spec = node.spec.unwrap_or_default();
    let evicts = spec.taints.unwrap_or_default().iter().any(|taint| taint.effect == "NoExecute");
    let barrier = if spec.unschedulable.unwrap_or_default() {
        Some(Rejection::Cordoned)
    } else {
        evicts.then_some(Rejection::Tainted)
    };
    Candidate { name: name.to_owned(), labels: node.metadata.labels.unwrap_or_default(), barrier }
}

/// The requests of a data plane to this store.
pub(super) fn requests(store: &SharedStore, plane: DataPlane, metrics: &AgentMetrics) -> Requests {
    let (store, metrics) = (SharedStore::clone(store), metrics.clone());
    let make = move |ask| -> BoxFuture<'static, Option<Order>> {
        let (store, metrics) = (SharedStore::clone(&store), metrics.clone());
        Box::pin(async move {
            match ask {
                Ask::Write { segment, ticket, purpose, patch } => {
                    let outcome = write(&store, &segment, purpose, &patch).await;
                    if purpose == Purpose::Fence && matches!(outcome, Outcome::Applied { .. }) {
                        metrics.fenced();
                    }
                    Some(Order::Patched { segment, ticket, outcome })
                }
                Ask::Read { segment } => read(&store, segment).await,
            }
        })
    };
    Requests::new(Arc::new(make), Arc::new(move |order| plane.order(order)))
}

async fn write(store: &SharedStore, segment: &str, purpose: Purpose, patch: &Patch) -> Outcome {
    info!(segment, ?purpose, "writing the view");
    match views::apply(store, segment, patch).await {
        Ok(object) => match watches::versioned(&object) {
            Ok(view) => Outcome::Applied { version: number(&view), view: Arc::new(view.view) },
            Err(error) => unknown(segment, &error),
        },
        Err(error @ StoreError::Unavailable(_)) => unknown(segment, &error),
        Err(error) => {
            debug!(segment, ?purpose, %error, "not written");
            Outcome::Refused
        }
    }
}

fn unknown(segment: &str, error: &StoreError) -> Outcome {
    warn!(segment, %error, "whether the view was written is unknown");
    Outcome::Unknown
}

/// A read that fails is asked for again by the machine. One that finds no view waits a little for whoever makes it.
async fn read(store: &SharedStore, segment: String) -> Option<Order> {
    let key = Key::cluster(&segment);
    let mut found = store.get(Kind::FailoverView, &key).await;
    for _ in 0..UNMADE_READS {
        if !matches!(found, Ok(None)) {
            break;
        }
        tokio::time::sleep(UNMADE).await;
        found = store.get(Kind::FailoverView, &key).await;
    }
    match found {
        Ok(Some(object)) => match watches::versioned(&object) {
            Ok(view) => {
                let (version, view) = (number(&view), Arc::new(view.view));
                return Some(Order::View { segment, version, view, fresh: true });
            }
            Err(error) => warn!(segment, %error, "the view does not parse"),
        },
        Ok(None) => debug!(segment, "there is no view yet"),
        Err(error) => warn!(segment, %error, "the view cannot be read"),
    }
    None
}

/// The key of heartbeats, as the store has it; in a store that nobody else keeps (`make`), it is made where it is absent.
///
/// # Errors
/// The store does not answer, or there is no key.
pub(super) async fn keys(store: &SharedStore, namespace: &str, make: bool) -> Result<Option<Keys>, StoreError> {
    let key = Key::namespaced(namespace, HEARTBEAT_SECRET);
    loop {
        if let Some(secret) = store.get(Kind::Secret, &key).await? {
            let text = secret.body["data"]["key"].as_str().unwrap_or_default();
            return Ok(HeartbeatKey::new(1, text.as_bytes()).map(|signs| Keys::new(signs, None)));
        }
        if !make {
            return Ok(None);
        }
        let mut octets = [0; 32];
        rustix::rand::getrandom(&mut octets, rustix::rand::GetRandomFlags::empty())
            .map_err(|error| StoreError::Unusable(format!("no random bits for the heartbeat key: {error}")))?;
        let text: String = octets.iter().map(|octet| format!("{octet:02x}")).collect();
        let body = json!({
            "apiVersion": Kind::Secret.api_version(), "kind": Kind::Secret.name(),
            "metadata": { "namespace": namespace, "name": HEARTBEAT_SECRET }, "data": { "key": text },
        });
        match store.create(Kind::Secret, body).await {
            Ok(_) | Err(StoreError::AlreadyExists { .. }) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Makes the key of heartbeats where there is none.
///
/// # Errors
/// The store does not answer, or refuses.
pub async fn make_key(store: &SharedStore, namespace: &str) -> Result<(), StoreError> {
    keys(store, namespace, true).await.map(|_| ())
}

/// Follows the nodes, as places for addresses.
pub(super) async fn follow_nodes(store: SharedStore, told: tokio::sync::mpsc::Sender<Told>) -> Result<(), StoreError> {
    let read: watches::Read<Candidate> = |object| {
        let node = object.parse::<ApiNode>()?;
        Ok(Some((object.key.name.clone(), candidate(&object.key.name, node))))
    };
    watches::follow(store, Kind::Node, told, read, Told::Nodes).await
}
