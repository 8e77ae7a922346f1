//! Frames in and out: ARP and neighbour discovery on the node's links, over `pnet_datalink`.
//!
//! One socket a link, with a filter in the kernel, so that other traffic does not wake us; not promiscuous. What is heard
//! comes in batches, at most a hundred a second from a link, however busy it is: nobody who reads them needs an answer
//! within [`PAUSE`]. A link that goes down and up again keeps its socket; one that goes and comes back under another index is
//! opened again.

mod frames;
mod socket;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{IntoRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use pnet_datalink::{Channel, Config, DataLinkReceiver, DataLinkSender, MacAddr, NetworkInterface};
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::core::frame::{Frame, Heard};
use crate::core::net::{Link, Mac};

/// Time between two looks at a link on which frames come in.
pub const PAUSE: Duration = Duration::from_millis(10);

/// Frames that one look takes at most; more wait in the socket.
const BATCH: usize = 1024;

/// Batches that wait for their reader; further ones are dropped, for what they say will be said again.
const QUEUE: usize = 64;

/// How long a full socket or a stuck driver may hold up the sender.
const SEND_LIMIT: Duration = Duration::from_millis(10);

/// What can go wrong on a link.
#[derive(Debug, thiserror::Error)]
pub enum PacketError {
    /// The link has no Ethernet address to send from.
    #[error("{0} has no Ethernet address: it cannot carry ARP or neighbour discovery")]
    NoAddress(String),
    /// No packet socket on the link.
    #[error("cannot open a packet socket on {link}")]
    Open {
        /// The link's name.
        link: String,
        /// The kernel's reason.
        source: io::Error,
    },
    /// The link was not opened, or was closed.
    #[error("link {0} is not open")]
    Closed(u32),
    /// A frame was not sent, nor were those after it.
    #[error("sent {sent} of {frames} frames on {link}")]
    Send {
        /// The link's name.
        link: String,
        /// How many frames went out.
        sent: usize,
        /// How many there were.
        frames: usize,
        /// The kernel's reason.
        source: io::Error,
    },
}

/// The sockets of a node's links.
#[derive(Debug)]
pub struct Packets {
    ports: BTreeMap<u32, Port>,
    heard: mpsc::Sender<Vec<Heard>>,
}

/// What is heard on the open links; `recv` gives the next batch.
pub type Observations = mpsc::Receiver<Vec<Heard>>;

struct Port {
    name: String,
    mac: Mac,
    sender: Box<dyn DataLinkSender>,
    socket: Arc<AsyncFd<OwnedFd>>,
    listener: JoinHandle<()>,
}

impl std::fmt::Debug for Port {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Port").field("name", &self.name).field("mac", &self.mac).finish_non_exhaustive()
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

impl Packets {
    /// No links yet, and the stream of what will be heard on them.
    #[must_use]
    pub fn new() -> (Self, Observations) {
        let (heard, observations) = mpsc::channel(QUEUE);
        (Self { ports: BTreeMap::new(), heard }, observations)
    }

    /// Opens a link of the network namespace that the calling thread is in, on the running tokio runtime. A link that is
    /// open keeps its socket, and takes the name and Ethernet address that it has now.
    ///
    /// # Errors
    /// [`PacketError::NoAddress`]; [`PacketError::Open`], most often for want of `CAP_NET_RAW` or because the link is
    /// gone.
    pub fn open(&mut self, link: &Link) -> Result<(), PacketError> {
        let mac = link.mac.ok_or_else(|| PacketError::NoAddress(link.name.clone()))?;
        if let Some(port) = self.ports.get_mut(&link.index) {
            port.name.clone_from(&link.name);
            port.mac = mac;
            return Ok(());
        }
        let port = Port::open(link, mac, self.heard.clone())
            .map_err(|source| PacketError::Open { link: link.name.clone(), source })?;
        self.ports.insert(link.index, port);
        Ok(())
    }

    /// Closes a link, as when it is gone; one that is not open stays so.
    pub fn close(&mut self, link: u32) {
        self.ports.remove(&link);
    }

    /// Whether a link is open.
    #[must_use]
    pub fn is_open(&self, link: u32) -> bool {
        self.ports.contains_key(&link)
    }

