//! The registries, asked with care: what was said is kept, a question under way is asked once, and no server more often
//! than it is willing to answer.

use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockWriteGuard};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, watch};

use crate::core::lookup::bootstrap::Kind;
use crate::core::lookup::cache::{Cache, Found};
use crate::core::lookup::chain::{Ask, Chain, Failure, Hop, Origin, Outcome, Protocol, Reply};
use crate::core::lookup::limit::Buckets;
use crate::core::lookup::query::Query;
use crate::core::lookup::rdap;
use crate::core::lookup::url::Url;
use crate::core::lookup::whois::Server;
use crate::core::time::Time;
use crate::metrics::LookupMetrics;
use crate::upstream::Upstream;
use crate::upstream::bootstrap::{Bootstrap, Place};

/// The most questions that are put to registries at a time; more get `upstream_quota`.
const MOST_AT_A_TIME: usize = 128;
/// The most servers whose limits are remembered.
const MOST_SERVERS: usize = 4096;
/// The longest that a server's own wish to be left alone is obeyed.
const LONGEST_BLOCK: Duration = Duration::from_secs(120);
/// How long an answer that broke off is kept.
const BROKEN: Duration = Duration::from_secs(60);
/// How long a failure is kept, so that an impatient client does not repeat it.
const FAILED: Duration = Duration::from_secs(5);

/// Whom to ask, and how often.
#[derive(Debug, Clone)]
pub struct RegistryConfig {
    /// Where the RDAP bootstrap registries are; `None`: RDAP is not used.
    pub rdap: Option<Place>,
    /// The WHOIS server where chains begin; `None`: WHOIS is not used.
    pub whois: Option<Server>,
    /// How long a whole chain may take.
    pub whole: Duration,
    /// How long a record is kept.
    pub keep: Duration,
    /// How long it is kept that there is no record.
    pub keep_missing: Duration,
    /// How many answers are kept.
    pub capacity: usize,
    /// Questions a second to one server, 0 for no limit.
    pub rate: u32,
    /// Questions at once to one server.
    pub burst: u32,
}

impl Default for RegistryConfig {
    fn default() -> Self {
        Self {
            rdap: Url::parse("https://data.iana.org/rdap/").map(Place::Url),
            whois: Some(Server { host: "whois.iana.org".to_owned(), port: 43 }),
            whole: Duration::from_secs(10),
            keep: Duration::from_secs(3600),
            keep_missing: Duration::from_secs(300),
            capacity: 10_000,
            rate: 5,
            burst: 20,
        }
    }
}

/// What the registries said.
#[derive(Debug, Clone)]
pub struct Told {
    /// How the chain ended.
    pub outcome: Outcome,
    /// Who was asked.
    pub hops: Arc<[Hop]>,
    /// When (RFC 3339).
    pub date: Arc<str>,
}

type Flight = watch::Receiver<Option<Arc<Told>>>;

/// See the module.
#[derive(Debug)]
pub struct Registries {
    config: RegistryConfig,
    upstream: Upstream,
    bootstrap: Option<Bootstrap>,
    /// Read at the same time by all who ask for what is kept.
    cache: RwLock<Cache<Query, Arc<Told>, Flight>>,
    servers: Mutex<Buckets<String>>,
    room: Semaphore,
    start: Instant,
    metrics: LookupMetrics,
}

impl Registries {
    /// A client of these registries; nobody is asked yet.
    #[must_use]
    pub fn new(config: RegistryConfig, upstream: Upstream, metrics: LookupMetrics) -> Self {
        Self {
            bootstrap: config.rdap.clone().map(Bootstrap::new),
            cache: RwLock::new(Cache::new(config.capacity)),
            servers: Mutex::new(Buckets::new(config.rate, config.burst, MOST_SERVERS)),
            room: Semaphore::new(MOST_AT_A_TIME),
            start: Instant::now(),
            upstream,
            config,
            metrics,
        }
    }

    /// What the registries say of a question, and how long ago they said it if it was kept. A chain that was begun goes
    /// on when nobody waits for it any more: its answer is kept.
    pub async fn tell(self: &Arc<Self>, query: &Query) -> (Arc<Told>, Option<Duration>) {
        let kept = self.cache.read().unwrap_or_else(PoisonError::into_inner).get(self.now(), query);
        if let Found::Ready(told, age) = kept {
            self.metrics.cache("hit");
            return (told, Some(age));
        }
        // In a box: what is kept is answered without the room that waiting takes.
        Box::pin(self.ask_once(query)).await
    }

    /// Waits for what is being asked already, or asks.
    async fn ask_once(self: &Arc<Self>, query: &Query) -> (Arc<Told>, Option<Duration>) {
        let (mut flight, word) = {
            let mut cache = self.cache();
            // Looked at again: somebody may have begun, or ended, since.
            match cache.get(self.now(), query) {
                Found::Ready(told, age) => {
                    self.metrics.cache("hit");
                    return (told, Some(age));
                }
                Found::InFlight(flight) => (flight, "shared"),
                Found::Absent => {
                    let (sender, flight) = watch::channel(None);
                    cache.begin(query.clone(), flight.clone());
                    tokio::spawn(Arc::clone(self).fly(query.clone(), sender));
                    (flight, "miss")
                }
            }
        };
        self.metrics.cache(word);
        let told = flight.wait_for(Option::is_some).await.ok().and_then(|told| told.clone());
        (
            told.unwrap_or_else(|| Arc::new(Told::failed(Failure::Unreachable("the question was dropped".to_owned())))),
            None,
        )
    }

