//! Messages of nf_tables (linux/netfilter/nf_tables.h, nfnetlink.h) in bytes, sent as one transaction.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::sockopt::{
    Timeout, set_socket_recv_buffer_size_force, set_socket_send_buffer_size_force, set_socket_timeout,
};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, send, socket_with};

/// What a message does (`enum nf_tables_msg_types`).
#[derive(Debug, Clone, Copy)]
pub(super) enum Verb {
    NewTable = 0,
    GetTables = 1,
    DelTable = 2,
    NewChain = 3,
    GetChains = 4,
    DelChain = 5,
    NewRule = 6,
    NewSet = 9,
    NewElements = 12,
    GetElements = 13,
    DelElements = 14,
}

pub(super) const SUBSYSTEM: u16 = 10;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
/// `NFPROTO_NETDEV`
pub(super) const FAMILY: u8 = 5;
const ERROR: u16 = 2;
const DONE: u16 = 3;
const REQUEST: u16 = 1;
const ACK: u16 = 4;
const DUMP: u16 = 0x300;
const CREATE: u16 = 0x400;
const APPEND: u16 = 0x800;
const NESTED: u16 = 0x8000;
pub(super) const HEADER: usize = 16;

/// How long to wait for the kernel, which may be busy with somebody else's transaction.
const PATIENCE: Duration = Duration::from_secs(5);

/// Bytes of a transaction, and of its answers, at most; twice what 10,000 addresses need.
const BUFFER: usize = 8 << 20;

/// Attributes as they are written.
#[derive(Debug, Default, Clone)]
pub(super) struct Attributes(Vec<u8>);

impl Attributes {
    fn raw(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(value.len() + 4).expect("attributes here are short");
        self.0.extend(length.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    pub(super) fn bytes(self, kind: u16, value: &[u8]) -> Self {
        self.raw(kind, value)
    }

    pub(super) fn text(self, kind: u16, value: &str) -> Self {
        self.raw(kind, &[value.as_bytes(), &[0]].concat())
    }

    pub(super) fn number(self, kind: u16, value: u32) -> Self {
        self.raw(kind, &value.to_be_bytes())
    }

    pub(super) fn wide(self, kind: u16, value: u64) -> Self {
        self.raw(kind, &value.to_be_bytes())
    }

    pub(super) fn nest(self, kind: u16, inner: Self) -> Self {
        self.raw(kind | NESTED, &inner.0)
    }

    /// A list: each item an `NFTA_LIST_ELEM`.
    pub(super) fn list(self, kind: u16, items: impl IntoIterator<Item = Self>) -> Self {
        let all = items.into_iter().fold(Self::default(), |list, item| list.nest(1, item));
        self.nest(kind, all)
    }
}

/// The attributes in these bytes, by kind.
pub(super) fn parse(mut bytes: &[u8]) -> Vec<(u16, &[u8])> {
    let mut found = Vec::new();
    while let [a, b, c, d, ..] = *bytes {
        let length = usize::from(u16::from_ne_bytes([a, b]));
        let Some(value) = bytes.get(4..length) else { break };
        found.push((u16::from_ne_bytes([c, d]) & !NESTED, value));
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

/// The first attribute of this kind in these bytes, down a path of kinds.
pub(super) fn find<'a>(bytes: &'a [u8], path: &[u16]) -> Option<&'a [u8]> {
    path.iter().try_fold(bytes, |bytes, wanted| {
        parse(bytes).into_iter().find(|(kind, _)| kind == wanted).map(|(_, value)| value)
    })
}

/// A text attribute, which ends with a zero octet.
pub(super) fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value.split(|octet| *octet == 0).next().unwrap_or_default()).into_owned()
}

/// Changes that are made all or none.
#[derive(Debug, Clone)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    sequence: u32,
}

impl Batch {
    pub(super) fn new() -> Self {
        let mut batch = Self { bytes: Vec::new(), sequence: 0 };
        batch.push(BATCH_BEGIN, REQUEST, 0, SUBSYSTEM, &Attributes::default());
        batch
    }

