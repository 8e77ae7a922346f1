//! A chain of questions to registries: RDAP first, WHOIS where that fails, each answer possibly leading to another server.
//!
//! [`Chain::ask`] says what to ask; the shell asks and hands back what came with [`Chain::handle`]; at the end
//! [`Chain::outcome`] is the answer. Every server is asked at most once, and at most [`MAX_HOPS`] in each protocol.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::query::Query;
use super::rdap;
use super::record::Record;
use super::url::Url;
use super::whois::{self, Office, Referral, Server, Verdict};

/// The most servers that are asked one after the other in one protocol.
pub const MAX_HOPS: usize = 4;

/// How a server is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// RFC 7480.
    Rdap,
    /// RFC 3912.
    Whois,
}

/// On whose word a server is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The operator's: it may be anywhere.
    Configured,
    /// A stranger's: only a global address may be connected to.
    Referred,
}

/// What to ask next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// GET this URL.
    Rdap(Url, Origin),
    /// Send this line to this server.
    Whois(Server, String, Origin),
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Of WHOIS: all bytes.
    Text(Vec<u8>),
    /// Of RDAP.
    Http {
        /// Status code.
        status: u16,
        /// `Location`.
        location: Option<String>,
        /// `Retry-After`, if it is a number of seconds.
        retry_after: Option<Duration>,
        /// The body.
        body: Vec<u8>,
    },
}

/// Why a server gave no answer that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// It took too long; what it was that took so long.
    #[error("{0} took too long")]
    Timeout(&'static str),
    /// No connection, or one that broke.
    #[error("{0}")]
    Unreachable(String),
    /// Something that is no answer.
    #[error("{0}")]
    Garbage(String),
    /// More bytes than an answer may have.
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
    /// A referral to where no referral may lead.
    #[error("the referral to {0} is blocked: it must lead to a WHOIS or HTTPS port of a name with a global address")]
    Blocked(String),
    /// A referral back.
    #[error("the referrals go in a circle: {0} was asked before")]
    Loop(String),
    /// Too many referrals.
    #[error("there are more than {MAX_HOPS} referrals")]
    Depth,
    /// The server, or our own limit for it, allows no more questions for now.
    #[error("no more questions are allowed for now")]
    Quota(Option<Duration>),
}

impl Failure {
    /// The `code` of the error table.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Timeout(_) => "upstream_timeout",
            Self::Unreachable(_) | Self::Garbage(_) | Self::TooLong(_) => "upstream_error",
            Self::Blocked(_) => "referral_blocked",
            Self::Loop(_) | Self::Depth => "referral_loop",
            Self::Quota(_) => "upstream_quota",
        }
    }
}

/// One server that was asked, or was not because it must not be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hop {
    /// How.
    pub protocol: Protocol,
    /// Whom.
    pub server: String,
    /// `answer`, `referral`, `not_found` or the failure's code.
    pub result: &'static str,
    /// What went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What the registries say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Registration {
    /// How it was asked for.
    pub protocol: Protocol,
    /// Who says so.
    pub server: String,
    /// What could be read out of the answer.
    #[serde(flatten)]
    pub record: Record,
    /// The last answer as text: that of WHOIS as it came, that of RDAP as lines.
    pub text: String,
}

/// How a chain ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// There is a record.
    Found {
        /// The record.
        registration: Arc<Registration>,
        /// What went wrong after it was found; the record may lack the last word.
        broken: Option<Failure>,
    },
    /// The registry in charge has none.
    NotFound,
    /// Nobody gave an answer.
    Failed(Failure),
    /// There was nobody to ask.
    Nobody,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Chain {
    query: Query,
    whois_root: Option<Server>,
    next: Option<Ask>,
    office: Office,
    asked: BTreeSet<(bool, String)>,
    count: usize,
    hops: Vec<Hop>,
    found: Option<Registration>,
    not_found: bool,
    failure: Option<Failure>,
}

