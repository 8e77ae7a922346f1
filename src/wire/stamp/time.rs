//! Timestamps of STAMP and how good they are (RFC 8762 sections 4.2.1 and 4.3, RFC 4656 section 4.1.2).

/// Seconds from 1900 (NTP's era 0) to 1970.
const NTP_UNIX_OFFSET: u64 = 2_208_988_800;
const NANOS: u64 = 1_000_000_000;

/// How the 64 bits of a timestamp are to be read; bit Z of the error estimate beside it says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Seconds since 1900 and a binary fraction, 32 bits each (RFC 5905 section 6).
    Ntp,
    /// Seconds since 1970 and nanoseconds, 32 bits each (IEEE 1588-2008, truncated as in RFC 8186).
    Ptp,
}

/// A timestamp as it stands in a packet; zero means that there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The instant `nanos` nanoseconds after 1970 (`CLOCK_REALTIME`).
    #[must_use]
    pub const fn from_unix(nanos: u64, format: Format) -> Self {
        let (seconds, rest) = (nanos / NANOS, nanos % NANOS);
        match format {
            // The cast keeps the low 32 bits: the era is told from the top bit when read back.
            Format::Ntp => Self((((seconds + NTP_UNIX_OFFSET) as u32 as u64) << 32) | ((rest << 32) / NANOS)),
            Format::Ptp => Self(((seconds as u32 as u64) << 32) | rest),
        }
    }

    /// Nanoseconds since 1970; `None` where the bits are no time of this format, or are zero.
    ///
    /// An NTP timestamp is taken as one of the years 1968 to 2104 (RFC 4330 section 3), whatever lies before 1970 as
    /// none.
    #[must_use]
    pub const fn to_unix(self, format: Format) -> Option<u64> {
        if self.0 == 0 {
            return None;
        }
        let (high, low) = (self.0 >> 32, self.0 & 0xffff_ffff);
        match format {
            Format::Ntp => {
                let era = if high & 0x8000_0000 == 0 { 1 << 32 } else { 0 };
                match (high + era).checked_sub(NTP_UNIX_OFFSET) {
                    Some(seconds) => Some(seconds * NANOS + ((low * NANOS + (1 << 31)) >> 32)),
                    None => None,
                }
            }
            Format::Ptp if low >= NANOS => None,
            Format::Ptp => Some(high * NANOS + low),
        }
    }
}

/// How far a clock may be from the true time: `multiplier * 2^(scale - 32)` seconds.
///
/// ```text
///  0                   1
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |S|Z|   Scale   |   Multiplier  |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorEstimate(pub u16);

impl ErrorEstimate {
    /// A clock that is kept by nobody we know of: not synchronised, good to about a second.
    #[must_use]
    pub const fn unsynchronised(format: Format) -> Self {
        let z = match format {
            Format::Ntp => 0,
            Format::Ptp => 0x4000,
        };
        Self(z | (32 << 8) | 1)
    }

    /// Whether the clock follows an external source (bit S).
    #[must_use]
    pub const fn synchronised(self) -> bool {
        self.0 & 0x8000 != 0
    }

    /// The format of the timestamp beside it (bit Z).
    #[must_use]
    pub const fn format(self) -> Format {
        if self.0 & 0x4000 == 0 { Format::Ntp } else { Format::Ptp }
    }

    /// The bound in seconds; `None` where the multiplier is zero, which RFC 4656 forbids.
    #[must_use]
    pub fn seconds(self) -> Option<f64> {
        let multiplier = self.0 & 0xff;
        let scale = i32::from((self.0 >> 8) & 0x3f);
        (multiplier != 0).then(|| f64::from(multiplier) * 2f64.powi(scale - 32))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_instants() {
        let half = 1_700_000_000_500_000_000;
        assert_eq!(Timestamp::from_unix(half, Format::Ntp), Timestamp(0xe8fe_6f80_8000_0000));
        assert_eq!(Timestamp::from_unix(half, Format::Ptp), Timestamp(0x6553_f100_1dcd_6500));
        assert_eq!(Timestamp(0).to_unix(Format::Ntp), None);
        assert_eq!(Timestamp(0x8000_0000_0000_0000).to_unix(Format::Ntp), None, "1968 is before 1970");
        assert_eq!(Timestamp(1_000_000_000).to_unix(Format::Ptp), None, "a second has fewer nanoseconds");
    }

    #[test]
    fn the_error_estimate_is_read_bit_by_bit() {
        let ours = ErrorEstimate::unsynchronised(Format::Ntp);
        assert_eq!((ours.synchronised(), ours.format(), ours.seconds()), (false, Format::Ntp, Some(1.0)));
        let other = ErrorEstimate(0xc000 | (30 << 8) | 2);
        assert_eq!((other.synchronised(), other.format(), other.seconds()), (true, Format::Ptp, Some(0.5)));
        assert_eq!(ErrorEstimate(0x8000).seconds(), None);
    }

    proptest! {
        #[test]
        fn a_time_survives_to_the_nanosecond(nanos in 1u64..4_200_000_000_000_000_000) {
            for format in [Format::Ntp, Format::Ptp] {
                prop_assert_eq!(Timestamp::from_unix(nanos, format).to_unix(format), Some(nanos));
            }
        }

        #[test]
        fn any_bits_are_a_time_or_none(bits: u64) {
            for format in [Format::Ntp, Format::Ptp] {
                let _ = Timestamp(bits).to_unix(format);
            }
            let _ = ErrorEstimate(bits as u16).seconds();
        }
    }
}
