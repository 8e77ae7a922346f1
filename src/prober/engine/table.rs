//! The targets, when each is due, and which one a packet is about.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::ports::{Port, PortKey};
use super::target::{Event, Heard, SendError, Target, TargetId, TargetSettings};
use super::{LONGEST, Options};
use crate::core::probe::{Answer, Reply as Answered, Session, Stamps, Verdict, arrival, rtt};
use crate::core::time::Time;
use crate::udp::{Datagram, Notice, Outbox};
use crate::wire::legacy_ping::{self, LegacyPing};
use crate::wire::stamp::time::{ErrorEstimate, Format, Timestamp};
use crate::wire::stamp::{self, Reply, Request, tlv};

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Timeout,
    Send,
}

#[derive(Debug)]
pub(super) struct Table {
    options: Options,
    /// Each in a place of its own: the map keeps room for as many again.
    pub(super) targets: BTreeMap<TargetId, Box<Target>>,
    by_address: HashMap<SocketAddr, Vec<TargetId>>,
    queue: BTreeSet<(Time, TargetId, Due)>,
    /// How many targets have each interval.
    pub(super) intervals: BTreeMap<Duration, usize>,
    next_id: u32,
    pub(super) events: Vec<Event>,
    pub(super) strangers: u64,
}

impl Table {
    pub(super) fn new(options: Options) -> Self {
        Self {
            options,
            targets: BTreeMap::new(),
            by_address: HashMap::new(),
            queue: BTreeSet::new(),
            intervals: BTreeMap::new(),
            next_id: 0,
            events: Vec::new(),
            strangers: 0,
        }
    }

    pub(super) fn add(&mut self, now: Time, settings: TargetSettings) -> TargetId {
        let id = TargetId(self.next_id);
        self.next_id = self.next_id.wrapping_add(1);
        let seed = self.options.seed ^ (u64::from(id.0) << 32);
        let session = Session::new(now, &settings.measure, seed);
        // Zero means that a sender has no identifier (RFC 8972 section 3).
        let ssid = ((self.options.seed as u32).wrapping_add(id.0) % 0xffff + 1) as u16;
        self.by_address.entry(settings.address).or_default().push(id);
        *self.intervals.entry(settings.measure.interval).or_default() += 1;
        let send_errors = [0; SendError::ALL.len()];
        let target = Target { settings, session, send_errors, ttl: None, ssid, send_at: None, timeout_at: None };
        self.targets.insert(id, Box::new(target));
        self.reschedule(id);
        id
    }

    pub(super) fn stop_sending(&mut self, id: TargetId) {
        if let Some(target) = self.targets.get_mut(&id) {
            target.settings.limit = Some(0);
            self.reschedule(id);
        }
    }

