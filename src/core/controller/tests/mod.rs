//! The controller against a store that keeps the rules of the real ones, tables and properties.

mod cases;
mod properties;
mod sick;

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::core::selector::Selector;
use crate::core::view::{Gate, Mode, Registration, Right, View};

/// A store with its objects, and the agents of its nodes.
#[derive(Debug, Clone, Default)]
struct Store {
    vips: BTreeMap<String, Vip>,
    pools: BTreeMap<String, Pool>,
    nodes: BTreeMap<String, Node>,
    views: BTreeMap<String, Segment>,
    services: BTreeMap<String, Service>,
    endpoints: BTreeMap<String, Endpoints>,
    version: u64,
    made: i64,
    /// What was written, in order, for tests to read.
    log: Vec<String>,
    told: Vec<String>,
}

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn selector(key: &str, value: &str) -> Selector {
    Selector { match_labels: labels(&[(key, value)]), ..Selector::default() }
}

impl Store {
    /// Pool `public` (198.51.100.0/29), and these nodes on segment 198.51.100.0/24.
    fn new(nodes: &[&str]) -> Self {
        let mut store = Self::default();
        store.pool("public", "198.51.100.0/29");
        for node in nodes {
            store.join("198.51.100.0-24", "198.51.100.0/24", node, "eth0");
        }
        store
    }

    fn meta(&mut self, name: &str) -> Meta {
        self.made += 1;
        self.version += 1;
        Meta {
            uid: format!("uid-{}", self.made),
            name: name.to_owned(),
            version: self.version.to_string(),
            generation: 1,
            created: self.made,
            ..Meta::default()
        }
    }

    fn pool(&mut self, name: &str, range: &str) {
        let offer = Offer { ranges: vec![range.parse().unwrap()], auto_assign: true, ..Offer::default() };
        let meta = self.meta(name);
        self.pools.insert(name.to_owned(), Pool { meta, offer: Ok(offer), status: PoolStatus::default() });
    }

    fn join(&mut self, segment: &str, prefix: &str, node: &str, interface: &str) {
        self.nodes.entry(node.to_owned()).or_insert_with(|| Node { name: node.to_owned(), ..Node::default() });
        if !self.views.contains_key(segment) {
            let meta = self.meta(segment);
            self.views.insert(segment.to_owned(), Segment { meta, view: View::default() });
        }
        let registration = Registration {
            node: node.to_owned(),
            mode: Mode::Peers,
            address: [198, 51, 100, 200].into(),
            port: 9473,
            mac: None,
            interface: interface.to_owned(),
            boot_id: "boot".to_owned(),
            gate: Gate::Bpf,
            rho: 10_000,
        };
        self.edit_view(segment, |view| {
            let view = view.register(&registration).unwrap().1.apply(view).unwrap();
            view.record_prefix(prefix, node).apply(&view).unwrap()
        });
    }

    fn edit_view(&mut self, segment: &str, edit: impl FnOnce(&View) -> View) {
        self.version += 1;
        let object = self.views.get_mut(segment).unwrap();
        object.view = edit(&object.view);
        object.meta.version = self.version.to_string();
    }

    fn vip(&mut self, name: &str, wish: Wish) {
        let meta = self.meta(name);
        let vip = Vip {
            meta,
            wish: Ok(Wish { gated: true, ..wish }),
            status: Status::default(),
            holder: None,
            owner: None,
            health: BTreeMap::new(),
        };
        self.vips.insert(name.to_owned(), vip);
    }

    fn delete(&mut self, name: &str) {
        let vip = self.vips.get_mut(name).unwrap();
        self.version += 1;
        vip.meta.version = self.version.to_string();
        vip.meta.deleting = true;
        if vip.meta.finalizers.is_empty() {
            self.vips.remove(name);
        }
    }

    fn wish(&mut self, name: &str) -> &mut Wish {
        let vip = self.vips.get_mut(name).unwrap();
        vip.meta.generation += 1;
        vip.wish.as_mut().unwrap()
    }

