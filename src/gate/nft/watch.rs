//! What the kernel tells of everybody's changes to nf_tables.

use std::io;
use std::os::fd::OwnedFd;

use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::sockopt::set_socket_recv_buffer_size_force;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};

use super::message::{self, FAMILY, HEADER, SUBSYSTEM, Socket, find};
use super::rules::TABLE;

/// `NFNLGRP_NFTABLES`, as a bit.
const GROUP: u32 = 1 << 6;
/// Octets that may wait: of what kube-proxy says of 10,000 Services in one transaction most is lost, and is no matter.
const WAITING: usize = 4 << 20;
/// Octets of one read; the kernel packs at most a page.
const BUFFER: usize = 1 << 16;

/// A socket on which the kernel tells of changes.
#[derive(Debug)]
pub(super) struct Watch {
    socket: OwnedFd,
    buffer: Box<[u8]>,
    /// Under which number it tells what we have changed ourselves.
    own: u32,
}

/// What was told of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Told {
    /// Nobody else has changed it.
    Nothing,
    /// There was too much to tell.
    Lost,
    /// Somebody else has.
    Changed,
}

impl Watch {
    /// Begins to listen; what `by` changes is not told.
    pub(super) fn open(by: &Socket) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(netlink::NETFILTER))?;
        bind(&socket, &SocketAddrNetlink::new(0, GROUP))?;
        set_socket_recv_buffer_size_force(&socket, WAITING)?;
        Ok(Self { socket, buffer: vec![0; BUFFER].into(), own: by.port()? })
    }

    pub(super) const fn socket(&self) -> &OwnedFd {
        &self.socket
    }

    /// Takes in what waits.
    pub(super) fn read(&mut self) -> Told {
        let mut told = Told::Nothing;
        loop {
            match recv(&self.socket, &mut *self.buffer, RecvFlags::empty()) {
                Ok((length, _)) if changed(self.buffer.get(..length).unwrap_or_default(), self.own) => {
                    told = Told::Changed;
                }
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::NOBUFS) => told = told.max(Told::Lost),
                Err(_) => return told,
            }
        }
    }
}

/// Whether any of these messages tells that another than `own` has changed the table.
fn changed(mut bytes: &[u8], own: u32) -> bool {
    while let Some((header, _)) = bytes.split_first_chunk::<HEADER>() {
        let [a, b, c, d, _, subsystem, _, _, _, _, _, _, e, f, g, h] = *header;
        let size = usize::try_from(u32::from_ne_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        let Some(body) = bytes.get(HEADER..size) else { return false };
        let ours = u16::from(subsystem) == SUBSYSTEM && body.first() == Some(&FAMILY);
        // The first attribute of whatever is in a table is the table's name.
        let name = || find(body.get(4..)?, &[1]).map(message::text);
        if ours && u32::from_ne_bytes([e, f, g, h]) != own && name().is_some_and(|name| name == TABLE) {
            return true;
        }
        bytes = bytes.get(size.next_multiple_of(4)..).unwrap_or_default();
    }
    false
}