    pub(super) fn remove(&mut self, id: TargetId) -> Option<Target> {
        let target = self.targets.remove(&id)?;
        for (at, due) in [(target.send_at, Due::Send), (target.timeout_at, Due::Timeout)] {
            if let Some(at) = at {
                self.queue.remove(&(at, id, due));
            }
        }
        let interval = target.settings.measure.interval;
        if let Some(count) = self.intervals.get_mut(&interval) {
            *count -= 1;
            if *count == 0 {
                self.intervals.remove(&interval);
            }
        }
        if let Some(ids) = self.by_address.get_mut(&target.settings.address) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.by_address.remove(&target.settings.address);
            }
        }
        Some(*target)
    }

    pub(super) fn next_due(&self) -> Option<Time> {
        self.queue.first().map(|(at, _, _)| *at)
    }

    /// Settles what has passed its timeout, and returns what is to be sent now, by source port.
    pub(super) fn handle_due(&mut self, now: Time) -> BTreeMap<PortKey, Vec<TargetId>> {
        let mut sends: BTreeMap<PortKey, Vec<TargetId>> = BTreeMap::new();
        while let Some((at, id, due)) = self.queue.first().copied().filter(|(at, _, _)| *at <= now) {
            self.queue.remove(&(at, id, due));
            let Some(target) = self.targets.get_mut(&id) else { continue };
            match due {
                // `send_at` stays as it is until the probe is sent, so that nothing makes it due a second time.
                Due::Send => {
                    let (number, _) = target.session.upcoming();
                    let key = PortKey { ipv6: target.settings.address.is_ipv6(), number: number as u8 };
                    sends.entry(key).or_default().push(id);
                }
                Due::Timeout => {
                    target.timeout_at = None;
                    target.session.handle_timeout(now);
                    self.reschedule(id);
                }
            }
        }
        sends
    }

    /// Puts a target into the queue at the times that are due next.
    fn reschedule(&mut self, id: TargetId) {
        let Some(target) = self.targets.get_mut(&id) else { return };
        let more = target.settings.limit.is_none_or(|limit| target.session.counts().sent < limit);
        let send_at = more.then(|| target.session.next_send());
        let timeout_at = target.session.next_timeout();
        for (place, at, due) in
            [(&mut target.send_at, send_at, Due::Send), (&mut target.timeout_at, timeout_at, Due::Timeout)]
        {
            if *place != at {
                if let Some(old) = *place {
                    self.queue.remove(&(old, id, due));
                }
                self.queue.extend(at.map(|at| (at, id, due)));
                *place = at;
            }
        }
    }

    /// Writes a target's next probe into the outbox; its number and its timestamp.
    pub(super) fn write_probe(
        &self,
        id: TargetId,
        wall: u64,
        payload: &mut [u8],
        outbox: &mut Outbox,
    ) -> Option<(u32, u64)> {
        let target = self.targets.get(&id)?;
        let settings = &target.settings;
        let (_, seq) = target.session.upcoming();
        if settings.legacy {
            let millis = (wall / 1_000_000).cast_signed();
            outbox.push(settings.address, None, settings.tos, &LegacyPing { seq: seq as u8, millis }.to_bytes());
            return Some((seq, millis.cast_unsigned()));
        }
        let key = self.options.key.as_ref();
        let size = usize::from(settings.size).clamp(stamp::base_len(key), LONGEST);
        let timestamp = Timestamp::from_unix(wall, Format::Ntp);
        let error = ErrorEstimate::unsynchronised(Format::Ntp);
        let probe = payload.get_mut(..size)?;
        stamp::write_request(probe, &Request { seq, timestamp, error, ssid: target.ssid }, key).ok()?;
        outbox.push(settings.address, None, settings.tos, probe);
        Some((seq, timestamp.0))
    }

    pub(super) fn sent(&mut self, id: TargetId, now: Time, wall: u64, stamp: u64) {
        if let Some(target) = self.targets.get_mut(&id) {
            target.session.sent(now, wall, stamp);
            self.reschedule(id);
        }
    }

    /// A probe could not be sent: a loss, unless it is this machine that had no room for it.
    pub(super) fn not_sent(&mut self, id: TargetId, now: Time, wall: u64, stamp: u64, error: &io::Error) {
        let reason = SendError::of(error);
        if self.options.verbose {
            self.events.push(Event::NotSent { target: id, error: error.to_string() });
        }
        if reason == SendError::NoBuffer {
            return self.skipped(id, now, reason);
        }
        if let Some(target) = self.targets.get_mut(&id) {
            count(&mut target.send_errors, reason);
            target.session.sent(now, wall, stamp);
            self.reschedule(id);
        }
    }

    pub(super) fn skipped(&mut self, id: TargetId, now: Time, reason: SendError) {
        if let Some(target) = self.targets.get_mut(&id) {
            count(&mut target.send_errors, reason);
            target.session.skip(now);
            self.reschedule(id);
        }
    }

    /// An entry of a socket's error queue.
    pub(super) fn notice(&mut self, key: PortKey, port: &mut Port, notice: &Notice<'_>) {
        match notice {
            Notice::Sent { id, stamp } => {
                let target = port.recall(*id).and_then(|(id, seq)| Some((self.targets.get_mut(&id)?, seq)));
                if let Some((target, seq)) = target {
                    target.session.stamped(usize::from(key.number), seq, *stamp);
                }
            }
            Notice::Icmp { to, errno, bytes } => self.refused(key, *to, *errno, bytes),
        }
    }

    fn refused(&mut self, port: PortKey, to: SocketAddr, errno: i32, quoted: &[u8]) {
        let key = self.options.key.clone();
        let key = key.as_ref();
        let verbose = self.options.verbose;
        let Some((id, target)) = self.find(to, quoted) else {
            self.strangers += 1;
            return;
        };
        let number = usize::from(port.number);
        let probe = if target.settings.legacy {
            LegacyPing::read(quoted).ok().and_then(|ping| {
                let stamp = ping.millis.cast_unsigned();
                Some((target.session.find(number, ping.seq, stamp)?, stamp))
            })
        } else {
            let stamp_at = stamp::timestamp_place(key);
            let stamp =
                quoted.get(stamp_at..).and_then(|rest| rest.first_chunk()).map(|octets| u64::from_be_bytes(*octets));
            Request::peek(quoted, key.is_some()).map(|(seq, _)| seq).zip(stamp)
        };
        if target.session.refused(number, probe) && verbose {
            self.events.push(Event::Refused { target: id, errno });
        }
    }

    /// The target at an address that a packet is about.
    fn find(&mut self, address: SocketAddr, bytes: &[u8]) -> Option<(TargetId, &mut Target)> {
        let ids = self.by_address.get(&address)?;
        let legacy = bytes.len() == legacy_ping::LEN;
        let ssid = Request::peek(bytes, self.options.key.is_some()).map_or(0, |(_, ssid)| ssid);
        let fits = |id: &&TargetId| {
            self.targets
                .get(id)
                .is_some_and(|target| target.settings.legacy == legacy && (legacy || target.ssid == ssid))
        };
        // A reflector that does not know identifiers, or an ICMP error that quotes too little.
        let only = || ids.first().filter(|_| ids.len() == 1 && (ssid == 0 || legacy));
        let id = *ids.iter().find(fits).or_else(only)?;
        self.targets.get_mut(&id).map(|target| (id, target.as_mut()))
    }

    /// A datagram came in; it was read at `heard`.
    pub(super) fn datagram(&mut self, key: PortKey, datagram: &Datagram<'_>, heard: Time, wall: u64) {
        let stamp_key = self.options.key.clone();
        let verbose = self.options.verbose;
        let Some((id, target)) = self.find(datagram.from, datagram.bytes) else {
            self.strangers += 1;
            return;
        };
        let number = usize::from(key.number);
        let ports = u64::from(target.settings.measure.ports.max(1));
        let now = arrival(heard, wall, datagram.stamp);
        let mut name = None;
        let (verdict, rtt, news) = match read(target, number, datagram, stamp_key.as_ref()) {
            Ok((answered, reflector, responder)) => {
                name = responder;
                let figure = |answer: &Answer| {
                    let stamps = Stamps {
                        sent: answer.sent,
                        sent_wall: answer.wall,
                        sent_kernel: answer.kernel,
                        heard,
                        heard_wall: wall,
                        heard_kernel: datagram.stamp,
                        reflector,
                    };
                    rtt(&stamps).ok()
                };
                target.ttl = datagram.ttl;
                target.session.reply(now, number, &answered, name, figure)
            }
            Err(verdict) => {
                match verdict {
                    Verdict::Stray => target.session.stray(number),
                    _ => target.session.corrupted(number),
                }
                (verdict, None, None)
            }
        };
        if verbose {
            let (heard, index) = told(&verdict);
            let index = index.map(|index| index * ports + u64::from(key.number));
            let (len, ttl, name) = (datagram.bytes.len(), datagram.ttl, name.map(str::to_owned));
            self.events.push(Event::Answer { target: id, heard, port: key.number, index, len, ttl, rtt, name });
        }
        self.events.extend(news.map(|news| Event::Holder { target: id, news }));
        self.reschedule(id);
    }
}

