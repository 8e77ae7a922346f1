//! An installation: an API server with the chart, a controller, three nodes with agents on one segment, and a client.
//!
//! A second network leads to the API server, so that a node can lose the one without the other.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;
use tempfile::TempDir;

use crate::support::bpffs::Bpffs;
use crate::support::control_plane::{ControlPlane, Site};
use crate::support::installed::{Installed, LIMIT, NAMESPACE, chart};
use crate::support::netns::Netns;
use crate::support::process::{Process, VIPKEEPER};
use crate::support::segment::{Host, Segment};
use crate::support::wait_until;

/// The nodes' names; node n has host number n + 1 of the segment.
pub const NODES: [&str; 3] = ["node-a", "node-b", "node-c"];

/// The one port of a controller's or agent's health and metrics in its namespace.
const AGENT_PORT: u16 = 9470;

pub struct Bed {
    agents: Vec<Option<Process>>,
    controllers: Vec<Process>,
    pub plane: ControlPlane,
    _segment: Segment,
    pub hosts: Vec<Host>,
    pub client: Host,
    control: Netns,
    bpffs: Bpffs,
    folder: TempDir,
}

impl Bed {
    /// Everything installed, with one controller and no agent yet.
    pub fn new(audited: bool) -> Self {
        let control = Netns::new("control");
        control.ip("link add management type bridge stp_state 0 forward_delay 0");
        control.ip("addr add 192.0.2.254/24 dev management");
        control.ip("link set management up");
        let site = Site::within(&control, "192.0.2.254".parse().unwrap());
        let plane = ControlPlane::start_at(if audited { site.audited() } else { site });
        let segment = Segment::new();
        let hosts: Vec<Host> = NODES.iter().zip(1..).map(|(name, number)| segment.host(name, number)).collect();
        for host in &hosts {
            connect(&control, host);
        }
        let client = segment.host("client", 9);
        let agents = NODES.iter().map(|_| None).collect();
        let (bpffs, folder) = (Bpffs::new(), tempfile::tempdir().unwrap());
        let mut bed =
            Self { agents, controllers: Vec::new(), plane, _segment: segment, hosts, client, control, bpffs, folder };
        bed.install();
        bed.start_controller();
        bed
    }

    /// The same, with an agent on each node, ready.
    pub fn running(audited: bool) -> Self {
        let mut bed = Self::new(audited);
        (0..NODES.len()).for_each(|node| bed.start_agent(node));
        (0..NODES.len()).for_each(|node| bed.wait_ready(node));
        bed
    }

    fn install(&self) {
        self.helm(&["install", "vipkeeper", &chart(), "-n", NAMESPACE, "--create-namespace"]);
        self.plane.run(&["wait", "--for=condition=Established", "--timeout=60s", "-f", &format!("{}/crds", chart())]);
        let nodes = NODES.map(|name| {
            let labels = json!({"kubernetes.io/hostname": name});
            json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}})
        });
        self.apply(&json!({"apiVersion": "v1", "kind": "List", "items": nodes}));
    }

    /// A kubeconfig for the bearer of a service account's token.
    pub fn kubeconfig(&self, account: &str) -> PathBuf {
        let path = self.folder.path().join(account);
        std::fs::write(&path, self.plane.kubeconfig_for(&self.plane.token(NAMESPACE, account))).unwrap();
        path
    }

    /// `vipkeeper` in a namespace, with the rights of a service account.
    pub fn vipkeeper(&self, netns: &Netns, role: &str, account: &str) -> Command {
        let mut command = netns.command(VIPKEEPER);
        command.args([role, "--store", "k8s", "--kubeconfig"]).arg(self.kubeconfig(account));
        command.env("POD_NAMESPACE", NAMESPACE);
        command
    }

    /// The namespace of the API server and the controllers.
    pub fn control(&self) -> &Netns {
        &self.control
    }

    /// Starts a further controller.
    pub fn start_controller(&mut self) {
        let number = self.controllers.len();
        let mut command = self.vipkeeper(&self.control, "controller", "vipkeeper-controller");
        command.args(["--identity", &format!("controller-{number}"), "--listen", &format!("[::]:{}", 9471 + number)]);
        self.controllers.push(Process::start(&mut command));
    }

    /// Ends all controllers at once.
    pub fn stop_controllers(&mut self) {
        self.controllers.clear();
    }

    pub fn start_agent(&mut self, node: usize) {
        let mut command = self.vipkeeper(&self.hosts[node].netns, "agent", "vipkeeper-agent");
        command.args(["--node", NODES[node], "--gate", "bpf", "--bpffs"]).arg(self.bpffs.path());
        self.agents[node] = Some(Process::start(&mut command));
    }

    pub fn agent(&mut self, node: usize) -> &mut Process {
        self.agents[node].as_mut().unwrap()
    }

    pub fn wait_ready(&self, node: usize) {
        let what = format!("the agent of {} to be ready", NODES[node]);
        wait_until(LIMIT, &what, || {
            let url = format!("http://127.0.0.1:{AGENT_PORT}/readyz");
            let mut curl = self.hosts[node].netns.command("curl");
            curl.args(["-sf", "--max-time", "5", &url]).output().unwrap().status.success()
        });
    }

    /// Where the gates are kept.
    pub fn bpffs(&self) -> &Path {
        self.bpffs.path()
    }
}

impl Installed for Bed {
    fn plane(&self) -> &ControlPlane {
        &self.plane
    }

    fn names(&self) -> Vec<String> {
        NODES.map(str::to_owned).to_vec()
    }

    fn has_address(&self, node: usize, address: &str) -> bool {
        self.hosts[node].has_address(address)
    }
}

/// Gives a host a link to the network of the API server.
fn connect(control: &Netns, host: &Host) {
    let (number, name) = (host.number, control.name());
    host.netns.ip(&format!("link add management type veth peer name node{number} netns {name}"));
    control.ip(&format!("link set node{number} master management up"));
    host.netns.ip(&format!("addr add 192.0.2.{number}/24 dev management"));
    host.netns.ip("link set management up");
}
