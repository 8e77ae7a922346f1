//! The system calls that nothing safe offers: recvmmsg(2), sendmmsg(2), the error queue, ppoll(2), and the options that
//! make the kernel tell what it knows of a datagram.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::ptr::null_mut;
use std::time::Duration;

use socket2::{Domain, Protocol, Type};

use super::address::{self, RawAddress};
use super::inbox::{CONTROL, Inbox, Slot};
use super::outbox::Outbox;

/// The most datagrams that one call sends, or receives.
const BATCH: usize = 64;

/// What a socket is for.
#[derive(Debug, Clone)]
pub struct Options {
    /// The address and port that it is bound to; port 0 for any.
    pub bind: SocketAddr,
    /// Whether other sockets of ours may have the same address and port, and the kernel shares out what comes in.
    pub reuse_port: bool,
    /// The interface that it is bound to.
    pub device: Option<String>,
    /// Whether the error queue tells when each datagram went out, and of ICMP errors.
    pub notices: bool,
    /// How much may wait to be read, in octets; the kernel's default if `None`, its limit at most.
    pub buffer: Option<usize>,
    /// How long a blocking receive waits.
    pub patience: Option<Duration>,
}

/// A UDP socket.
#[derive(Debug)]
pub struct Socket {
    socket: socket2::Socket,
    ipv6: bool,
    notices: bool,
}

impl Socket {
    /// Opens and binds a socket. One bound to `::` takes IPv4 too.
    ///
    /// # Errors
    /// What the kernel says: the address is not ours or in use, the interface is not there, something is not allowed.
    pub fn open(options: &Options) -> io::Result<Self> {
        let ipv6 = options.bind.is_ipv6();
        let domain = if ipv6 { Domain::IPV6 } else { Domain::IPV4 };
        let socket = socket2::Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
        let this = Self { socket, ipv6, notices: options.notices };
        if ipv6 {
            this.socket.set_only_v6(!options.bind.ip().is_unspecified())?;
            for name in [libc::IPV6_RECVPKTINFO, libc::IPV6_RECVHOPLIMIT, libc::IPV6_RECVTCLASS] {
                this.set(libc::SOL_IPV6, name, 1)?;
            }
        }
        for name in [libc::IP_PKTINFO, libc::IP_RECVTTL, libc::IP_RECVTOS] {
            this.set(libc::SOL_IP, name, 1)?;
        }
        if options.notices {
            this.set(libc::SOL_IP, libc::IP_RECVERR, 1)?;
            if ipv6 {
                this.set(libc::SOL_IPV6, libc::IPV6_RECVERR, 1)?;
            }
        }
        this.ask_stamps()?;
        if options.reuse_port {
            this.socket.set_reuse_port(true)?;
        }
        if let Some(device) = &options.device {
            this.socket.bind_device(Some(device.as_bytes()))?;
        }
        if let Some(buffer) = options.buffer {
            this.socket.set_recv_buffer_size(buffer)?;
        }
        this.socket.set_read_timeout(options.patience)?;
        this.socket.bind(&options.bind.into())?;
        Ok(this)
    }

