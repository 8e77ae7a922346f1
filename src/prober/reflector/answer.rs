//! From a probe to its answer, or to the reason why there is none.

use std::net::IpAddr;

use super::Settings;
use crate::core::reflect::{Limiter, Numbers, Outcome, Recent, Seed, SessionKey, refusal};
use crate::core::time::Time;
use crate::udp::{Datagram, Outbox};
use crate::wire::legacy_ping::{self, LegacyPing};
use crate::wire::stamp::time::{ErrorEstimate, Timestamp};
use crate::wire::stamp::tlv::{self, Responder};
use crate::wire::stamp::{self, Key, Reply, Request, StampError};

/// The two low bits of the traffic class: congestion (RFC 3168), which an answer does not repeat.
const ECN: u8 = 0x03;

/// One worker's tables. An answer is never longer than the probe, goes back in the same traffic class and from the
/// address that was asked, and carries nothing that the sender chose but the numbers of the format.
#[derive(Debug)]
pub struct Answerer {
    name: String,
    key: Option<Key>,
    reflectors: Vec<u16>,
    limiter: Limiter,
    numbers: Option<Numbers>,
    recent: Recent,
    /// The answers in the outbox that still lack their time of leaving, by number.
    unstamped: Vec<(usize, Reply)>,
}

impl Answerer {
    /// Empty tables of a reflector that listens on `port`.
    #[must_use]
    pub fn new(settings: &Settings, port: u16, seed: Seed) -> Self {
        Self {
            name: settings.name.clone(),
            key: settings.key.clone(),
            reflectors: vec![port, legacy_ping::PORT, stamp::PORT],
            limiter: Limiter::new(settings.limit, seed),
            numbers: settings.stateful.then(|| Numbers::new(seed)),
            recent: Recent::new(seed),
            unstamped: Vec::new(),
        }
    }

    /// Puts the answer to a probe into the outbox, for [`Answerer::stamp`] to complete.
    ///
    /// # Errors
    /// The reason why there is no answer.
    pub fn answer(&mut self, now: Time, probe: &Datagram<'_>, outbox: &mut Outbox) -> Result<Outcome, Outcome> {
        if let Some(reason) = refusal(probe.from, probe.asked, &self.reflectors) {
            return Err(reason);
        }
        if probe.local != probe.asked {
            return Err(Outcome::BadAddress);
        }
        if !self.limiter.take(now, probe.from.ip()) {
            return Err(Outcome::RateLimited);
        }
        if probe.truncated {
            return Err(Outcome::Malformed);
        }
        let from = probe.local.map(|local| (local, probe.interface));
        if probe.bytes.len() == legacy_ping::LEN {
            return self.answer_legacy(probe, from, outbox);
        }
        let request = Request::read(probe.bytes, self.key.as_ref()).map_err(|error| match error {
            StampError::Reply => Outcome::Looped,
            StampError::Forged => Outcome::Forged,
            StampError::Short(..) if self.key.is_some() && probe.bytes.len() >= stamp::LEN => Outcome::Forged,
            StampError::Short(..) | StampError::Request => Outcome::Malformed,
        })?;
        let area = probe.bytes.get(stamp::base_len(self.key.as_ref())..).unwrap_or_default();
        if self.key.as_ref().is_some_and(|key| !stamp::tlvs_fit(area, request.seq, key)) {
            return Err(Outcome::Forged);
        }
        let number = self.number(now, probe, &request);
        let reply = self.reply(probe, &request, number.unwrap_or(request.seq));
        let place = outbox.len();
        outbox.push(probe.from, from, probe.tos & !ECN, probe.bytes);
        let area = outbox.payload_mut(place).get_mut(stamp::base_len(self.key.as_ref())..).unwrap_or_default();
        tlv::reflect(area, Responder { name: &self.name, stateful: number.is_some() });
        if let Some(key) = &self.key {
            stamp::seal_tlvs(area, reply.seq, key);
        }
        self.unstamped.push((place, reply));
        Ok(Outcome::Answered)
    }

    /// Writes the time of leaving into all answers, as late as can be: right before they are sent.
    pub fn stamp(&mut self, outbox: &mut Outbox, wall: u64) {
        for (place, mut reply) in self.unstamped.drain(..) {
            reply.timestamp = Timestamp::from_unix(wall, reply.error.format());
            // The room is the request's, which was long enough.
            let _ = reply.write(outbox.payload_mut(place), self.key.as_ref());
        }
    }

    fn answer_legacy(
        &mut self,
        probe: &Datagram<'_>,
        from: Option<(IpAddr, u32)>,
        outbox: &mut Outbox,
    ) -> Result<Outcome, Outcome> {
        if self.key.is_some() {
            return Err(Outcome::Forged);
        }
        LegacyPing::read(probe.bytes).map_err(|_| Outcome::Malformed)?;
        if !self.recent.is_new(probe.from, probe.bytes) {
            return Err(Outcome::Looped);
        }
        outbox.push(probe.from, from, probe.tos & !ECN, probe.bytes);
        Ok(Outcome::AnsweredLegacy)
    }

    fn number(&mut self, now: Time, probe: &Datagram<'_>, request: &Request) -> Option<u32> {
        let (source, port) = (probe.from.ip(), probe.from.port());
        let key = SessionKey { source, port, asked: probe.asked, ssid: request.ssid };
        self.numbers.as_mut()?.next(now, &key)
    }

