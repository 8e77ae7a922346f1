//! The machines: a bridge, the control plane, three nodes, and a client that belongs to no cluster.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tempfile::TempDir;

use crate::images;
use crate::node::Node;
use crate::support::control_plane::{ControlPlane, Site, programs};
use crate::support::installed::{Installed, LIMIT};
use crate::support::process::Process;
use crate::support::segment::{Host, Segment};
use crate::support::{require, wait_until};

/// How many nodes there are, unless a test wants fewer.
pub const NODES: u8 = 3;

/// The host number of the control plane.
const CONTROL: u8 = 8;

/// The host number of the client.
const CLIENT: u8 = 9;

pub struct Lab {
    pub nodes: Vec<Node>,
    _programs: Vec<Process>,
    plane: ControlPlane,
    pub client: Host,
    _control: Host,
    pub segment: Segment,
    cgroups: Cgroups,
    _folder: TempDir,
}

impl Lab {
    /// A cluster of this many nodes, all ready.
    pub fn start(count: u8) -> Self {
        require(&["containerd", "runc", "ctr", "nft", "iptables", "setpriv", "unshare", "pgrep"]);
        let tools = programs(&[
            "etcd",
            "kube-apiserver",
            "kubectl",
            "helm",
            "kube-controller-manager",
            "kube-scheduler",
            "kubelet",
            "kube-proxy",
        ]);
        eprintln!("the lab is {}", mark());
        sweep();
        let folder = tempfile::Builder::new().prefix(&mark()).tempdir().unwrap();
        let cgroups = Cgroups::new(&mark());
        let segment = Segment::new();
        let (control, client) = (segment.host("control", CONTROL), segment.host("client", CLIENT));
        nodes_and_pods(&control, CONTROL);
        let names: Vec<String> = (1..=count).map(|number| format!("node{number}")).collect();
        let site = Site::within(&control.netns, control.ipv4().into()).with_kubelets(&names);
        let making = std::thread::spawn({
            let disks: Vec<PathBuf> = names.iter().map(|name| folder.path().join(name)).collect();
            move || disks_with_images(&disks)
        });
        let plane = ControlPlane::start_at(site);
        let programs = vec![manager(&plane, &tools), scheduler(&plane, &tools)];
        making.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let nodes = (1..=count).map(|number| {
            let disk = folder.path().join(format!("node{number}"));
            for (file, token) in [("kubelet", format!("node{number}")), ("proxy", "proxy".to_owned())] {
                fs::write(disk.join(format!("kubeconfig-{file}")), plane.kubeconfig_for(&token)).unwrap();
            }
            Node::new(number, &disk, &tools, &cgroups)
        });
        let nodes = nodes.collect();
        let mut lab =
            Self { nodes, _programs: programs, plane, client, _control: control, segment, cgroups, _folder: folder };
        lab.nodes.iter_mut().for_each(|node| node.start(&lab.segment));
        (0..lab.nodes.len()).for_each(|node| lab.wait_ready(node, ""));
        lab
    }

