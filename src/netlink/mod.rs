//! The kernel's links, addresses, routes and neighbours over rtnetlink(7): reads, changes, and a stream of events.
//!
//! Thin: it says what the kernel has and does what it is told, many requests to a system call; what *should* be there is
//! decided in `core`. Reads are dumps; whoever needs to stay current takes [`Monitor`] first and dumps then, so that no
//! change falls between, and dumps again after [`Event::Overrun`]. Nothing here polls.
//!
//! An address is never taken over or removed unless it carries the mark (`IFA_PROTO`) that the caller names.

mod address;
mod decode;
mod error;
mod monitor;
mod request;

pub use address::{Added, Removed};
pub use error::{Action, NetlinkError};
pub use monitor::{Event, Monitor};

use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::address::AddressMessage;
use rtnetlink::packet_route::link::{LinkFlags, LinkMessage};
use rtnetlink::packet_route::neighbour::NeighbourMessage;
use rtnetlink::packet_route::route::RouteMessage;

use crate::core::net::{Address, Link, Neighbour, Route};

use request::Requests;

/// A connection to the kernel of the network namespace in which it was made; clones share it.
#[derive(Debug, Clone)]
pub struct Netlink {
    requests: Requests,
}

impl Netlink {
    /// Opens a connection, served by a task on the running tokio runtime until the last clone is dropped.
    ///
    /// # Errors
    /// [`NetlinkError::Socket`] when the kernel refuses the socket.
    pub fn new() -> Result<Self, NetlinkError> {
        Ok(Self { requests: Requests::open().map_err(NetlinkError::Socket)? })
    }

    /// All links, by index.
    ///
    /// # Errors
    /// [`NetlinkError::Read`].
    pub async fn links(&self) -> Result<Vec<Link>, NetlinkError> {
        let mut links = Vec::new();
        let request = RouteNetlinkMessage::GetLink(LinkMessage::default());
        for reply in self.requests.dump("links", request).await? {
            if let RouteNetlinkMessage::NewLink(message) = reply {
                links.extend(decode::link(&message));
            }
        }
        links.sort_by_key(|link| link.index);
        Ok(links)
    }

    /// All addresses of both families, in the kernel's order.
    ///
    /// # Errors
    /// [`NetlinkError::Read`].
    pub async fn addresses(&self) -> Result<Vec<Address>, NetlinkError> {
        self.addresses_of(0).await
    }

    /// The addresses of one link; of all where `link` is 0.
    async fn addresses_of(&self, link: u32) -> Result<Vec<Address>, NetlinkError> {
        let mut message = AddressMessage::default();
        message.header.index = link;
        let request = RouteNetlinkMessage::GetAddress(message);
        let replies = self.requests.dump("addresses", request).await?;
        Ok(replies.iter().filter_map(decode::address_reply).filter(|a| link == 0 || a.link == link).collect())
    }

    /// The unicast routes of the main table of both families.
    ///
    /// # Errors
    /// [`NetlinkError::Read`].
    pub async fn routes(&self) -> Result<Vec<Route>, NetlinkError> {
        let mut routes = Vec::new();
        let request = RouteNetlinkMessage::GetRoute(RouteMessage::default());
        for reply in self.requests.dump("routes", request).await? {
            if let RouteNetlinkMessage::NewRoute(message) = reply {
                routes.extend(decode::routes(&message));
            }
        }
        Ok(routes)
    }

    /// The neighbours of one link whose Ethernet address is known and not found wrong.
    ///
    /// # Errors
    /// [`NetlinkError::Read`].
    pub async fn neighbours(&self, link: u32) -> Result<Vec<Neighbour>, NetlinkError> {
        let mut neighbours = Vec::new();
        let request = RouteNetlinkMessage::GetNeighbour(NeighbourMessage::default());
        for reply in self.requests.dump("neighbours", request).await? {
            if let RouteNetlinkMessage::NewNeighbour(message) = reply {
                neighbours.extend(decode::neighbour(&message).filter(|neighbour| neighbour.link == link));
            }
        }
        Ok(neighbours)
    }

    /// Sets a link administratively up or down (`IFF_UP`).
    ///
    /// # Errors
    /// [`NetlinkError::Link`], with the kernel's reason.
    pub async fn set_link(&self, index: u32, up: bool) -> Result<(), NetlinkError> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.header.change_mask = LinkFlags::Up;
        message.header.flags = if up { LinkFlags::Up } else { LinkFlags::empty() };
        let results = self.requests.change(vec![request::change(RouteNetlinkMessage::SetLink(message), 0)]).await?;
        let action = if up { Action::Up } else { Action::Down };
        match results.into_iter().find_map(Result::err) {
            Some(source) => Err(NetlinkError::Link { action, link: self.name_of(index).await, source }),
            None => Ok(()),
        }
    }

    /// A stream of what changes from now on.
    ///
    /// # Errors
    /// [`NetlinkError::Socket`] when the kernel refuses the socket or the membership of a group.
    pub fn monitor(&self) -> Result<Monitor, NetlinkError> {
        Monitor::open().map_err(NetlinkError::Socket)
    }

    /// A link's name for an error message; its index where it has none any more.
    async fn name_of(&self, index: u32) -> String {
        let links = self.links().await.unwrap_or_default();
        links.into_iter().find(|link| link.index == index).map_or_else(|| format!("link {index}"), |link| link.name)
    }
}