    /// Everything, as a watch lists it.
    fn list(&self, machine: &mut Controller, now: Time) {
        for listing in [
            Listing::Vips(self.vips.values().cloned().collect()),
            Listing::Pools(self.pools.values().cloned().collect()),
            Listing::Nodes(self.nodes.values().cloned().collect()),
            Listing::Views(self.views.values().cloned().collect()),
            Listing::Services(self.services.values().cloned().collect()),
            Listing::Endpoints(self.endpoints.values().cloned().collect()),
        ] {
            machine.handle(now, Input::Listed(listing));
        }
    }

    fn write(&mut self, id: &Id, write: &Write) -> Outcome {
        self.version += 1;
        let version = self.version.to_string();
        match (id, write) {
            (Id::View(name), Write::View(patch)) => {
                let Some(object) = self.views.get_mut(name) else { return Outcome::Gone };
                let Ok(view) = patch.apply(&object.view) else {
                    return Outcome::Overtaken(Object::View(object.clone()));
                };
                object.view = view;
                object.meta.version = version;
                self.log.push(format!("view {name}"));
                Outcome::Done(Object::View(object.clone()))
            }
            (Id::Vip(name), Write::CreateVip(new)) => {
                let wish = Wish { family: Some(new.family), address: new.address, ..Wish::default() };
                self.vip(name, wish);
                let vip = self.vips.get_mut(name).unwrap();
                vip.owner = Some(new.owner.clone());
                Outcome::Done(Object::Vip(vip.clone()))
            }
            (Id::Vip(name), Write::DeleteVip) => {
                self.log.push(format!("deletion of {name}"));
                self.delete(name);
                self.vips.get(name).map_or(Outcome::Gone, |vip| Outcome::Done(Object::Vip(vip.clone())))
            }
            (Id::Service(name), Write::ServiceStatus(status)) => {
                let service = self.services.get_mut(name).unwrap();
                service.status =
                    ServiceStatus { condition: timed(status.condition.as_slice()).pop(), ..status.clone() };
                service.meta.version = version;
                self.log.push(format!("status of service {name}"));
                Outcome::Done(Object::Service(service.clone()))
            }
            (Id::Vip(name), _) => self.write_vip(name, write, version),
            (Id::Pool(name), Write::PoolStatus(status)) => {
                let Some(pool) = self.pools.get_mut(name) else { return Outcome::Gone };
                pool.status = PoolStatus { conditions: timed(&status.conditions), ..status.clone() };
                pool.meta.version = version;
                self.log.push(format!("status of pool {name}"));
                Outcome::Done(Object::Pool(pool.clone()))
            }
            other => panic!("{other:?}"),
        }
    }

    fn write_vip(&mut self, name: &str, write: &Write, version: String) -> Outcome {
        let Some(vip) = self.vips.get_mut(name) else { return Outcome::Gone };
        match write {
            Write::RemoveFinalizer { at } => {
                assert_eq!(vip.meta.finalizers.remove(*at), FINALIZER);
                self.log.push(format!("no finalizer of {name}"));
                if vip.meta.deleting && vip.meta.finalizers.is_empty() {
                    let uid = vip.meta.uid.clone();
                    self.vips.remove(name);
                    assert!(self.views.values().all(|view| !view.view.assign.contains_key(&uid)), "{name} has a right");
                    return Outcome::Gone;
                }
            }
            Write::VipStatus { missing: Some(missing), .. } if missing.version != vip.meta.version => {
                return Outcome::Overtaken(Object::Vip(vip.clone()));
            }
            Write::VipStatus { missing, status } => {
                if let Some(missing) = missing {
                    assert_eq!(missing.others, vip.meta.finalizers.len());
                    vip.meta.finalizers.push(FINALIZER.to_owned());
                    self.log.push(format!("finalizer of {name}"));
                }
                vip.status = Status { conditions: timed(&status.conditions), ..status.clone() };
                self.log.push(format!("status of {name}"));
            }
            Write::View(_)
            | Write::PoolStatus(_)
            | Write::CreateVip(_)
            | Write::DeleteVip
            | Write::ServiceStatus(_) => panic!("{write:?} of {name}"),
        }
        vip.meta.version = version;
        Outcome::Done(Object::Vip(vip.clone()))
    }