impl Chain {
    /// A chain that begins at this RDAP URL, or, without one or after it failed, at this WHOIS server.
    #[must_use]
    pub fn new(query: Query, rdap: Option<(Url, Origin)>, whois_root: Option<Server>) -> Self {
        let mut chain = Self {
            query,
            whois_root,
            next: rdap.map(|(url, origin)| Ask::Rdap(url, origin)),
            office: Office::Root,
            asked: BTreeSet::new(),
            count: 0,
            hops: Vec::new(),
            found: None,
            not_found: false,
            failure: None,
        };
        if chain.next.is_none() {
            chain.start_whois();
        }
        chain
    }

    /// What to ask now; `None` when the chain is at its end. The same until [`handle`](Self::handle) is called.
    #[must_use]
    pub fn ask(&self) -> Option<&Ask> {
        self.next.as_ref()
    }

    /// The servers so far.
    #[must_use]
    pub fn hops(&self) -> &[Hop] {
        &self.hops
    }

    /// Ends the chain: there is no time left.
    pub fn abort(&mut self, failure: Failure) {
        if let Some(ask) = self.next.take() {
            self.hop(&ask, failure.code(), Some(&failure));
            self.failure = Some(failure);
        }
    }

    /// Takes what came back from what [`ask`](Self::ask) said.
    pub fn handle(&mut self, reply: Result<Reply, Failure>) {
        let Some(ask) = self.next.take() else { return };
        self.asked.insert(key(&ask));
        self.count += 1;
        match (&ask, reply) {
            (_, Err(failure)) => self.failed(&ask, failure),
            (Ask::Rdap(url, _), Ok(Reply::Http { status, location, retry_after, body })) => {
                self.handle_rdap(&ask, url, status, location.as_deref(), retry_after, &body);
            }
            (Ask::Whois(server, _, _), Ok(Reply::Text(bytes))) => match whois::decode(&bytes) {
                Ok(text) => self.handle_whois(&ask, server, text),
                Err(reason) => self.failed(&ask, Failure::Garbage(reason.to_owned())),
            },
            (_, Ok(_)) => self.failed(&ask, Failure::Garbage("the answer is of another protocol".to_owned())),
        }
    }

    /// How it ended, with the servers that were asked.
    #[must_use]
    pub fn outcome(self) -> (Outcome, Vec<Hop>) {
        let outcome = match (self.found, self.not_found, self.failure) {
            (Some(registration), _, broken) => Outcome::Found { registration: Arc::new(registration), broken },
            (None, true, _) => Outcome::NotFound,
            (None, false, Some(failure)) => Outcome::Failed(failure),
            (None, false, None) => Outcome::Nobody,
        };
        (outcome, self.hops)
    }

    fn handle_rdap(
        &mut self,
        ask: &Ask,
        url: &Url,
        status: u16,
        location: Option<&str>,
        retry_after: Option<Duration>,
        body: &[u8],
    ) {
        match status {
            200 => match rdap::parse(&self.query, body) {
                Ok(object) => {
                    self.hop(ask, "answer", None);
                    let text = object.record.to_text();
                    self.keep(Protocol::Rdap, url.host.clone(), object.record, text);
                    if let Some(related) = object.related {
                        self.refer_rdap(Url::parse(&related), &related);
                    }
                }
                Err(reason) => self.failed(ask, Failure::Garbage(reason)),
            },
            301 | 302 | 303 | 307 | 308 => {
                self.hop(ask, "referral", None);
                let location = location.unwrap_or_default();
                self.refer_rdap(url.follow(location), location);
            }
            404 => self.nothing_there(ask),
            429 => self.failed(ask, Failure::Quota(retry_after)),
            _ => self.failed(ask, Failure::Garbage(format!("the answer has HTTP status {status}"))),
        }
    }

