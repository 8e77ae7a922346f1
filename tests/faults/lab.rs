//! A lab: nodes, a client, an observer and a stranger on one bridge, and what the nodes share.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use vipkeeper::core::view::{Mode, State};

use crate::journal::Journal;
use crate::node::Node;
use crate::station::{CLIENT, OBSERVER, STRANGER, Station, vip};
use crate::store::Shared;
use crate::support::process::{Process, VIPKEEPER};
use crate::support::segment::{INTERFACE, Segment};
use crate::support::wait_until;
use crate::table::{Contender, Family, Gate, Policy, Profile, Shape};

/// How long anything may take that is not measured.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// At most so many VIPs are observed; of more, as many at equal distances, the first and the last among them.
const OBSERVED: usize = 50;

pub(crate) struct Lab {
    pub(crate) shape: Shape,
    pub(crate) data: Segment,
    pub(crate) management: Segment,
    pub(crate) nodes: Vec<Node>,
    pub(crate) observer: Station,
    pub(crate) client: Station,
    pub(crate) stranger: Station,
    journal: Option<Journal>,
    controller: Option<Process>,
    pub(crate) shared: Shared,
}

/// The program under test: `FAULTS_BINARY`, or the one that was built with this test.
pub(crate) fn program() -> String {
    std::env::var("FAULTS_BINARY").unwrap_or_else(|_| VIPKEEPER.to_owned())
}

impl Lab {
    /// Starts everything and waits until all nodes watch each other. Where there are several VIPs the first node holds
    /// them all.
    pub(crate) fn new(shape: Shape) -> Self {
        let (data, management) = (Segment::new(), Segment::new());
        let numbers = 1..=u8::try_from(shape.nodes).unwrap();
        let nodes = numbers.map(|number| Node::new(&data, &management, number)).collect();
        let station = |label, number| Station::new(&data, label, number);
        let (observer, client) = (station("observer", OBSERVER), station("client", CLIENT));
        let stranger = station("stranger", STRANGER);
        let shared = Shared::new(shape.store, &management, shape.nodes);
        let mut lab = Self {
            shape,
            data,
            management,
            nodes,
            observer,
            client,
            stranger,
            journal: None,
            controller: None,
            shared,
        };
        if shape.contender == Contender::Vipkeeper {
            lab.journal = Some(lab.shared.journal());
            lab.controller = Some(Process::start(&mut lab.shared.controller(&program())));
        }
        lab.apply();
        lab.start(0);
        lab.wait_held();
        (1..shape.nodes).for_each(|node| lab.start(node));
        lab.settle();
        lab
    }

    /// Writes the VIPs into the store.
    pub(crate) fn apply(&self) {
        let policy = if self.shape.policy == Policy::Fast { "Fast" } else { "Safe" };
        let texts: Vec<String> = (0..self.shape.vips)
            .map(|index| {
                format!(
                    "apiVersion: vipkeeper.dev/v1alpha1\nkind: VirtualIP\nmetadata: {{name: vip{index}, namespace: shop}}\n\
                     spec: {{address: \"{}\", failoverPolicy: {policy}}}\n",
                    self.vip(index)
                )
            })
            .collect();
        if self.shape.contender == Contender::Vipkeeper {
            self.shared.apply(&texts);
        }
    }

    pub(crate) fn vip(&self, index: usize) -> IpAddr {
        vip(self.shape.family, index)
    }

    /// The indices of the VIPs that are observed.
    pub(crate) fn observed(&self) -> Vec<usize> {
        let (all, some) = (self.shape.vips, self.shape.vips.min(OBSERVED));
        (0..some).map(|place| if some == 1 { 0 } else { place * (all - 1) / (some - 1) }).collect()
    }

    fn wait_held(&self) {
        wait_until(SOON, "the first node to hold all VIPs", || self.standing(0) == self.shape.vips);
    }

    /// How many VIPs stand in a node's kernel.
    pub(crate) fn standing(&self, node: usize) -> usize {
        let (option, length) = if self.shape.family == Family::V4 { ("-4", "/32") } else { ("-6", "/128") };
        let listed = self.nodes[node].station.netns.ip(&format!("-o {option} addr show dev {INTERFACE}"));
        listed.lines().filter(|line| line.contains(length)).count()
    }

