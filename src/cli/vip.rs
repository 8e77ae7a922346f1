//! `vipkeeper vip`: holds addresses on an interface until it is told to stop.

use std::io::Write;
use std::net::IpAddr;

use anyhow::Context;
use ipnetwork::IpNetwork;
use tokio::signal::unix::{SignalKind, signal};

use super::{Exit, Failure};
use crate::api::duration::Duration;
use crate::api::rules::address::is_unicast;
use crate::core::announce::{SLOT, Timing};
use crate::core::ip::text::parse_prefix;
use crate::hold::{self, Wanted};

/// Hold IP addresses on an interface for as long as this runs.
///
/// Adds the addresses (marked with protocol 0x57), announces them at once, a few times fast and then every interval, and
/// removes them on Ctrl-C, SIGTERM or SIGHUP. An address that is there already and was not put there by this command is
/// left alone, and nothing is held then. What a killed run left is taken over, or goes after 300 seconds.
///
/// Needs CAP_NET_ADMIN and CAP_NET_RAW. No cluster, no store, no agreement with other hosts: for that, vipkeeper agent.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: vipkeeper vip --interface eth0 198.51.100.1/32 2001:db8::1")]
pub(crate) struct Args {
    /// The interface.
    #[arg(short, long, value_name = "NAME")]
    interface: String,
    /// Addresses; without a prefix length, /32 or /128.
    #[arg(required = true, value_name = "ADDRESS[/LENGTH]")]
    addresses: Vec<String>,
    /// Time between announcements, after the first few.
    #[arg(long, default_value = "3s", value_name = "DURATION")]
    interval: Duration,
    /// Print events as JSON, one object a line.
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(crate) fn run(self) -> anyhow::Result<Exit> {
        let wanted = self.wanted()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let (mut interrupt, mut terminate, mut hangup) =
                (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
            let stop = async {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                    _ = hangup.recv() => {}
                }
            };
            let report = |event: hold::Event| {
                let mut out = super::output();
                if self.json {
                    serde_json::to_writer(&mut out, &event)?;
                    writeln!(out)?;
                } else {
                    writeln!(out, "{event}")?;
                }
                out.flush()
            };
            hold::run(wanted, stop, report).await.context("vip")?;
            Ok(Exit::Done)
        })
    }

    fn wanted(&self) -> anyhow::Result<Wanted> {
        let mut addresses: Vec<IpNetwork> = Vec::new();
        for text in &self.addresses {
            let address = parse_prefix(text).map_err(|error| Failure::usage(error.to_string()))?;
            check(address).map_err(|why| Failure::usage(format!("{text}: {why}")))?;
            if addresses.iter().any(|other| other.ip() == address.ip()) {
                return Err(Failure::usage(format!("{} is given twice", address.ip())));
            }
            addresses.push(address);
        }
        if self.interval.0 < SLOT {
            return Err(Failure::usage(format!("--interval {}: at least 50ms", self.interval)));
        }
        let timing = Timing { interval: self.interval.0, ..Timing::default() };
        Ok(Wanted { interface: self.interface.clone(), addresses, timing })
    }
}

/// Whether a host can have the address.
fn check(address: IpNetwork) -> Result<(), &'static str> {
    let ip: IpAddr = address.ip();
    let whole = if ip.is_ipv4() { 31 } else { 127 };
    if !is_unicast(ip) {
        return Err("not an address of a host: it is unspecified, loopback, link-local, multicast or broadcast");
    }
    if address.prefix() < whole && ip == address.network() {
        return Err("this is a whole network; name one address of it");
    }
    Ok(())
}
