//! What the data plane asks of the store: a few requests at a time, however slow the answers are.
//!
//! The machines give a request up after a while and ask anew, without knowing what has become of the former. So that
//! nothing piles up, of each kind two of a segment are under way at most, and of what comes meanwhile the newest waits. Two
//! and not one, for a connection may be dead without a sign, as that to an API server on the node that has just failed:
//! whoever waited for it would fail over when it times out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::BoxFuture;
use tracing::debug;

use super::dataplane::Order;
use crate::core::failover::{Lane, Outcome, Purpose};
use crate::core::view::Patch;

/// How many requests of a kind and segment are under way at most.
const AT_ONCE: usize = 2;

/// A request.
#[derive(Debug)]
pub(super) enum Ask {
    /// Patch the view.
    Write { segment: String, ticket: u64, purpose: Purpose, patch: Patch },
    /// Read the view past any cache.
    Read { segment: String },
}

/// What waits for what: requests of one kind and segment. Reads are of a kind of their own.
type Kind = (String, Option<Lane>);

impl Ask {
    fn kind(&self) -> Kind {
        match self {
            Self::Write { segment, purpose, .. } => (segment.clone(), Some(purpose.lane())),
            Self::Read { segment } => (segment.clone(), None),
        }
    }

    /// What the data plane is told of a request that is not made, for a newer one is.
    fn dropped(self) -> Option<Order> {
        match self {
            // It will not come about any more, which is more than that nobody knows.
            Self::Write { segment, ticket, purpose, .. } => {
                debug!(segment, ?purpose, "not written: there is a newer patch");
                Some(Order::Patched { segment, ticket, outcome: Outcome::Refused })
            }
            // The read that takes its place answers it.
            Self::Read { .. } => None,
        }
    }
}

/// Requests of a kind.
#[derive(Debug, Default)]
struct Queue {
    under_way: usize,
    waiting: Option<Ask>,
}

/// Makes a request, and says what to tell the data plane of it.
pub(super) type Make = Arc<dyn Fn(Ask) -> BoxFuture<'static, Option<Order>> + Send + Sync>;
/// Tells the data plane.
pub(super) type Tell = Arc<dyn Fn(Order) + Send + Sync>;

/// All requests of the data plane.
#[derive(Clone)]
pub(super) struct Requests {
    make: Make,
    tell: Tell,
    queues: Arc<Mutex<BTreeMap<Kind, Queue>>>,
}

impl Requests {
    pub(super) fn new(make: Make, tell: Tell) -> Self {
        Self { make, tell, queues: Arc::default() }
    }

    /// Makes a request, or has it wait.
    pub(super) fn ask(&self, ask: Ask) {
        let kind = ask.kind();
        let waited = {
            let mut queues = self.queues();
            let queue = queues.entry(kind.clone()).or_default();
            if queue.under_way < AT_ONCE {
                queue.under_way += 1;
                tokio::spawn(self.clone().work(kind, ask));
                return;
            }
            queue.waiting.replace(ask)
        };
        waited.and_then(Ask::dropped).into_iter().for_each(|order| (self.tell)(order));
    }

    /// Makes a request, and then those that have waited for it.
    async fn work(self, kind: Kind, first: Ask) {
        let mut next = Some(first);
        while let Some(ask) = next {
            (self.make)(ask).await.into_iter().for_each(|order| (self.tell)(order));
            next = self.after(&kind);
        }
    }

    /// A request has been answered: what comes next, if anything waits.
    fn after(&self, kind: &Kind) -> Option<Ask> {
        let mut queues = self.queues();
        let queue = queues.get_mut(kind)?;
        let next = queue.waiting.take();
        if next.is_none() {
            queue.under_way -= 1;
        }
        next
    }

    fn queues(&self) -> MutexGuard<'_, BTreeMap<Kind, Queue>> {
        // Each change of it is whole.
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;

    use super::*;

    /// A store that answers as often as it is let.
    struct Slow {
        answers: Semaphore,
        /// What it was asked, in order.
        asked: Mutex<Vec<String>>,
        under_way: Mutex<BTreeMap<Kind, usize>>,
        /// The tickets of writes that were answered, and whether as refused.
        told: Mutex<Vec<(u64, bool)>>,
    }

