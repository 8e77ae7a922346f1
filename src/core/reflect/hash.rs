//! Places in the tables, which nobody outside can predict.

use std::hash::{DefaultHasher, Hash, Hasher};

/// Random bits that a process draws once: with them a place in a table cannot be aimed at.
#[derive(Debug, Clone, Copy)]
pub struct Seed(pub u64);

impl Seed {
    /// The hash of a key; another `salt` gives another one.
    pub(super) fn hash(self, salt: u64, key: &impl Hash) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.0, salt).hash(&mut hasher);
        key.hash(&mut hasher);
        hasher.finish()
    }
}