    /// Sends frames on a link, in order and from the link's own Ethernet address, and returns how many there were. It does
    /// not wait for the wire, and never longer than 10 ms for a socket whose buffer is full.
    ///
    /// # Errors
    /// [`PacketError::Closed`]; [`PacketError::Send`] at the first frame that the kernel does not take, such as while the
    /// link is down.
    pub fn send(&mut self, link: u32, frames: &[Frame]) -> Result<usize, PacketError> {
        let port = self.ports.get_mut(&link).ok_or(PacketError::Closed(link))?;
        for (sent, frame) in frames.iter().enumerate() {
            port.send(frame).map_err(|source| PacketError::Send {
                link: port.name.clone(),
                sent,
                frames: frames.len(),
                source,
            })?;
        }
        Ok(frames.len())
    }
}

impl Port {
    fn open(link: &Link, mac: Mac, heard: mpsc::Sender<Vec<Heard>>) -> io::Result<Self> {
        let socket = socket::open()?;
        let watched = socket.try_clone()?;
        let config = Config {
            promiscuous: false,
            read_timeout: Some(Duration::ZERO),
            write_timeout: Some(SEND_LIMIT),
            // From here on pnet owns it, and closes it on failure too.
            socket_fd: Some(socket.into_raw_fd()),
            ..Config::default()
        };
        let (sender, receiver) = match pnet_datalink::channel(&interface(link, mac), config)? {
            Channel::Ethernet(sender, receiver) => (sender, receiver),
            _ => return Err(io::Error::from(io::ErrorKind::Unsupported)),
        };
        let socket = Arc::new(socket::watch(watched)?);
        let listener = tokio::spawn(listen(Arc::clone(&socket), receiver, link.index, heard));
        Ok(Self { name: link.name.clone(), mac, sender, socket, listener })
    }

    fn send(&mut self, frame: &Frame) -> io::Result<()> {
        let bytes = frames::encode(frame, self.mac)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a question across address families"))?;
        let mut attempt =
            || self.sender.send_to(bytes.as_slice(), None).unwrap_or_else(|| Err(io::ErrorKind::OutOfMemory.into()));
        match attempt() {
            // That may be an old word of a link that is up again by now; it is said once.
            Err(error) if error.kind() == io::ErrorKind::NetworkDown => {
                clear_error(self.socket.get_ref());
                attempt()
            }
            result => result,
        }
    }
}

/// A link in pnet's terms.
fn interface(link: &Link, Mac([a, b, c, d, e, f]): Mac) -> NetworkInterface {
    NetworkInterface {
        name: link.name.clone(),
        description: String::new(),
        index: link.index,
        mac: Some(MacAddr(a, b, c, d, e, f)),
        ips: Vec::new(),
        flags: 0,
    }
}

/// Hands over what comes in, until nobody listens any more.
async fn listen(
    socket: Arc<AsyncFd<OwnedFd>>,
    mut receiver: Box<dyn DataLinkReceiver>,
    link: u32,
    heard: mpsc::Sender<Vec<Heard>>,
) {
    while let Ok(mut ready) = socket.readable().await {
        let (batch, emptied) = drain(receiver.as_mut(), link, socket.get_ref());
        if emptied {
            ready.clear_ready();
        }
        if !batch.is_empty() && heard.try_send(batch).is_err() && heard.is_closed() {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// What waits in the socket, and whether nothing waits any more.
fn drain(receiver: &mut dyn DataLinkReceiver, link: u32, socket: &OwnedFd) -> (Vec<Heard>, bool) {
    let mut batch = Vec::new();
    for _ in 0..BATCH {
        match receiver.next() {
            Ok(frame) => batch.extend(frames::decode(link, frame)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                if !matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock) {
                    // The link went down, and will be heard again when it is up.
                    clear_error(socket);
                }
                return (batch, true);
            }
        }
    }
    (batch, false)
}

/// Takes the error that the kernel keeps for the socket, such as that its link went down; poll(2) and the next send would
/// speak of it until then.
fn clear_error(socket: &OwnedFd) {
    let _ = rustix::net::sockopt::socket_error(socket);
}
