//! Three nodes on one segment that share one directory.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::observer::Observer;
use crate::support::netns::run;
use crate::support::process::{Process, VIPKEEPER};
use crate::support::segment::{Host, Segment};
use crate::support::{wait_for, wait_until};

pub(crate) const VIP: &str = "198.51.100.20";
const SOON: Duration = Duration::from_secs(40);

/// What happens to the holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The machine is gone: no agent, no link.
    Power,
    /// The agent is killed and not started again.
    Kill,
    /// The agent is stopped, and goes on once another has taken over.
    Stop,
    /// The link to the segment is cut, and comes back once another has taken over.
    Cut,
}

pub(crate) struct Trio {
    segment: Segment,
    hosts: Vec<Host>,
    watcher: Host,
    agents: Vec<Option<Process>>,
    folder: TempDir,
    _bpffs: Bpffs,
}

/// A BPF file system of the test's own.
struct Bpffs(std::path::PathBuf);

impl Bpffs {
    fn mount(at: &Path) -> Self {
        std::fs::create_dir(at).unwrap();
        run(Command::new("mount").args(["-t", "bpf", "bpf"]).arg(at));
        Self(at.to_owned())
    }
}

impl Drop for Bpffs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).output();
    }
}

impl Trio {
    /// Three nodes that run, and a VIP that one of them holds.
    pub(crate) fn new() -> Self {
        let segment = Segment::new();
        let hosts: Vec<Host> = ["a", "b", "c"].iter().zip(1..).map(|(name, n)| segment.host(name, n)).collect();
        let watcher = segment.host("watcher", 9);
        let folder = tempfile::tempdir().unwrap();
        let bpffs = Bpffs::mount(&folder.path().join("bpf"));
        let manifests = folder.path().join("manifests");
        std::fs::create_dir(&manifests).unwrap();
        let text = format!(
            "apiVersion: vipkeeper.dev/v1alpha1\nkind: VirtualIP\nmetadata: {{name: web, namespace: shop}}\nspec: {{address: {VIP}}}\n"
        );
        std::fs::write(manifests.join("web.yaml"), text).unwrap();
        let mut trio = Self { segment, hosts, watcher, agents: Vec::new(), folder, _bpffs: bpffs };
        trio.agents = (0..3).map(|_| None).collect();
        (0..3).for_each(|node| trio.start(node));
        trio.settle();
        trio
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn name(node: usize) -> &'static str {
        ["a", "b", "c"][node]
    }

    pub(crate) fn start(&mut self, node: usize) {
        let mut command = self.hosts[node].netns.command(VIPKEEPER);
        command.args(["run", "--gate", "bpf", "--node", Self::name(node), "--bpffs", &self.path("bpf")]);
        command.args(["--store", &format!("dir:{}", self.path("manifests"))]);
        self.agents[node] = Some(Process::start(&mut command));
    }

    fn get(&self, what: &[&str]) -> serde_json::Value {
        let mut command = Command::new(VIPKEEPER);
        command.arg("get").args(what).args(["-o", "json", "--store", &format!("dir:{}", self.path("manifests"))]);
        serde_json::from_slice(&command.output().unwrap().stdout).unwrap_or_default()
    }

    fn view(&self) -> serde_json::Value {
        self.get(&["fview", "198.51.100.0-24"])["spec"].clone()
    }

    /// Who has the right to the VIP.
    pub(crate) fn holder(&self) -> Option<usize> {
        let view = self.view();
        let entry = view["assign"].as_object()?.values().next()?.clone();
        let right = entry["holder"].as_str()?.to_owned();
        (0..3).find(|node| right.starts_with(&format!("{}/", Self::name(*node))))
    }

    pub(crate) fn wait_holder(&self) -> usize {
        let holder = wait_for(SOON, "a holder", || self.holder());
        wait_until(SOON, "the address", || self.hosts[holder].has_address(VIP));
        holder
    }

    pub(crate) fn wait_other_holder(&self, old: usize) {
        let new = wait_for(SOON, "another holder", || self.holder().filter(|new| *new != old));
        wait_until(SOON, "the address there", || self.hosts[new].has_address(VIP));
    }

    /// Waits until every running agent is a member in peers mode with two watchers, and the holder waits for nobody.
    pub(crate) fn settle(&self) {
        wait_until(SOON, "all nodes to watch each other", || {
            let view = self.view();
            let running: Vec<usize> = (0..3).filter(|node| self.agents[*node].is_some()).collect();
            let member = |node: &usize| view["members"][Self::name(*node)].clone();
            let watched = |member: &serde_json::Value| {
                member["state"] == "Up"
                    && (member["mode"] == "peers" || running.len() == 1)
                    && member["watchers"].as_object().is_some_and(|all| all.len() + 1 == running.len())
            };
            let quiet = view["assign"]
                .as_object()
                .is_some_and(|all| all.values().all(|e| e["after"].as_object().is_some_and(serde_json::Map::is_empty)));
            running.iter().all(|node| watched(&member(node))) && quiet
        });
    }

    pub(crate) fn observe(&self) -> Observer {
        let macs = self.hosts.iter().map(Host::mac).collect();
        let observer = Observer::start(&self.watcher, macs);
        let holder = self.holder().unwrap();
        wait_until(SOON, "answers of the holder", || observer.answers(holder) > 20);
        observer
    }

    pub(crate) fn signal(&self, node: usize, signal: Signal) {
        self.agents[node].as_ref().unwrap().signal(signal);
    }

    pub(crate) fn wait_end(&mut self, node: usize) {
        let status = self.agents[node].take().unwrap().wait(SOON);
        assert!(status.success());
    }

    pub(crate) fn breaks(&mut self, node: usize, fault: Fault) {
        match fault {
            Fault::Power => {
                self.segment.cut(&self.hosts[node]);
                self.agents[node] = None;
            }
            Fault::Kill => self.agents[node] = None,
            Fault::Stop => self.signal(node, Signal::STOP),
            Fault::Cut => self.segment.cut(&self.hosts[node]),
        }
    }

    /// Ends what goes on; a machine without power and a killed agent stay as they are.
    pub(crate) fn heal(&self, node: usize, fault: Fault) {
        match fault {
            Fault::Stop => self.signal(node, Signal::CONT),
            Fault::Cut => self.segment.restore(&self.hosts[node]),
            Fault::Power | Fault::Kill => {}
        }
    }
}
