//! Health checks of the addresses that this node answers for: when each is due, and when a row of results turns its
//! verdict.
//!
//! A check runs only where the address is held: elsewhere there may be nothing to ask. Whether another node would pass is
//! found out by moving there. So that an address does not wander, each node keeps a [`Record`] in the address's status:
//! the controller leaves out nodes whose record says that the check failed there, for [`pardon`] after it did.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::time::Time;

/// How long a node that failed is left out the first time; twice as long after each further one, up to [`LONGEST`].
pub const SHORTEST: Duration = Duration::from_secs(30);
/// See [`SHORTEST`].
pub const LONGEST: Duration = Duration::from_secs(3600);

/// How long a node is left out that has failed so often.
#[must_use]
pub fn pardon(failures: u32) -> Duration {
    SHORTEST.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LONGEST)
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    /// An HTTP GET, to be answered with a status from 200 to 399.
    Http {
        /// The TCP port.
        port: u16,
        /// The path.
        path: String,
    },
    /// A TCP connection, to be accepted.
    Tcp {
        /// The port.
        port: u16,
    },
    /// A UDP datagram, not to be answered with "port unreachable".
    Udp {
        /// The port.
        port: u16,
    },
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http { port, path } => write!(f, "GET {path} on port {port}"),
            Self::Tcp { port } => write!(f, "TCP port {port}"),
            Self::Udp { port } => write!(f, "UDP port {port}"),
        }
    }
}

/// A check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What is asked.
    pub ask: Ask,
    /// The time from one check to the next.
    pub interval: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// How many failures in a row turn the verdict.
    pub threshold: u8,
}

/// An address to be checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The address.
    pub ip: IpAddr,
    /// The check.
    pub check: Check,
    /// How often the check has failed on this node before, as the status says.
    pub failures: u32,
}

/// What became of one check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It passed.
    Passed,
    /// Nobody listens there.
    Refused,
    /// No answer in time.
    TimedOut,
    /// Another HTTP status.
    Status(u16),
    /// The answer is no HTTP.
    NotHttp,
    /// The kernel did not let it go out.
    Unsent,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed => f.write_str("it passes"),
            Self::Refused => f.write_str("nobody listens there"),
            Self::TimedOut => f.write_str("no answer in time"),
            Self::Status(status) => write!(f, "HTTP status {status}"),
            Self::NotHttp => f.write_str("the answer is no HTTP"),
            Self::Unsent => f.write_str("the kernel did not let it go out"),
        }
    }
}

/// What a node's record in the status says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Record {
    /// Whether the check fails there, or failed when the address left.
    pub failing: bool,
    /// How often it began to fail there without passing for long enough in between.
    pub failures: u32,
}

/// What the machine is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Input {
    /// All addresses to be checked, by uid.
    Targets(BTreeMap<String, Target>),
    /// The end of an [`Effect::Run`].
    Ran {
        /// The VIP.
        uid: String,
        /// The effect's.
        ticket: u64,
        /// What came of it.
        outcome: Outcome,
    },
}

/// What the machine asks for, and finds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// Run a check; answered by [`Input::Ran`].
    Run {
        /// The VIP.
        uid: String,
        /// To be given back.
        ticket: u64,
        /// The address.
        ip: IpAddr,
        /// What to ask.
        ask: Ask,
        /// How long an answer may take.
        timeout: Duration,
    },
    /// The verdict on an address turned, or what is remembered of it changed.
    Turned {
        /// The VIP.
        uid: String,
        /// This node's record.
        record: Record,
        /// The last result.
        outcome: Outcome,
    },
}

#[derive(Debug)]
struct Watched {
    target: Target,
    ticket: u64,
    running: bool,
    due: Time,
    /// Failures in a row.
    row: u8,
    /// `None` before the first verdict.
    healthy: Option<bool>,
    failures: u32,
    /// Since when it has passed without a failed verdict.
    since: Time,
}

/// The checks of one node. See the module's text.
#[derive(Debug, Default)]
pub struct Health {
    now: Time,
    watched: BTreeMap<String, Watched>,
    tickets: u64,
    effects: VecDeque<Effect>,
}

impl Health {
    /// Takes an input.
    pub fn handle(&mut self, now: Time, input: Input) {
        self.now = self.now.max(now);
        match input {
            Input::Targets(targets) => self.set_targets(targets),
            Input::Ran { uid, ticket, outcome } => self.ran(uid, ticket, outcome),
        }
    }

