//! Until when a segment's element may be there, and what to do so that it is there no longer.

use std::time::Duration;

use crate::core::time::Time;

/// What a transaction does about the element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// It is as it should be; marked packets do the rest.
    Nothing,
    /// Take it away.
    Shut,
    /// Put it there for so long.
    For(Duration),
    /// Put it there without end.
    Forever,
}

/// What is known of a segment's element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Alive {
    /// Until when the segment's addresses may pass; `None` without end.
    deadline: Option<Time>,
    /// When the element has gone by itself at the latest; `None` for never.
    until: Option<Time>,
    /// A transaction put it there for longer than a packet would: packets, which would shorten it, are not marked.
    lasting: bool,
}

impl Alive {
    /// No element.
    pub(super) const NONE: Self = Self { deadline: Some(Time::ZERO), until: Some(Time::ZERO), lasting: false };

    /// An element of a former process, which goes then.
    pub(super) const fn adopted(until: Option<Time>) -> Self {
        Self { deadline: until, until, lasting: true }
    }

    pub(super) const fn deadline(&self) -> Option<Time> {
        self.deadline
    }

    /// Takes a new deadline, with elements that live for `timeout` after a marked packet.
    pub(super) fn set(&mut self, deadline: Option<Time>, now: Time, timeout: Duration) -> Step {
        self.deadline = deadline;
        let Some(at) = deadline else {
            let there = self.until.is_none();
            (self.until, self.lasting) = (None, true);
            return if there { Step::Nothing } else { Step::Forever };
        };
        if self.until.is_some_and(|until| until <= at || until <= now) {
            self.lasting &= self.until == Some(at);
            return Step::Nothing;
        }
        self.lasting = false;
        Self::until(at, now, timeout)
    }

    /// What keeps the element to its deadline when no packet of this process follows.
    pub(super) fn leave(&mut self, now: Time) -> Step {
        match self.deadline {
            Some(at) if at > now => {
                self.lasting = true;
                Self::until(at, now, Duration::MAX)
            }
            Some(_) | None => Step::Nothing,
        }
    }

    /// What puts the element back where somebody took it away.
    pub(super) fn again(&self, now: Time) -> Step {
        match self.until.map(|until| Self::until(until, now, Duration::MAX)) {
            None => Step::Forever,
            Some(Step::Shut) => Step::Nothing,
            Some(step) => step,
        }
    }

    fn until(at: Time, now: Time, longest: Duration) -> Step {
        // Timeouts are whole milliseconds.
        let left = at.since(now).min(longest).as_millis();
        let left = Duration::from_millis(u64::try_from(left).unwrap_or(u64::MAX));
        if left.is_zero() { Step::Shut } else { Step::For(left) }
    }

    /// Whether a packet that is sent now may be marked; it is taken to be sent.
    pub(super) fn mark(&mut self, now: Time, timeout: Duration) -> bool {
        let may = !self.lasting && self.deadline.is_none_or(|at| now + timeout <= at);
        if may {
            self.until = Some(now + timeout);
        }
        may
    }

