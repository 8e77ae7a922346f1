//! The agent on one machine: from YAML to the kernel, and what it costs to hold.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, missing_docs, unreachable_pub)]

mod support;
#[path = "../tests/support/mod.rs"]
mod testing;

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use support::Bench;
use testing::netns::Netns;
use testing::segment::{Host, INTERFACE, Segment};

const LIMIT: Duration = Duration::from_secs(300);

fn address(n: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x0a00_0100 + n)
}

fn manifest(n: u32) -> String {
    format!(
        "apiVersion: vipkeeper.dev/v1alpha1\nkind: VirtualIP\nmetadata: {{name: vip{n}, namespace: bench}}\nspec: {{address: {}}}\n",
        address(n)
    )
}

/// All manifests in files of a hundred, as people keep them.
fn write_manifests(folder: &Path, count: u32) {
    for first in (0..count).step_by(100) {
        let texts: Vec<String> = (first..count.min(first + 100)).map(manifest).collect();
        std::fs::write(folder.join(format!("vips{first}.yaml")), texts.join("---\n")).unwrap();
    }
}

/// A node whose link is in 10.0.0.0/16, so that every VIP belongs there.
struct Node {
    segment: Segment,
    host: Host,
    folder: tempfile::TempDir,
}

impl Node {
    fn new() -> Self {
        let segment = Segment::new();
        let host = segment.host("node", 1);
        host.netns.ip("addr add 10.0.0.1/16 dev eth0");
        Self { segment, host, folder: tempfile::tempdir().unwrap() }
    }

