//! What the machines ask for is carried out here, in their order.

use std::net::IpAddr;
use std::time::Duration;

use super::thread::Thread;
use super::{Address, News};
use crate::core::failover::{Effect, Event, FOREVER, VipState};
use crate::core::time::Time;
use crate::gate::{Entry, SEGMENTS, State};

/// How long to wait before a gate that does not obey is told again.
const AGAIN: Duration = Duration::from_millis(50);

impl Thread {
    /// Carries out what the machine of a segment asks for. VIPs that change together go to the gate together, before
    /// anything that follows.
    pub(super) fn drain(&mut self, at: usize) {
        let mut changed = std::mem::take(&mut self.changed);
        while let Some(segment) = self.segments.get_mut(at) {
            let effect = segment.machine.poll_effect();
            if let Some(Effect::Set { uid, state }) = effect {
                segment.states.insert(uid.clone(), state);
                changed.push(uid);
                continue;
            }
            if !changed.is_empty() {
                self.apply(&changed);
                changed.clear();
            }
            match effect {
                Some(effect) => self.carry_out(at, effect),
                None => break,
            }
        }
        self.changed = changed;
    }

    fn carry_out(&mut self, at: usize, effect: Effect) {
        let Some(segment) = self.segments.get_mut(at) else { return };
        let name = || segment.name.clone();
        let news = match effect {
            Effect::Send { to, packet } => {
                let mark = self.gate.mark(segment.number);
                return segment.send(to, &packet, &self.keys, mark);
            }
            Effect::Gate(deadline) => {
                let number = segment.number;
                return self.extend(number, deadline);
            }
            // Taken with its like.
            Effect::Set { .. } => return,
            Effect::ProbeGateway => match segment.link {
                Some(link) => News::ProbeGateway { segment: name(), link, from: segment.place.ip() },
                None => return,
            },
            Effect::Patch { ticket, purpose, patch } => News::Patch { segment: name(), ticket, purpose, patch },
            Effect::Read => News::Read { segment: name() },
            Effect::Exit => {
                let news = News::Exit { segment: name() };
                if let Err(error) = self.gate.leave(segment.number) {
                    self.failed(format!("the gate shuts before the next process comes: {error}"));
                }
                news
            }
            Effect::Report(event) => {
                let again = segment.link.filter(|_| event == Event::Reunited);
                let news = News::Event { segment: name(), event };
                again.into_iter().for_each(|link| self.say(News::Again { link }));
                news
            }
        };
        self.say(news);
    }

    /// Sets a segment's deadline. Until it is in force nothing else is said or done: others would take this node for
    /// silent, and wait for as long as it may still claim.
    fn extend(&mut self, number: u16, deadline: Time) {
        let deadline = (deadline != FOREVER).then_some(deadline);
        while let Err(error) = self.gate.extend(number, deadline) {
            self.failed(format!("the gate does not take its deadline: {error}"));
            std::thread::sleep(AGAIN);
        }
    }

    /// Puts the gate back if somebody else has taken it away. Until it stands nothing else is said or done.
    pub(super) fn look_at_gate(&mut self) {
        loop {
            match self.gate.look() {
                Ok(0) => return,
                Ok(times) => {
                    self.metrics.gate_restored(times);
                    self.failed("somebody else has changed or removed the gate's table; it is put back".to_owned());
                    return;
                }
                Err(error) => self.failed(format!("the gate is not put back: {error}")),
            }
            std::thread::sleep(AGAIN);
        }
    }

    /// Brings the gate's entries of VIPs in line with what their machines want, as far as their addresses are known, and
    /// says so.
    pub(super) fn apply(&mut self, uids: &[String]) {
        let wanted: Vec<(&String, VipState, IpAddr, Entry)> =
            uids.iter().filter_map(|uid| self.wanted(uid).map(|(state, ip, entry)| (uid, state, ip, entry))).collect();
        let entries: Vec<(IpAddr, Entry)> = wanted.iter().map(|(_, _, ip, entry)| (*ip, *entry)).collect();
        let all = self.gate.set_all(&entries).is_ok();
        for (uid, state, ip, entry) in wanted {
            // One by one, so that one that the gate does not take keeps no other away.
            if all || self.set(ip, entry) || state == VipState::Shut {
                self.say(News::Set { uid: uid.clone(), state });
            }
        }
    }

    /// What is to stand at the gate for a VIP whose address is known.
    fn wanted(&self, uid: &str) -> Option<(VipState, IpAddr, Entry)> {
        let address = self.vips.get(uid)?;
        let (segment, state) = self.segments.iter().find_map(|segment| Some((segment, *segment.states.get(uid)?)))?;
        let state = if segment.gated { state } else { VipState::Shut };
        let at_gate = match state {
            VipState::Shut => State::Shut,
            // Two nodes would take its packets during a move: what only one may take breaks before it is made.
            VipState::Accept if address.hard => State::Shut,
            VipState::Accept => State::Accept,
            VipState::Claim => State::Claim,
        };
        Some((state, address.ip, Entry { segment: segment.number, state: at_gate, hard: address.hard }))
    }

    /// What stands at the gate of who has no part in an address: nothing, unless nobody but its holder may even accept
    /// packets for it.
    fn excluded(&self, address: Address) -> Option<Entry> {
        let segment = self.segments.first().map_or(*SEGMENTS.start(), |segment| segment.number);
        address.hard.then_some(Entry { segment, state: State::Shut, hard: true })
    }

    /// Takes the addresses of VIPs, of all or of one, instead of what was known of them.
    pub(super) fn know(&mut self, uid: &str, address: Option<Address>) {
        let before = match address {
            Some(address) => self.vips.insert(uid.to_owned(), address),
            None => self.vips.remove(uid),
        };
        if before == address {
            return;
        }
        let involved = |uid: &str| self.segments.iter().any(|segment| segment.states.contains_key(uid));
        match (address, before) {
            (Some(_), _) if involved(uid) => self.apply(&[uid.to_owned()]),
            (Some(address), _) if address.hard => self.forget(address.ip),
            (_, Some(before)) if before.hard => self.forget(before.ip),
            _ => {}
        }
    }

    /// Whether the gate does as it is told.
    pub(super) fn set(&mut self, ip: IpAddr, entry: Entry) -> bool {
        let result = self.gate.set(ip, entry);
        if let Err(error) = &result {
            self.failed(format!("the gate does not take {ip}: {error}"));
        }
        result.is_ok()
    }

    /// The gate forgets an address that stands here no more, unless it is wanted again.
    pub(super) fn forget(&mut self, ip: IpAddr) {
        let uids = self.vips.iter().filter(|(_, vip)| vip.ip == ip).map(|(uid, _)| uid);
        let shut = |uid: &String| {
            let states = self.segments.iter().filter_map(|segment| segment.states.get(uid));
            states.into_iter().all(|state| *state == VipState::Shut)
        };
        if !uids.into_iter().all(shut) {
            return;
        }
        if let Some(entry) = self.vips.values().find(|vip| vip.ip == ip).and_then(|vip| self.excluded(*vip)) {
            self.set(ip, entry);
            return;
        }
        if let Err(error) = self.gate.remove(ip) {
            self.failed(format!("the gate does not forget {ip}: {error}"));
        }
    }
}
