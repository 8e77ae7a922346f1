//! What the data plane does for each heartbeat asks for no memory: three machines in their steady state, with every packet
//! written, authenticated and read, under an allocator that counts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, missing_docs)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use vipkeeper::core::failover::{Effect, Failover, Input, Outcome, Rules, Start, Timing};
use vipkeeper::core::time::Time;
use vipkeeper::core::view::{Gate, Grant, Mode, Registration, View};
use vipkeeper::wire::heartbeat::{Key, Keys, Packet, Window, id};

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: everything is the system allocator's; counting touches nothing of it.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        // SAFETY: as the caller promises.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const SECONDS: Duration = Duration::from_secs(10);
const NODES: [&str; 3] = ["a", "b", "c"];

fn registration(node: &str) -> Registration {
    Registration {
        node: node.to_owned(),
        mode: Mode::Peers,
        address: "198.51.100.1".parse().unwrap(),
        port: 9473,
        mac: None,
        interface: "eth0".to_owned(),
        boot_id: "boot".to_owned(),
        gate: Gate::Bpf,
        rho: 10_000,
    }
}

/// Three machines and the view that they share; packets take no time.
struct Segment {
    now: Time,
    machines: Vec<Failover>,
    windows: BTreeMap<(usize, u64), Window>,
    view: Arc<View>,
    version: u64,
    keys: Keys,
    packets: u64,
    writes: u64,
    /// How often memory was asked for by packets, and by timers.
    asked: (u64, u64),
    /// Packets under way, with their receivers.
    wire: Vec<(usize, [u8; vipkeeper::wire::heartbeat::LEN])>,
}

impl Segment {
    fn new() -> Self {
        let now = Time::from_millis(10_000);
        let start = |node: &str| Start {
            segment: "segment".to_owned(),
            me: registration(node),
            timing: Timing::lan(),
            rules: Rules::all(),
            gate: Time::ZERO,
            vips: BTreeMap::new(),
        };
        let machines = NODES.iter().map(|node| Failover::new(now, start(node))).collect();
        Self {
            now,
            machines,
            windows: BTreeMap::new(),
            view: Arc::new(View::default()),
            version: 1,
            keys: Keys::new(Key::new(1, &[7; 32]).unwrap(), None),
            packets: 0,
            writes: 0,
            asked: (0, 0),
            wire: Vec::new(),
        }
    }

    fn grant(&mut self) {
        let to = self.view.right_of("a").unwrap();
        let grants: Vec<Grant> =
            (0..10).map(|n| Grant { uid: format!("uid-{n}"), name: format!("shop/vip{n}"), to: to.clone() }).collect();
        let view = self.view.grant(&grants).unwrap().apply(&self.view).unwrap();
        self.publish(view);
    }

    fn publish(&mut self, view: View) {
        self.version += 1;
        self.view = Arc::new(view);
        for node in 0..NODES.len() {
            let input = Input::View { version: self.version, view: Arc::clone(&self.view), fresh: false };
            self.tell(node, input);
        }
    }

    fn tell(&mut self, node: usize, input: Input) {
        self.machines[node].handle(self.now, input);
        self.drain(node);
    }

    fn drain(&mut self, node: usize) {
        while let Some(effect) = self.machines[node].poll_effect() {
            match effect {
                Effect::Send { to, packet } => {
                    let to = NODES.iter().position(|node| id(node) == to).unwrap();
                    self.wire.push((to, packet.to_bytes(&self.keys)));
                }
                Effect::Patch { ticket, patch, .. } => {
                    self.writes += 1;
                    let outcome = match patch.apply(&self.view) {
                        Ok(view) => {
                            self.publish(view);
                            Outcome::Applied { version: self.version, view: Arc::clone(&self.view) }
                        }
                        Err(_) => Outcome::Refused,
                    };
                    self.tell(node, Input::Patched { ticket, outcome });
                }
                Effect::Read => {
                    let input = Input::View { version: self.version, view: Arc::clone(&self.view), fresh: true };
                    self.tell(node, input);
                }
                _ => {}
            }
        }
    }

    fn deliver(&mut self) {
        while let Some((to, bytes)) = self.wire.pop() {
            self.packets += 1;
            let packet = Packet::read(&bytes, &self.keys).unwrap();
            assert!(self.windows.entry((to, packet.node)).or_default().accept(packet.sequence));
            self.tell(to, Input::Packet(packet));
        }
    }

    /// Lets time pass.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            let before = COUNT.with(Cell::get);
            for node in 0..NODES.len() {
                if self.machines[node].poll_timeout().0 <= self.now {
                    self.machines[node].handle_timeout(self.now);
                    self.drain(node);
                }
            }
            let between = COUNT.with(Cell::get);
            self.deliver();
            self.asked.0 += COUNT.with(Cell::get) - between;
            self.asked.1 += between - before;
            self.now = self.now + Duration::from_millis(1);
        }
    }
}

#[test]
fn a_heartbeat_asks_for_no_memory() {
    let mut segment = Segment::new();
    segment.pass(Duration::from_secs(20));
    segment.grant();
    segment.pass(Duration::from_secs(20));
    assert!(segment.machines.iter().all(|machine| machine.gate() > segment.now && machine.right().is_some()));
    assert!(segment.view.members.values().all(|member| member.mode == Mode::Peers && member.watchers.len() == 2));
    (segment.packets, segment.writes, segment.asked) = (0, 0, (0, 0));
    segment.pass(SECONDS);
    let (by_packets, by_timers) = segment.asked;
    eprintln!("memory was asked for {by_packets} times by {} packets, {by_timers} times by timers", segment.packets);
    assert!(segment.packets > 1_000 && segment.writes == 0, "{} packets, {} writes", segment.packets, segment.writes);
    assert_eq!(by_packets, 0, "{} packets", segment.packets);
    // A node's timers run some 20 times a second, whatever comes in.
    let runs = 20 * SECONDS.as_secs() * NODES.len() as u64;
    assert!(by_timers < 20 * runs, "{by_timers} times by timers");
}
