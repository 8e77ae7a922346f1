//! The original UDP ping program's probe: nine octets, sent back unchanged.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |   Sequence    |                                               |
//! +-+-+-+-+-+-+-+-+       Milliseconds since 1970 (signed)        +
//! |                                                               |
//! +               +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |               |
//! +-+-+-+-+-+-+-+-+
//! ```
//! Big-endian, UDP port 32767. The sequence wraps at 256, so only together with the time does it name a probe. A reply
//! cannot be told from a request: who answers must break loops by other means.

/// Octets in a probe.
pub const LEN: usize = 9;
/// The port that the original server listens on.
pub const PORT: u16 = 32767;

/// A probe, or its echo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LegacyPing {
    /// The low eight bits of the sender's count.
    pub seq: u8,
    /// When it was sent, by the sender's wall clock.
    pub millis: i64,
}

/// A datagram that is no such probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} octets: a probe of the original program has exactly 9")]
pub struct LegacyError(pub usize);

impl LegacyPing {
    /// The probe as it goes on the wire.
    #[must_use]
    pub fn to_bytes(self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        let (seq, millis) = bytes.split_at_mut(1);
        seq.copy_from_slice(&[self.seq]);
        millis.copy_from_slice(&self.millis.to_be_bytes());
        bytes
    }

    /// Reads a datagram.
    ///
    /// # Errors
    /// [`LegacyError`] unless it has nine octets.
    pub fn read(bytes: &[u8]) -> Result<Self, LegacyError> {
        match bytes {
            [seq, millis @ ..] => {
                let millis = millis.try_into().map_err(|_| LegacyError(bytes.len()))?;
                Ok(Self { seq: *seq, millis: i64::from_be_bytes(millis) })
            }
            [] => Err(LegacyError(0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_bytes_are_those_of_the_original_program() {
        let ping = LegacyPing { seq: 0xfe, millis: 0x0000_018b_cfe5_6800 };
        assert_eq!(ping.to_bytes(), [0xfe, 0, 0, 0x01, 0x8b, 0xcf, 0xe5, 0x68, 0]);
        assert_eq!(LegacyPing::read(&ping.to_bytes()), Ok(ping));
    }

    #[test]
    fn any_other_length_is_refused() {
        for len in (0..64).filter(|len| *len != LEN) {
            assert_eq!(LegacyPing::read(&vec![0; len]), Err(LegacyError(len)));
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(seq: u8, millis: i64) {
            let ping = LegacyPing { seq, millis };
            prop_assert_eq!(LegacyPing::read(&ping.to_bytes()), Ok(ping));
        }
    }
}
