//! Look-ups: the service over HTTP beside a minimal handler on the same server library, and the table of networks beside
//! the `iprange` crate.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use ipnet::Ipv4Net;
use ipnetwork::{IpNetwork, Ipv4Network};
use iprange::IpRange;
use support::{Bench, nanos_each, vipkeeper};
use vipkeeper::core::ip::table::Table;
use warp::Filter;

/// Set in the environment of the process that is the baseline: this program again.
const BASELINE: &str = "LOOKUP_BENCH_BASELINE";
/// Connections that ask at a time, each one question after the other.
const CONNECTIONS: usize = 8;
/// How long one measurement asks.
const ASKING: Duration = Duration::from_millis(800);

/// A server process, ended on drop.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that is free now.
fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn start(command: &mut Command, address: SocketAddr) -> Server {
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let server = Server { child, address };
    let begin = Instant::now();
    while TcpStream::connect(address).is_err() {
        assert!(begin.elapsed() < Duration::from_secs(20), "a server does not start");
        std::thread::sleep(Duration::from_millis(20));
    }
    server
}

/// The baseline: one filter, one constant answer, as many threads as the service has.
fn serve_baseline(address: &str) {
    let address: SocketAddr = address.parse().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let answer = warp::path("lookup").and(warp::query::raw()).map(|_query: String| "Hewlett Packard\n".to_owned());
        let service = TowerToHyperService::new(warp::service(answer));
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::spawn(async move {
                let _broken = connection.await;
            });
        }
    });
}

/// Asks on all connections until the time is over; the latency of each answer, in microseconds.
fn ask(address: SocketAddr, target: &str) -> Vec<f64> {
    let request = format!("GET {target} HTTP/1.1\r\nhost: lookup\r\n\r\n");
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(|| ask_alone(address, &request))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

fn ask_alone(address: SocketAddr, request: &str) -> Vec<f64> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut latencies = Vec::new();
    let mut line = String::new();
    let mut body = Vec::new();
    let end = Instant::now() + ASKING;
    while Instant::now() < end {
        let start = Instant::now();
        stream.write_all(request.as_bytes()).unwrap();
        let mut length = 0;
        loop {
            line.clear();
            reader.read_line(&mut line).unwrap();
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.trim().parse().unwrap();
            }
            assert!(!line.starts_with("HTTP/1.1") || line.starts_with("HTTP/1.1 200"), "{line}");
            if line == "\r\n" {
                break;
            }
        }
        body.resize(length, 0);
        reader.read_exact(&mut body).unwrap();
        latencies.push(start.elapsed().as_secs_f64() * 1e6);
    }
    latencies
}

/// A WHOIS server that always answers the same, on a thread that ends with the process.
fn whois() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            // What is closed with a question unread is reset, and its answer lost.
            let _ = BufReader::new(&stream).read_line(&mut String::new());
            let text = "Domain Name: EXAMPLE.COM\nRegistrar: Example\nCreation Date: 1995-08-14\n".repeat(10);
            let _ = stream.write_all(text.as_bytes());
        }
    });
    address
}

fn service(bench: &mut Bench) {
    if !bench.wants("answers, requests") && !bench.wants("answers, latency") {
        return;
    }
    let (ours, theirs) = (free_port(), free_port());
    let ours = start(
        vipkeeper().args(["lookup", "serve", "--client-rate", "0", "--rdap", "off"]).args([
            "--listen".to_owned(),
            ours.to_string(),
            "--whois".to_owned(),
            whois().to_string(),
        ]),
        ours,
    );
    let theirs = start(Command::new(std::env::current_exe().unwrap()).env(BASELINE, theirs.to_string()), theirs);
    for (name, target) in [
        ("local answers", "/lookup?mac=68b5.99fc.d1df"),
        ("local answers as JSON", "/lookup?ip=10.1.2.3&format=json"),
        ("kept answers", "/lookup?domain=example.com"),
    ] {
        let rate = |latencies: &[f64]| latencies.len() as f64 / ASKING.as_secs_f64();
        let (mut all_ours, mut all_theirs) = (Vec::new(), Vec::new());
        bench.compare(
            &format!("{name}, requests"),
            "req/s",
            5,
            || {
                let latencies = ask(ours.address, target);
                all_ours.extend_from_slice(&latencies);
                rate(&latencies)
            },
            "minimal warp handler",
            || {
                let latencies = ask(theirs.address, target);
                all_theirs.extend_from_slice(&latencies);
                rate(&latencies)
            },
        );
        bench.latencies(&format!("{name}, latency"), "us", &all_ours, Some(("minimal warp handler", &all_theirs)));
    }
}

/// Numbers that look random and are the same in every run.
fn scattered(i: u32) -> u32 {
    let mut x = i.wrapping_mul(0x9e37_79b9) ^ 0x85eb_ca6b;
    x ^= x >> 15;
    x = x.wrapping_mul(0x2c1b_3c6d);
    x ^ (x >> 13)
}

/// The longest prefix of an address, and whether there is any.
fn networks(bench: &mut Bench) {
    for count in [1_000_u32, 100_000, 1_000_000] {
        let name = format!("longest prefix of {count}");
        if !bench.wants(&name) {
            continue;
        }
        // As in the tables of the Internet most prefixes are long; the more there are the longer.
        let least = 32 - count.leading_zeros() as u8;
        let prefixes: Vec<Ipv4Network> = (0..count)
            .map(|i| {
                let length = least.max(8) + (scattered(i ^ 0x5555) % 5) as u8;
                Ipv4Network::new(Ipv4Addr::from_bits(scattered(i)), length.min(28)).unwrap()
            })
            .collect();
        let table = Table::new(prefixes.iter().map(|prefix| (IpNetwork::V4(*prefix), prefix.prefix()))).unwrap();
        let range: IpRange<Ipv4Net> =
            prefixes.iter().map(|prefix| Ipv4Net::new(prefix.ip(), prefix.prefix()).unwrap().trunc()).collect();
        // Half of the questions are about addresses in a prefix, half about any.
        let asked: Vec<Ipv4Addr> = (0..1 << 16)
            .map(|i: u32| match i % 2 {
                0 => prefixes[(scattered(i) % count) as usize].broadcast(),
                _ => Ipv4Addr::from_bits(scattered(i)),
            })
            .collect();
        let at = |i: usize| asked[i & 0xffff];
        bench.compare(
            &name,
            "ns",
            9,
            || nanos_each(500_000, |i| table.longest(IpAddr::V4(at(i))).map(|entry| entry.value)),
            "iprange contains",
            || nanos_each(500_000, |i| range.contains(&at(i))),
        );
        bench.figure(&format!("all networks around an address, of {count}"), "ns", 9, || {
            nanos_each(500_000, |i| table.containing(IpAddr::V4(at(i))).count())
        });
    }
}

fn main() {
    if let Ok(address) = std::env::var(BASELINE) {
        return serve_baseline(&address);
    }
    let mut bench = Bench::new("lookup");
    networks(&mut bench);
    service(&mut bench);
    bench.finish();
}