    /// The reply to a request, without its time of leaving; in the format of time that the request has.
    fn reply(&self, probe: &Datagram<'_>, request: &Request, seq: u32) -> Reply {
        let format = request.error.format();
        let received = probe.stamp.unwrap_or_else(super::clock::wall);
        Reply {
            seq,
            timestamp: Timestamp::default(),
            error: ErrorEstimate::unsynchronised(format),
            ssid: request.ssid,
            received: Timestamp::from_unix(received, format),
            sender_seq: request.seq,
            sender_timestamp: request.timestamp,
            sender_error: request.error,
            sender_ttl: probe.ttl.unwrap_or(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::reflect::Limit;
    use crate::wire::stamp::time::Format;

    fn answerer(key: Option<Key>) -> Answerer {
        let settings = Settings {
            bind: "[::]:40".parse().unwrap(),
            workers: 1,
            name: "node-a".into(),
            key,
            stateful: true,
            limit: Limit { rate: 0, burst: 0 },
        };
        Answerer::new(&settings, 40, Seed(1))
    }

    fn probe(bytes: &[u8]) -> Datagram<'_> {
        let here = "192.0.2.2".parse().ok();
        let (from, stamp) = ("192.0.2.1:50000".parse().unwrap(), Some(1_700_000_000_000_000_000));
        Datagram {
            bytes,
            truncated: false,
            from,
            asked: here,
            local: here,
            interface: 2,
            ttl: Some(63),
            tos: 0xb9,
            stamp,
        }
    }

    fn request(len: usize, key: Option<&Key>) -> Vec<u8> {
        let mut bytes = vec![0; len];
        let timestamp = Timestamp::from_unix(1_600_000_000_000_000_000, Format::Ptp);
        let request = Request { seq: 7, timestamp, error: ErrorEstimate::unsynchronised(Format::Ptp), ssid: 9 };
        stamp::write_request(&mut bytes, &request, key).unwrap();
        bytes
    }

    #[test]
    fn a_reply_names_the_node_and_is_as_long_as_the_request() {
        for key in [None, Key::new(b"secret")] {
            let (mut answerer, mut outbox) = (answerer(key.clone()), Outbox::new());
            let bytes = request(200, key.as_ref());
            assert_eq!(answerer.answer(Time::ZERO, &probe(&bytes), &mut outbox), Ok(Outcome::Answered));
            answerer.stamp(&mut outbox, 1_700_000_000_000_050_000);
            let sent = outbox.payload_mut(0);
            let reply = Reply::read(sent, key.as_ref()).unwrap();
            assert_eq!((sent.len(), reply.seq, reply.sender_seq, reply.ssid, reply.sender_ttl), (200, 0, 7, 9, 63));
            assert_eq!(reply.timestamp.to_unix(Format::Ptp), Some(1_700_000_000_000_050_000));
            assert_eq!(reply.received.to_unix(Format::Ptp), Some(1_700_000_000_000_000_000));
            let area = &sent[stamp::base_len(key.as_ref())..];
            let responder = tlv::responder(area).unwrap();
            assert_eq!((responder.name, responder.stateful), ("node-a", true));
            assert!(key.is_none_or(|key| stamp::tlvs_fit(area, reply.seq, &key)));
        }
    }

    #[test]
    fn its_own_answers_are_refused_and_so_is_a_probe_of_the_original_that_comes_back() {
        let (mut answerer, mut outbox) = (answerer(None), Outbox::new());
        let bytes = request(44, None);
        answerer.answer(Time::ZERO, &probe(&bytes), &mut outbox).unwrap();
        answerer.stamp(&mut outbox, 1);
        let reply = outbox.payload_mut(0).to_vec();
        assert_eq!(answerer.answer(Time::ZERO, &probe(&reply), &mut outbox), Err(Outcome::Looped));
        assert_eq!(answerer.answer(Time::ZERO, &probe(&[1; 9]), &mut outbox), Ok(Outcome::AnsweredLegacy));
        assert_eq!(answerer.answer(Time::ZERO, &probe(&[1; 9]), &mut outbox), Err(Outcome::Looped));
        assert_eq!(outbox.payload_mut(1), [1; 9]);
    }

    #[test]
    fn with_a_key_only_what_is_sealed_with_it_is_answered() {
        let key = Key::new(b"secret");
        let (mut answerer, mut outbox) = (answerer(key.clone()), Outbox::new());
        let mut altered = request(112, key.as_ref());
        altered[3] ^= 1;
        let mut tlvs_altered = request(200, key.as_ref());
        tlvs_altered[120] ^= 1;
        let other = request(112, Key::new(b"other").as_ref());
        for bytes in [request(44, None), vec![0; 9], altered, tlvs_altered, other] {
            assert_eq!(
                answerer.answer(Time::ZERO, &probe(&bytes), &mut outbox),
                Err(Outcome::Forged),
                "{}",
                bytes.len()
            );
        }
        assert!(outbox.is_empty());
    }

    #[test]
    fn what_is_no_probe_is_not_answered() {
        let (mut answerer, mut outbox) = (answerer(None), Outbox::new());
        for bytes in [&[][..], &[0; 8], &[0; 10], &[0; 43]] {
            assert_eq!(answerer.answer(Time::ZERO, &probe(bytes), &mut outbox), Err(Outcome::Malformed));
        }
        let cut = Datagram { truncated: true, ..probe(&[0; 44]) };
        assert_eq!(answerer.answer(Time::ZERO, &cut, &mut outbox), Err(Outcome::Malformed));
        let broadcast = Datagram { asked: "192.0.2.255".parse().ok(), ..probe(&[0; 44]) };
        assert_eq!(answerer.answer(Time::ZERO, &broadcast, &mut outbox), Err(Outcome::BadAddress));
        assert!(outbox.is_empty());
    }
}