    /// Starts a node's agent.
    pub(crate) fn start(&mut self, node: usize) {
        match self.shape.contender {
            Contender::Vipkeeper => {
                let mut command = self.nodes[node].station.netns.command(&program());
                command.args(["agent", "--node", &self.nodes[node].name()]);
                let bpf = self.shape.gate == Gate::Bpf || (self.shape.gate == Gate::Mixed && node.is_multiple_of(2));
                command.args(["--gate", if bpf { "bpf" } else { "nft" }]);
                command.arg("--bpffs").arg(self.nodes[node].bpffs.path());
                command.args([
                    "--profile",
                    match self.shape.profile {
                        Profile::Lan => "lan",
                        Profile::FastLan => "fast-lan",
                        Profile::Virtual => "virtual",
                    },
                ]);
                command.args(self.shared.arguments());
                self.nodes[node].run(&mut command);
            }
            Contender::Keepalived(advert) => {
                let file = self.folder().join(format!("keepalived{node}"));
                let mut command = keepalived(&self.nodes[node].station, &file, advert, self.vip(0));
                self.nodes[node].run(&mut command);
            }
        }
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.shared.folder().to_owned()
    }

    /// The newest view, and what came after a time.
    pub(crate) fn journal(&self) -> Option<&Journal> {
        self.journal.as_ref()
    }

    /// Whose address VIP 0 is: by the view, or (keepalived) by who alone has it in the kernel.
    pub(crate) fn holder(&self) -> Option<usize> {
        if self.shape.contender != Contender::Vipkeeper {
            let holding: Vec<usize> = (0..self.shape.nodes).filter(|node| self.standing(*node) > 0).collect();
            return <[usize; 1]>::try_from(holding).ok().map(|[node]| node);
        }
        let view = self.journal()?.view()?;
        let right = view.assign.values().find(|entry| entry.name == "shop/vip0")?.holder.clone()?;
        self.nodes.iter().position(|node| node.name() == right.node)
    }

    /// Whether every running agent is a member with all the watchers there can be, and holders wait for nobody.
    pub(crate) fn is_settled(&self) -> bool {
        if self.shape.contender != Contender::Vipkeeper {
            return self.holder().is_some();
        }
        let Some(view) = self.journal().and_then(Journal::view) else { return false };
        let running: Vec<String> = self.nodes.iter().filter(|node| node.is_running()).map(Node::name).collect();
        let watched = |name: &String| {
            view.members.get(name).is_some_and(|member| {
                member.state == State::Up
                    && (member.mode == Mode::Peers || running.len() == 1)
                    && member.watchers.len() == (running.len() - 1).min(3)
                    && member.watchers.keys().all(|watcher| running.contains(watcher))
            })
        };
        let held = view.assign.values().filter(|entry| {
            entry.after.is_empty() && entry.holder.as_ref().is_some_and(|right| running.contains(&right.node))
        });
        running.iter().all(watched) && held.count() == self.shape.vips
    }

    /// Waits until it is settled and the holder's kernel has the addresses.
    pub(crate) fn settle(&self) {
        wait_until(SOON, &format!("the lab to settle ({})", self.shape.name()), || self.is_settled());
        let holder = self.holder().unwrap();
        wait_until(SOON, "the address of VIP 0", || self.standing(holder) > 0);
    }

    /// The members of the newest view, VIP 0's entry, and the end of what each node's agents printed, for a run that
    /// failed.
    pub(crate) fn story(&self) -> String {
        const LINES: usize = 80;
        let mut text = String::new();
        if let Some(view) = self.journal().and_then(Journal::view) {
            let first = view.assign.values().find(|entry| entry.name == "shop/vip0");
            text.push_str(&format!("{:#?}\n{:#?}\n{first:#?}\n", view.members, view.fences));
        }
        for (place, node) in self.nodes.iter().enumerate() {
            let told = node.told();
            let lines: Vec<&str> = told.lines().collect();
            let end = &lines[lines.len().saturating_sub(LINES)..];
            text.push_str(&format!("--- {}, {} VIPs stand\n{}\n", node.name(), self.standing(place), end.join("\n")));
        }
        text
    }
}

/// keepalived as it is set up by people: every node starts as a backup, the first has the highest priority.
fn keepalived(station: &Station, file: &Path, advert: u32, vip: IpAddr) -> Command {
    crate::support::require(&["keepalived"]);
    let version = if advert < 1000 { 3 } else { 2 };
    let text = format!(
        "global_defs {{\n  router_id n{number}\n  vrrp_version {version}\n}}\nvrrp_instance web {{\n  state BACKUP\n  \
         interface {INTERFACE}\n  virtual_router_id 51\n  priority {priority}\n  advert_int {seconds}\n  \
         virtual_ipaddress {{\n    {vip}/32\n  }}\n}}\n",
        number = station.number,
        priority = 200 - 50 * u32::from(station.number),
        seconds = f64::from(advert) / 1000.0,
    );
    std::fs::write(file, text).unwrap();
    let mut command = station.netns.command("keepalived");
    command.args(["--dont-fork", "--log-console", "--log-detail", "--vrrp", "--use-file"]).arg(file);
    command.arg("--pid").arg(file.with_extension("pid")).arg("--vrrp_pid").arg(file.with_extension("vrrp"));
    command
}
