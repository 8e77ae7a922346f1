//! Probes of the original format that were answered a moment ago.

use std::net::SocketAddr;

use super::hash::Seed;

/// Places of the table: 128 KiB.
const PLACES: usize = 16_384;

/// Which probes were answered lately. The original format has no mark that tells a reply from a request, but a probe
/// that goes round between two reflectors is always the same one, so that each answers it once.
#[derive(Debug)]
pub struct Recent {
    seed: Seed,
    places: Box<[u64]>,
}

impl Recent {
    /// None was answered.
    #[must_use]
    pub fn new(seed: Seed) -> Self {
        Self { seed, places: vec![0; PLACES].into_boxed_slice() }
    }

    /// Whether this probe is new; it is known from then on, until another takes its place.
    pub fn is_new(&mut self, from: SocketAddr, octets: &[u8]) -> bool {
        let print = self.seed.hash(3, &(from, octets)) | 1;
        let Some(place) = self.places.get_mut((print >> 16) as usize % PLACES) else { return true };
        let new = *place != print;
        *place = print;
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_probe_is_new_once_and_another_is_new() {
        let mut recent = Recent::new(Seed(5));
        let from: SocketAddr = "192.0.2.1:40000".parse().unwrap();
        let other: SocketAddr = "192.0.2.1:40001".parse().unwrap();
        assert!(recent.is_new(from, b"probe"));
        assert!(!recent.is_new(from, b"probe"));
        assert!(recent.is_new(other, b"probe") && recent.is_new(from, b"other"));
    }
}
