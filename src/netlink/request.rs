//! Requests and their answers: dumps, and batches of changes with many messages to a system call.

use std::io;

use futures::StreamExt;
use rtnetlink::packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::proto::sys::{AsyncSocket, SocketAddr, protocols::NETLINK_ROUTE};
use rtnetlink::proto::{ConnectionHandle, new_connection};

use super::NetlinkError;

/// How many changes one system call carries. The kernel works through them before it returns, so this is also how long
/// a thread is away: about 5 ms at 10,000 addresses.
const BATCH: usize = 64;

/// Bytes for answers that wait to be read: room for a batch's acknowledgements and for a dump's next part.
pub(super) const RECEIVE_BUFFER: usize = 1 << 20;

/// A connection that answers requests.
#[derive(Debug, Clone)]
pub(super) struct Requests {
    handle: ConnectionHandle<RouteNetlinkMessage>,
}

/// A change as a message with an acknowledgement, and these further `NLM_F_…` flags.
pub(super) fn change(message: RouteNetlinkMessage, flags: u16) -> NetlinkMessage<RouteNetlinkMessage> {
    let mut message = NetlinkMessage::from(message);
    message.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
    message
}

impl Requests {
    pub(super) fn open() -> io::Result<Self> {
        let (mut connection, handle, _) = new_connection::<RouteNetlinkMessage>(NETLINK_ROUTE)?;
        let socket = connection.socket_mut().socket_mut();
        // An acknowledgement without a copy of its request is 16 bytes instead of 70.
        socket.set_cap_ack(true)?;
        grow_receive_buffer(socket)?;
        // Each change is answered in its order, so that an error finds its request.
        connection.set_forward_ack(true);
        tokio::spawn(connection);
        Ok(Self { handle })
    }

    /// Reads a whole list.
    pub(super) async fn dump(
        &self,
        what: &'static str,
        request: RouteNetlinkMessage,
    ) -> Result<Vec<RouteNetlinkMessage>, NetlinkError> {
        let mut message = NetlinkMessage::from(request);
        message.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
        let mut answers =
            self.handle.request(message, SocketAddr::new(0, 0)).map_err(|_closed| NetlinkError::Closed)?;
        let mut list = Vec::new();
        while let Some(answer) = answers.next().await {
            match answer.payload {
                NetlinkPayload::InnerMessage(message) => list.push(message),
                NetlinkPayload::Error(error) => return Err(NetlinkError::Read { what, source: error.to_io() }),
                NetlinkPayload::Overrun(_) => {
                    return Err(NetlinkError::Read { what, source: io::Error::from_raw_os_error(libc::ENOBUFS) });
                }
                _ => {}
            }
        }
        Ok(list)
    }

    /// Makes changes, and returns the kernel's answer to each, in order.
    pub(super) async fn change(
        &self,
        messages: Vec<NetlinkMessage<RouteNetlinkMessage>>,
    ) -> Result<Vec<io::Result<()>>, NetlinkError> {
        let mut results = Vec::with_capacity(messages.len());
        let mut messages = messages.into_iter().peekable();
        while messages.peek().is_some() {
            let batch: Vec<_> = messages.by_ref().take(BATCH).collect();
            let expected = results.len() + batch.len();
            let mut answers =
                self.handle.request_batch(batch, SocketAddr::new(0, 0)).map_err(|_closed| NetlinkError::Closed)?;
            while let Some(answer) = answers.next().await {
                if let NetlinkPayload::Error(error) = answer.payload {
                    results.push(if error.code.is_none() { Ok(()) } else { Err(error.to_io()) });
                }
            }
            if results.len() != expected {
                return Err(NetlinkError::Closed);
            }
        }
        Ok(results)
    }
}

/// Asks for [`RECEIVE_BUFFER`] beyond the machine's limit, and takes the limit where that is not allowed.
pub(super) fn grow_receive_buffer(socket: &rtnetlink::sys::Socket) -> io::Result<()> {
    use rustix::net::sockopt::set_socket_recv_buffer_size_force;
    if set_socket_recv_buffer_size_force(socket, RECEIVE_BUFFER).is_err() {
        socket.set_rx_buf_sz(i32::try_from(RECEIVE_BUFFER).unwrap_or(i32::MAX))?;
    }
    Ok(())
}