    /// Starts a role on the manifests.
    fn role(&self, words: &[&str]) -> Agent {
        let binary = support::vipkeeper().get_program().to_str().unwrap().to_owned();
        let mut command = self.host.netns.command(&binary);
        command.args(words).args(["--store", &format!("dir:{}", self.folder.path().display())]);
        Agent(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    fn start(&self) -> Agent {
        self.role(&["run", "--node", "bench"])
    }

    /// Starts the agent and waits until all addresses stand.
    fn hold(&self, count: u32) -> Agent {
        let agent = self.start();
        wait_addresses(&self.host.netns, count);
        agent
    }
}

struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The number of IPv4 addresses of 10.0.1.0 and above in a namespace, as the kernel's own table of routes to itself has
/// them; cheap to ask again and again.
fn addresses(netns: &Netns) -> u32 {
    let table = netns.run(|| std::fs::read_to_string("/proc/thread-self/net/fib_trie").unwrap());
    let local = table.split("Local:").nth(1).unwrap_or(&table);
    let mut found = std::collections::BTreeSet::new();
    let mut last = None;
    for line in local.lines() {
        let line = line.trim();
        if let Some(ip) = line.strip_prefix("|-- ").and_then(|ip| ip.parse::<Ipv4Addr>().ok()) {
            last = Some(ip);
        } else if line == "/32 host LOCAL"
            && let Some(ip) = last.filter(|ip| *ip >= address(0))
            && ip < Ipv4Addr::new(10, 1, 0, 0)
        {
            found.insert(ip);
        }
    }
    u32::try_from(found.len()).unwrap()
}

fn wait_addresses(netns: &Netns, count: u32) {
    let start = Instant::now();
    while addresses(netns) < count {
        assert!(start.elapsed() < LIMIT, "{} of {count} addresses", addresses(netns));
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn from_yaml(count: u32) -> f64 {
    let node = Node::new();
    write_manifests(node.folder.path(), count);
    let start = Instant::now();
    let _agent = node.hold(count);
    start.elapsed().as_secs_f64()
}

/// Waits until nothing was written into the store for a while: every status says what is so.
fn wait_settled(node: &Node, count: u32) {
    let start = Instant::now();
    let state = node.folder.path().join(".vipkeeper");
    let newest = || {
        let folders = std::fs::read_dir(&state).unwrap().map(|entry| entry.unwrap().path());
        folders.filter_map(|folder| std::fs::metadata(folder).ok()?.modified().ok()).max()
    };
    let mut last = (newest(), Instant::now());
    // Leases are renewed for ever.
    while last.1.elapsed() < Duration::from_secs(1) && start.elapsed() < Duration::from_millis(2000 + u64::from(count))
    {
        std::thread::sleep(Duration::from_millis(50));
        if newest() != last.0 {
            last = (newest(), Instant::now());
        }
    }
}

/// A restart: the store knows the objects, the kernel lost its addresses (as after a reboot of the machine's network).
fn from_known_yaml(count: u32) -> f64 {
    let node = Node::new();
    write_manifests(node.folder.path(), count);
    let agent = node.hold(count);
    wait_settled(&node, count);
    drop(agent);
    node.host.netns.ip("addr flush dev eth0 to 10.0.1.0/24");
    for third in 2..=((count >> 8) + 1) {
        node.host.netns.ip(&format!("addr flush dev eth0 to 10.0.{third}.0/24"));
    }
    assert_eq!(addresses(&node.host.netns), 0);
    let start = Instant::now();
    let _agent = node.hold(count);
    start.elapsed().as_secs_f64()
}

fn by_ip_batch(count: u32) -> f64 {
    let node = Node::new();
    let file = node.folder.path().join("batch");
    let mut batch = String::new();
    for n in 0..count {
        writeln!(batch, "addr add {}/32 dev {INTERFACE} noprefixroute valid_lft 300 preferred_lft 300", address(n))
            .unwrap();
    }
    std::fs::write(&file, batch).unwrap();
    let start = Instant::now();
    let status = Command::new("ip").args(["-n", node.host.netns.name(), "-batch"]).arg(&file).status().unwrap();
    assert!(status.success());
    wait_addresses(&node.host.netns, count);
    start.elapsed().as_secs_f64()
}

/// Milliseconds until one more VIP stands where `count` are held already, beside one `ip addr add`.
fn one_more(bench: &mut Bench, count: u32) {
    let name = format!("one more VIP beside {count}, from file to kernel");
    if !bench.wants(&name) {
        return;
    }
    let node = Node::new();
    write_manifests(node.folder.path(), count);
    let _agent = node.hold(count);
    let (mut next, mut by_hand) = (count, count + 1000);
    bench.compare(
        &name,
        "ms",
        7,
        || {
            next += 1;
            let start = Instant::now();
            std::fs::write(node.folder.path().join(format!("one{next}.yaml")), manifest(next)).unwrap();
            while !node.host.has_address(&address(next).to_string()) {
                assert!(start.elapsed() < LIMIT);
            }
            start.elapsed().as_secs_f64() * 1000.0
        },
        "ip addr add",
        || {
            by_hand += 1;
            let start = Instant::now();
            node.host.netns.ip(&format!("addr add {}/32 dev {INTERFACE}", address(by_hand)));
            while !node.host.has_address(&address(by_hand).to_string()) {}
            start.elapsed().as_secs_f64() * 1000.0
        },
    );
}

/// keepalived with as many addresses, which it announces each 3 s as we do.
fn keepalived(host: &Host, folder: &Path, count: u32) -> Agent {
    let mut config = String::from(
        "global_defs { vrrp_version 3\n vrrp_garp_master_refresh 3\n }\nvrrp_instance bench { state MASTER\n interface eth0\n virtual_router_id 9\n priority 200\n advert_int 1\n virtual_ipaddress { 10.0.255.1/32 }\n virtual_ipaddress_excluded {\n",
    );
    for n in 0..count {
        writeln!(config, "{}/32 dev {INTERFACE}", address(n)).unwrap();
    }
    config.push_str("} }\n");
    let file = folder.join("keepalived.conf");
    std::fs::write(&file, config).unwrap();
    let mut command = host.netns.command("keepalived");
    command.args(["-n", "-P", "-f"]).arg(&file).arg("-p").arg(folder.join("k.pid")).arg("-r").arg(folder.join("v.pid"));
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("apt-get install keepalived");
    wait_addresses(&host.netns, count);
    Agent(child)
}

/// A process and its children.
fn family(pid: u32) -> Vec<u32> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let below = children.split_whitespace().filter_map(|child| child.parse().ok()).flat_map(family);
    std::iter::once(pid).chain(below).collect()
}

/// The resident sets of a process and its children, in MiB.
fn memory(pid: u32) -> f64 {
    family(pid).into_iter().map(|pid| support::resident(&pid.to_string()) as f64 / f64::from(1 << 20)).sum()
}

/// Share of a core that a process and its children use, in percent, while unrelated frames arrive.
fn idle(node: &Node, pid: u32, time: Duration) -> f64 {
    let noise = node.segment.host("noise", 3);
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            noise.netns.run(|| {
                let socket = std::net::UdpSocket::bind("198.51.100.3:0").unwrap();
                let start = Instant::now();
                let mut sent = 0u32;
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    while f64::from(sent) < start.elapsed().as_secs_f64() * 5000.0 {
                        let _ = socket.send_to(&[0; 64], "198.51.100.1:9");
                        sent += 1;
                    }
                    std::thread::sleep(Duration::from_millis(1));
                }
            });
        });
        let cpu = || family(pid).into_iter().map(support::cpu_seconds).sum::<f64>();
        let (before, start) = (cpu(), Instant::now());
        std::thread::sleep(time);
        let used = (cpu() - before) / start.elapsed().as_secs_f64();
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        used * 100.0
    })
}

