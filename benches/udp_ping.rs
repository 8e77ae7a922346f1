//! UDP ping: the reflector beside plain echo loops in C, delays by the kernel's clock beside the process's own under load,
//! and what a prober of many targets costs. Everything runs over loopback.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use support::{Bench, cpu_seconds, high_water, resident, vipkeeper};
use vipkeeper::udp::{Inbox, Options, Outbox, Socket};

/// Ports that nothing else of this bench uses.
const REFLECTOR: u16 = 42_767;
const PLAIN: u16 = 42_768;
const BATCHED: u16 = 42_769;
const TOLD: u16 = 42_771;
const HTTP: &str = "127.0.0.1:42770";
/// Probes under way at a time in the echo test.
const OUTSTANDING: u64 = 256;

/// A process that ends with the bench.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a command on one core and waits until it says `word`.
fn start(command: &mut Command, core: Option<usize>, word: &str) -> Running {
    let mut pinned = Command::new("taskset");
    if let Some(core) = core {
        pinned.args(["-c", &core.to_string()]);
    } else {
        pinned.args(["-a", "-c", "0-1023"]);
    }
    pinned.arg(command.get_program()).args(command.get_args());
    pinned.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pinned.spawn().expect("taskset (Debian: util-linux)");
    let mut lines = BufReader::new(child.stdout.take().unwrap().chain(child.stderr.take().unwrap())).lines();
    // What says the word on standard error closes standard output first, or says nothing there.
    let said = lines.by_ref().map_while(Result::ok).any(|line| line.contains(word));
    assert!(said, "{command:?} ended before it said {word:?}");
    std::thread::spawn(move || lines.for_each(drop));
    Running(child)
}

/// Compiles the baselines.
fn echo_program() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench-echo");
    let source = root.join("benches/udp_ping/echo.c");
    let built = Command::new("cc").args(["-O2", "-o"]).arg(&program).arg(source).status().expect("cc (Debian: gcc)");
    assert!(built.success(), "cc failed");
    program
}

fn reflector(core: Option<usize>) -> Running {
    let bind = format!("[::]:{REFLECTOR}");
    let words =
        ["udp-ping", "server", "--bind", &bind, "--workers", "1", "--rate", "100000000", "--burst", "100000000"];
    // The log goes to standard error alone.
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec \"$@\" 2>&1", "sh"]).arg(vipkeeper().get_program()).args(words);
    start(&mut shell, core, "probes are answered")
}

/// Answers a second that come back from a port, with a fixed number of probes under way.
fn echo_rate(port: u16) -> f64 {
    let bind = "127.0.0.1:0".parse().unwrap();
    let options = Options {
        bind,
        reuse_port: false,
        device: None,
        notices: false,
        buffer: Some(4 << 20),
        patience: Some(Duration::from_millis(50)),
    };
    let socket = Socket::open(&options).unwrap();
    let to: SocketAddr = ([127, 0, 0, 1], port).into();
    let (mut inbox, mut outbox) = (Inbox::new(64, 2048), Outbox::new());
    let mut send = |count: u64| {
        outbox.clear();
        for seq in 0..count {
            let mut probe = [0; 44];
            probe[..4].copy_from_slice(&(seq as u32).to_be_bytes());
            outbox.push(to, None, 0, &probe);
        }
        let mut first = 0;
        while first < outbox.len() {
            first += socket.send(&mut outbox, first).unwrap_or(1);
        }
    };
    send(OUTSTANDING);
    let (start, mut answers) = (Instant::now(), 0u64);
    while start.elapsed() < Duration::from_secs(1) {
        match socket.receive(&mut inbox, true).unwrap() as u64 {
            // All were dropped: begin anew.
            0 => send(OUTSTANDING),
            got => {
                answers += got;
                send(got);
            }
        }
    }
    answers as f64 / start.elapsed().as_secs_f64()
}

fn echo(bench: &mut Bench) {
    if !bench.wants("echo") {
        return;
    }
    let program = echo_program();
    let _ours = reflector(Some(1));
    let _plain = start(Command::new(&program).args([&PLAIN.to_string(), "1"]), Some(1), "ready");
    let _batched = start(Command::new(&program).args([&BATCHED.to_string(), "64"]), Some(1), "ready");
    let _told = start(Command::new(&program).args([&TOLD.to_string(), "64", "told"]), Some(1), "ready");
    let pin = |core: usize| {
        let set =
            Command::new("taskset").args(["-p", "-c", &core.to_string(), &std::process::id().to_string()]).output();
        assert!(set.unwrap().status.success());
    };
    pin(0);
    bench.compare("echo rate", "pps", 5, || echo_rate(REFLECTOR), "recvfrom/sendto in C", || echo_rate(PLAIN));
    bench.compare(
        "echo rate, batches",
        "pps",
        5,
        || echo_rate(REFLECTOR),
        "recvmmsg/sendmmsg in C",
        || echo_rate(BATCHED),
    );
    bench.compare(
        "echo rate, as much asked of the kernel",
        "pps",
        5,
        || echo_rate(REFLECTOR),
        "recvmmsg/sendmmsg in C with stamps and addresses",
        || echo_rate(TOLD),
    );
    let all = std::thread::available_parallelism().unwrap().get() - 1;
    Command::new("taskset").args(["-p", "-c", &format!("0-{all}"), &std::process::id().to_string()]).output().unwrap();
}

