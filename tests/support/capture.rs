//! A capture of the frames on an interface, with the kernel's timestamps; it shares no code with `src/packet`.

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::netns::Netns;

/// A frame seen on the wire.
#[derive(Debug, Clone)]
pub struct Frame {
    /// When the kernel saw it (CLOCK_REALTIME, time since the Unix epoch).
    pub at: Duration,
    /// Whether this interface sent it.
    pub outgoing: bool,
    pub bytes: Vec<u8>,
}

/// An ARP packet, or a neighbour discovery message, as far as tests look at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// ARP; `operation` 1 is a request and 2 a reply (RFC 826).
    Arp { operation: u16, sender_mac: [u8; 6], sender: Ipv4Addr, target_mac: [u8; 6], target: Ipv4Addr },
    /// A neighbour solicitation (RFC 4861 4.3) with its source link-layer address option.
    Solicitation { source: Ipv6Addr, target: Ipv6Addr, option: Option<[u8; 6]> },
    /// A neighbour advertisement (RFC 4861 4.4) with its target link-layer address option.
    Advertisement { source: Ipv6Addr, target: Ipv6Addr, overrides: bool, solicited: bool, option: Option<[u8; 6]> },
}

impl Frame {
    /// The Ethernet destination.
    pub fn destination(&self) -> [u8; 6] {
        self.bytes[0..6].try_into().unwrap()
    }

    /// The Ethernet source.
    pub fn source(&self) -> [u8; 6] {
        self.bytes[6..12].try_into().unwrap()
    }

    /// What it claims or asks; `None` when it is neither ARP nor neighbour discovery.
    pub fn claim(&self) -> Option<Claim> {
        let ether_type = u16::from_be_bytes(self.bytes.get(12..14)?.try_into().ok()?);
        match ether_type {
            0x0806 => arp(self.bytes.get(14..42)?),
            0x86dd => neighbour_discovery(self.bytes.get(14..)?),
            _ => None,
        }
    }

    /// Whether it speaks *as* `address`: ARP with it as the sender, an advertisement of it, a solicitation from it.
    pub fn speaks_as(&self, address: IpAddr) -> bool {
        match (self.claim(), address) {
            (Some(Claim::Arp { sender, .. }), IpAddr::V4(address)) => sender == address,
            (Some(Claim::Solicitation { source, .. }), IpAddr::V6(address)) => source == address,
            (Some(Claim::Advertisement { target, .. }), IpAddr::V6(address)) => target == address,
            _ => false,
        }
    }
}

fn arp(packet: &[u8]) -> Option<Claim> {
    Some(Claim::Arp {
        operation: u16::from_be_bytes([packet[6], packet[7]]),
        sender_mac: packet[8..14].try_into().ok()?,
        sender: Ipv4Addr::from(<[u8; 4]>::try_from(&packet[14..18]).ok()?),
        target_mac: packet[18..24].try_into().ok()?,
        target: Ipv4Addr::from(<[u8; 4]>::try_from(&packet[24..28]).ok()?),
    })
}

fn neighbour_discovery(packet: &[u8]) -> Option<Claim> {
    let source = Ipv6Addr::from(<[u8; 16]>::try_from(packet.get(8..24)?).ok()?);
    let message = packet.get(40..)?;
    let (kind, flags) = (*message.first()?, *message.get(4)?);
    if packet[6] != 58 || !matches!(kind, 135 | 136) {
        return None;
    }
    let target = Ipv6Addr::from(<[u8; 16]>::try_from(message.get(8..24)?).ok()?);
    let option = message.get(26..32).and_then(|octets| octets.try_into().ok());
    Some(if kind == 135 {
        Claim::Solicitation { source, target, option }
    } else {
        Claim::Advertisement { source, target, overrides: flags & 0x20 != 0, solicited: flags & 0x40 != 0, option }
    })
}

/// A running capture; it ends on drop.
#[derive(Debug)]
pub struct Capture {
    socket: OwnedFd,
    frames: Arc<Mutex<Vec<Frame>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Capture {
    /// Records every frame of an interface of a namespace from now on, received and sent.
    pub fn start(netns: &Netns, interface: &str) -> Self {
        let socket = netns.run(|| open(interface)).unwrap_or_else(|error| panic!("capture on {interface}: {error}"));
        let frames = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let (reader, sink, ended) = (socket.try_clone().unwrap(), Arc::clone(&frames), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                if let Some(frame) = receive(&reader) {
                    sink.lock().unwrap().push(frame);
                }
            }
        });
        Self { socket, frames, stop, thread: Some(thread) }
    }

    /// All frames so far.
    pub fn frames(&self) -> Vec<Frame> {
        self.frames.lock().unwrap().clone()
    }

    /// The frames so far that speak as `address` (see [`Frame::speaks_as`]).
    pub fn speaking_as(&self, address: IpAddr) -> Vec<Frame> {
        self.frames.lock().unwrap().iter().filter(|frame| frame.speaks_as(address)).cloned().collect()
    }

    /// The frames since the last call, which are forgotten.
    pub fn take(&self) -> Vec<Frame> {
        std::mem::take(&mut *self.frames.lock().unwrap())
    }

    /// Forgets what was recorded.
    pub fn clear(&self) {
        self.frames.lock().unwrap().clear();
    }

    /// Waits for a frame.
    pub fn wait(&self, limit: Duration, what: &str, mut wanted: impl FnMut(&Frame) -> bool) -> Frame {
        super::wait_for(limit, what, || self.frames.lock().unwrap().iter().find(|frame| wanted(frame)).cloned())
    }

    /// How many frames the kernel could not hand over since the last call: a capture that says "none was sent" should
    /// find 0 here.
    pub fn dropped(&self) -> u32 {
        let mut stats = [0u32; 2];
        let mut length = socklen(size_of::<[u32; 2]>());
        // SAFETY: the pointers are to live locals, of the length given.
        #[allow(unsafe_code)]
        let result = unsafe {
            libc::getsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                stats.as_mut_ptr().cast(),
                &mut length,
            )
        };
        assert_eq!(result, 0, "{}", io::Error::last_os_error());
        stats[1]
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Sends a frame as it is from an interface of a namespace.
pub fn send_frame(netns: &Netns, interface: &str, frame: &[u8]) {
    Sender::open(netns, interface).send(frame);
}

