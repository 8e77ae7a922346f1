//! The controller's decisions: one look at everything when one VirtualIP of many has changed.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use support::Bench;
use vipkeeper::core::controller::{
    Condition, Controller, Effect, FINALIZER, Id, Input, Listing, Meta, Node, Object, Offer, Outcome, Pool, PoolStatus,
    Segment, Status, Vip, Wish, Write,
};
use vipkeeper::core::time::Time;
use vipkeeper::core::view::{Gate, Mode, Registration, View};

const SEGMENT: &str = "10.0.0.0-8";

/// A controller that has given `count` VirtualIPs to three nodes, and the store that it wrote to.
struct Settled {
    machine: Controller,
    vips: BTreeMap<String, Vip>,
    segment: Segment,
    pool: Pool,
    version: u64,
    now: Time,
}

fn meta(name: &str, created: i64) -> Meta {
    Meta {
        uid: format!("uid-{name}"),
        name: name.into(),
        version: "1".into(),
        generation: 1,
        created,
        ..Meta::default()
    }
}

fn view() -> View {
    let mut view = View::default();
    for node in ["node-a", "node-b", "node-c"] {
        let registration = Registration {
            node: node.into(),
            mode: Mode::Peers,
            address: [10, 0, 0, 1].into(),
            port: 9473,
            mac: None,
            interface: "eth0".into(),
            boot_id: "boot".into(),
            gate: Gate::Bpf,
            rho: 10_000,
        };
        view = view.register(&registration).unwrap().1.apply(&view).unwrap();
        view = view.record_prefix("10.0.0.0/8", node).apply(&view).unwrap();
    }
    view
}

fn timed(conditions: &[Condition]) -> Vec<Condition> {
    conditions.iter().map(|one| Condition { since: Some("then".into()), ..one.clone() }).collect()
}

impl Settled {
    fn new(count: usize) -> Self {
        let vip = |at: usize| {
            let name = format!("shop/v{at:05}");
            let wish = Ok(Wish { gated: true, ..Wish::default() });
            (
                name.clone(),
                Vip {
                    meta: meta(&name, at as i64),
                    wish,
                    status: Status::default(),
                    holder: None,
                    owner: None,
                    health: BTreeMap::new(),
                },
            )
        };
        let offer = Offer { ranges: vec!["10.1.0.0/16".parse().unwrap()], auto_assign: true, ..Offer::default() };
        let mut settled = Self {
            machine: Controller::new(),
            vips: (0..count).map(vip).collect(),
            segment: Segment { meta: meta(SEGMENT, 0), view: view() },
            pool: Pool { meta: meta("public", 0), offer: Ok(offer), status: PoolStatus::default() },
            version: 1,
            now: Time::from_millis(1),
        };
        let nodes = ["node-a", "node-b", "node-c"].map(|name| Node { name: name.into(), ..Node::default() });
        for input in [
            Input::Leading(true),
            Input::Listed(Listing::Vips(settled.vips.values().cloned().collect())),
            Input::Listed(Listing::Pools(vec![settled.pool.clone()])),
            Input::Listed(Listing::Nodes(nodes.into())),
            Input::Listed(Listing::Views(vec![settled.segment.clone()])),
            Input::Listed(Listing::Services(Vec::new())),
            Input::Listed(Listing::Endpoints(Vec::new())),
        ] {
            settled.machine.handle(settled.now, input);
        }
        while let Some(due) = settled.machine.poll_timeout() {
            settled.now = settled.now.max(due);
            settled.machine.handle_timeout(settled.now);
            settled.carry_out();
        }
        assert_eq!(settled.machine.figures().ready, count);
        settled
    }

    fn carry_out(&mut self) -> usize {
        let mut writes = 0;
        while let Some(effect) = self.machine.poll_effect() {
            let Effect::Write { id, write } = effect else { continue };
            writes += 1;
            self.version += 1;
            let object = self.write(&id, write);
            self.machine.handle(self.now, Input::Wrote { id, outcome: Outcome::Done(object) });
        }
        writes
    }

    fn write(&mut self, id: &Id, write: Write) -> Object {
        let version = self.version.to_string();
        match (id, write) {
            (Id::View(_), Write::View(patch)) => {
                self.segment.view = patch.apply(&self.segment.view).unwrap();
                self.segment.meta.version = version;
                // The nodes report what they were given.
                for (uid, entry) in &self.segment.view.assign {
                    let name = uid.strip_prefix("uid-").unwrap();
                    let vip = self.vips.get_mut(name).unwrap();
                    let holder = entry.holder.clone().map(|holder| (holder, "eth0".to_owned()));
                    if vip.holder != holder {
                        vip.holder = holder;
                        self.version += 1;
                        vip.meta.version = self.version.to_string();
                        self.machine.handle(self.now, Input::Seen(Object::Vip(vip.clone())));
                    }
                }
                Object::View(self.segment.clone())
            }
            (Id::Vip(name), Write::VipStatus { missing, status }) => {
                let vip = self.vips.get_mut(name).unwrap();
                vip.meta.finalizers.extend(missing.map(|_| FINALIZER.to_owned()));
                vip.status = Status { conditions: timed(&status.conditions), ..status };
                vip.meta.version = version;
                Object::Vip(vip.clone())
            }
            (_, Write::PoolStatus(status)) => {
                self.pool.status = PoolStatus { conditions: timed(&status.conditions), ..status };
                self.pool.meta.version = version;
                Object::Pool(self.pool.clone())
            }
            (id, write) => panic!("{write:?} of {id:?}"),
        }
    }

    /// Milliseconds from the news that one VirtualIP was edited to the write that answers it.
    fn one_edit(&mut self) -> f64 {
        let name = "shop/v00500";
        self.version += 1;
        let vip = self.vips.get_mut(name).unwrap();
        vip.meta.generation += 1;
        vip.meta.version = self.version.to_string();
        let news = Input::Seen(Object::Vip(vip.clone()));
        self.now = self.now + Duration::from_secs(60);
        let started = Instant::now();
        self.machine.handle(self.now, news);
        self.machine.handle_timeout(self.now);
        let effect = self.machine.poll_effect();
        let took = started.elapsed().as_secs_f64() * 1e3;
        let Some(Effect::Write { id, write }) = effect else { panic!("no write, but {effect:?}") };
        assert_eq!(id, Id::Vip(name.to_owned()));
        let object = self.write(&id, write);
        self.machine.handle(self.now, Input::Wrote { id, outcome: Outcome::Done(object) });
        assert_eq!(self.carry_out(), 0);
        took
    }
}

fn main() {
    let mut bench = Bench::new("controller");
    let (mut small, mut large) = (Settled::new(1_000), Settled::new(10_000));
    bench.compare(
        "one edit among 10,000 VirtualIPs",
        "ms",
        31,
        || large.one_edit(),
        "among 1,000",
        || small.one_edit(),
    );
    bench.compare(
        "10,000 new VirtualIPs, decisions alone",
        "ms",
        3,
        || milliseconds(|| Settled::new(10_000)),
        "1,000",
        || milliseconds(|| Settled::new(1_000)),
    );
    bench.finish();
}

fn milliseconds<T>(work: impl FnOnce() -> T) -> f64 {
    let started = Instant::now();
    std::hint::black_box(work());
    started.elapsed().as_secs_f64() * 1e3
}
