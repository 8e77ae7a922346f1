//! The shared keys: one that signs, and one more that is still, or already, believed, so that a key can be changed
//! while agents run.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::{LEN, TAG};

/// One key and its id.
#[derive(Clone)]
pub struct Key {
    id: u8,
    hmac: Hmac<Sha256>,
}

impl Key {
    /// A key from its octets, at least 16 of them; 32 random ones are best.
    #[must_use]
    pub fn new(id: u8, octets: &[u8]) -> Option<Self> {
        let hmac = (octets.len() >= 16).then(|| Hmac::new_from_slice(octets).ok())??;
        Some(Self { id, hmac })
    }

    fn over(&self, covered: &[u8]) -> Hmac<Sha256> {
        let mut hmac = self.hmac.clone();
        hmac.update(covered);
        hmac
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key {}", self.id)
    }
}

/// The keys in use.
#[derive(Debug, Clone)]
pub struct Keys {
    signs: Key,
    also: Option<Key>,
}

impl Keys {
    /// `signs` authenticates what is sent; of what is received, `also` is believed as well.
    #[must_use]
    pub const fn new(signs: Key, also: Option<Key>) -> Self {
        Self { signs, also }
    }

    pub(super) const fn current(&self) -> u8 {
        self.signs.id
    }

    pub(super) fn tag(&self, covered: &[u8]) -> [u8; LEN - TAG] {
        self.signs.over(covered).finalize().into_bytes().into()
    }

    /// Whether the HMAC fits, compared in constant time; `None` for an unknown key.
    pub(super) fn fits(&self, id: u8, covered: &[u8], tag: &[u8]) -> Option<bool> {
        let key = [Some(&self.signs), self.also.as_ref()].into_iter().flatten().find(|key| key.id == id)?;
        Some(key.over(covered).verify_slice(tag).is_ok())
    }
}