    impl Slow {
        async fn answer(self: Arc<Self>, ask: Ask) -> Option<Order> {
            let kind = ask.kind();
            self.asked.lock().unwrap().push(match &ask {
                Ask::Write { ticket, .. } => format!("write {ticket}"),
                Ask::Read { .. } => "read".to_owned(),
            });
            *self.under_way.lock().unwrap().entry(kind.clone()).or_default() += 1;
            assert!(self.under_way.lock().unwrap()[&kind] <= AT_ONCE, "too many of {kind:?}");
            self.answers.acquire().await.unwrap().forget();
            *self.under_way.lock().unwrap().get_mut(&kind).unwrap() -= 1;
            match ask {
                Ask::Write { segment, ticket, .. } => {
                    Some(Order::Patched { segment, ticket, outcome: Outcome::Unknown })
                }
                Ask::Read { .. } => None,
            }
        }

        /// What was asked since this was looked at last, once nothing more comes of itself.
        async fn asked(&self) -> Vec<String> {
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            std::mem::take(&mut *self.asked.lock().unwrap())
        }

        async fn let_answer(&self, times: usize) -> Vec<String> {
            self.answers.add_permits(times);
            self.asked().await
        }
    }

    fn slow() -> (Arc<Slow>, Requests) {
        let (asked, under_way, told) = (Mutex::default(), Mutex::default(), Mutex::default());
        let slow = Arc::new(Slow { answers: Semaphore::new(0), asked, under_way, told });
        let (store, plane) = (Arc::clone(&slow), Arc::clone(&slow));
        let tell = move |order| match order {
            Order::Patched { ticket, outcome, .. } => {
                plane.told.lock().unwrap().push((ticket, matches!(outcome, Outcome::Refused)));
            }
            other => panic!("{other:?}"),
        };
        (slow, Requests::new(Arc::new(move |ask| Box::pin(Arc::clone(&store).answer(ask))), Arc::new(tell)))
    }

    fn write(ticket: u64, purpose: Purpose) -> Ask {
        Ask::Write { segment: "s".to_owned(), ticket, purpose, patch: Patch(Vec::new()) }
    }

    fn read() -> Ask {
        Ask::Read { segment: "s".to_owned() }
    }

    #[tokio::test]
    async fn of_a_kind_two_requests_are_under_way_and_the_newest_of_the_others_waits() {
        let (slow, requests) = slow();
        for ticket in 1..=5 {
            requests.ask(write(ticket, if ticket == 3 { Purpose::Renew } else { Purpose::ChangeMode }));
            requests.ask(read());
        }
        assert_eq!(slow.asked().await, ["write 1", "read", "write 2", "read"]);
        assert_eq!(*slow.told.lock().unwrap(), [(3, true), (4, true)], "what is not written any more is refused");
        assert_eq!(slow.let_answer(4).await, ["write 5", "read"]);
        assert_eq!(slow.let_answer(2).await, [""; 0]);
        let mut told = slow.told.lock().unwrap().clone();
        told.sort_unstable();
        assert_eq!(told, [(1, false), (2, false), (3, true), (4, true), (5, false)], "each write is answered once");
        requests.ask(write(6, Purpose::Renew));
        assert_eq!(slow.asked().await, ["write 6"], "nothing is under way any more");
    }

    #[tokio::test]
    async fn what_is_of_another_kind_or_segment_waits_for_nothing() {
        let (slow, requests) = slow();
        for ticket in 1..=3 {
            requests.ask(write(ticket, Purpose::Trim));
        }
        assert_eq!(slow.asked().await, ["write 1", "write 2"]);
        requests.ask(write(4, Purpose::Fence));
        requests.ask(write(5, Purpose::Renew));
        requests.ask(read());
        requests.ask(Ask::Write {
            segment: "t".to_owned(),
            ticket: 6,
            purpose: Purpose::Move,
            patch: Patch(Vec::new()),
        });
        assert_eq!(slow.asked().await, ["write 4", "write 5", "read", "write 6"]);
    }
}