    /// What agents do: report what they were given, trim what is over, and give up what they must.
    fn agents(&mut self) {
        let segments: Vec<String> = self.views.keys().cloned().collect();
        for segment in segments {
            let view = self.views[&segment].view.clone();
            let mut after = view.clone();
            for (uid, entry) in &view.assign {
                let Some(holder) = &entry.holder else { continue };
                let former: BTreeSet<Right> = entry.after.keys().cloned().collect();
                if entry.releasing {
                    after = after.remove_all(&[uid.as_str()], holder).unwrap().apply(&after).unwrap();
                } else if !former.is_empty() {
                    let closed = BTreeMap::from([(uid.clone(), former)]);
                    after = after.trim(holder, &closed).unwrap().apply(&after).unwrap();
                }
                if let Some(vip) = self.vips.values_mut().find(|vip| vip.meta.uid == *uid && !entry.releasing) {
                    vip.holder = Some((holder.clone(), "eth0".to_owned()));
                }
            }
            if after != view {
                self.edit_view(&segment, |_| after);
            }
        }
    }

    fn holder(&self, name: &str) -> Option<String> {
        let uid = &self.vips.get(name)?.meta.uid;
        let entry = self.views.values().find_map(|view| view.view.assign.get(uid))?;
        entry.holder.as_ref().map(|holder| holder.node.clone())
    }

    fn address(&self, name: &str) -> String {
        self.vips[name].status.address.map(|address| address.to_string()).unwrap_or_default()
    }

    /// `Allocated` or `Ready`, as `True/Reason`.
    fn condition(&self, name: &str, kind: &str) -> String {
        let condition = self.vips[name].status.condition(kind).unwrap();
        format!("{}/{}", if condition.holds { "True" } else { "False" }, condition.reason)
    }
}

/// Conditions with a time, as a store has them.
fn timed(conditions: &[Condition]) -> Vec<Condition> {
    let since = |one: &Condition| one.since.clone().or_else(|| Some("then".to_owned()));
    conditions.iter().map(|one| Condition { since: since(one), ..one.clone() }).collect()
}

/// A controller that has just begun to lead, its store and the time.
struct Run {
    store: Store,
    machine: Controller,
    now: Time,
}

impl Run {
    fn new(store: Store) -> Self {
        let mut run = Self { store, machine: Controller::new(), now: Time::from_millis(1) };
        run.machine.handle(run.now, Input::Leading(true));
        run
    }

    /// Lists everything, and carries out whatever the controller asks for until it asks for no more, and so on with what
    /// the agents do, for `span` of time.
    fn settle_for(&mut self, span: Duration) {
        let end = self.now + span;
        self.store.list(&mut self.machine, self.now);
        loop {
            self.machine.handle_timeout(self.now);
            let mut wrote = false;
            while let Some(effect) = self.machine.poll_effect() {
                match effect {
                    Effect::Write { id, write } => {
                        let outcome = self.store.write(&id, &write);
                        wrote |= matches!(id, Id::View(_));
                        self.machine.handle(self.now, Input::Wrote { id, outcome });
                    }
                    Effect::Tell(notice) => self.store.told.push(format!("{} {:?}", notice.reason, notice.about)),
                }
            }
            if wrote {
                self.store.agents();
                self.store.list(&mut self.machine, self.now);
            }
            assert!(self.store.log.len() < 5_000, "it never settles: {:?}", &self.store.log[4_980..]);
            match self.machine.poll_timeout() {
                Some(due) if due <= end => self.now = self.now.max(due),
                _ => break,
            }
        }
        self.now = end;
    }

    fn settle(&mut self) -> Vec<String> {
        self.store.log.clear();
        self.store.told.clear();
        self.settle_for(Duration::from_secs(10));
        self.store.log.clone()
    }
}

fn settled(store: Store) -> Run {
    let mut run = Run::new(store);
    run.settle();
    run
}