    /// A step has been done by `now`. Whether it took so long that the element would be there beyond the deadline by more
    /// than `timeout`, and must be taken away.
    pub(super) fn done(&mut self, step: Step, now: Time, timeout: Duration) -> bool {
        match step {
            Step::Nothing => false,
            Step::Forever => {
                self.until = None;
                false
            }
            Step::Shut => {
                (self.until, self.lasting) = (Some(now), false);
                false
            }
            Step::For(left) => {
                let until = now + left;
                self.until = Some(until);
                self.deadline.is_some_and(|at| until > at + timeout)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: Duration = Duration::from_millis(300);

    const fn at(millis: u64) -> Time {
        Time::from_millis(millis)
    }

    /// Takes a deadline and does what follows, in no time.
    fn set(alive: &mut Alive, deadline: Option<Time>, now: Time) -> Step {
        let step = alive.set(deadline, now, T);
        assert!(!alive.done(step, now, T));
        step
    }

    #[test]
    fn packets_keep_it_and_only_while_their_timeout_ends_before_the_deadline() {
        let mut alive = Alive::NONE;
        assert!(!alive.mark(at(1_000), T));
        assert_eq!(set(&mut alive, Some(at(1_500)), at(1_000)), Step::Nothing);
        assert!(alive.mark(at(1_200), T));
        assert!(!alive.mark(at(1_201), T));
        assert_eq!(set(&mut alive, Some(at(1_600)), at(1_201)), Step::Nothing);
        assert!(alive.mark(at(1_201), T));
    }

    #[test]
    fn a_shorter_deadline_takes_away_what_would_outlast_it() {
        let mut alive = Alive::NONE;
        set(&mut alive, Some(at(4_000)), at(1_000));
        assert!(alive.mark(at(1_000), T));
        assert_eq!(set(&mut alive, Some(at(1_400)), at(1_050)), Step::Nothing);
        assert_eq!(set(&mut alive, Some(at(1_200)), at(1_050)), Step::For(Duration::from_millis(150)));
        assert_eq!(set(&mut alive, Some(Time::ZERO), at(1_100)), Step::Shut);
        assert_eq!(set(&mut alive, Some(Time::ZERO), at(1_100)), Step::Nothing);
    }

    #[test]
    fn who_is_alone_needs_no_packets_and_whom_others_join_does() {
        let mut alive = Alive::NONE;
        assert_eq!(set(&mut alive, None, at(0)), Step::Forever);
        assert_eq!(set(&mut alive, None, at(9_000)), Step::Nothing);
        assert!(!alive.mark(at(9_000), T));
        assert_eq!(set(&mut alive, Some(at(9_500)), at(9_000)), Step::For(T));
        assert!(alive.mark(at(9_100), T));
    }

    #[test]
    fn who_leaves_it_to_the_next_process_marks_no_more_and_the_next_one_does() {
        let mut alive = Alive::NONE;
        set(&mut alive, Some(at(16_000)), at(1_000));
        assert!(alive.mark(at(1_000), T));
        let step = alive.leave(at(1_001));
        assert_eq!(step, Step::For(Duration::from_millis(14_999)));
        assert!(!alive.done(step, at(1_002), T) && !alive.mark(at(1_002), T));
        let mut next = Alive::adopted(Some(at(16_000)));
        assert!(!next.mark(at(1_500), T), "it would be shortened before there is evidence");
        assert_eq!(set(&mut next, Some(at(2_000)), at(1_500)), Step::For(T));
        assert!(next.mark(at(1_501), T));
        let mut next = Alive::adopted(Some(at(16_000)));
        assert_eq!(set(&mut next, Some(at(17_000)), at(1_500)), Step::Nothing);
        assert!(next.mark(at(1_501), T));
    }

    #[test]
    fn what_somebody_took_away_comes_back_for_the_time_that_was_left() {
        let mut alive = Alive::NONE;
        assert_eq!(alive.again(at(1_000)), Step::Nothing);
        set(&mut alive, Some(at(1_500)), at(1_000));
        assert_eq!(alive.again(at(1_000)), Step::Nothing, "nothing was marked yet");
        assert!(alive.mark(at(1_100), T));
        assert_eq!(alive.again(at(1_150)), Step::For(Duration::from_millis(250)));
        assert!(!alive.done(alive.again(at(1_150)), at(1_160), T));
        assert!(alive.done(Step::For(Duration::from_millis(250)), at(1_551), T), "it would be there for too long");
        set(&mut alive, None, at(2_000));
        assert_eq!(alive.again(at(9_000)), Step::Forever);
    }

    #[test]
    fn a_step_that_was_done_late_is_taken_back() {
        let mut alive = Alive::NONE;
        set(&mut alive, Some(at(16_000)), at(1_000));
        let step = alive.leave(at(1_000));
        assert!(!alive.done(step, at(1_300), T));
        assert!(alive.done(step, at(1_301), T));
        assert!(!alive.done(Step::Shut, at(1_302), T));
        assert_eq!(set(&mut alive, Some(at(1_303)), at(1_302)), Step::Nothing);
    }
}
