//! The replay window of RFC 4303 section 3.4.3: the newest number, and which of the 64 up to it have been seen.

use serde::{Deserialize, Serialize};

/// Which sequence numbers of one sender and boot have been seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Window {
    newest: u64,
    /// Bit i: `newest - i` has been seen.
    seen: u64,
}

impl Window {
    /// Notes a number; `false` if it has been seen, or is too old to know.
    pub const fn accept(&mut self, sequence: u64) -> bool {
        if self.seen == 0 || sequence > self.newest {
            let ahead = sequence.saturating_sub(self.newest);
            self.seen = if self.seen == 0 || ahead >= 64 { 1 } else { (self.seen << ahead) | 1 };
            self.newest = sequence;
            return true;
        }
        let behind = self.newest - sequence;
        if behind >= 64 || self.seen & (1 << behind) != 0 {
            return false;
        }
        self.seen |= 1 << behind;
        true
    }
}