    /// The address and port that it has.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()?.as_socket().ok_or_else(|| io::Error::other("a UDP socket without an address"))
    }

    /// Fills the inbox with what has come in and returns how many that are. With `block` it waits for the first, as long
    /// as [`Options::patience`] says; nothing in time is 0.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn receive(&self, inbox: &mut Inbox, block: bool) -> io::Result<usize> {
        self.fill(inbox, if block { libc::MSG_WAITFORONE } else { libc::MSG_DONTWAIT })
    }

    /// Fills the inbox with the oldest entries of the error queue and returns how many those are.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn notices(&self, inbox: &mut Inbox) -> io::Result<usize> {
        self.fill(inbox, libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT)
    }

    /// Sends the datagrams from number `first` on, as many as one call takes, and returns how many went out.
    ///
    /// # Errors
    /// Why number `first` was not sent: with ICMP errors told, that may be the error of an earlier one, so that it is
    /// worth while to try once more. Those after it were not tried.
    pub fn send(&self, outbox: &mut Outbox, first: usize) -> io::Result<usize> {
        let letters = outbox.letters.get(first..).unwrap_or_default();
        let count = letters.len().min(BATCH);
        let mut names = [RawAddress::EMPTY; BATCH];
        let mut parts = [EMPTY_PART; BATCH];
        let mut headers = [EMPTY_HEADER; BATCH];
        for (((letter, name), part), header) in letters.iter().zip(&mut names).zip(&mut parts).zip(&mut headers) {
            *name = RawAddress::new(letter.to, self.ipv6);
            let bytes = outbox.bytes.get_mut(letter.bytes.clone()).unwrap_or_default();
            *part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
            let control = outbox.controls.get_mut(letter.control.clone()).unwrap_or_default();
            header.msg_hdr.msg_name = name.octets.as_mut_ptr().cast();
            header.msg_hdr.msg_namelen = name.len as u32;
            header.msg_hdr.msg_iov = part;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_control = if control.is_empty() { null_mut() } else { control.as_mut_ptr().cast() };
            header.msg_hdr.msg_controllen = control.len() as _;
        }
        // SAFETY: the first `count` headers point to names, parts, payloads and controls that live and are not changed
        // until the call returns, each with its length.
        let sent = unsafe { libc::sendmmsg(self.raw(), headers.as_mut_ptr(), count as u32, libc::MSG_DONTWAIT as _) };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }

    /// Counts the datagrams of [`super::Notice::Sent`] from 0 again.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn restart_ids(&self) -> io::Result<()> {
        self.set(libc::SOL_SOCKET, libc::SO_TIMESTAMPING, libc::SOF_TIMESTAMPING_SOFTWARE as c_int)?;
        self.ask_stamps()
    }

    fn ask_stamps(&self) -> io::Result<()> {
        let mut flags = libc::SOF_TIMESTAMPING_RX_SOFTWARE | libc::SOF_TIMESTAMPING_SOFTWARE;
        if self.notices {
            flags |=
                libc::SOF_TIMESTAMPING_TX_SOFTWARE | libc::SOF_TIMESTAMPING_OPT_ID | libc::SOF_TIMESTAMPING_OPT_TSONLY;
        }
        self.set(libc::SOL_SOCKET, libc::SO_TIMESTAMPING, flags as c_int)
    }

    fn fill(&self, inbox: &mut Inbox, flags: c_int) -> io::Result<usize> {
        inbox.filled = 0;
        let count = inbox.slots.len().min(BATCH);
        let mut parts = [EMPTY_PART; BATCH];
        let mut headers = [EMPTY_HEADER; BATCH];
        let slots = inbox.slots.iter_mut().zip(inbox.bytes.chunks_exact_mut(inbox.size));
        for (((slot, bytes), part), header) in slots.zip(&mut parts).zip(&mut headers) {
            *part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
            header.msg_hdr.msg_name = slot.name.as_mut_ptr().cast();
            header.msg_hdr.msg_namelen = address::LEN as u32;
            header.msg_hdr.msg_iov = part;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_control = slot.control.as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = CONTROL as _;
        }
        // SAFETY: the first `count` headers point to the slots' names and controls, the payloads and `parts`, which live and are not
        // touched until the call returns, each with its length; there is no time limit.
        let filled = unsafe { libc::recvmmsg(self.raw(), headers.as_mut_ptr(), count as u32, flags as _, null_mut()) };
        let Ok(filled) = usize::try_from(filled) else {
            let error = io::Error::last_os_error();
            let nothing = matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted);
            return if nothing { Ok(0) } else { Err(error) };
        };
        for (slot, header) in inbox.slots.iter_mut().zip(&headers).take(filled) {
            slot.take(header);
        }
        inbox.filled = filled;
        Ok(filled)
    }

    fn set(&self, level: c_int, name: c_int, value: c_int) -> io::Result<()> {
        let at: *const c_int = &raw const value;
        // SAFETY: the pointer is to a live int, of the length given.
        let done = unsafe { libc::setsockopt(self.raw(), level, name, at.cast::<c_void>(), size_of::<c_int>() as u32) };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    fn raw(&self) -> c_int {
        self.socket.as_raw_fd()
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// A part of no octets.
const EMPTY_PART: libc::iovec = libc::iovec { iov_base: null_mut(), iov_len: 0 };

/// A header that points nowhere; not every system's has the same fields.
// SAFETY: null pointers and zero lengths are what a header without a message has.
const EMPTY_HEADER: libc::mmsghdr = unsafe { std::mem::zeroed() };

impl Slot {
    /// Keeps the lengths that the kernel wrote.
    #[allow(clippy::unnecessary_cast, reason = "the type of the length differs from one C library to another")]
    fn take(&mut self, header: &libc::mmsghdr) {
        self.len = header.msg_len as usize;
        self.name_len = (header.msg_hdr.msg_namelen as usize).min(self.name.len());
        self.control_len = (header.msg_hdr.msg_controllen as usize).min(self.control.len());
        self.truncated = header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0;
    }
}

/// Waits until one of the sockets has something to read, in its queue or its error queue, or the time is over.
///
/// # Errors
/// What the kernel says.
pub fn wait<'a>(sockets: impl Iterator<Item = &'a Socket>, limit: Duration) -> io::Result<bool> {
    let mut fds: Vec<libc::pollfd> =
        sockets.map(|socket| libc::pollfd { fd: socket.raw(), events: libc::POLLIN, revents: 0 }).collect();
    let limit = libc::timespec {
        tv_sec: limit.as_secs().try_into().unwrap_or(libc::time_t::MAX),
        tv_nsec: limit.subsec_nanos().into(),
    };
    // SAFETY: the array lives for the call and has the length given; no signal mask is passed.
    let ready = unsafe { libc::ppoll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, &raw const limit, std::ptr::null()) };
    if ready >= 0 {
        return Ok(ready > 0);
    }
    let error = io::Error::last_os_error();
    if error.kind() == io::ErrorKind::Interrupted { Ok(false) } else { Err(error) }
}
