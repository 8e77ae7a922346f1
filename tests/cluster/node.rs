//! A node: namespaces of network, mounts, processes, host name and IPC, and in them containerd, kubelet and kube-proxy.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::images::PAUSE;
use crate::lab::{Cgroups, nodes_and_pods};
use crate::support::netns::run;
use crate::support::process::Process;
use crate::support::segment::{Host, Segment};
use crate::support::wait_for;

/// How long the end of a node may take.
const SOON: Duration = Duration::from_secs(30);

pub struct Node {
    pub name: String,
    number: u8,
    /// What unshare(1) runs; the node's first process is its child.
    first: Option<Process>,
    host: Option<Host>,
    folder: PathBuf,
    tools: PathBuf,
    cgroups: Cgroups,
}

impl Node {
    /// A node that is switched off. `folder` is its disk, with images already there.
    pub fn new(number: u8, folder: &Path, tools: &Path, cgroups: &Cgroups) -> Self {
        let name = format!("node{number}");
        let cgroups = cgroups.below(&name);
        let node =
            Self { name, number, first: None, host: None, folder: folder.to_owned(), tools: tools.to_owned(), cgroups };
        node.configure();
        node
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn configure(&self) {
        fs::create_dir_all(self.file("cni")).unwrap();
        let network = json!({
            "cniVersion": "0.4.0", "name": "pods",
            "plugins": [
                {"type": "ptp", "mtu": 1500, "ipam": {
                    "type": "host-local", "subnet": format!("10.244.{}.0/24", self.number), "routes": [{"dst": "0.0.0.0/0"}],
                }},
                {"type": "portmap", "capabilities": {"portMappings": true}},
            ],
        });
        fs::write(self.file("cni/10-pods.conflist"), network.to_string()).unwrap();
        fs::write(self.file("resolv.conf"), "").unwrap();
        fs::write(self.file("containerd.toml"), self.containerd()).unwrap();
        let none = json!({
            "memory.available": "0%", "nodefs.available": "0%", "nodefs.inodesFree": "0%", "imagefs.available": "0%",
            "imagefs.inodesFree": "0%",
        });
        let kubelet = json!({
            "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
            "authentication": {"anonymous": {"enabled": true}, "webhook": {"enabled": false}},
            "authorization": {"mode": "AlwaysAllow"},
            "failCgroupV1": false, "cgroupDriver": "cgroupfs", "cgroupRoot": self.cgroups.name(),
            "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
            "failSwapOn": false, "resolvConf": self.file("resolv.conf"),
            "nodeStatusUpdateFrequency": "1s", "nodeLeaseDurationSeconds": 4,
            "evictionHard": none, "imageGCHighThresholdPercent": 100, "maxPods": 30,
        });
        fs::write(self.file("kubelet.yaml"), kubelet.to_string()).unwrap();
    }

    fn containerd(&self) -> String {
        format!(
            "version = 2\n\
             root = \"/var/lib/containerd\"\n\
             [plugins.\"io.containerd.grpc.v1.cri\"]\n\
             sandbox_image = \"{PAUSE}\"\n\
             restrict_oom_score_adj = true\n\
             [plugins.\"io.containerd.grpc.v1.cri\".cni]\n\
             bin_dir = \"/usr/lib/cni\"\n\
             conf_dir = \"{}\"\n",
            self.file("cni").display()
        )
    }

    /// Switches the node on.
    pub fn start(&mut self, segment: &Segment) {
        self.cgroups.make();
        let host = segment.host(&self.name, self.number);
        nodes_and_pods(&host, self.number);
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--", "nsenter"]).arg(format!("--net={}", host.netns.path().display()));
        command.args(["--", "unshare", "--mount", "--propagation", "slave", "--pid", "--uts", "--ipc", "--fork"]);
        command.args(["--kill-child=KILL", "--mount-proc"]);
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cluster/node")).arg(&self.folder).arg(&self.name);
        command.env("TOOLS", &self.tools).env("NODE_IP", host.ipv4().to_string());
        self.first = Some(Process::start(&mut command));
        self.host = Some(host);
    }

    pub fn is_on(&self) -> bool {
        self.host.is_some()
    }

    /// Its place on the network; it must be on.
    pub fn host(&self) -> &Host {
        self.host.as_ref().expect("the node is on")
    }

    /// The machine stops as without power: all processes, the link, what the kernel knew. The disk stays.
    pub fn crash(&mut self, segment: &Segment) {
        let Some(host) = self.host.take() else { return };
        // The port first: a namespace that goes frees its end of the cable only later.
        segment.bridge().try_ip(&format!("link del {}", host.port()));
        self.end();
        drop(host);
    }

    fn end(&mut self) {
        let Some(first) = self.first.take() else { return };
        // With their first process the kernel kills all others of its namespace, and unshare(1) takes it along.
        drop(first);
        self.cgroups.wait_empty(SOON);
        self.cgroups.remove();
    }

    /// The first process of the node, as the machine numbers it.
    fn init(&self) -> u32 {
        let unshare = self.first.as_ref().expect("the node is on").id();
        wait_for(SOON, "the first process of a node", || {
            let children = fs::read_to_string(format!("/proc/{unshare}/task/{unshare}/children")).ok()?;
            children.split_whitespace().next()?.parse().ok()
        })
    }

    /// A command in the node's namespaces.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args([
            "--target",
            &self.init().to_string(),
            "--mount",
            "--net",
            "--pid",
            "--uts",
            "--ipc",
            "--",
            program,
        ]);
        command
    }

    /// Stops the kubelet for good; its pods go on.
    pub fn stop_kubelet(&self) {
        fs::write(self.file("stop-kubelet"), "").unwrap();
        let pid = fs::read_to_string(self.file("kubelet.pid")).unwrap();
        run(self.command("kill").args(["-KILL", pid.trim()]));
    }

    pub fn start_kubelet(&self) {
        fs::remove_file(self.file("stop-kubelet")).unwrap();
    }

    /// Processes of the node whose command line begins so, as the node numbers them.
    pub fn processes(&self, begins: &str) -> Vec<String> {
        let listed = run(self.command("pgrep").args(["-f", &format!("^{begins}")]));
        listed.split_whitespace().map(str::to_owned).collect()
    }

    /// The last lines of the node's logs.
    pub fn logs(&self) -> String {
        let mut text = String::new();
        for program in ["containerd", "kubelet", "kube-proxy", "images"] {
            let log = fs::read_to_string(self.file(&format!("{program}.log"))).unwrap_or_default();
            let lines: Vec<_> = log.lines().collect();
            let from = lines.len().saturating_sub(15);
            text += &format!("--- {} {program}\n{}\n", self.name, lines[from..].join("\n"));
        }
        text
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.logs());
        }
        self.end();
    }
}
