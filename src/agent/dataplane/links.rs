//! What the kernel says of links, told to this thread by itself: rtnetlink(7).

use std::io;
use std::os::fd::OwnedFd;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, send, socket_with,
};

/// `NETLINK_ROUTE`, which is 0.
const ROUTE: Option<Protocol> = None;
/// `RTMGRP_LINK`
const GROUP: u32 = 1;
const NEW_LINK: u16 = 16;
const DEL_LINK: u16 = 17;
const GET_LINK: u16 = 18;
/// `NLM_F_REQUEST | NLM_F_DUMP`
const DUMP: u16 = 0x301;
/// `IFF_UP` and `IFF_LOWER_UP` of linux/if.h: the link is up and has a carrier.
const UP: u32 = 1;
const LOWER_UP: u32 = 1 << 16;
const IFNAME: u16 = 3;
/// `struct nlmsghdr`, and `struct ifinfomsg` behind it.
const HEADER: usize = 16;
const INFO: usize = 16;
/// Octets of one read; a longer message is cut, and says all that is asked for before that.
const BUFFER: usize = 1 << 15;

/// One link as it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen<'a> {
    pub(super) index: u32,
    pub(super) name: &'a str,
    /// It is there, up, and has a carrier.
    pub(super) carrier: bool,
    pub(super) gone: bool,
}

/// A socket on which the kernel tells of links.
#[derive(Debug)]
pub(super) struct Links {
    socket: OwnedFd,
    buffer: Box<[u8]>,
}

impl Links {
    pub(super) fn open() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, ROUTE)?;
        bind(&socket, &SocketAddrNetlink::new(0, GROUP))?;
        Ok(Self { socket, buffer: vec![0; BUFFER].into() })
    }

    pub(super) const fn socket(&self) -> &OwnedFd {
        &self.socket
    }

    /// Has the kernel tell of every link.
    pub(super) fn ask(&self) -> io::Result<()> {
        let mut request = [0; HEADER + INFO];
        let length = u32::try_from(request.len()).unwrap_or_default().to_ne_bytes();
        let fields = length.into_iter().chain(GET_LINK.to_ne_bytes()).chain(DUMP.to_ne_bytes());
        request.iter_mut().zip(fields).for_each(|(place, octet)| *place = octet);
        send(&self.socket, &request, SendFlags::empty())?;
        Ok(())
    }

    /// Hands over what waits. What was lost for want of room is asked for again.
    pub(super) fn read(&mut self, mut each: impl FnMut(Seen<'_>)) {
        loop {
            match recv(&self.socket, &mut *self.buffer, RecvFlags::empty()) {
                Ok((length, _)) => messages(self.buffer.get(..length).unwrap_or_default(), &mut each),
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::NOBUFS) => {
                    // If the kernel takes no question now, the next loss asks again.
                    let _again = self.ask();
                }
                Err(_) => return,
            }
        }
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_ne_bytes)
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().copied().map(u16::from_ne_bytes)
}

fn messages(mut bytes: &[u8], each: &mut impl FnMut(Seen<'_>)) {
    while let Some(length) = number(bytes, 0).and_then(|length| usize::try_from(length).ok()) {
        if length < HEADER {
            return;
        }
        let message = bytes.get(..length).unwrap_or(bytes);
        if let Some(seen) = link(message) {
            each(seen);
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
}

fn link(message: &[u8]) -> Option<Seen<'_>> {
    let kind = half(message, 4)?;
    if kind != NEW_LINK && kind != DEL_LINK {
        return None;
    }
    let (index, flags) = (number(message, HEADER + 4)?, number(message, HEADER + 8)?);
    let gone = kind == DEL_LINK;
    let carrier = !gone && flags & UP != 0 && flags & LOWER_UP != 0;
    Some(Seen { index, name: name(message.get(HEADER + INFO..)?).unwrap_or_default(), carrier, gone })
}

fn name(mut attributes: &[u8]) -> Option<&str> {
    loop {
        let length = usize::from(half(attributes, 0)?);
        if half(attributes, 2)? == IFNAME {
            return std::str::from_utf8(attributes.get(4..length)?.split(|octet| *octet == 0).next()?).ok();
        }
        attributes = attributes.get(length.max(4).next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(kind: u16, index: u32, flags: u32, name: &[u8]) -> Vec<u8> {
        let info = [&[0; 4][..], &index.to_ne_bytes(), &flags.to_ne_bytes(), &[0; 4]].concat();
        let size = u16::try_from(4 + name.len()).unwrap();
        let mut attribute = [&size.to_ne_bytes()[..], &IFNAME.to_ne_bytes(), name].concat();
        attribute.resize(attribute.len().next_multiple_of(4), 0);
        let other = [&8u16.to_ne_bytes()[..], &4u16.to_ne_bytes(), &1500u32.to_ne_bytes()].concat();
        let length = u32::try_from(HEADER + info.len() + other.len() + attribute.len()).unwrap();
        [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &[0; 10], &info, &other, &attribute].concat()
    }

    fn read(bytes: &[u8]) -> Vec<(u32, String, bool, bool)> {
        let mut all = Vec::new();
        messages(bytes, &mut |seen| all.push((seen.index, seen.name.to_owned(), seen.carrier, seen.gone)));
        all
    }

    #[test]
    fn a_carrier_is_one_of_a_link_that_is_up() {
        let bytes = [
            message(NEW_LINK, 2, UP | LOWER_UP, b"eth0\0"),
            message(NEW_LINK, 2, UP, b"eth0\0"),
            message(NEW_LINK, 3, LOWER_UP, b"eth1\0"),
            message(DEL_LINK, 2, UP | LOWER_UP, b"eth0\0"),
            message(20, 2, UP, b"eth0\0"),
        ];
        let seen =
            [(2, "eth0", true, false), (2, "eth0", false, false), (3, "eth1", false, false), (2, "eth0", false, true)];
        assert_eq!(read(&bytes.concat()), seen.map(|(index, name, up, gone)| (index, name.to_owned(), up, gone)));
    }

    proptest! {
        #[test]
        fn any_octets_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in 0..60usize) {
            read(&bytes);
            let whole = message(NEW_LINK, 2, UP, b"eth0\0");
            read(&whole[..cut.min(whole.len())]);
        }
    }
}