    /// What the kubelet of a node last said that it lives.
    pub fn sign_of_life(&self, node: usize) -> String {
        let lease = ["get", "lease", "-n", "kube-node-lease", &self.nodes[node].name, "--ignore-not-found"];
        let output = self.plane.kubectl().args(lease).args(["-o", "jsonpath={.spec.renewTime}"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    fn is_ready(&self, node: usize) -> bool {
        let status = self.get(&["node", &self.nodes[node].name])["status"].clone();
        let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
        conditions.iter().any(|one| one["type"] == "Ready" && one["status"] == "True")
    }

    /// Waits until a node is ready, and has given a sign of life after `last`.
    pub fn wait_ready(&self, node: usize, last: &str) {
        let what = format!("{} to be ready", self.nodes[node].name);
        wait_until(LIMIT, &what, || self.sign_of_life(node) != last && self.is_ready(node));
    }

    /// Waits until the API takes a node for broken.
    pub fn wait_not_ready(&self, node: usize) {
        wait_until(LIMIT, &format!("{} to be not ready", self.nodes[node].name), || !self.is_ready(node));
    }

    /// Switches a node off as without power.
    pub fn crash(&mut self, node: usize) {
        self.nodes[node].crash(&self.segment);
    }

    /// Switches it on again.
    pub fn power_on(&mut self, node: usize) {
        let last = self.sign_of_life(node);
        self.nodes[node].start(&self.segment);
        self.wait_ready(node, &last);
    }
}

impl Installed for Lab {
    fn plane(&self) -> &ControlPlane {
        &self.plane
    }

    fn names(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.name.clone()).collect()
    }

    fn has_address(&self, node: usize, address: &str) -> bool {
        self.nodes[node].is_on() && self.nodes[node].host().has_address(address)
    }
}

/// What somebody who looks for the cause of a failure asks first.
const QUESTIONS: [&str; 4] = [
    "get nodes,pods -A -o wide",
    "get vip,fview -A -o yaml",
    "get events -n vipkeeper --sort-by=.lastTimestamp",
    "logs -n vipkeeper -l app.kubernetes.io/name=vipkeeper --all-containers --prefix --tail=30 --max-log-requests=20",
];

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for question in QUESTIONS {
                let output = self.plane.kubectl().args(question.split(' ')).arg("--request-timeout=10s").output();
                let output = output.map(|output| [output.stdout, output.stderr].concat()).unwrap_or_default();
                eprintln!("--- kubectl {question}\n{}", String::from_utf8_lossy(&output));
            }
        }
        // Before what they stand on.
        self.nodes.clear();
        self.cgroups.remove();
    }
}

/// Removes what a run that was killed could not: its processes ended with it, its namespaces, cgroups and disks did not.
fn sweep() {
    let name = |path: PathBuf| Some(path.file_name()?.to_str()?.to_owned());
    let named = |folder: PathBuf| fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let tops = Cgroups::roots().into_iter().chain([std::env::temp_dir()]);
    let marks: BTreeSet<String> = tops.flat_map(named).filter_map(name).filter(|name| name.contains("-lab")).collect();
    for found in marks {
        let Some((run, _)) = found.split_once("-lab") else { continue };
        let Some(process) = run.strip_prefix("vk").filter(|number| number.parse::<u32>().is_ok()) else { continue };
        if Path::new("/proc").join(process).exists() {
            continue;
        }
        Cgroups::new(&format!("{run}-lab")).remove();
        let _ = fs::remove_dir_all(std::env::temp_dir().join(&found));
        for netns in named("/run/netns".into()).filter_map(name).filter(|name| name.starts_with(&format!("{run}-"))) {
            let _ = Command::new("ip").args(["netns", "del", &netns]).output();
        }
    }
}

/// Holds off other tests while it lives: two clusters at once are too much for a small machine.
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// What all that a run makes is named after: this process.
pub fn mark() -> String {
    format!("vk{}-lab", std::process::id())
}

/// Gives a host a default route, as every node has one, and the ways to the pods of all nodes but its own.
pub fn nodes_and_pods(host: &Host, own: u8) {
    if own != CONTROL {
        host.netns.ip(&format!("route add default via 198.51.100.{CONTROL}"));
    }
    for number in (1..=NODES).filter(|number| *number != own) {
        host.netns.ip(&format!("route add 10.244.{number}.0/24 via 198.51.100.{number}"));
    }
}

fn disks_with_images(disks: &[PathBuf]) {
    let made = tempfile::tempdir().unwrap();
    images::make(made.path());
    for disk in disks {
        fs::create_dir_all(disk.join("images")).unwrap();
        for file in fs::read_dir(made.path()).unwrap().map(Result::unwrap) {
            fs::copy(file.path(), disk.join("images").join(file.file_name())).unwrap();
        }
    }
}