/// A socket that sends frames as they are from an interface.
#[derive(Debug)]
pub struct Sender {
    socket: OwnedFd,
}

impl Sender {
    /// Opens one on an interface of a namespace.
    pub fn open(netns: &Netns, interface: &str) -> Self {
        let socket = netns.run(|| open(interface)).unwrap_or_else(|error| panic!("send on {interface}: {error}"));
        Self { socket }
    }

    /// Sends a frame.
    pub fn send(&self, frame: &[u8]) {
        rustix::io::write(&self.socket, frame).unwrap_or_else(|error| panic!("send a frame: {error}"));
    }
}

/// The time now on the clock of [`Frame::at`].
pub fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

fn socklen(length: usize) -> libc::socklen_t {
    length.try_into().unwrap()
}

fn set<T>(socket: &OwnedFd, level: i32, option: i32, value: T) -> io::Result<()> {
    // SAFETY: `value` lives through the call and its size is given.
    #[allow(unsafe_code)]
    let result = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast(), socklen(size_of::<T>()))
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn open(interface: &str) -> io::Result<OwnedFd> {
    let name = std::ffi::CString::new(interface)?;
    let protocol = (libc::ETH_P_ALL as u16).to_be();
    // SAFETY: plain system calls; the address is a live local, zeroed and then filled, of the length given.
    #[allow(unsafe_code)]
    unsafe {
        let index = libc::if_nametoindex(name.as_ptr());
        if index == 0 {
            return Err(io::Error::last_os_error());
        }
        let raw = libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0);
        if raw < 0 {
            return Err(io::Error::last_os_error());
        }
        let socket = OwnedFd::from_raw_fd(raw);
        set(&socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, 16_i32 << 20)?;
        set(&socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1_i32)?;
        set(&socket, libc::SOL_SOCKET, libc::SO_RCVTIMEO, libc::timeval { tv_sec: 0, tv_usec: 20_000 })?;
        let mut address: libc::sockaddr_ll = zeroed();
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = protocol;
        address.sll_ifindex = i32::try_from(index).unwrap();
        let length = socklen(size_of::<libc::sockaddr_ll>());
        if libc::bind(raw, (&raw const address).cast(), length) != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(socket)
    }
}

/// One frame, or `None` after 20 ms without.
fn receive(socket: &OwnedFd) -> Option<Frame> {
    let mut bytes = vec![0u8; 65_536];
    let mut control = [0u64; 16];
    // SAFETY: every pointer is to a live local of the length given; the control buffer is aligned for cmsghdr.
    #[allow(unsafe_code)]
    unsafe {
        let mut from: libc::sockaddr_ll = zeroed();
        let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
        let mut message: libc::msghdr = zeroed();
        message.msg_name = (&raw mut from).cast();
        message.msg_namelen = socklen(size_of::<libc::sockaddr_ll>());
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of::<[u64; 16]>() as _;
        let length = libc::recvmsg(socket.as_raw_fd(), &raw mut message, 0);
        bytes.truncate(usize::try_from(length).ok()?);
        let mut at = None;
        let mut header = libc::CMSG_FIRSTHDR(&raw const message);
        while !header.is_null() {
            if (*header).cmsg_level == libc::SOL_SOCKET && (*header).cmsg_type == libc::SCM_TIMESTAMPNS {
                let time: libc::timespec = std::ptr::read_unaligned(libc::CMSG_DATA(header).cast());
                at = Some(Duration::new(time.tv_sec.try_into().ok()?, time.tv_nsec.try_into().ok()?));
            }
            header = libc::CMSG_NXTHDR(&raw const message, header);
        }
        bytes.shrink_to_fit();
        let outgoing = from.sll_pkttype == libc::PACKET_OUTGOING;
        Some(Frame { at: at.expect("the kernel gave no timestamp"), outgoing, bytes })
    }
}
