//! The kernel's side of the agent: what it says, and what it is told to do.

use futures::StreamExt;
use tokio::sync::mpsc::{Sender, UnboundedReceiver};
use tracing::warn;

use super::{AgentError, Told};
use crate::core::keeper::Input;
use crate::core::net::{AddressSpec, Lifetime, PROTO_AGENT};
use crate::core::plan::Step;
use crate::netlink::{Event, Netlink, NetlinkError};

/// Tells all there is, and from then on what changes, until the channel closes.
pub(super) async fn follow(netlink: Netlink, told: Sender<Told>) -> Result<(), NetlinkError> {
    let mut monitor = netlink.monitor()?;
    if told.send(Told::Kernel(dump(&netlink).await?)).await.is_err() {
        return Ok(());
    }
    while let Some(event) = monitor.next().await {
        let input = match event {
            Event::Link(link) => Input::Link(link),
            Event::LinkGone { index } => Input::LinkGone(index),
            Event::Address(address) => Input::Address(address),
            Event::AddressGone(address) => {
                Input::AddressGone { ip: address.ip, link: address.link, prefix: address.prefix }
            }
            Event::Overrun => dump(&netlink).await?,
        };
        if told.send(Told::Kernel(input)).await.is_err() {
            return Ok(());
        }
    }
    Err(NetlinkError::Closed)
}

async fn dump(netlink: &Netlink) -> Result<Input, NetlinkError> {
    Ok(Input::Dumped {
        links: netlink.links().await?,
        addresses: netlink.addresses().await?,
        routes: netlink.routes().await?,
    })
}

/// Carries out steps, one list after the other, and answers each, until one of the channels closes.
pub(super) async fn execute(
    netlink: Netlink,
    mut lists: UnboundedReceiver<Vec<Step>>,
    told: Sender<Told>,
) -> Result<(), AgentError> {
    let mut held_ipv6 = 0;
    while let Some(steps) = lists.recv().await {
        for run in runs(&steps) {
            let specs: Vec<AddressSpec> = run.iter().map(|step| spec(step, held_ipv6)).collect();
            let results = change(&netlink, run, &specs).await;
            held_ipv6 += specs.iter().filter(|spec| spec.ip.is_ipv6()).count();
            for (step, result) in run.iter().zip(results) {
                let done = Input::Done { step: *step, error: result.err().map(|error| error.to_string()) };
                if told.send(Told::Kernel(done)).await.is_err() {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

/// The parts of a list that are of one sort, in its order.
fn runs(steps: &[Step]) -> impl Iterator<Item = &[Step]> {
    steps.chunk_by(|a, b| std::mem::discriminant(a) == std::mem::discriminant(b))
}

async fn change(netlink: &Netlink, run: &[Step], specs: &[AddressSpec]) -> Vec<Result<(), NetlinkError>> {
    match run.first() {
        Some(Step::Add { .. }) => discard(netlink.add_addresses(specs).await),
        Some(Step::Refresh { .. }) => discard(netlink.refresh_addresses(specs).await),
        Some(Step::Remove { .. }) => discard(netlink.remove_addresses(specs).await),
        None => Vec::new(),
    }
}

fn discard<T>(results: Vec<Result<T, NetlinkError>>) -> Vec<Result<(), NetlinkError>> {
    results.into_iter().map(|result| result.map(|_| ())).collect()
}

fn spec(step: &Step, held_ipv6: usize) -> AddressSpec {
    match *step {
        Step::Add { ip, link } => AddressSpec::virtual_ip(link, ip, PROTO_AGENT, Lifetime::at_install(ip, held_ipv6)),
        Step::Refresh { ip, link } => AddressSpec::virtual_ip(link, ip, PROTO_AGENT, Lifetime::held(ip)),
        Step::Remove { ip, link, prefix } => {
            AddressSpec { prefix, ..AddressSpec::virtual_ip(link, ip, PROTO_AGENT, Lifetime::held(ip)) }
        }
    }
}

/// Whether any address carries the agent's mark.
///
/// # Errors
/// The kernel's.
pub(super) async fn has_ours(netlink: &Netlink) -> Result<bool, NetlinkError> {
    Ok(netlink.addresses().await?.iter().any(|address| address.is_ours()))
}

/// Removes every address that carries the agent's mark; returns how many there were.
///
/// # Errors
/// The first that the kernel refused.
pub(super) async fn remove_all(netlink: &Netlink) -> Result<usize, NetlinkError> {
    let ours = netlink.addresses().await?.into_iter().filter(|address| address.is_ours());
    let specs: Vec<AddressSpec> =
        ours.map(|there| spec(&Step::Remove { ip: there.ip, link: there.link, prefix: there.prefix }, 0)).collect();
    let results = netlink.remove_addresses(&specs).await;
    for result in results {
        if let Err(error) = result {
            warn!(%error, "an address was not removed");
            return Err(error);
        }
    }
    Ok(specs.len())
}
