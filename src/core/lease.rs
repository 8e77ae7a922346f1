//! Leadership through one lease, by the observed-change rule: a lease is over when it has not changed for its duration on
//! the watcher's own clock since the watcher saw it change. What times stand in it is nobody's business.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::time::Time;

/// The times of an election; `duration` is longer than `deadline`, and that than `renew`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timing {
    /// How long others wait for a change before they take the lease.
    pub duration: Duration,
    /// How long the leader leads after it sent the last renewal that succeeded.
    pub deadline: Duration,
    /// How often it renews, and others look.
    pub renew: Duration,
    /// How soon it tries again after a failure.
    pub retry: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            duration: Duration::from_secs(15),
            deadline: Duration::from_secs(10),
            renew: Duration::from_secs(4),
            retry: Duration::from_secs(1),
        }
    }
}

/// A lease as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Who has it; empty for nobody.
    pub holder: String,
    /// For how long without a change.
    pub duration: Duration,
    /// How often it changed hands.
    pub transitions: u32,
    /// The store's version of the object; anything else that changes shows in it.
    pub version: String,
}

/// What an election is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Input {
    /// The lease as read, `None` if there is none.
    Read(Option<Record>),
    /// A write succeeded, and left this.
    Written(Record),
    /// Somebody else wrote first; nothing changed.
    Overtaken,
    /// The store did not answer, or refused.
    Failed,
    /// The process is about to end.
    Stop,
}

/// What an election asks for, one at a time; each is answered by an [`Input`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// Read the lease.
    Read,
    /// Make it.
    Create(Record),
    /// Write it, if its version is still the one in the record.
    Replace(Record),
}

/// One candidate's part in an election.
#[derive(Debug)]
pub struct Election {
    me: String,
    timing: Timing,
    /// What was seen last, and when it was seen to change.
    seen: Option<(Record, Time)>,
    /// When the last renewal that succeeded was sent.
    renewed: Option<Time>,
    /// When the request under way was sent.
    sent: Option<Time>,
    effect: Option<Effect>,
    next: Time,
    stopping: bool,
}

impl Election {
    /// A candidate. Its name must be its own: a lease that bears it is taken at once.
    #[must_use]
    pub fn new(me: impl Into<String>, timing: Timing) -> Self {
        Self {
            me: me.into(),
            timing,
            seen: None,
            renewed: None,
            sent: None,
            effect: None,
            next: Time::ZERO,
            stopping: false,
        }
    }

    /// Whether it leads.
    #[must_use]
    pub fn leads(&self, now: Time) -> bool {
        !self.stopping && self.renewed.is_some_and(|sent| now < sent + self.timing.deadline)
    }

    /// Takes in an answer, or that the process ends.
    pub fn handle(&mut self, now: Time, input: Input) {
        let sent = if input == Input::Stop { None } else { self.sent.take() };
        match input {
            Input::Read(record) => self.read(now, record),
            Input::Written(record) => {
                let ours = record.holder == self.me;
                self.renewed = sent.filter(|_| ours);
                self.seen = Some((record, now));
                self.next = now + self.timing.renew;
            }
            Input::Overtaken => self.ask(Effect::Read),
            Input::Failed => self.next = now + self.timing.retry,
            Input::Stop => self.stop(),
        }
    }

    fn read(&mut self, now: Time, record: Option<Record>) {
        let Some(record) = record else {
            self.seen = None;
            self.renewed = None;
            return self.ask(Effect::Create(self.claim(None)));
        };
        let since = match &self.seen {
            Some((seen, since)) if *seen == record => *since,
            _ => now,
        };
        self.seen = Some((record.clone(), since));
        let ours = record.holder == self.me;
        if !ours {
            self.renewed = None;
        }
        if ours || record.holder.is_empty() || now >= since + record.duration {
            self.ask(Effect::Replace(self.claim(Some(&record))));
        } else {
            self.next = now + self.timing.renew.min((since + record.duration).since(now));
        }
    }

    fn claim(&self, old: Option<&Record>) -> Record {
        let changes = old.is_some_and(|old| old.holder != self.me);
        Record {
            holder: self.me.clone(),
            duration: self.timing.duration,
            transitions: old.map_or(0, |old| old.transitions.saturating_add(u32::from(changes))),
            version: old.map(|old| old.version.clone()).unwrap_or_default(),
        }
    }

    /// A leader that ends says so, for the next one need not wait then.
    fn stop(&mut self) {
        if let Some((record, _)) = self.seen.as_ref().filter(|_| self.renewed.is_some()) {
            let gone = Record { holder: String::new(), duration: Duration::from_secs(1), ..record.clone() };
            self.effect = Some(Effect::Replace(gone));
        }
        self.stopping = true;
    }

    fn ask(&mut self, effect: Effect) {
        if !self.stopping {
            self.effect = Some(effect);
        }
    }

    /// Asks for what is due.
    pub fn handle_timeout(&mut self, now: Time) {
        if self.stopping || self.sent.is_some() || self.effect.is_some() || now < self.next {
            return;
        }
        let ours = self.seen.as_ref().map(|(record, _)| record).filter(|record| record.holder == self.me);
        self.effect = Some(ours.map_or(Effect::Read, |record| Effect::Replace(self.claim(Some(record)))));
    }

