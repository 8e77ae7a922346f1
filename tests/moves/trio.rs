//! Three nodes on one segment that share one directory.

use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::observer::Observer;
use crate::support::bpffs::Bpffs;
use crate::support::netns::run;
use crate::support::process::{Process, VIPKEEPER};
use crate::support::segment::{Host, Segment};
use crate::support::{wait_for, wait_until};

pub(crate) const VIP: &str = "198.51.100.20";
pub(crate) const SOON: Duration = Duration::from_secs(40);

/// The nodes' names.
pub(crate) const NAMES: [&str; 3] = ["a", "b", "c"];

pub(crate) struct Trio {
    pub(crate) segment: Segment,
    pub(crate) hosts: Vec<Host>,
    pub(crate) client: Host,
    watcher: Host,
    agents: Vec<Option<Process>>,
    arguments: [Vec<String>; 3],
    folder: TempDir,
    bpffs: Bpffs,
}

impl Trio {
    /// Three nodes that run, and a VIP that one of them holds.
    pub(crate) fn new() -> Self {
        Self::with("", [&[], &[], &[]])
    }

    /// Three nodes that run with further arguments each, and a VIP with further lines of its spec, each indented by two.
    pub(crate) fn with(spec: &str, arguments: [&[&str]; 3]) -> Self {
        let segment = Segment::new();
        let hosts: Vec<Host> = NAMES.iter().zip(1..).map(|(name, n)| segment.host(name, n)).collect();
        let (client, watcher) = (segment.host("client", 8), segment.host("watcher", 9));
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("manifests")).unwrap();
        let arguments = arguments.map(|words| words.iter().map(|word| (*word).to_owned()).collect());
        let agents = NAMES.map(|_| None).into();
        let mut trio = Self { segment, hosts, client, watcher, agents, arguments, folder, bpffs: Bpffs::new() };
        trio.apply(spec);
        (0..3).for_each(|node| trio.start(node));
        trio.settle();
        trio
    }

    /// Writes the VIP's manifest anew.
    pub(crate) fn apply(&self, spec: &str) {
        let text = format!(
            "apiVersion: vipkeeper.dev/v1alpha1\nkind: VirtualIP\nmetadata: {{name: web, namespace: shop}}\nspec:\n  address: {VIP}\n{spec}"
        );
        // An editor's way: the file is never seen half written.
        let draft = self.folder.path().join("draft");
        std::fs::write(&draft, text).unwrap();
        std::fs::rename(draft, self.folder.path().join("manifests/web.yaml")).unwrap();
    }

    /// The store, as --store takes it.
    pub(crate) fn store(&self) -> String {
        format!("dir:{}", self.folder.path().join("manifests").display())
    }

    pub(crate) fn start(&mut self, node: usize) {
        let mut command = self.hosts[node].netns.command(VIPKEEPER);
        command.args(["run", "--gate", "bpf", "--node", NAMES[node], "--store", &self.store()]);
        command.arg("--bpffs").arg(self.bpffs.path()).args(&self.arguments[node]);
        self.agents[node] = Some(Process::start(&mut command));
    }

    /// Runs a command of ours on the store, and returns what it printed.
    pub(crate) fn ask(&self, words: &[&str]) -> String {
        run(Command::new(VIPKEEPER).args(words).env("VIPKEEPER_STORE", self.store()))
    }

    /// The VirtualIP as the store has it.
    pub(crate) fn vip(&self) -> serde_json::Value {
        serde_json::from_str(&self.ask(&["get", "vip", "web", "-n", "shop", "-o", "json"])).unwrap()
    }

    /// The answer of a node's HTTP server; `None` if there is none or it is an error.
    pub(crate) fn http(&self, node: usize, path: &str) -> Option<String> {
        crate::support::require(&["curl"]);
        let mut curl = self.hosts[node].netns.command("curl");
        let output = curl.args(["-sf", "--max-time", "5", &format!("http://127.0.0.1:9470{path}")]).output().unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
    }

    /// The value of a series, as a node's /metrics writes it.
    pub(crate) fn metric(&self, node: usize, series: &str) -> Option<f64> {
        let metrics = self.http(node, "/metrics")?;
        metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.trim().parse().ok())
    }

    /// How often an event of this reason was recorded of the VIP.
    pub(crate) fn events(&self, reason: &str) -> usize {
        let text = self.ask(&["describe", "vip", "web", "-n", "shop"]);
        // The same event again is counted on its line: `5s (x2 over 8s)`.
        let times = |line: &str| line.split_once("(x").and_then(|(_, rest)| rest.split(' ').next()?.parse().ok());
        let lines = text.lines().filter(|line| line.split_whitespace().nth(1) == Some(reason));
        lines.map(|line| times(line).unwrap_or(1)).sum()
    }

    /// One of the VIP's conditions, as `status/reason`; empty if it has none of that type.
    pub(crate) fn condition(&self, kind: &str) -> String {
        let vip = self.vip();
        let all = vip["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let found = all.iter().find(|one| one["type"] == kind);
        found
            .map(|one| format!("{}/{}", one["status"].as_str().unwrap(), one["reason"].as_str().unwrap()))
            .unwrap_or_default()
    }

    /// The segment's view; null before there is one.
    pub(crate) fn view(&self) -> serde_json::Value {
        let mut command = Command::new(VIPKEEPER);
        command.args(["get", "fview", "198.51.100.0-24", "-o", "json", "--store", &self.store()]);
        let view: serde_json::Value = serde_json::from_slice(&command.output().unwrap().stdout).unwrap_or_default();
        view["spec"].clone()
    }

    /// Who has the right to the VIP.
    pub(crate) fn holder(&self) -> Option<usize> {
        let view = self.view();
        let entry = view["assign"].as_object()?.values().next()?.clone();
        let right = entry["holder"].as_str()?.to_owned();
        (0..3).find(|node| right.starts_with(&format!("{}/", NAMES[*node])))
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
            let member = |node: &usize| view["members"][NAMES[*node]].clone();
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

    /// The machine is gone: no agent, no link.
    pub(crate) fn power_off(&mut self, node: usize) {
        // A process that saw its cable go would have a word to say, and a machine without power has none.
        if let Some(agent) = &self.agents[node] {
            agent.signal(Signal::STOP);
        }
        self.segment.cut(&self.hosts[node]);
        self.agents[node] = None;
    }
}
