//! The look-up service: one question, one answer, from databases, our own resources and the registries.

mod batch;
mod databases;
mod files;
mod handler;
mod page;
mod registries;
mod resources;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::core::lookup::answer::{Answer, settle};
use crate::core::lookup::chain::Outcome;
use crate::core::lookup::error::LookupError;
use crate::core::lookup::limit::Buckets;
use crate::core::lookup::query::Query;
use crate::core::time::Time;
use crate::http::client_of;

pub use databases::{Databases, IEEE_FOLDERS, Places};
pub use handler::{OPENAPI, Site};
pub use registries::{Registries, RegistryConfig};
pub use resources::Resources;

/// The most clients whose limits are remembered.
const MOST_CLIENTS: usize = 100_000;

/// Everything that answers come from; see the module.
#[derive(Debug)]
pub struct Service {
    /// Files.
    pub databases: Databases,
    /// The registries; `None`: they are not asked.
    pub registries: Option<Arc<Registries>>,
    /// The store's resources; `None`: there is no store.
    pub resources: Option<Arc<Resources>>,
}

/// An answer, and how old the registries' part of it is if that was kept.
pub type Answered = (Answer, Option<Duration>);

impl Service {
    /// Answers a question.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn answer(&self, query: &Query) -> Result<Answered, LookupError> {
        let mut answer = Answer::new(query);
        match query {
            Query::Mac(mac) => self.databases.add_vendor(*mac, &mut answer)?,
            Query::Ip(ip) => self.add_own(*ip, &mut answer),
            Query::Domain(_) | Query::Asn(_) => {}
        }
        if !answer.concerns_registries() {
            return settle(answer, None, false).map(|answer| (answer, None));
        }
        let Some(registries) = &self.registries else {
            return match settle(answer, None, false) {
                Ok(answer) => Ok((answer, None)),
                Err(_) => Err(LookupError::NoDatabase(format!(
                    "nothing here knows {query}, and the registries are not asked (--offline)"
                ))),
            };
        };
        let (told, age) = registries.tell(query).await;
        answer.hops = Arc::clone(&told.hops);
        let (failure, not_found) = match &told.outcome {
            Outcome::Found { registration, broken } => {
                answer.add_source(registration.server.as_str(), Some(Arc::clone(&told.date)));
                answer.registration = Some(Arc::clone(registration));
                (broken.clone(), false)
            }
            Outcome::NotFound => (None, true),
            Outcome::Failed(failure) => (Some(failure.clone()), false),
            Outcome::Nobody if answer.is_useful() => (None, false),
            Outcome::Nobody => {
                return Err(LookupError::NoDatabase(format!("no registry is known that could be asked about {query}")));
            }
        };
        settle(answer, failure, not_found).map(|answer| (answer, age))
    }

    fn add_own(&self, ip: IpAddr, answer: &mut Answer) {
        if let Some(resources) = &self.resources {
            let (owners, date) = resources.of(ip);
            if !owners.is_empty() {
                answer.resources = owners;
                answer.add_source("resources", date.map(Into::into));
            }
        }
        self.databases.add_places(ip, answer);
    }

    /// Keeps the databases as their files are, until `stop`.
    pub async fn watch(&self, stop: CancellationToken) {
        self.databases.watch(stop).await;
    }
}

/// How often each client may ask.
#[derive(Debug)]
pub struct Clients {
    /// `None`: there is no limit.
    buckets: Option<Mutex<Buckets<IpAddr>>>,
    burst: u32,
    start: Instant,
}

impl Clients {
    /// So many questions a second (0: no limit) and at once to each client.
    #[must_use]
    pub fn new(rate: u32, burst: u32) -> Self {
        let burst = burst.max(1);
        let buckets = (rate > 0).then(|| Mutex::new(Buckets::new(rate, burst, MOST_CLIENTS)));
        Self { buckets, burst, start: Instant::now() }
    }

    /// Takes the client's right to `count` questions; a batch that is longer than what is allowed at once costs that.
    ///
    /// # Errors
    /// [`LookupError::RateLimited`].
    pub fn take(&self, client: Option<IpAddr>, count: usize) -> Result<(), LookupError> {
        let (Some(buckets), Some(client)) = (&self.buckets, client) else { return Ok(()) };
        let count = u32::try_from(count).unwrap_or(u32::MAX).min(self.burst);
        let now = Time(self.start.elapsed());
        let mut buckets = buckets.lock().unwrap_or_else(PoisonError::into_inner);
        buckets.take(now, &client_of(client), count).map_err(LookupError::RateLimited)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_of_ipv6_is_its_network() {
        let clients = Clients::new(1, 2);
        let take = |client: &str, count| clients.take(Some(client.parse().unwrap()), count).is_ok();
        assert!(take("2001:db8::1", 1));
        assert!(take("2001:db8::2", 1));
        assert!(!take("2001:db8::3", 1));
        assert!(take("2001:db8:0:1::3", 50), "a long batch costs all there is");
        assert!(!take("2001:db8:0:1::3", 1));
        assert!(take("::ffff:192.0.2.1", 2) && !take("192.0.2.1", 1));
    }
}
