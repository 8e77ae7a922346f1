//! What a reflector does with a packet, and whom it never answers.

use std::net::{IpAddr, SocketAddr};

/// What became of a packet that came in: a closed set, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// A STAMP request was answered.
    Answered,
    /// A probe of the original format was answered.
    AnsweredLegacy,
    /// It is no probe of any format that is spoken here.
    Malformed,
    /// It is a reply, or a probe that was answered a moment ago: to answer it would make an endless loop.
    Looped,
    /// It came from port 0, from our own port or from one on which reflectors listen.
    BadPort,
    /// It came from, or was sent to, an address that is not one host's.
    BadAddress,
    /// Its source has asked too much.
    RateLimited,
    /// It is not authenticated with our key.
    Forged,
    /// The answer could not be sent.
    SendFailed,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 9] = [
        Self::Answered,
        Self::AnsweredLegacy,
        Self::Malformed,
        Self::Looped,
        Self::BadPort,
        Self::BadAddress,
        Self::RateLimited,
        Self::Forged,
        Self::SendFailed,
    ];

    /// The word for a label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::AnsweredLegacy => "answered_legacy",
            Self::Malformed => "malformed",
            Self::Looped => "looped",
            Self::BadPort => "bad_port",
            Self::BadAddress => "bad_address",
            Self::RateLimited => "rate_limited",
            Self::Forged => "forged",
            Self::SendFailed => "send_failed",
        }
    }
}

/// Why a packet between these ends is never answered, whatever it holds; `None` if it may be.
///
/// `reflectors` are the ports on which reflectors listen, our own among them.
#[must_use]
pub fn refusal(from: SocketAddr, asked: Option<IpAddr>, reflectors: &[u16]) -> Option<Outcome> {
    if from.port() == 0 || reflectors.contains(&from.port()) {
        return Some(Outcome::BadPort);
    }
    let one_host = |address: IpAddr| {
        let address = address.to_canonical();
        let broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
        !(address.is_unspecified() || address.is_multicast() || broadcast)
    };
    let fine = one_host(from.ip()) && asked.is_none_or(one_host);
    (!fine).then_some(Outcome::BadAddress)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_host_at_a_port_of_its_own_is_answered() {
        let cases = [
            ("192.0.2.1:40000", "192.0.2.2", None),
            ("[2001:db8::1]:40000", "2001:db8::2", None),
            ("192.0.2.1:0", "192.0.2.2", Some(Outcome::BadPort)),
            ("192.0.2.1:862", "192.0.2.2", Some(Outcome::BadPort)),
            ("192.0.2.1:32767", "192.0.2.2", Some(Outcome::BadPort)),
            ("0.0.0.0:40000", "192.0.2.2", Some(Outcome::BadAddress)),
            ("224.0.0.1:40000", "192.0.2.2", Some(Outcome::BadAddress)),
            ("[::ffff:224.0.0.1]:40000", "192.0.2.2", Some(Outcome::BadAddress)),
            ("255.255.255.255:40000", "192.0.2.2", Some(Outcome::BadAddress)),
            ("192.0.2.1:40000", "239.1.1.1", Some(Outcome::BadAddress)),
            ("192.0.2.1:40000", "255.255.255.255", Some(Outcome::BadAddress)),
            ("[2001:db8::1]:40000", "ff02::1", Some(Outcome::BadAddress)),
        ];
        for (from, asked, wanted) in cases {
            let got = refusal(from.parse().unwrap(), Some(asked.parse().unwrap()), &[862, 32767]);
            assert_eq!(got, wanted, "{from} to {asked}");
        }
    }
}
