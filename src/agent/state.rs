//! How it stands with an agent, for whoever asks by HTTP.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::sync::oneshot;

use super::{Agent, AgentError, Told};
use crate::core::failover;
use crate::core::keeper::Holding;
use crate::core::why::{AgentState, SegmentState, VipState};
use crate::http::{Handler, Request, Response};

/// How many questions wait at most.
const WAITING: usize = 8;

/// Where an answer goes.
pub(super) type Reply = oneshot::Sender<AgentState>;

/// The questions that come in.
#[derive(Debug)]
pub struct Asked(Receiver<Reply>);

/// How it stood with a segment, and the least time that was left to its gate in the second before.
#[derive(Debug, Clone)]
pub(super) struct Pulse {
    pub(super) pulse: failover::Pulse,
    pub(super) margin: Option<Duration>,
}

/// Answers `GET /state` with an [`AgentState`] as JSON. It tells no secret and changes nothing.
#[derive(Debug)]
struct Asker(Sender<Reply>);

/// What answers over HTTP, and what the agent that is asked takes the questions from.
#[must_use]
pub fn asker() -> (Arc<dyn Handler>, Asked) {
    let (ask, asked) = mpsc::channel(WAITING);
    (Arc::new(Asker(ask)), Asked(asked))
}

#[async_trait]
impl Handler for Asker {
    async fn handle(&self, request: Request) -> Option<Response> {
        if request.path != "/state" {
            return None;
        }
        if request.method != "GET" {
            return Some(Response::method_not_allowed("GET, HEAD"));
        }
        let (reply, answer) = oneshot::channel();
        let state = if self.0.try_send(reply).is_ok() { answer.await.ok() } else { None };
        let body = state.and_then(|state| serde_json::to_value(state).ok());
        Some(
            body.map_or_else(
                || Response::text(503, "the agent does not answer now\n"),
                |body| Response::json(200, &body),
            ),
        )
    }
}

/// Passes questions on to the loop; without an asker it waits for ever.
pub(super) async fn forward(mut asked: Asked, told: Sender<Told>) -> Result<(), AgentError> {
    while let Some(reply) = asked.0.recv().await {
        if told.send(Told::Asked(reply)).await.is_err() {
            return Ok(());
        }
    }
    std::future::pending().await
}

impl Agent {
    /// Answers with how it stands now.
    pub(super) fn answer(&self, reply: Reply) {
        let segment = |name: &str| {
            let Pulse { pulse, margin } = self.pulses.get(name)?.clone();
            Some((name.to_owned(), SegmentState { pulse, margin }))
        };
        let vip = |uid: &str, holding: &Holding| {
            let (reason, message) = match holding {
                Holding::Held { interface, .. } => ("Held", format!("it answers on {interface}")),
                Holding::Waiting(why) => (why.reason(), why.to_string()),
            };
            let conflict = self.told_of.conflicts.get(uid).map(|claim| claim.0);
            let failing = self.told_of.verdicts.get(uid).map(|verdict| verdict.record.failing);
            VipState { reason: reason.to_owned(), message, conflict, failing }
        };
        let state = AgentState {
            node: self.name.clone(),
            guarded: self.plane.is_some(),
            segments: self.node.segments().filter_map(segment).collect(),
            vips: self.node.keeper().holdings().map(|(uid, _, held)| (uid.to_owned(), vip(uid, held))).collect(),
        };
        // Whoever asked may have gone.
        let _gone = reply.send(state);
    }
}
