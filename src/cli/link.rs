//! `vipkeeper link`: network interfaces and their flags.

use std::io::Write;

use anyhow::Context;
use clap::Subcommand;
use serde::Serialize;

use super::{Exit, Failure};
use crate::core::net::{Link, Mac};
use crate::netlink::Netlink;

/// Show network interfaces, and set them up or down.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  vipkeeper link list
  vipkeeper link up eth1 --json")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
    /// Print JSON, one object a line.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// All interfaces with their flags, Ethernet addresses and MTU.
    ///
    /// Example: vipkeeper link list --json
    List,
    /// One interface.
    ///
    /// Example: vipkeeper link show eth0
    Show(Name),
    /// Set an interface up; prints its flags before and after.
    ///
    /// Example: vipkeeper link up eth0
    Up(Name),
    /// Set an interface down; prints its flags before and after. Its IPv6 addresses go with that.
    ///
    /// Example: vipkeeper link down eth0
    Down(Name),
}

#[derive(Debug, clap::Args)]
struct Name {
    /// The interface's name.
    name: String,
}

/// A link as it is printed.
#[derive(Debug, Serialize)]
struct Shown {
    name: String,
    index: u32,
    flags: Vec<&'static str>,
    mac: Option<Mac>,
    mtu: u32,
}

/// A change as it is printed.
#[derive(Debug, Serialize)]
struct Changed {
    name: String,
    before: Vec<&'static str>,
    after: Vec<&'static str>,
}

impl Args {
    pub(crate) fn run(self) -> anyhow::Result<Exit> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let netlink = Netlink::new()?;
            match self.command {
                Command::List => print(self.json, netlink.links().await?.into_iter().map(Shown::from), Shown::line)?,
                Command::Show(Name { name }) => {
                    print(self.json, [find(&netlink, &name).await?.into()], Shown::line)?;
                }
                Command::Up(Name { name }) => print(self.json, [set(&netlink, name, true).await?], Changed::line)?,
                Command::Down(Name { name }) => print(self.json, [set(&netlink, name, false).await?], Changed::line)?,
            }
            Ok(Exit::Done)
        })
    }
}

async fn find(netlink: &Netlink, name: &str) -> anyhow::Result<Link> {
    let links = netlink.links().await?;
    let there: Vec<_> = links.iter().map(|link| link.name.clone()).collect();
    links.into_iter().find(|link| link.name == name).ok_or_else(|| {
        let message = format!("no interface {name}; there are: {}", there.join(", "));
        anyhow::Error::new(Failure { exit: Exit::No, message })
    })
}

async fn set(netlink: &Netlink, name: String, up: bool) -> anyhow::Result<Changed> {
    let before = find(netlink, &name).await?;
    netlink.set_link(before.index, up).await?;
    let after = find(netlink, &name).await?;
    Ok(Changed { name, before: flags(&before), after: flags(&after) })
}

/// The flags in the words of ip-link(8), as far as decisions look at them.
fn flags(link: &Link) -> Vec<&'static str> {
    let all = [
        (link.up, "UP"),
        (link.carrier, "LOWER_UP"),
        (link.up && !link.carrier, "NO-CARRIER"),
        (link.loopback, "LOOPBACK"),
        (!link.arp && !link.loopback, "NOARP"),
    ];
    all.into_iter().filter_map(|(set, flag)| set.then_some(flag)).collect()
}

impl From<Link> for Shown {
    fn from(link: Link) -> Self {
        let flags = flags(&link);
        Self { name: link.name, index: link.index, flags, mac: link.mac, mtu: link.mtu }
    }
}

impl Shown {
    fn line(&self) -> String {
        let mac = self.mac.map_or_else(|| "-".to_owned(), |mac| mac.to_string());
        format!("{}: {} <{}> {mac} mtu {}", self.index, self.name, self.flags.join(","), self.mtu)
    }
}

impl Changed {
    fn line(&self) -> String {
        format!("{}: <{}> -> <{}>", self.name, self.before.join(","), self.after.join(","))
    }
}

fn print<T: Serialize>(json: bool, items: impl IntoIterator<Item = T>, line: fn(&T) -> String) -> anyhow::Result<()> {
    let mut out = super::output();
    for item in items {
        if json {
            serde_json::to_writer(&mut out, &item)?;
            writeln!(out)?;
        } else {
            writeln!(out, "{}", line(&item))?;
        }
    }
    out.flush().context("write the list")
}
