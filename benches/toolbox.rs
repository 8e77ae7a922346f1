//! Address toolbox: each figure beside what else could be used.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::{Command, Stdio};

use ipnet::Ipv4Net;
use ipnetwork::IpNetwork;
use iprange::IpRange;
use support::{Bench, nanos_each, process, seconds, vipkeeper};
use vipkeeper::core::ip::scope;
use vipkeeper::core::ip::table::Table;

const MILLION: usize = 1_000_000;

/// Addresses all over the space, the same in every run.
fn scattered(i: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(number(i)))
}

fn number(i: usize) -> u32 {
    let mixed = (i as u32).wrapping_mul(0x9e37_79b9);
    (mixed ^ mixed >> 15).wrapping_mul(0x85eb_ca6b)
}

/// Networks as a site lists them: some hundreds, from /8 to /28, many inside each other.
fn networks() -> Vec<IpNetwork> {
    (0..1000).map(|i| IpNetwork::new(scattered(i * 7919), 8 + (number(i) % 21) as u8).unwrap()).collect()
}

fn scopes(bench: &mut Bench) {
    let list: Vec<IpNetwork> =
        scope::IPV4.iter().map(|block| IpNetwork::new(block.network, block.length).unwrap()).collect();
    bench.compare(
        "scope of an IPv4 address",
        "ns",
        15,
        || nanos_each(200_000, |i| scope::scope(scattered(i))),
        "ipnetwork contains",
        || nanos_each(200_000, |i| list.iter().find(|network| network.contains(scattered(i)))),
    );
}

fn iprange(networks: &[IpNetwork]) -> IpRange<Ipv4Net> {
    networks.iter().map(|network| network.to_string().parse::<Ipv4Net>().unwrap()).collect()
}

fn look_ups(bench: &mut Bench) {
    let table = Table::new(networks().into_iter().map(|network| (network, ()))).unwrap();
    let set = iprange(&networks());
    let host = |i| Ipv4Net::new(Ipv4Addr::from_bits(number(i)), 32).unwrap();
    bench.compare(
        "longest of 1,000 networks",
        "ns",
        15,
        || nanos_each(200_000, |i| table.longest(scattered(i)).is_some()),
        "iprange supernet",
        || nanos_each(200_000, |i| set.supernet(&host(i)).is_some()),
    );
}

/// Files of the lines that the commands read.
struct Inputs {
    folder: tempfile::TempDir,
}

impl Inputs {
    fn new() -> Self {
        let inputs = Self { folder: tempfile::tempdir().unwrap() };
        for (name, lines) in [("million", MILLION), ("five", 5 * MILLION)] {
            let mut file = BufWriter::new(File::create(inputs.path(name)).unwrap());
            (0..lines).for_each(|i| writeln!(file, "{}", scattered(i)).unwrap());
        }
        let list: String = networks().iter().map(|network| format!("{network}\n")).collect();
        fs::write(inputs.path("networks"), list).unwrap();
        inputs
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn sort(&self, name: &str, memory: &str) -> Command {
        let mut command = vipkeeper();
        command.args(["ip", "sort", "--memory", memory, "--temp-dir"]).arg(self.folder.path()).arg(self.path(name));
        command.stdout(Stdio::null());
        command
    }

    fn gnu_sort(&self, flags: &[&str]) -> Command {
        let mut command = Command::new("sort");
        command.env("LC_ALL", "C").args(flags).arg("-T").arg(self.folder.path()).arg(self.path("million"));
        command.stdout(Stdio::null());
        command
    }

    fn matching(&self, name: &str) -> Command {
        let mut command = vipkeeper();
        command.args(["ip", "match", "--longest", "--prefixes"]).arg(self.path("networks"));
        command.stdin(File::open(self.path(name)).unwrap()).stdout(Stdio::null());
        command
    }
}

/// The least that a program with iprange would do: read, parse, look up, print.
fn match_with_iprange(lines: &Path, set: &IpRange<Ipv4Net>) {
    let mut out = BufWriter::new(File::create("/dev/null").unwrap());
    for line in BufReader::new(File::open(lines).unwrap()).lines().map(Result::unwrap) {
        let address: Ipv4Addr = line.parse().unwrap();
        match set.supernet(&Ipv4Net::new(address, 32).unwrap()) {
            Some(network) => writeln!(out, "{address} {network}").unwrap(),
            None => writeln!(out, "{address} -").unwrap(),
        }
    }
}

fn jobs(bench: &mut Bench) {
    if !["sort", "match"].iter().any(|name| bench.wants(name)) {
        return;
    }
    let inputs = Inputs::new();
    let by_parts = ["-t.", "-k1,1n", "-k2,2n", "-k3,3n", "-k4,4n"];
    let ours = || process(&mut inputs.sort("million", "64"));
    bench.compare(
        "sort of 1 M lines, wall",
        "s",
        3,
        || ours().wall,
        "GNU sort, numbers of four fields",
        || process(&mut inputs.gnu_sort(&by_parts)).wall,
    );
    bench.compare(
        "sort of 1 M lines through files, wall",
        "s",
        3,
        || process(&mut inputs.sort("million", "1")).wall,
        "GNU sort, bytes (another order)",
        || process(&mut inputs.gnu_sort(&[])).wall,
    );
    bench.compare(
        "sort of 1 M lines in 1 MiB, peak memory",
        "MiB",
        3,
        || process(&mut inputs.sort("million", "1")).peak_mib(),
        "GNU sort",
        || process(&mut inputs.gnu_sort(&by_parts)).peak_mib(),
    );
    bench.compare(
        "sort of 5 M lines in 1 MiB, peak memory",
        "MiB",
        1,
        || process(&mut inputs.sort("five", "1")).peak_mib(),
        "of 1 M lines in 1 MiB",
        || process(&mut inputs.sort("million", "1")).peak_mib(),
    );
    let set = iprange(&networks());
    bench.compare(
        "match of 1 M lines, wall",
        "s",
        3,
        || process(&mut inputs.matching("million")).wall,
        "a loop with iprange",
        || seconds(|| match_with_iprange(&inputs.path("million"), &set)),
    );
    bench.compare(
        "match of 5 M lines, peak memory",
        "MiB",
        1,
        || process(&mut inputs.matching("five")).peak_mib(),
        "of 1 M lines",
        || process(&mut inputs.matching("million")).peak_mib(),
    );
}

fn main() {
    let mut bench = Bench::new("toolbox");
    scopes(&mut bench);
    look_ups(&mut bench);
    jobs(&mut bench);
    bench.finish();
}
