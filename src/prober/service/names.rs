//! Names of hosts and their addresses, looked up now and then.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::prober::resolve::{Family, Host, resolve};

/// How often a name is looked up; one that has no address, more often.
const LOOK_UP: Duration = Duration::from_secs(30);
const LOOK_UP_FAILED: Duration = Duration::from_secs(5);

/// The addresses of names.
#[derive(Debug, Default)]
pub(super) struct Names {
    known: BTreeMap<String, Result<IpAddr, String>>,
    /// Names that are looked up again and again.
    wanted: BTreeSet<String>,
    looking: BTreeSet<String>,
    tasks: JoinSet<(String, Result<Vec<IpAddr>, String>)>,
}

impl Names {
    /// The address of a name, or why there is none; `None` as long as nobody has answered. It stays the same as long as it
    /// is among the name's addresses, and when the name server fails.
    pub(super) fn address(&self, name: &str) -> Option<Result<IpAddr, String>> {
        self.known.get(name).cloned()
    }

    /// Looks these names up from now on, and forgets the others.
    pub(super) fn want(&mut self, names: &BTreeSet<String>) {
        self.known.retain(|name, _| names.contains(name));
        self.wanted.clone_from(names);
        for name in names {
            if !self.looking.contains(name) {
                self.look_up(name.clone(), Duration::ZERO);
            }
        }
    }

    /// Waits for an answer that changes something; never ends if no name is wanted.
    pub(super) async fn next(&mut self) -> Option<()> {
        loop {
            let Some(Ok((name, answer))) = self.tasks.join_next().await else {
                return std::future::pending().await;
            };
            self.looking.remove(&name);
            if self.wanted.contains(&name) && self.learn(name, answer) {
                return Some(());
            }
        }
    }

    /// Keeps an answer; whether it says something new. A name that is still wanted is looked up again later.
    fn learn(&mut self, name: String, answer: Result<Vec<IpAddr>, String>) -> bool {
        let old = self.known.get(&name);
        let new = match (answer, old) {
            (Ok(addresses), Some(Ok(old))) if addresses.contains(old) => Ok(*old),
            (Ok(addresses), _) => addresses.first().copied().ok_or_else(|| "no address".to_owned()),
            (Err(_), Some(Ok(old))) => Ok(*old),
            (Err(error), _) => Err(error),
        };
        let changed = old != Some(&new);
        self.look_up(name.clone(), if new.is_ok() { LOOK_UP } else { LOOK_UP_FAILED });
        self.known.insert(name, new);
        changed
    }

    fn look_up(&mut self, name: String, after: Duration) {
        self.looking.insert(name.clone());
        self.tasks.spawn(async move {
            tokio::time::sleep(after).await;
            // The port does not matter to the look-up.
            let host = Host::parse(&name, 1);
            let asked = tokio::task::spawn_blocking(move || host.and_then(|host| resolve(&host, Family::Any))).await;
            (name, asked.unwrap_or_else(|error| Err(error.to_string())))
        });
    }
}
