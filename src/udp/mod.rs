//! UDP as a measurement needs it: many datagrams to a system call, each with the kernel's timestamp, the address that it
//! was sent to, its time to live and its traffic class, and with the ICMP errors that probes brought back.
//!
//! A [`Socket`] is of one family, or of both (an IPv6 socket that takes IPv4 too); addresses are told as what they are,
//! never as IPv4 inside IPv6. Timestamps are nanoseconds since 1970 (`CLOCK_REALTIME`), taken by the kernel
//! (socket(7) and Documentation/networking/timestamping.rst): they do not depend on when this process gets to run.

mod address;
mod control;
mod inbox;
mod outbox;
mod socket;

pub use inbox::{Datagram, Inbox, Notice};
pub use outbox::Outbox;
pub use socket::{Options, Socket, wait};