    /// The next thing to do, `None` if there is nothing for now.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When to call [`Self::handle_timeout`], and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Time, &'static str)> {
        self.watched.values().filter(|one| !one.running).map(|one| (one.due, "health check")).min()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Time) {
        self.now = self.now.max(now);
        for (uid, one) in &mut self.watched {
            if one.running || one.due > self.now {
                continue;
            }
            self.tickets += 1;
            (one.running, one.ticket) = (true, self.tickets);
            // From one beginning to the next, and no two at a time.
            one.due = self.now + one.target.check.interval;
            let Target { ip, check, .. } = &one.target;
            self.effects.push_back(Effect::Run {
                uid: uid.clone(),
                ticket: one.ticket,
                ip: *ip,
                ask: check.ask.clone(),
                timeout: check.timeout,
            });
        }
    }

    fn set_targets(&mut self, targets: BTreeMap<String, Target>) {
        self.watched.retain(|uid, _| targets.contains_key(uid));
        for (uid, target) in targets {
            match self.watched.get_mut(&uid) {
                Some(one) if (one.target.ip, &one.target.check) == (target.ip, &target.check) => {}
                _ => {
                    let failures = target.failures;
                    let (due, since) = (self.now, self.now);
                    let new =
                        Watched { target, ticket: 0, running: false, due, row: 0, healthy: None, failures, since };
                    self.watched.insert(uid, new);
                }
            }
        }
    }

    fn ran(&mut self, uid: String, ticket: u64, outcome: Outcome) {
        let Some(one) = self.watched.get_mut(&uid).filter(|one| one.running && one.ticket == ticket) else { return };
        one.running = false;
        let turned = if outcome == Outcome::Passed { one.pass(self.now) } else { one.fail() };
        if turned {
            let record = Record { failing: one.healthy == Some(false), failures: one.failures };
            self.effects.push_back(Effect::Turned { uid, record, outcome });
        }
    }
}

impl Watched {
    /// Whether that is news.
    fn pass(&mut self, now: Time) -> bool {
        self.row = 0;
        if self.healthy != Some(true) {
            (self.healthy, self.since) = (Some(true), now);
            return true;
        }
        let forgiven = self.failures > 0 && now.since(self.since) >= pardon(self.failures);
        if forgiven {
            self.failures = 0;
        }
        forgiven
    }

    /// Whether that is news.
    fn fail(&mut self) -> bool {
        self.row = self.row.saturating_add(1);
        let turned = self.row >= self.target.check.threshold && self.healthy != Some(false);
        if turned {
            self.healthy = Some(false);
            self.failures = self.failures.saturating_add(1);
        }
        turned
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UID: &str = "u";

    fn targets(failures: u32) -> Input {
        let ask = Ask::Tcp { port: 80 };
        let interval = Duration::from_secs(1);
        let check = Check { ask, interval, timeout: Duration::from_millis(500), threshold: 3 };
        let target = Target { ip: "192.0.2.1".parse().unwrap(), check, failures };
        Input::Targets([(UID.to_owned(), target)].into())
    }

    /// Runs one check at its time, and returns what turned.
    fn run(health: &mut Health, outcome: Outcome) -> Option<(Record, Time)> {
        let (at, _) = health.poll_timeout().unwrap();
        health.handle_timeout(at);
        let Some(Effect::Run { uid, ticket, .. }) = health.poll_effect() else { panic!("no check was run") };
        assert_eq!(health.poll_timeout(), None, "one at a time");
        health.handle(at, Input::Ran { uid, ticket, outcome });
        health.poll_effect().map(|effect| match effect {
            Effect::Turned { record, .. } => (record, at),
            Effect::Run { .. } => panic!("two checks at a time"),
        })
    }

    #[test]
    fn a_row_of_failures_turns_the_verdict_and_one_pass_turns_it_back() {
        let mut health = Health::default();
        health.handle(Time::ZERO, targets(0));
        let first = run(&mut health, Outcome::Passed);
        assert_eq!(first, Some((Record { failing: false, failures: 0 }, Time::ZERO)));
        for outcome in [Outcome::Refused, Outcome::TimedOut, Outcome::Passed, Outcome::Refused, Outcome::Refused] {
            assert_eq!(run(&mut health, outcome), None, "two of three are no row");
        }
        let (record, at) = run(&mut health, Outcome::Status(500)).unwrap();
        assert_eq!((record, at), (Record { failing: true, failures: 1 }, Time::from_millis(6_000)));
        assert_eq!(run(&mut health, Outcome::Refused), None, "said once");
        assert_eq!(run(&mut health, Outcome::Passed).unwrap().0, Record { failing: false, failures: 1 });
    }

    #[test]
    fn what_passes_for_as_long_as_it_would_be_left_out_is_forgiven() {
        let mut health = Health::default();
        health.handle(Time::ZERO, targets(2));
        assert_eq!(run(&mut health, Outcome::Passed).unwrap().0, Record { failing: false, failures: 2 });
        let (record, at) = loop {
            if let Some(turned) = run(&mut health, Outcome::Passed) {
                break turned;
            }
        };
        assert_eq!((record.failures, at), (0, Time::from_millis(60_000)));
    }

    #[test]
    fn a_late_result_of_a_former_check_counts_for_nothing() {
        let mut health = Health::default();
        health.handle(Time::ZERO, targets(0));
        health.handle_timeout(Time::ZERO);
        let Some(Effect::Run { ticket, .. }) = health.poll_effect() else { panic!("no check was run") };
        health.handle(Time::ZERO, Input::Targets(BTreeMap::new()));
        health.handle(Time::ZERO, targets(0));
        health.handle(Time::ZERO, Input::Ran { uid: UID.to_owned(), ticket, outcome: Outcome::Refused });
        assert_eq!((health.poll_effect(), health.poll_timeout().map(|due| due.0)), (None, Some(Time::ZERO)));
    }

    #[test]
    fn a_node_is_left_out_for_twice_as_long_each_time() {
        let seconds = |failures| pardon(failures).as_secs();
        assert_eq!([seconds(0), seconds(1), seconds(2), seconds(3), seconds(99)], [30, 30, 60, 120, 3600]);
    }
}
