//! A measurement by hand: a few targets, as long as somebody watches.

use std::net::{IpAddr, SocketAddr};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use super::clock;
use super::engine::{Engine, Event, Options, TargetId, TargetSettings, wait};
use super::resolve::{Family, Host, resolve};
use crate::core::probe::{Counts, Latency, Settings};
use crate::core::time::Time;
use crate::wire::legacy_ping;

/// The longest wait between two looks at the signals.
const LONGEST_WAIT: Duration = Duration::from_millis(50);
/// How often the name of a target that answers is looked up again, and of one that does not.
const LOOK_UP: Duration = Duration::from_secs(60);
const LOOK_UP_SILENT: Duration = Duration::from_secs(5);

/// How to measure.
#[derive(Debug, Clone)]
pub struct PingSettings {
    /// How many probes each target gets; without end if `None`.
    pub count: Option<u64>,
    /// How long it all lasts at most.
    pub deadline: Option<Duration>,
    /// Which addresses of a name may be used.
    pub family: Family,
    /// Octets of a probe's payload.
    pub size: u16,
    /// Type of service or traffic class.
    pub tos: u8,
    /// Whether probes are those of the original program.
    pub legacy: bool,
    /// Pace, timeout, source ports.
    pub measure: Settings,
}

/// A target, as it was named and as it is measured.
#[derive(Debug)]
pub struct PingTarget {
    /// As it was named.
    pub name: String,
    /// Where it is.
    pub address: SocketAddr,
    /// Its round trips.
    pub latency: Latency,
    host: Host,
    id: TargetId,
    /// Former addresses of the name, and what was counted of those that are done with.
    retired: Vec<TargetId>,
    past: Counts,
    /// When its name was last looked up, and whether that is going on.
    looked_up: Time,
    looking: bool,
}

/// What a measurement tells while it goes on; targets by their place.
#[derive(Debug)]
pub enum News {
    /// An answer, an error, or that another node answers.
    Event(usize, Event),
    /// The name has another address now.
    Moved(usize, SocketAddr),
}

/// A measurement by hand.
#[derive(Debug)]
pub struct Ping {
    engine: Engine,
    settings: PingSettings,
    targets: Vec<PingTarget>,
    started: Time,
    found: Receiver<(usize, Vec<IpAddr>)>,
    finder: Sender<(usize, Vec<IpAddr>)>,
}

impl Ping {
    /// Looks the targets up and begins to measure them.
    ///
    /// # Errors
    /// A name that has no address, with the reason.
    pub fn start(hosts: Vec<Host>, settings: PingSettings, options: Options) -> Result<Self, String> {
        let mut engine = Engine::new(Options { verbose: true, ..options });
        let mut targets = Vec::new();
        for host in hosts {
            let ip = *resolve(&host, settings.family)?.first().ok_or_else(|| format!("{host}: no address"))?;
            let address = host.at(ip);
            let id = engine.add(target_settings(&settings, address, settings.count));
            targets.push(PingTarget {
                name: host.to_string(),
                address,
                latency: Latency::default(),
                host,
                id,
                retired: Vec::new(),
                past: Counts::default(),
                looked_up: clock::monotonic(),
                looking: false,
            });
        }
        let (finder, found) = channel();
        Ok(Self { engine, settings, targets, started: clock::monotonic(), found, finder })
    }

    /// The targets, in the order in which they were named.
    #[must_use]
    pub fn targets(&self) -> &[PingTarget] {
        &self.targets
    }

    /// Octets of a probe's payload.
    #[must_use]
    pub const fn octets(&self) -> u16 {
        if self.settings.legacy { legacy_ping::LEN as u16 } else { self.settings.size }
    }

