//! Which node answers for an address, when that changes, how long nobody did, and whether two do.

use std::time::Duration;

use crate::core::time::Time;

/// What an answer said that was new.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HolderNews {
    /// The first node that was heard.
    First(String),
    /// Another node answers.
    Changed {
        /// Who answered before.
        from: String,
        /// Who answers now.
        to: String,
        /// How long nobody answered: from the last probe that the former answered to the first that the next one did;
        /// zero if no probe was lost between.
        gap: Duration,
    },
    /// Two nodes answer at once: one probe, or probes in turn.
    Two {
        /// Who was thought to hold the address.
        holder: String,
        /// Who answers as well.
        other: String,
    },
}

/// Who answers for an address, as its answers tell it.
#[derive(Debug, Clone)]
pub struct Holders {
    interval: Duration,
    current: Option<Holder>,
    /// Who answered before.
    former: Option<String>,
    /// When the newest probe that was answered was sent.
    answered: Time,
    /// When somebody else than the holder last answered beside it.
    doubled: Option<Time>,
    changes: u64,
    conflicts: u64,
    last_gap: Duration,
    total_gap: Duration,
}

#[derive(Debug, Clone)]
struct Holder {
    name: String,
    /// When the first probe that it answered was sent.
    since: Time,
}

impl Holders {
    /// Nobody was heard yet; probes leave every `interval`.
    #[must_use]
    pub const fn new(interval: Duration) -> Self {
        Self {
            interval,
            current: None,
            former: None,
            answered: Time::ZERO,
            doubled: None,
            changes: 0,
            conflicts: 0,
            last_gap: Duration::ZERO,
            total_gap: Duration::ZERO,
        }
    }

    /// A probe that was sent at `sent` was answered, for the first time and in time, by `name`.
    pub fn answered(&mut self, sent: Time, name: &str) -> Option<HolderNews> {
        let Some(current) = &self.current else {
            self.current = Some(Holder { name: name.to_owned(), since: sent });
            self.answered = sent;
            return Some(HolderNews::First(name.to_owned()));
        };
        if current.name == name {
            self.count_gap(sent);
            return None;
        }
        if sent < current.since {
            return None;
        }
        let returned = self.former.as_deref() == Some(name) && sent.since(current.since) < self.window();
        let from = current.name.clone();
        let gap = self.count_gap(sent);
        self.current = Some(Holder { name: name.to_owned(), since: sent });
        self.former = Some(from.clone());
        self.changes += 1;
        if returned {
            return self.two(sent, from, name.to_owned());
        }
        Some(HolderNews::Changed { from, to: name.to_owned(), gap })
    }

    /// A probe that was answered already was answered again, by `name`.
    pub fn doubled(&mut self, now: Time, name: &str) -> Option<HolderNews> {
        let holder = self.current.as_ref().filter(|current| current.name != name)?.name.clone();
        self.two(now, holder, name.to_owned())
    }

    /// Who answered last.
    #[must_use]
    pub fn current(&self) -> Option<&str> {
        self.current.as_ref().map(|current| current.name.as_str())
    }

    /// Whether two answered at once within the last [`Holders::window`].
    #[must_use]
    pub fn is_double(&self, now: Time) -> bool {
        self.doubled.is_some_and(|doubled| now.since(doubled) < self.window())
    }

    /// How often another node answered than before.
    #[must_use]
    pub const fn changes(&self) -> u64 {
        self.changes
    }

    /// How often two answered at once, counted once for each time that it began.
    #[must_use]
    pub const fn conflicts(&self) -> u64 {
        self.conflicts
    }

    /// How long nobody answered the last time that probes were lost, and all such times together.
    #[must_use]
    pub const fn gaps(&self) -> (Duration, Duration) {
        (self.last_gap, self.total_gap)
    }

    /// How near to each other answers of two nodes are those of two that hold the address at once: three intervals, at
    /// least two seconds.
    #[must_use]
    pub fn window(&self) -> Duration {
        (self.interval * 3).max(Duration::from_secs(2))
    }