    /// Asks, keeps the answer, and hands it to whoever waits.
    async fn fly(self: Arc<Self>, query: Query, waiting: watch::Sender<Option<Arc<Told>>>) {
        let guard = Landing { registries: &self, query: &query };
        let told = Arc::new(match self.room.try_acquire() {
            Ok(_permit) => self.ask(&query).await,
            Err(_) => Told::failed(Failure::Quota(Some(Duration::from_secs(1)))),
        });
        let keep = match &told.outcome {
            Outcome::Found { broken: None, .. } => self.config.keep,
            Outcome::Found { broken: Some(_), .. } => BROKEN.min(self.config.keep),
            Outcome::NotFound => self.config.keep_missing,
            Outcome::Failed(Failure::Quota(_)) | Outcome::Nobody => Duration::ZERO,
            Outcome::Failed(_) => FAILED.min(self.config.keep_missing),
        };
        {
            let mut cache = self.cache();
            cache.land(self.now(), query.clone(), Arc::clone(&told), keep);
            self.metrics.cached(cache.len());
        }
        // Landed: another flight may have begun, which is not ours to end.
        std::mem::forget(guard);
        waiting.send_replace(Some(told));
    }

    async fn ask(&self, query: &Query) -> Told {
        let end = tokio::time::Instant::now() + self.config.whole;
        let mut bootstrap_failure = None;
        let first = match tokio::time::timeout_at(end, self.first(query)).await {
            Ok(Ok(first)) => first,
            Ok(Err(failure)) => {
                bootstrap_failure = Some(failure);
                None
            }
            Err(_) => {
                bootstrap_failure = Some(Failure::Timeout("the bootstrap registry of RDAP"));
                None
            }
        };
        let mut chain = Chain::new(query.clone(), first, self.config.whois.clone());
        while let Some(ask) = chain.ask().cloned() {
            let before = chain.hops().len();
            match tokio::time::timeout_at(end, self.ask_one(&ask)).await {
                Ok(reply) => chain.handle(reply),
                Err(_) => chain.abort(Failure::Timeout("the whole chain of questions")),
            }
            for hop in chain.hops().iter().skip(before) {
                self.metrics.upstream(label(hop.protocol), hop.result);
            }
        }
        let (mut outcome, hops) = chain.outcome();
        if let (Outcome::Nobody, Some(failure)) = (&outcome, bootstrap_failure) {
            outcome = Outcome::Failed(failure);
        }
        Told { outcome, hops: hops.into(), date: now() }
    }

    /// Where RDAP begins for a question; `None` if no server is known.
    async fn first(&self, query: &Query) -> Result<Option<(Url, Origin)>, Failure> {
        let (Some(bootstrap), Some(kind)) = (&self.bootstrap, Kind::of(query)) else { return Ok(None) };
        let registry = bootstrap.registry(kind, &self.upstream).await?;
        let origin = bootstrap.place().origin();
        let url = rdap::url(registry.bases(query), query);
        Ok(url.filter(|url| origin == Origin::Configured || url.may_be_referred_to()).map(|url| (url, origin)))
    }

    async fn ask_one(&self, ask: &Ask) -> Result<Reply, Failure> {
        let (host, protocol) = match ask {
            Ask::Rdap(url, _) => (url.host.clone(), Protocol::Rdap),
            Ask::Whois(server, _, _) => (server.host.clone(), Protocol::Whois),
        };
        self.servers().take(self.now(), &host, 1).map_err(|wait| Failure::Quota(Some(wait)))?;
        let start = Instant::now();
        let reply = self.upstream.ask(ask).await;
        self.metrics.upstream_duration(label(protocol)).observe(start.elapsed().as_secs_f64());
        if let Ok(Reply::Http { status: 429, retry_after, .. }) = &reply {
            let time = retry_after.unwrap_or(BROKEN).min(LONGEST_BLOCK);
            self.servers().block(self.now(), &host, time);
        }
        reply
    }

    fn cache(&self) -> RwLockWriteGuard<'_, Cache<Query, Arc<Told>, Flight>> {
        self.cache.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn servers(&self) -> std::sync::MutexGuard<'_, Buckets<String>> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Time {
        Time(self.start.elapsed())
    }
}

/// Ends a flight however it ends, so that a question that broke off in a panic can be asked again.
struct Landing<'a> {
    registries: &'a Registries,
    query: &'a Query,
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        self.registries.cache().abandon(self.query);
    }
}

impl Told {
    fn failed(failure: Failure) -> Self {
        Self { outcome: Outcome::Failed(failure), hops: Arc::default(), date: now() }
    }
}

/// A protocol as metrics name it.
const fn label(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Rdap => "rdap",
        Protocol::Whois => "whois",
    }
}

/// The time of day (RFC 3339, whole seconds).
fn now() -> Arc<str> {
    super::files::date(jiff::Timestamp::now().as_second()).unwrap_or_default().into()
}
