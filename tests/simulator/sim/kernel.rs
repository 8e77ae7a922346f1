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
    /// When it was set, by true time.
    pub since: u64,
}

/// The gate of a node.
#[derive(Debug, Clone, Default)]
pub struct Kernel {
    pub deadline: Time,
    pub entries: Vec<Entry>,
    /// How late this kernel shuts the gate, in nanoseconds.
    pub lateness: u64,
    /// How late a gate of nftables shuts it if its process stops; zero for another gate.
    pub slack: u64,
    /// The process has stopped.
    pub stopped: bool,
    /// Bits of the addresses whose gate is hard: who serves one counts as claiming it.
    pub hard: u32,
}

/// The address of a VIP: its uid is `ADDRESS-GENERATION`.
pub fn address_of(uid: &str) -> usize {
    uid.split('-').next().unwrap().parse().unwrap()
}

impl Kernel {
    pub fn is_open(&self, clock: Time) -> bool {
        let late = self.lateness + if self.stopped { self.slack } else { 0 };
        let late = std::time::Duration::from_nanos(if self.deadline == Time::ZERO { 0 } else { late });
        self.deadline == FOREVER || self.deadline + late > clock
    }

    /// Whether the kernel answers for an address.
    pub fn claims(&self, address: usize, clock: Time) -> Option<&Entry> {
        let mut claimed = self.entries.iter().filter(|entry| entry.address == address && self.answers(entry));
        claimed.next().filter(|_| self.is_open(clock))
    }

    pub fn answers(&self, entry: &Entry) -> bool {
        let hard = self.hard & (1 << entry.address) != 0;
        entry.state == VipState::Claim || (hard && entry.state == VipState::Accept)
    }

    pub fn set(&mut self, now: u64, uid: &str, state: VipState, fallback: bool) {
        self.entries.retain(|entry| entry.uid != uid);
        if state != VipState::Shut {
            self.entries.push(Entry { uid: uid.to_owned(), address: address_of(uid), state, fallback, since: now });
        }
    }
}