    /// The gap before the probe that was sent at `sent`: zero unless one probe at least is missing, given that senders
    /// shift by a quarter of the interval.
    fn count_gap(&mut self, sent: Time) -> Duration {
        let since = sent.since(self.answered);
        self.answered = self.answered.max(sent);
        if since * 2 < self.interval * 3 {
            return Duration::ZERO;
        }
        self.last_gap = since;
        self.total_gap += since;
        since
    }

    fn two(&mut self, now: Time, holder: String, other: String) -> Option<HolderNews> {
        let began = !self.is_double(now);
        self.doubled = Some(now);
        if !began {
            return None;
        }
        self.conflicts += 1;
        Some(HolderNews::Two { holder, other })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenths() -> Holders {
        Holders::new(Duration::from_millis(100))
    }

    fn at(millis: u64) -> Time {
        Time::from_millis(millis)
    }

    #[test]
    fn a_takeover_is_one_change_with_its_gap() {
        let mut holders = tenths();
        assert_eq!(holders.answered(at(0), "a"), Some(HolderNews::First("a".into())));
        assert_eq!(holders.answered(at(100), "a"), None);
        let news = holders.answered(at(820), "b");
        let gap = Duration::from_millis(720);
        assert_eq!(news, Some(HolderNews::Changed { from: "a".into(), to: "b".into(), gap }));
        assert_eq!((holders.current(), holders.changes(), holders.gaps()), (Some("b"), 1, (gap, gap)));
        assert!(!holders.is_double(at(820)));
    }

    #[test]
    fn a_handover_without_loss_has_no_gap() {
        let mut holders = tenths();
        holders.answered(at(0), "a");
        let news = holders.answered(at(125), "b");
        assert_eq!(news, Some(HolderNews::Changed { from: "a".into(), to: "b".into(), gap: Duration::ZERO }));
    }

    #[test]
    fn an_answer_that_was_under_way_at_the_handover_changes_nothing() {
        let mut holders = tenths();
        holders.answered(at(0), "a");
        holders.answered(at(200), "b");
        assert_eq!(holders.answered(at(100), "a"), None);
        assert_eq!((holders.current(), holders.changes(), holders.conflicts()), (Some("b"), 1, 0));
    }

    #[test]
    fn two_that_answer_in_turn_are_told_once_until_it_ends() {
        let mut holders = tenths();
        let mut told = Vec::new();
        for probe in 0..20 {
            told.extend(holders.answered(at(probe * 100), if probe % 2 == 0 { "a" } else { "b" }));
        }
        let two = told.iter().filter(|news| matches!(news, HolderNews::Two { .. })).count();
        assert_eq!((two, holders.conflicts()), (1, 1));
        assert!(holders.is_double(at(1_900)) && !holders.is_double(at(4_000)));
    }

    #[test]
    fn a_failback_long_after_is_no_conflict() {
        let mut holders = tenths();
        for (millis, name) in [(0, "a"), (100, "b"), (60_000, "a")] {
            holders.answered(at(millis), name);
        }
        assert_eq!((holders.changes(), holders.conflicts()), (2, 0));
    }

    #[test]
    fn one_probe_answered_by_two_is_a_conflict() {
        let mut holders = tenths();
        holders.answered(at(0), "a");
        assert_eq!(holders.doubled(at(1), "a"), None);
        let two = HolderNews::Two { holder: "a".into(), other: "b".into() };
        assert_eq!(holders.doubled(at(2), "b"), Some(two));
        assert!(holders.is_double(at(3)));
    }

    #[test]
    fn an_outage_of_the_same_node_is_a_gap_too() {
        let mut holders = tenths();
        holders.answered(at(0), "a");
        assert_eq!(holders.answered(at(1_000), "a"), None);
        assert_eq!((holders.changes(), holders.gaps().0), (0, Duration::from_secs(1)));
    }
}