    /// The next request, which is sent `now`.
    pub fn poll_effect(&mut self, now: Time) -> Option<Effect> {
        let effect = self.effect.take()?;
        self.sent = Some(now);
        Some(effect)
    }

    /// When to call [`Self::handle_timeout`], or when leadership ends by itself.
    #[must_use]
    pub fn poll_timeout(&self, now: Time) -> Option<Time> {
        let end = self.renewed.map(|sent| sent + self.timing.deadline).filter(|end| *end > now);
        let next = (self.sent.is_none() && !self.stopping).then_some(self.next);
        [end, next].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Fate {
        Answered,
        RequestLost,
        AnswerLost,
    }

    /// A store with one lease, and candidates with clocks of their own.
    struct Bench {
        lease: Option<Record>,
        version: u64,
        now: Time,
        candidates: Vec<(Election, Option<Effect>)>,
    }

    impl Bench {
        fn new(count: usize) -> Self {
            let candidate = |at| (Election::new(format!("c{at}"), Timing::default()), None);
            Self { lease: None, version: 0, now: Time::ZERO, candidates: (0..count).map(candidate).collect() }
        }

        fn write(&mut self, record: Record, create: bool) -> Input {
            let current = self.lease.as_ref().map(|lease| lease.version.clone());
            if create != current.is_none() || current.is_some_and(|version| version != record.version) {
                return Input::Overtaken;
            }
            self.version += 1;
            let record = Record { version: self.version.to_string(), ..record };
            self.lease = Some(record.clone());
            Input::Written(record)
        }

        /// The candidate sends what is due, or its request under way is answered.
        fn step(&mut self, at: usize, fate: Fate) {
            let now = self.clock(at);
            if let Some(effect) = self.candidates[at].1.take() {
                let input = match effect {
                    _ if fate == Fate::RequestLost => Input::Failed,
                    Effect::Read => Input::Read(self.lease.clone()),
                    Effect::Create(record) => self.write(record, true),
                    Effect::Replace(record) => self.write(record, false),
                };
                let input = if fate == Fate::AnswerLost { Input::Failed } else { input };
                self.candidates[at].0.handle(now, input);
            } else {
                let (election, pending) = &mut self.candidates[at];
                election.handle_timeout(now);
                *pending = election.poll_effect(now);
            }
        }

        /// Each clock started at another time.
        fn clock(&self, at: usize) -> Time {
            self.now + Duration::from_secs(1000 * at as u64)
        }

        fn leaders(&self) -> Vec<usize> {
            (0..self.candidates.len()).filter(|at| self.candidates[*at].0.leads(self.clock(*at))).collect()
        }

        fn run(&mut self, time: Duration, alive: &[usize]) {
            let end = self.now + time;
            while self.now < end {
                for at in alive {
                    self.step(*at, Fate::Answered);
                }
                self.now = self.now + Duration::from_millis(100);
            }
        }
    }

    #[test]
    fn one_leads_and_another_follows_when_it_dies() {
        let mut bench = Bench::new(2);
        bench.run(Duration::from_secs(5), &[0, 1]);
        assert_eq!(bench.leaders(), [0]);
        bench.run(Duration::from_secs(60), &[0, 1]);
        assert_eq!(bench.leaders(), [0], "nobody takes it from who renews");
        bench.run(Duration::from_secs(10), &[1]);
        assert_eq!(bench.leaders(), Vec::<usize>::new(), "it ends by itself before others may take it");
        bench.run(Duration::from_secs(10), &[1]);
        assert_eq!(bench.leaders(), [1]);
        assert_eq!(bench.lease.as_ref().map(|lease| lease.transitions), Some(1));
        bench.run(Duration::from_secs(10), &[0, 1]);
        assert_eq!(bench.leaders(), [1]);
    }

    #[test]
    fn who_stops_leaves_at_once_and_who_returns_under_its_name_too() {
        let mut bench = Bench::new(2);
        bench.run(Duration::from_secs(5), &[0, 1]);
        let now = bench.clock(0);
        bench.candidates[0].0.handle(now, Input::Stop);
        assert_eq!(bench.leaders(), Vec::<usize>::new());
        let Some(Effect::Replace(record)) = bench.candidates[0].0.poll_effect(now) else { panic!("it says nothing") };
        assert!(matches!(bench.write(record, false), Input::Written(_)));
        bench.run(Duration::from_secs(5), &[1]);
        assert_eq!(bench.leaders(), [1]);
        bench.candidates[1] = (Election::new("c1", Timing::default()), None);
        bench.run(Duration::from_secs(1), &[1]);
        assert_eq!(bench.leaders(), [1], "a process that was killed gets back what bears its name");
    }

    proptest! {
        /// Whoever sleeps, loses answers or wakes late: never two lead.
        #[test]
        fn never_two(steps in prop::collection::vec((0usize..3, 0u64..6_000, 0usize..6), 1..200)) {
            let mut bench = Bench::new(3);
            for (at, pause, fate) in steps {
                bench.now = bench.now + Duration::from_millis(pause);
                bench.step(at, *[Fate::RequestLost, Fate::AnswerLost].get(fate).unwrap_or(&Fate::Answered));
                prop_assert!(bench.leaders().len() <= 1, "{:?} lead at {}", bench.leaders(), bench.now);
            }
        }
    }
}
