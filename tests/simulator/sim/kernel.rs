//! What a node's kernel does by itself: the gate.

use vipkeeper::core::failover::{FOREVER, VipState};
use vipkeeper::core::time::Time;

/// A VIP that the gate knows.
#[derive(Debug, Clone)]
pub struct Entry {
    pub uid: String,
    /// The address that it stands for; a VIP that is made again has another uid and the same address.
    pub address: usize,
    pub state: VipState,
    /// It was claimed after too few watchers had answered.
    pub fallback: bool,
}

/// The gate of a node.
#[derive(Debug, Clone, Default)]
pub struct Kernel {
    pub deadline: Time,
    pub entries: Vec<Entry>,
    /// How late this kernel shuts the gate, in nanoseconds.
    pub lateness: u64,
}

/// The address of a VIP: its uid is `ADDRESS-GENERATION`.
pub fn address_of(uid: &str) -> usize {
    uid.split('-').next().unwrap().parse().unwrap()
}

impl Kernel {
    pub fn is_open(&self, clock: Time) -> bool {
        let late = std::time::Duration::from_nanos(if self.deadline == Time::ZERO { 0 } else { self.lateness });
        self.deadline == FOREVER || self.deadline + late > clock
    }

    /// Whether the kernel answers for an address.
    pub fn claims(&self, address: usize, clock: Time) -> Option<&Entry> {
        let mut claimed =
            self.entries.iter().filter(|entry| entry.address == address && entry.state == VipState::Claim);
        claimed.next().filter(|_| self.is_open(clock))
    }

    pub fn set(&mut self, uid: &str, state: VipState, fallback: bool) {
        self.entries.retain(|entry| entry.uid != uid);
        if state != VipState::Shut {
            self.entries.push(Entry { uid: uid.to_owned(), address: address_of(uid), state, fallback });
        }
    }
}