/// Memory and CPU of what holds `count` addresses and announces them, beside keepalived.
fn cost(bench: &mut Bench, count: u32) {
    let memory_of = |what: &str| format!("resident memory at {count} VIPs, {what}");
    let idle_of = |what: &str| format!("idle CPU at {count} VIPs, 5,000 other frames a second, {what}");
    let subjects = ["the agent", "agent and controller in one"];
    if !subjects.iter().any(|what| bench.wants(&memory_of(what)) || bench.wants(&idle_of(what))) {
        return;
    }
    let time = Duration::from_secs(20);
    let measure = |agent: &Agent, node: &Node| {
        // The bursts after the installation are over by then.
        std::thread::sleep(Duration::from_secs(15));
        (memory(agent.0.id()), idle(node, agent.0.id(), time))
    };
    let theirs = {
        let node = Node::new();
        let agent = keepalived(&node.host, node.folder.path(), count);
        measure(&agent, &node)
    };
    for what in subjects {
        let node = Node::new();
        write_manifests(node.folder.path(), count);
        let alone = what == "the agent";
        let _controller = alone.then(|| node.role(&["controller"]));
        let agent = if alone { node.role(&["agent", "--node", "bench"]) } else { node.start() };
        wait_addresses(&node.host.netns, count);
        let ours = measure(&agent, &node);
        bench.record(&memory_of(what), "MiB", 1, ours.0, Some(("keepalived", theirs.0)));
        bench.record(&idle_of(what), "%", 1, ours.1, Some(("keepalived", theirs.1)));
    }
}

fn main() {
    let mut bench = Bench::new("agent");
    for (count, runs) in [(1_000, 5), (10_000, 1)] {
        let name = format!("{count} known VIPs from YAML to kernel");
        bench.compare(&name, "s", runs, || from_known_yaml(count), "ip -batch", || by_ip_batch(count));
    }
    // Ten thousand would take minutes: each is asked for three times, a thousand frames a second.
    let name = "1000 new VIPs from YAML to kernel, each asked for first";
    bench.compare(name, "s", 3, || from_yaml(1_000), "ip -batch", || by_ip_batch(1_000));
    one_more(&mut bench, 10_000);
    cost(&mut bench, 1_000);
    bench.finish();
}
