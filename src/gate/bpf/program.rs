//! The gate's two programs, one a direction.
//!
//! ```text
//! ingress: the address asked for             egress: the address spoken for
//!   ARP    target address                      ARP    sender address
//!   NS     target                              NS     source
//!   NA     –                                   NA     target
//!   other  destination, if hard                other  source, if hard
//! ```
//! An address that is not in the map passes. One that is there passes as ARP or ND only in state `claim`, and as anything
//! else, where it is hard, in `accept` and `claim`; both only until its segment's deadline. What passes goes on to the
//! next program (`TCX_NEXT`), so that others at the same place see what they saw before.

use super::asm::{FP, Label, Program, R0, R1, R2, R3, R4, R6, R7, R8, Reg, Size};

/// Which way a frame goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// It came in on the link.
    Ingress,
    /// It is about to leave by the link.
    Egress,
}

/// `TCX_NEXT` and `TCX_DROP` of linux/bpf.h.
pub(super) const NEXT: i32 = -1;
pub(super) const DROP: i32 = 2;

/// Deadlines are numbered from 1 to this; place 0 of the array says whether any address is hard.
pub(super) const LAST_SEGMENT: u16 = 511;

// Octets of an entry of the map of addresses: segment (two), state, hard.
pub(super) const STATE_AT: i16 = 2;
pub(super) const HARD_AT: i16 = 3;
pub(super) const SHUT: u8 = 0;
pub(super) const CLAIM: u8 = 2;

// Helpers of linux/bpf.h.
const MAP_LOOKUP: i32 = 1;
const LOAD_BYTES: i32 = 26;
const BOOT_TIME: i32 = 125;

/// `protocol` in `struct __sk_buff`.
const PROTOCOL: i16 = 16;
const ETHERNET: i32 = 14;
const IPV6_HEADER: i32 = 40;
const ICMPV6: i32 = 58;
const SOLICITATION: i32 = 135;
const ADVERTISEMENT: i32 = 136;

/// Where the key of a look-up, an IPv6 address, is built on the stack, and the last four octets of it.
const KEY: i16 = -16;
const KEY_IPV4: i16 = -4;
/// Octets before an IPv4 address that make it an IPv6 one (RFC 4291 section 2.5.5.2).
const KEY_MAPPED: i16 = -6;
const SCRATCH: i16 = -24;

/// Whether the frame is more than ARP or ND: 1 asks for hard entries only.
const OTHER: Reg = R7;
const CONTEXT: Reg = R6;
const ENTRY: Reg = R8;

/// Where the address that counts stands in a frame.
struct Places {
    arp: i32,
    ipv4: i32,
    ipv6: i32,
    solicitation: i32,
    advertisement: Option<i32>,
}

const fn places(direction: Direction) -> Places {
    let target = ETHERNET + IPV6_HEADER + 8;
    match direction {
        Direction::Ingress => Places {
            arp: ETHERNET + 24,
            ipv4: ETHERNET + 16,
            ipv6: ETHERNET + 24,
            solicitation: target,
            advertisement: None,
        },
        Direction::Egress => Places {
            arp: ETHERNET + 14,
            ipv4: ETHERNET + 12,
            ipv6: ETHERNET + 8,
            solicitation: ETHERNET + 8,
            advertisement: Some(target),
        },
    }
}