fn count(errors: &mut [u64; SendError::ALL.len()], reason: SendError) {
    if let Some(count) = errors.get_mut(reason as usize) {
        *count += 1;
    }
}

/// An answer: the accounting's part, the reflector's times, and the name of who answered.
type Parts<'a> = (Answered, Option<(u64, u64)>, Option<&'a str>);

/// Reads an answer from a target.
fn read<'a>(
    target: &Target,
    port: usize,
    datagram: &Datagram<'a>,
    key: Option<&stamp::Key>,
) -> Result<Parts<'a>, Verdict> {
    if target.settings.legacy {
        let ping = LegacyPing::read(datagram.bytes).map_err(|_| Verdict::Corrupted)?;
        let stamp = ping.millis.cast_unsigned();
        let seq = target.session.find(port, ping.seq, stamp).ok_or(Verdict::Stray)?;
        return Ok((Answered { seq, stamp, number: None }, None, None));
    }
    let reply = Reply::read(datagram.bytes, key).map_err(|_| Verdict::Corrupted)?;
    let area = datagram.bytes.get(stamp::base_len(key)..).unwrap_or_default();
    if datagram.truncated || key.is_some_and(|key| !stamp::tlvs_fit(area, reply.seq, key)) {
        return Err(Verdict::Corrupted);
    }
    let answered = Answered { seq: reply.sender_seq, stamp: reply.sender_timestamp.0, number: Some(reply.seq) };
    let format = reply.error.format();
    let times = reply.received.to_unix(format).zip(reply.timestamp.to_unix(format));
    let name = tlv::responder(area).map(|responder| responder.name).filter(|name| !name.is_empty());
    Ok((answered, times, name))
}

fn told(verdict: &Verdict) -> (Heard, Option<u64>) {
    match verdict {
        Verdict::Received { answer, reordered: false } => (Heard::InOrder, Some(answer.index)),
        Verdict::Received { answer, reordered: true } => (Heard::Reordered, Some(answer.index)),
        Verdict::Late(answer) => (Heard::Late, Some(answer.index)),
        Verdict::Duplicated(answer) => (Heard::Duplicated, Some(answer.index)),
        Verdict::Corrupted => (Heard::Corrupted, None),
        Verdict::Stray => (Heard::Stray, None),
    }
}
