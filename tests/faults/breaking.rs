//! How each fault is done, and undone.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::Signal;

use crate::lab::{Lab, SOON, program};
use crate::questions;
use crate::station::port;
use crate::support::capture::Sender;
use crate::support::netns::{Netns, run};
use crate::support::process::Process;
use crate::support::segment::{INTERFACE, Segment};
use crate::support::wait_until;
use crate::table::{Contender, Fault};

/// What a fault leaves running until it is healed; dropping it ends it.
pub(crate) enum Trouble {
    None,
    /// A table of rules at the bridges of these networks.
    Rules(Vec<Network>),
    /// Nodes without power.
    Dark(Vec<usize>),
    /// Programs that take processors.
    Hogs(Vec<Process>),
    /// Work that repeats on a thread.
    Work(Work),
}

/// One of the lab's networks.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Network {
    Data,
    Management,
}

impl Lab {
    fn segment(&self, network: Network) -> &Segment {
        match network {
            Network::Data => &self.data,
            Network::Management => &self.management,
        }
    }

    /// Loads a table `fault` at a bridge, with these rules on what it forwards.
    fn rules(&self, network: Network, rules: &[String]) {
        let chain = "type filter hook forward priority 0; policy accept;";
        let text = format!("table bridge fault {{\n chain forward {{\n  {chain}\n  {}\n }}\n}}\n", rules.join("\n  "));
        load(self.segment(network).bridge(), &text);
    }

    /// Does the fault to the node `victim`.
    pub(crate) fn break_it(&mut self, fault: Fault, victim: usize) -> Trouble {
        let own = port(self.nodes[victim].station.number);
        let (from, to) = (format!("iifname \"{own}\" drop"), format!("oifname \"{own}\" drop"));
        match fault {
            Fault::Terminated => self.nodes[victim].end(SOON),
            Fault::Restarted => self.restart(victim),
            Fault::Rolling => (0..self.shape.nodes).for_each(|node| {
                self.restart(node);
                self.settle();
            }),
            Fault::Drained => self.shared.node(&program(), "cordon", &self.nodes[victim].name()),
            Fault::Killed => self.nodes[victim].kill(),
            Fault::KilledAndRestarted => {
                self.nodes[victim].kill();
                self.start(victim);
            }
            Fault::Stopped => self.nodes[victim].signal(Signal::STOP),
            Fault::PowerLost | Fault::DeletedDuring => {
                self.nodes[victim].power_off(&self.data, &self.management);
                if fault == Fault::DeletedDuring {
                    self.shared.delete();
                }
                return Trouble::Dark(vec![victim]);
            }
            Fault::MostLost => {
                let dark: Vec<usize> = (0..3).map(|step| (victim + step) % self.shape.nodes).collect();
                dark.iter().for_each(|node| self.nodes[*node].power_off(&self.data, &self.management));
                return Trouble::Dark(dark);
            }
            Fault::CarrierLost => {
                self.data.bridge().ip(&format!("link set {own} down"));
            }
            Fault::AddressDeleted => {
                let length = if self.vip(0).is_ipv4() { 32 } else { 128 };
                let netns = &self.nodes[victim].station.netns;
                netns.ip(&format!("addr del {}/{length} dev {INTERFACE}", self.vip(0)));
            }
            Fault::ApiKilled => {
                let plane = self.shared.plane.as_mut().expect("an API server");
                plane.api_server.signal(Signal::KILL);
                plane.api_server.wait(SOON);
            }
            Fault::ApiFrozen => self.shared.plane.as_ref().expect("an API server").api_server.signal(Signal::STOP),
            Fault::DataCut => return self.cut(&[Network::Data], &[from, to]),
            Fault::ApiCut => return self.cut(&[Network::Management], &[from, to]),
            Fault::BothCut => return self.cut(&[Network::Data, Network::Management], &[from, to]),
            Fault::Deaf => return self.cut(&[Network::Data], &[to]),
            Fault::Mute => return self.cut(&[Network::Data], &[from]),
            Fault::Lossy => {
                let all = self.ports(0..self.shape.nodes);
                let rule = format!("iifname {all} oifname {all} numgen random mod 100 < 30 drop");
                return self.cut(&[Network::Data], &[rule]);
            }
            Fault::Split => {
                let smaller: Vec<usize> =
                    (0..self.shape.nodes / 2).map(|step| (victim + step) % self.shape.nodes).collect();
                let larger = self.ports((0..self.shape.nodes).filter(|node| !smaller.contains(node)));
                let smaller = self.ports(smaller);
                let rules = [
                    format!("iifname {smaller} oifname {larger} drop"),
                    format!("iifname {larger} oifname {smaller} drop"),
                ];
                return self.cut(&[Network::Data], &rules);
            }
            Fault::ClockStep => self.nodes[victim].set_clock_ahead(3600),
            Fault::Hogs => return Trouble::Hogs(hogs()),
            Fault::KernelLoad => return Trouble::Work(kernel_load(&self.nodes[victim].station.netns)),
            Fault::Foreign => return Trouble::Work(self.foreign_claims()),
        }
        Trouble::None
    }

