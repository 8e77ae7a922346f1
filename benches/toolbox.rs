//! Address toolbox: each figure beside what else could be used.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::net::{IpAddr, Ipv4Addr};

use support::{Bench, nanos_each};
use vipkeeper::core::ip::scope;

/// Addresses all over the space, the same in every run.
fn scattered(i: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits((i as u32).wrapping_mul(0x9e37_79b9)))
}

fn scopes(bench: &mut Bench) {
    let list: Vec<ipnetwork::IpNetwork> =
        scope::IPV4.iter().map(|block| ipnetwork::IpNetwork::new(block.network, block.length).unwrap()).collect();
    bench.compare(
        "scope of an IPv4 address",
        "ns",
        15,
        || nanos_each(200_000, |i| scope::scope(scattered(i))),
        "ipnetwork contains",
        || nanos_each(200_000, |i| list.iter().find(|network| network.contains(scattered(i)))),
    );
}

fn main() {
    let mut bench = Bench::new("toolbox");
    scopes(&mut bench);
    bench.finish();
}