    fn handle_whois(&mut self, ask: &Ask, server: &Server, text: String) {
        let office = self.office;
        let referral = whois::referral(server, office, &text);
        let pointer = office == Office::Root && referral != Referral::None;
        let verdict = whois::verdict(office, &text);
        match verdict {
            Verdict::Denied => return self.failed(ask, Failure::Quota(None)),
            Verdict::NotFound if !pointer => return self.nothing_there(ask),
            Verdict::Empty if referral == Referral::None => {
                return self.failed(ask, Failure::Garbage("the answer says nothing".to_owned()));
            }
            Verdict::Record if !pointer => {
                self.hop(ask, "answer", None);
                self.keep(Protocol::Whois, server.to_string(), whois::record(&text), text);
            }
            // An answer of IANA speaks of the registry, not of what was asked.
            Verdict::Record | Verdict::NotFound | Verdict::Empty => self.hop(ask, "referral", None),
        }
        match referral {
            Referral::None => {}
            // Registries that are their own registrars say so.
            Referral::To(next) if next == *server && self.found.is_some() => {}
            Referral::To(next) => {
                self.office = match (office, &self.query) {
                    (Office::Root, Query::Domain(_)) => Office::Registry,
                    (Office::Root | Office::Registry | Office::End, _) => Office::End,
                };
                let line = whois::request(&next, &self.query);
                self.refer(Ask::Whois(next, line, Origin::Referred));
            }
            Referral::Blocked(target) => self.broken(Protocol::Whois, target.clone(), Failure::Blocked(target)),
        }
    }

    fn refer_rdap(&mut self, target: Option<Url>, shown: &str) {
        match target.filter(Url::may_be_referred_to) {
            Some(url) => self.refer(Ask::Rdap(url, Origin::Referred)),
            None => {
                let shown = super::record::one_line(shown);
                self.broken(Protocol::Rdap, shown.clone(), Failure::Blocked(shown));
            }
        }
    }

    fn refer(&mut self, ask: Ask) {
        let (protocol, server) = name(&ask);
        if self.asked.contains(&key(&ask)) {
            self.broken(protocol, server.clone(), Failure::Loop(server));
        } else if self.count >= MAX_HOPS {
            self.broken(protocol, server, Failure::Depth);
        } else {
            self.next = Some(ask);
        }
    }

    /// A server that says that there is nothing: the last word, unless one before it knew something.
    fn nothing_there(&mut self, ask: &Ask) {
        self.hop(ask, "not_found", None);
        self.not_found = true;
    }

    /// A server that gave no answer: WHOIS may know, if RDAP has told nothing.
    fn failed(&mut self, ask: &Ask, failure: Failure) {
        self.hop(ask, failure.code(), Some(&failure));
        self.failure = Some(failure);
        self.fall_back(name(ask).0);
    }

    /// A server that must not be asked.
    fn broken(&mut self, protocol: Protocol, server: String, failure: Failure) {
        self.hops.push(Hop { protocol, server, result: failure.code(), error: Some(failure.to_string()) });
        self.failure = Some(failure);
        self.fall_back(protocol);
    }

    fn fall_back(&mut self, from: Protocol) {
        if from == Protocol::Rdap && self.found.is_none() {
            self.start_whois();
        }
    }

    fn start_whois(&mut self) {
        self.count = 0;
        self.next = self.whois_root.take().map(|root| {
            let line = whois::request(&root, &self.query);
            Ask::Whois(root, line, Origin::Configured)
        });
    }

    fn keep(&mut self, protocol: Protocol, server: String, mut record: Record, text: String) {
        self.failure = None;
        if let Some(before) = self.found.take() {
            record.fill(before.record);
        }
        let text = if protocol == Protocol::Rdap { record.to_text() } else { text };
        self.found = Some(Registration { protocol, server, record, text });
    }

    fn hop(&mut self, ask: &Ask, result: &'static str, failure: Option<&Failure>) {
        let (protocol, server) = name(ask);
        self.hops.push(Hop { protocol, server, result, error: failure.map(ToString::to_string) });
    }
}

/// What makes two questions the same.
fn key(ask: &Ask) -> (bool, String) {
    match ask {
        Ask::Rdap(url, _) => (true, url.to_string()),
        Ask::Whois(server, _, _) => (false, server.to_string()),
    }
}

/// Protocol and server, as a hop names them.
fn name(ask: &Ask) -> (Protocol, String) {
    match ask {
        Ask::Rdap(url, _) => (Protocol::Rdap, url.authority()),
        Ask::Whois(server, _, _) => (Protocol::Whois, server.to_string()),
    }
}

#[cfg(test)]
mod tests;