    /// Undoes it. A node that lost power boots, an agent that ended is started.
    pub(crate) fn heal_it(&mut self, fault: Fault, victim: usize, trouble: Trouble) {
        match trouble {
            Trouble::None => {}
            Trouble::Hogs(hogs) => drop(hogs),
            Trouble::Work(work) => work.end(),
            Trouble::Rules(networks) => {
                networks
                    .into_iter()
                    .for_each(|network| load(self.segment(network).bridge(), "delete table bridge fault"));
            }
            Trouble::Dark(nodes) => {
                for node in nodes {
                    let Self { data, management, nodes, .. } = self;
                    nodes[node].boot(data, management);
                    self.start(node);
                }
            }
        }
        match fault {
            Fault::Terminated | Fault::Killed => self.start(victim),
            Fault::Stopped => self.nodes[victim].signal(Signal::CONT),
            Fault::ClockStep => self.nodes[victim].set_clock_ahead(0),
            Fault::Drained => self.shared.node(&program(), "uncordon", &self.nodes[victim].name()),
            Fault::CarrierLost => {
                let own = port(self.nodes[victim].station.number);
                self.data.bridge().ip(&format!("link set {own} up"));
            }
            Fault::ApiKilled => self.shared.plane.as_mut().unwrap().restart_api_server(),
            Fault::ApiFrozen => self.shared.plane.as_ref().unwrap().api_server.signal(Signal::CONT),
            Fault::DeletedDuring => {
                wait_until(SOON, "the VIPs to be gone", || {
                    self.journal().and_then(|journal| journal.view()).is_some_and(|view| view.assign.is_empty())
                });
                self.apply();
            }
            _ => {}
        }
    }

    fn restart(&mut self, node: usize) {
        // keepalived knows no hand-over to itself: its end is all there is.
        self.nodes[node].end(SOON);
        self.start(node);
        if self.shape.contender == Contender::Vipkeeper {
            wait_until(SOON, "the agent to watch again", || self.nodes[node].told().contains("watching over"));
        }
    }

    fn cut(&self, networks: &[Network], rules: &[String]) -> Trouble {
        networks.iter().for_each(|network| self.rules(*network, rules));
        Trouble::Rules(networks.to_vec())
    }

    /// The ports of nodes as a set of nft(8).
    fn ports(&self, nodes: impl IntoIterator<Item = usize>) -> String {
        let names: Vec<String> =
            nodes.into_iter().map(|node| format!("\"{}\"", port(self.nodes[node].station.number))).collect();
        format!("{{ {} }}", names.join(", "))
    }

    /// A stranger claims VIP 0 four times a second.
    fn foreign_claims(&self) -> Work {
        let std::net::IpAddr::V4(vip) = self.vip(0) else { panic!("the stranger speaks ARP only") };
        let sender = Sender::open(&self.stranger.netns, INTERFACE);
        let claim = questions::claim(&self.stranger, vip);
        Work::repeat(move || {
            sender.send(&claim);
            std::thread::sleep(Duration::from_millis(250));
        })
    }
}

/// Work that is done again and again.
pub(crate) struct Work {
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Work {
    fn repeat(mut work: impl FnMut() + Send + 'static) -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&done);
        let thread = std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                work();
            }
        });
        Self { done, thread: Some(thread) }
    }

    fn end(mut self) {
        self.done.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Runs nft(8) on a text.
fn load(netns: &Netns, text: &str) {
    crate::support::require(&["nft"]);
    feed(netns.command("nft").args(["-f", "-"]), text);
}

fn feed(command: &mut Command, text: &str) {
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{command:?} failed: {}", String::from_utf8_lossy(&output.stderr));
}

fn hogs() -> Vec<Process> {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    (0..4 * processors).map(|_| Process::start(Command::new("sh").args(["-c", "while :; do :; done"]))).collect()
}

/// Interfaces come and go, and 20,000 rules are loaded, on one lock of the kernel each.
fn kernel_load(netns: &Netns) -> Work {
    let links: Vec<String> =
        (0..50).flat_map(|n| [format!("link add load{n} type bridge"), format!("link del load{n}")]).collect();
    let rules = "  tcp dport 1 counter\n".repeat(20_000);
    let table =
        format!("table inet load {{}}\ndelete table inet load\ntable inet load {{\n chain load {{\n{rules} }}\n}}\n");
    let path = netns.path();
    let inside = move |program: &str| {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", path.display())).arg("--").arg(program);
        command
    };
    Work::repeat(move || {
        feed(inside("ip").args(["-batch", "-"]), &links.join("\n"));
        feed(inside("nft").args(["-f", "-"]), &table);
        run(inside("nft").args(["delete", "table", "inet", "load"]));
    })
}