/// Round trips in microseconds as a plain program sees them: the clock before the send and after the receive.
fn userspace(count: usize) -> Vec<f64> {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    socket.connect(("127.0.0.1", REFLECTOR)).unwrap();
    (0..count)
        .filter_map(|_| {
            let sent = Instant::now();
            socket.send(&[0; 44]).unwrap();
            let heard = socket.recv(&mut [0; 64]).ok().map(|_| sent.elapsed().as_secs_f64() * 1e6);
            std::thread::sleep(Duration::from_millis(1));
            heard
        })
        .collect()
}

/// The same with the client, by the kernel's stamps.
fn kernel(count: usize) -> Vec<f64> {
    let target = format!("127.0.0.1:{REFLECTOR}");
    let words = ["udp-ping", "client", "--json", "-i", "0.001", "-c", &count.to_string(), "-s", "44", &target];
    let output = vipkeeper().args(words).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    lines.filter_map(|line| Some(line["rtt_seconds"].as_f64()? * 1e6)).collect()
}

fn accuracy(bench: &mut Bench) {
    for (hogs, name) in [(0, "round trip, calm"), (2, "round trip, two CPU hogs")] {
        if !bench.wants(name) {
            continue;
        }
        let _reflector = reflector(None);
        let _hogs: Vec<Running> = (0..hogs)
            .map(|_| Running(Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap()))
            .collect();
        let (ours, theirs) = (kernel(4_000), userspace(4_000));
        bench.latencies(name, "us", &ours, Some(("clock read by the process", &theirs)));
    }
}

fn get(path: &str) -> String {
    let mut stream = TcpStream::connect(HTTP).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

/// The sum of a counter over all targets.
fn sum(text: &str, name: &str) -> f64 {
    let prefix = format!("{name}{{");
    text.lines()
        .filter(|line| line.starts_with(&prefix))
        .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
        .sum()
}

/// Measures that many targets at one probe a second for a while.
fn prober(bench: &mut Bench, targets: usize, seconds: u64) {
    let name = |what: &str| format!("prober, {targets} targets at 1/s, {what}");
    if !bench.wants(&name("CPU")) {
        return;
    }
    let _reflector = reflector(None);
    let folder = tempfile::tempdir().unwrap();
    for (number, chunk) in (0..targets).collect::<Vec<_>>().chunks(32).enumerate() {
        // 127.0.0.0/8 is all this machine's: each target has an address of its own.
        let hosts: Vec<_> = chunk
            .iter()
            .map(|n| serde_json::json!({"host": format!("127.{}.{}.{}", n >> 14 & 63, n >> 7 & 127, (n & 127) + 1)}))
            .collect();
        let probe = serde_json::json!({
            "apiVersion": "vipkeeper.dev/v1alpha1", "kind": "UDPProbe",
            "metadata": {"name": format!("p{number}"), "namespace": "bench"}, "spec": {"targets": hosts},
        });
        std::fs::write(folder.path().join(format!("p{number}.yaml")), probe.to_string()).unwrap();
    }
    let store = format!("dir:{}", folder.path().display());
    let port = REFLECTOR.to_string();
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec \"$@\" 2>&1", "sh"]).arg(vipkeeper().get_program());
    shell.args(["prober", "--store", &store, "--node", "bench", "--listen", HTTP, "--target-port", &port]);
    let running = start(&mut shell, None, "health and metrics are served");
    let pid = running.0.id();
    let deadline = Instant::now() + Duration::from_secs(60);
    while !get("/metrics").contains(&format!("vipkeeper_prober_targets {targets}\n")) {
        assert!(Instant::now() < deadline, "the targets were not taken up");
        std::thread::sleep(Duration::from_millis(200));
    }
    std::thread::sleep(Duration::from_secs(3));
    let (cpu, start) = (cpu_seconds(pid), Instant::now());
    std::thread::sleep(Duration::from_secs(seconds));
    let used = (cpu_seconds(pid) - cpu) / start.elapsed().as_secs_f64();
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let (memory, greatest) = (mib(resident(&pid.to_string())), mib(high_water(&pid.to_string())));
    let text = get("/metrics");
    let (sent, lost) =
        (sum(&text, "vipkeeper_probe_packets_sent_total"), sum(&text, "vipkeeper_probe_packets_lost_total"));
    let after = mib(high_water(&pid.to_string()));
    bench.record(&name("CPU"), "cores", 1, used, None);
    bench.record(&name("resident memory"), "MiB", 1, memory, None);
    bench.record(&name("greatest memory"), "MiB", 1, greatest, None);
    bench.record(&name("greatest memory, scraped"), "MiB", 1, after, None);
    bench.record(&name("packets sent"), "packets", 1, sent, None);
    bench.record(&name("packets lost falsely"), "packets", 1, lost, None);
}

fn main() {
    let mut bench = Bench::new("udp_ping");
    echo(&mut bench);
    accuracy(&mut bench);
    prober(&mut bench, 1_000, 20);
    prober(&mut bench, 10_000, 20);
    bench.finish();
}