    /// How long it has lasted.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        clock::monotonic().since(self.started)
    }

    /// The counters of a target, its former addresses included.
    #[must_use]
    pub fn counts(&self, place: usize) -> Counts {
        let Some(target) = self.targets.get(place) else { return Counts::default() };
        let mut counts = target.past;
        for id in target.retired.iter().chain([&target.id]) {
            if let Some(target) = self.engine.target(*id) {
                counts += target.session.counts();
            }
        }
        counts
    }

    /// Whether all that was asked for is done: every probe sent and settled, or the time over.
    #[must_use]
    pub fn is_done(&self) -> bool {
        let late = self.settings.deadline.is_some_and(|deadline| self.elapsed() >= deadline);
        let counted = |count| {
            (0..self.targets.len()).map(|place| self.counts(place)).all(|c| c.sent >= count && c.in_flight() == 0)
        };
        late || self.settings.count.is_some_and(counted)
    }

    /// Waits a little for something to do, does it, and tells what happened.
    ///
    /// # Errors
    /// What the kernel says of the wait.
    pub fn step(&mut self) -> std::io::Result<Vec<News>> {
        wait(&self.engine.sockets(), self.engine.next_due(), LONGEST_WAIT)?;
        self.engine.work();
        let mut news = Vec::new();
        for event in self.engine.take_events() {
            let id = event.target();
            let Some(place) = self.targets.iter().position(|target| target.id == id || target.retired.contains(&id))
            else {
                continue;
            };
            if let (Event::Answer { rtt: Some(rtt), .. }, Some(target)) = (&event, self.targets.get_mut(place)) {
                target.latency.add(*rtt);
            }
            news.push(News::Event(place, event));
        }
        self.look_up();
        while let Ok((place, addresses)) = self.found.try_recv() {
            news.extend(self.found(place, &addresses).map(|address| News::Moved(place, address)));
        }
        self.forget_retired();
        Ok(news)
    }

    /// Tells the direction of all that is settled.
    pub fn conclude(&mut self) {
        let ids: Vec<_> =
            self.targets.iter().flat_map(|target| target.retired.iter().chain([&target.id])).copied().collect();
        for id in ids {
            if let Some(target) = self.engine.target_mut(id) {
                target.session.conclude();
            }
        }
    }

    /// Starts to look names up that are due for it, in threads: a name server may take its time.
    fn look_up(&mut self) {
        let now = clock::monotonic();
        let family = self.settings.family;
        for (place, target) in self.targets.iter_mut().enumerate() {
            let Some(measured) = self.engine.target(target.id) else { continue };
            let silent = measured.session.silent_for(now)
                >= measured.settings.measure.timeout + measured.settings.measure.interval;
            let due = if silent { LOOK_UP_SILENT } else { LOOK_UP };
            if target.looking || target.host.is_address() || now.since(target.looked_up) < due {
                continue;
            }
            (target.looking, target.looked_up) = (true, now);
            let (host, finder) = (target.host.clone(), self.finder.clone());
            std::thread::spawn(move || {
                // Nobody waits for the answer any more once the measurement is over.
                let _ = finder.send((place, resolve(&host, family).unwrap_or_default()));
            });
        }
    }

    /// The addresses of a target's name: if the one that is measured is not among them, another is from now on.
    fn found(&mut self, place: usize, addresses: &[IpAddr]) -> Option<SocketAddr> {
        let counts = self.counts(place);
        let target = self.targets.get_mut(place)?;
        target.looking = false;
        let first = addresses.first()?;
        if addresses.contains(&target.address.ip()) {
            return None;
        }
        let address = target.host.at(*first);
        let left = self.settings.count.map(|count| count.saturating_sub(counts.sent));
        self.engine.stop_sending(target.id);
        target.retired.push(target.id);
        target.id = self.engine.add(target_settings(&self.settings, address, left));
        target.address = address;
        Some(address)
    }

    /// Keeps of former addresses only the counters, once nothing is under way to them.
    fn forget_retired(&mut self) {
        for target in &mut self.targets {
            target.retired.retain(|id| {
                let Some(counts) = self.engine.target(*id).map(|target| target.session.counts()) else { return false };
                if counts.in_flight() == 0 {
                    target.past += counts;
                    self.engine.remove(*id);
                }
                counts.in_flight() > 0
            });
        }
    }
}

fn target_settings(settings: &PingSettings, address: SocketAddr, limit: Option<u64>) -> TargetSettings {
    let PingSettings { size, tos, legacy, .. } = *settings;
    TargetSettings { address, size, tos, legacy, limit, measure: settings.measure.clone() }
}
