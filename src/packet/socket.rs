//! The packet socket of a link: packet(7) with a filter, so that only ARP and neighbour discovery wake us.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Octets of a frame that are handed over: all of any ARP packet, and a neighbour discovery message with a few options.
const SNAP: u32 = 256;

/// `PACKET_IGNORE_OUTGOING` of linux/if_packet.h (kernel 4.20): what this host sends is not handed over.
const IGNORE_OUTGOING: libc::c_int = 23;

/// Where a filter finds the VLAN tag that the kernel took out of the frame, and whether there was one.
const VLAN_TAG: u32 = (libc::SKF_AD_OFF + libc::SKF_AD_VLAN_TAG) as u32;
const VLAN_TAG_PRESENT: u32 = (libc::SKF_AD_OFF + libc::SKF_AD_VLAN_TAG_PRESENT) as u32;

const LOAD_BYTE: u16 = (libc::BPF_LD | libc::BPF_B | libc::BPF_ABS) as u16;
const LOAD_HALF: u16 = (libc::BPF_LD | libc::BPF_H | libc::BPF_ABS) as u16;
const LOAD_WORD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const JUMP_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const JUMP_BITS: u16 = (libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

const fn op(code: u16, k: u32, jt: u8, jf: u8) -> libc::sock_filter {
    libc::sock_filter { code, jt, jf, k }
}

/// Takes ARP, and ICMPv6 of types 135 and 136 directly behind the IPv6 header. A frame of a VLAN comes without its tag
/// and is another segment's: it is refused, unless the tag has the number 0, which is a priority only.
const FILTER: [libc::sock_filter; 14] = [
    op(LOAD_WORD, VLAN_TAG_PRESENT, 0, 0),
    op(JUMP_EQUAL, 0, 2, 0),
    op(LOAD_WORD, VLAN_TAG, 0, 0),
    op(JUMP_BITS, 0x0fff, 9, 0),
    op(LOAD_HALF, 12, 0, 0),
    op(JUMP_EQUAL, 0x0806, 6, 0),
    op(JUMP_EQUAL, 0x86dd, 0, 6),
    op(LOAD_BYTE, 20, 0, 0),
    op(JUMP_EQUAL, 58, 0, 4),
    op(LOAD_BYTE, 54, 0, 0),
    op(JUMP_EQUAL, 135, 1, 0),
    op(JUMP_EQUAL, 136, 0, 1),
    op(RETURN, SNAP, 0, 0),
    op(RETURN, 0, 0, 0),
];

/// A packet socket with the filter; it takes nothing before it is bound to a link.
pub(super) fn open() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::PACKET, SocketType::RAW, flags, None)?;
    let mut filter = FILTER;
    let program = libc::sock_fprog { len: FILTER.len() as u16, filter: filter.as_mut_ptr() };
    set(&socket, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, program)?;
    set(&socket, libc::SOL_PACKET, IGNORE_OUTGOING, 1 as libc::c_int)?;
    Ok(socket)
}

/// Watches a socket for what comes in, on the running tokio runtime.
pub(super) fn watch(socket: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: `OwnedFd` always gives the same descriptor, and keeps it open until it is dropped.
    #[allow(unsafe_code)]
    let watched = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) };
    Ok(watched?)
}

fn set<T>(socket: &OwnedFd, level: libc::c_int, option: libc::c_int, value: T) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of::<T>()).expect("options are small");
    // SAFETY: `value`, and what it points to, live through the call, and its size is given.
    #[allow(unsafe_code)]
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast(), length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
