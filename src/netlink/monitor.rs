//! What changes, as it changes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::Stream;
use rtnetlink::MulticastGroup;
use rtnetlink::packet_core::NetlinkPayload;
use rtnetlink::packet_route::link::LinkMessage;
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::proto::sys::{AsyncSocket, SocketAddr, TokioSocket, protocols::NETLINK_ROUTE};
use rtnetlink::proto::{NetlinkCodec, NetlinkFramed};

use crate::core::net::{Address, Link};

use super::{decode, request};

/// A change of links or addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A link is new, or is not as it was: name, address, flags or carrier. Sent for every link message, so an equal one
    /// may come twice.
    Link(Link),
    /// A link is gone.
    LinkGone {
        /// Its index; a link of the same name may come back under another.
        index: u32,
    },
    /// An address is new, was refreshed or has changed.
    Address(Address),
    /// An address is gone: removed, expired, or its link went.
    AddressGone(Address),
    /// Messages were lost because they came faster than they were read: dump links and addresses again. It is told when
    /// nothing is left in the socket, for until then the kernel drops further messages without a word.
    Overrun,
}

/// A stream of [`Event`]s; it ends only when the kernel closes the socket.
///
/// It holds no queue of its own: what is not taken waits in the socket's buffer, and when that was full the next item is
/// [`Event::Overrun`] in place of what the buffer had.
pub struct Monitor {
    messages: NetlinkFramed<RouteNetlinkMessage, TokioSocket, NetlinkCodec>,
}

impl Monitor {
    pub(super) fn open() -> io::Result<Self> {
        const GROUPS: [MulticastGroup; 3] =
            [MulticastGroup::Link, MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv6Ifaddr];
        let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
        request::grow_receive_buffer(socket.socket_ref())?;
        let groups = GROUPS.into_iter().fold(0, |all, group| all | 1 << (group as u32 - 1));
        socket.socket_mut().bind(&SocketAddr::new(0, groups))?;
        Ok(Self { messages: NetlinkFramed::new(socket) })
    }

    /// Empties the socket's buffer; only then does the kernel queue again (netlink(7), `ENOBUFS`).
    fn discard_queued(&self) {
        let socket = self.messages.get_ref().socket_ref();
        let mut part = Vec::with_capacity(1);
        while socket.recv_from(&mut part, 0).is_ok() {
            part.clear();
        }
    }
}

impl Stream for Monitor {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Event>> {
        loop {
            let Some((message, _)) = ready!(Pin::new(&mut self.messages).poll_next(context)) else {
                return Poll::Ready(None);
            };
            match message.payload {
                NetlinkPayload::Overrun(_) => {
                    self.discard_queued();
                    return Poll::Ready(Some(Event::Overrun));
                }
                NetlinkPayload::InnerMessage(message) => {
                    if let Some(event) = event(&message) {
                        return Poll::Ready(Some(event));
                    }
                }
                _ => {}
            }
        }
    }
}

impl std::fmt::Debug for Monitor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Monitor")
    }
}

/// A bridge speaks of its ports in link messages of its own family, which say less, and nothing of the link's end.
fn event(message: &RouteNetlinkMessage) -> Option<Event> {
    match message {
        RouteNetlinkMessage::NewLink(message) if is_whole(message) => decode::link(message).map(Event::Link),
        RouteNetlinkMessage::DelLink(message) if is_whole(message) => {
            Some(Event::LinkGone { index: message.header.index })
        }
        RouteNetlinkMessage::NewAddress(message) => decode::address(message).map(Event::Address),
        RouteNetlinkMessage::DelAddress(message) => decode::address(message).map(Event::AddressGone),
        _ => None,
    }
}

fn is_whole(message: &LinkMessage) -> bool {
    message.header.interface_family == AddressFamily::Unspec
}