/// The program of a direction over these two maps, by their descriptors.
pub(super) fn program(direction: Direction, addresses: i32, deadlines: i32) -> Vec<[u8; 8]> {
    let places = places(direction);
    let mut p = Program::default();
    let (arp, ipv4, ipv6, other6, advertisement) = (p.label(), p.label(), p.label(), p.label(), p.label());
    let (look_up, drop, pass) = (p.label(), p.label(), p.label());

    p.copy(CONTEXT, R1);
    p.set(OTHER, 0);
    p.store(Size::Double, FP, KEY, 0);
    p.store(Size::Double, FP, KEY + 8, 0);
    p.load(Size::Word, R0, CONTEXT, PROTOCOL);
    for (ether_type, label) in [(0x0806_u16, arp), (0x0800, ipv4), (0x86dd, ipv6)] {
        p.jump_equal(R0, i32::from(ether_type.to_be()), label);
    }
    p.jump(pass);

    p.place(arp);
    load_ipv4(&mut p, places.arp, pass);
    p.jump(look_up);

    p.place(ipv4);
    only_if_any_is_hard(&mut p, deadlines, pass);
    load_ipv4(&mut p, places.ipv4, pass);
    p.jump(look_up);

    p.place(ipv6);
    load_byte(&mut p, ETHERNET + 6, pass);
    p.jump_not_equal(R1, ICMPV6, other6);
    load_byte(&mut p, ETHERNET + IPV6_HEADER, other6);
    p.jump_equal(R1, ADVERTISEMENT, advertisement);
    p.jump_not_equal(R1, SOLICITATION, other6);
    load(&mut p, places.solicitation, KEY, 16, pass);
    p.jump(look_up);
    p.place(advertisement);
    match places.advertisement {
        Some(target) => {
            load(&mut p, target, KEY, 16, pass);
            p.jump(look_up);
        }
        None => p.jump(other6),
    }

    p.place(other6);
    only_if_any_is_hard(&mut p, deadlines, pass);
    load(&mut p, places.ipv6, KEY, 16, pass);

    p.place(look_up);
    judge(&mut p, addresses, deadlines, drop, pass);

    p.place(pass);
    p.set(R0, NEXT);
    p.exit();
    p.place(drop);
    p.set(R0, DROP);
    p.exit();
    p.finish()
}

/// Copies octets of the frame to the stack; a frame that is too short goes to `short`.
fn load(p: &mut Program, from: i32, to: i16, count: i32, short: Label) {
    p.copy(R1, CONTEXT);
    p.set(R2, from);
    p.copy(R3, FP);
    p.add(R3, to.into());
    p.set(R4, count);
    p.call(LOAD_BYTES);
    p.jump_not_equal(R0, 0, short);
}

/// Loads an IPv4 address as a key.
fn load_ipv4(p: &mut Program, from: i32, short: Label) {
    load(p, from, KEY_IPV4, 4, short);
    p.store(Size::Half, FP, KEY_MAPPED, -1);
}

/// Loads one octet of the frame into R1.
fn load_byte(p: &mut Program, from: i32, short: Label) {
    load(p, from, SCRATCH, 1, short);
    p.load(Size::Byte, R1, FP, SCRATCH);
}

/// Lets other traffic pass without a look-up where no address is hard.
fn only_if_any_is_hard(p: &mut Program, deadlines: i32, pass: Label) {
    p.load_map_value(R1, deadlines);
    p.load(Size::Double, R1, R1, 0);
    p.jump_equal(R1, 0, pass);
    p.set(OTHER, 1);
}

/// Looks the key up and compares state and deadline; falls through to `pass`.
fn judge(p: &mut Program, addresses: i32, deadlines: i32, drop: Label, pass: Label) {
    let (claims, deadline) = (p.label(), p.label());
    p.load_map(R1, addresses);
    p.copy(R2, FP);
    p.add(R2, KEY.into());
    p.call(MAP_LOOKUP);
    p.jump_equal(R0, 0, pass);
    p.load(Size::Byte, R1, R0, STATE_AT);
    p.jump_equal(OTHER, 0, claims);
    p.load(Size::Byte, R2, R0, HARD_AT);
    p.jump_equal(R2, 0, pass);
    p.jump_equal(R1, SHUT.into(), drop);
    p.jump(deadline);
    p.place(claims);
    p.jump_not_equal(R1, CLAIM.into(), drop);
    p.place(deadline);
    p.load(Size::Half, ENTRY, R0, 0);
    p.and(ENTRY, LAST_SEGMENT.into());
    p.shift_left(ENTRY, 3);
    p.load_map_value(R1, deadlines);
    p.add_register(R1, ENTRY);
    p.load(Size::Double, ENTRY, R1, 0);
    p.call(BOOT_TIME);
    p.jump_greater(R0, ENTRY, drop);
}