fn started(plane: &ControlPlane, tools: &Path, program: &str, token: &str, more: &[&str]) -> Process {
    let config = plane.file(&format!("kubeconfig-{token}"));
    fs::write(&config, plane.kubeconfig_for(token)).unwrap();
    let mut command: Command = plane.command(&tools.join(program));
    for flag in ["--kubeconfig", "--authentication-kubeconfig", "--authorization-kubeconfig"] {
        command.arg(flag).arg(&config);
    }
    Process::start(command.args(["--bind-address=127.0.0.1", "--leader-elect=false"]).args(more))
}

/// The controller manager, which takes a node for broken after six seconds.
fn manager(plane: &ControlPlane, tools: &Path) -> Process {
    let (key, root) = (plane.file("sa.key"), plane.file("pki/apiserver.crt"));
    let flags = [
        "--use-service-account-credentials",
        "--node-monitor-period=1s",
        "--node-monitor-grace-period=6s",
        "--service-account-private-key-file",
        key.to_str().unwrap(),
        "--root-ca-file",
        root.to_str().unwrap(),
    ];
    started(plane, tools, "kube-controller-manager", "manager", &flags)
}

fn scheduler(plane: &ControlPlane, tools: &Path) -> Process {
    started(plane, tools, "kube-scheduler", "scheduler", &[])
}

/// A cgroup of this name in every hierarchy of the machine, and what is below.
#[derive(Debug, Clone)]
pub struct Cgroups(PathBuf);

impl Cgroups {
    fn new(name: &str) -> Self {
        Self(PathBuf::from(name))
    }

    pub fn below(&self, name: &str) -> Self {
        Self(self.0.join(name))
    }

    /// The name, as a kubelet's `cgroupRoot` has it.
    pub fn name(&self) -> String {
        format!("/{}", self.0.display())
    }

    fn roots() -> Vec<PathBuf> {
        let top = PathBuf::from("/sys/fs/cgroup");
        if top.join("cgroup.controllers").exists() {
            return vec![top];
        }
        fs::read_dir(top).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect()
    }

    /// Makes them, each with what its parent has.
    pub fn make(&self) {
        for root in Self::roots() {
            let mut at = root;
            for part in self.0.components() {
                hand_down(&at);
                let parent = at.clone();
                at = at.join(part);
                fs::create_dir_all(&at).unwrap();
                for file in ["cpuset.cpus", "cpuset.mems"] {
                    if let Ok(value) = fs::read_to_string(parent.join(file))
                        && fs::read_to_string(at.join(file)).is_ok_and(|own| own.trim().is_empty())
                    {
                        let _ = fs::write(at.join(file), value);
                    }
                }
                if at.join("cgroup.clone_children").exists() {
                    fs::write(at.join("cgroup.clone_children"), "1").unwrap();
                }
            }
        }
    }

    /// The folders, children before their parents.
    fn folders(&self) -> Vec<PathBuf> {
        let mut all: Vec<PathBuf> =
            Self::roots().into_iter().map(|root| root.join(&self.0)).filter(|at| at.exists()).collect();
        let mut at = 0;
        while at < all.len() {
            let below = fs::read_dir(&all[at]).into_iter().flatten().flatten();
            let below: Vec<PathBuf> = below.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
            all.extend(below);
            at += 1;
        }
        all.reverse();
        all
    }

    /// Waits until no process is in any of them.
    pub fn wait_empty(&self, limit: Duration) {
        let processes = |folder: &PathBuf| fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
        wait_until(limit, "the cgroups of a node to be empty", || {
            self.folders().iter().all(|folder| processes(folder).is_empty())
        });
    }

    pub fn remove(&self) {
        for folder in self.folders() {
            let _ = fs::remove_dir(folder);
        }
    }
}

/// In the second version a cgroup hands to its children only the controllers that it is told to.
fn hand_down(folder: &Path) {
    let controllers = fs::read_to_string(folder.join("cgroup.controllers")).unwrap_or_default();
    for controller in controllers.split_whitespace() {
        let _ = fs::write(folder.join("cgroup.subtree_control"), format!("+{controller}"));
    }
}