    fn push(&mut self, kind: u16, flags: u16, family: u8, resource: u16, attributes: &Attributes) {
        let length = u32::try_from(HEADER + 4 + attributes.0.len()).expect("messages here are short");
        self.sequence += 1;
        self.bytes.extend(length.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(flags.to_ne_bytes());
        self.bytes.extend(self.sequence.to_ne_bytes());
        self.bytes.extend([0; 4]);
        self.bytes.extend([family, 0]);
        self.bytes.extend(resource.to_be_bytes());
        self.bytes.extend(&attributes.0);
    }

    /// Adds a change.
    pub(super) fn change(mut self, verb: Verb, attributes: &Attributes) -> Self {
        let flags = match verb {
            Verb::NewTable | Verb::NewChain | Verb::NewSet | Verb::NewElements => CREATE,
            Verb::NewRule => CREATE | APPEND,
            Verb::DelTable | Verb::DelChain | Verb::DelElements => 0,
            Verb::GetTables | Verb::GetChains | Verb::GetElements => 0,
        };
        self.push(SUBSYSTEM << 8 | verb as u16, REQUEST | ACK | flags, FAMILY, 0, attributes);
        self
    }
}

/// A socket to nf_tables of the network namespace in which it was made.
#[derive(Debug)]
pub(super) struct Socket(OwnedFd);

impl Socket {
    pub(super) fn open() -> io::Result<Self> {
        let protocol = Some(netlink::NETFILTER);
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
        bind(&socket, &SocketAddrNetlink::new(0, 0))?;
        set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
        // A transaction is one send, and its answers come all at once.
        set_socket_send_buffer_size_force(&socket, BUFFER)?;
        set_socket_recv_buffer_size_force(&socket, BUFFER)?;
        Ok(Self(socket))
    }

    /// What the kernel calls this socket; changes that come from it are told under that number.
    pub(super) fn port(&self) -> io::Result<u32> {
        Ok(SocketAddrNetlink::try_from(rustix::net::getsockname(&self.0)?)?.pid())
    }

    /// The name of a link of the calling thread's network namespace.
    pub(super) fn name_of(&self, link: u32) -> io::Result<String> {
        Ok(rustix::net::netdevice::index_to_name(&self.0, link)?)
    }

    /// Makes the changes of a batch, all or none.
    pub(super) fn commit(&self, batch: &Batch) -> io::Result<()> {
        let (last, mut batch) = (batch.sequence, batch.clone());
        batch.push(BATCH_END, REQUEST, 0, SUBSYSTEM, &Attributes::default());
        send(&self.0, &batch.bytes, rustix::net::SendFlags::empty())?;
        let mut first_error = None;
        self.receive(|kind, sequence, body| {
            if kind != ERROR {
                return false;
            }
            if let Some(error) = error_of(body) {
                first_error.get_or_insert(error);
            }
            // An error at the batch's begin is the only answer.
            sequence >= last || sequence <= 1
        })?;
        first_error.map_or(Ok(()), Err)
    }

    /// Asks for a list, and hands over the attributes of each message.
    pub(super) fn dump(&self, verb: Verb, attributes: &Attributes, mut each: impl FnMut(&[u8])) -> io::Result<()> {
        let mut request = Batch { bytes: Vec::new(), sequence: 0 };
        request.push(SUBSYSTEM << 8 | verb as u16, REQUEST | DUMP, FAMILY, 0, attributes);
        send(&self.0, &request.bytes, rustix::net::SendFlags::empty())?;
        let mut failed = None;
        self.receive(|kind, _, body| match kind {
            DONE => true,
            ERROR => {
                failed = error_of(body);
                true
            }
            _ => {
                each(body.get(4..).unwrap_or_default());
                false
            }
        })?;
        failed.map_or(Ok(()), Err)
    }

    /// Hands over messages (type, sequence number, body) until `done` says so.
    fn receive(&self, mut done: impl FnMut(u16, u32, &[u8]) -> bool) -> io::Result<()> {
        let mut buffer = vec![0; 1 << 16];
        loop {
            let (length, _) = recv(&self.0, buffer.as_mut_slice(), RecvFlags::empty())?;
            let mut rest = &buffer[..length];
            while let Some((header, _)) = rest.split_first_chunk::<HEADER>() {
                let [a, b, c, d, e, f, _, _, g, h, i, j, ..] = *header;
                let size = usize::try_from(u32::from_ne_bytes([a, b, c, d])).unwrap_or(usize::MAX);
                let Some(body) = rest.get(HEADER..size) else { return Err(io::ErrorKind::InvalidData.into()) };
                if done(u16::from_ne_bytes([e, f]), u32::from_ne_bytes([g, h, i, j]), body) {
                    return Ok(());
                }
                rest = rest.get(size.next_multiple_of(4)..).unwrap_or_default();
            }
        }
    }
}

/// The error that an `NLMSG_ERROR` tells, `None` for an acknowledgement.
fn error_of(body: &[u8]) -> Option<io::Error> {
    let code = body.first_chunk().map_or(-libc::EPROTO, |octets| i32::from_ne_bytes(*octets));
    (code != 0).then(|| io::Error::from_raw_os_error(-code))
}
