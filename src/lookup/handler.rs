//! The service over HTTP: one question by GET, many by POST, the check of the original program, a page for people.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;

use super::{Clients, Service, batch, page};
use crate::core::lookup::answer::Answer;
use crate::core::lookup::error::LookupError;
use crate::core::lookup::query::{Format, Query, QueryError, decode_query_string, parse_parameters};
use crate::http::{Handler, Request, Response};
use crate::metrics::LookupMetrics;

/// The OpenAPI document of the service.
pub const OPENAPI: &str = include_str!("openapi.json");

/// How long an answer as JSON usually is, in bytes, at most.
const USUAL_LENGTH: usize = 512;

/// What the service serves over HTTP.
#[derive(Debug)]
pub struct Site {
    /// Where answers come from.
    pub service: Arc<Service>,
    /// How often each client may ask.
    pub clients: Clients,
    /// The most questions of a batch.
    pub batch: usize,
    /// What is counted.
    pub metrics: LookupMetrics,
}

#[async_trait]
impl Handler for Site {
    async fn handle(&self, request: Request) -> Option<Response> {
        let allowed = match request.path.as_str() {
            "/lookup" => "GET, HEAD, POST",
            "/" | "/check" | "/openapi.json" => "GET, HEAD",
            _ => return None,
        };
        let mut response = match (request.path.as_str(), request.method.as_str()) {
            ("/lookup", "GET") => self.one(&request).await,
            // In a box: one question is answered without the room that many take.
            ("/lookup", "POST") => Box::pin(self.many(&request)).await,
            ("/", "GET") => page::form(),
            // The original's client prints this; whatever parameter rides along means nothing.
            ("/check", "GET") => Response::text(200, "OK"),
            ("/openapi.json", "GET") => Response { content_type: "application/json", ..Response::text(200, OPENAPI) },
            _ => not_allowed(allowed),
        };
        // What registries say is hostile text: no browser shall take it for anything else.
        response.headers.push(("x-content-type-options", "nosniff".into()));
        Some(response)
    }
}

impl Site {
    async fn one(&self, request: &Request) -> Response {
        let start = Instant::now();
        let accepted = request.headers.get("accept").map_or(Format::Text, Format::from_accept);
        let (format, query) = match decode_query_string(&request.query) {
            Ok(parameters) => parse_parameters(&parameters),
            Err(error) => (None, Err(error)),
        };
        let (format, query) = match format {
            None => (accepted, query),
            Some(Ok(format)) => (format, query),
            Some(Err(error)) => (accepted, Err(error)),
        };
        let kind = query.as_ref().map_or("none", |query| query.kind());
        let result = self.answer(request, query).await;
        self.count(kind, &result, start);
        let mut response = match &result {
            Ok((answer, age)) => {
                let mut response = match format {
                    Format::Text => Response::text(200, answer.to_text()),
                    Format::Json => to_json(200, answer),
                    Format::Html => page::answer(answer),
                };
                if let Some(age) = age {
                    response.headers.push(("age", age.as_secs().to_string().into()));
                }
                response
            }
            Err(error) => refusal(error, format),
        };
        response.headers.push(("vary", "accept".into()));
        response
    }

    async fn answer(
        &self,
        request: &Request,
        query: Result<Query, QueryError>,
    ) -> Result<(Answer, Option<Duration>), LookupError> {
        self.clients.take(request.peer.map(|peer| peer.ip()), 1)?;
        self.service.answer(&query?).await
    }

    async fn many(&self, request: &Request) -> Response {
        let start = Instant::now();
        let prepared = batch::parse(&request.body, self.batch).and_then(|questions| {
            self.clients.take(request.peer.map(|peer| peer.ip()), questions.len())?;
            Ok(questions)
        });
        let questions = match prepared {
            Ok(questions) => questions,
            Err(error) => {
                self.metrics.answered("none", error.code(), start.elapsed().as_secs_f64());
                return refusal(&error, Format::Json);
            }
        };
        let answers = batch::answer(questions, |question| async move {
            let start = Instant::now();
            let kind = question.as_ref().map_or("none", |query| query.kind());
            let result = match question {
                Ok(query) => self.service.answer(&query).await,
                Err(error) => Err(error),
            };
            self.count(kind, &result, start);
            result
        });
        Response::json(200, &answers.await)
    }

    fn count(&self, kind: &str, result: &Result<(Answer, Option<Duration>), LookupError>, start: Instant) {
        let code = match result {
            Ok((answer, _)) if answer.partial => "partial",
            Ok(_) => "ok",
            Err(error) => error.code(),
        };
        self.metrics.answered(kind, code, start.elapsed().as_secs_f64());
    }
}

/// Anything that serialises, as a JSON answer.
fn to_json(status: u16, value: &impl serde::Serialize) -> Response {
    let mut body = Vec::with_capacity(USUAL_LENGTH);
    match serde_json::to_writer(&mut body, value) {
        Ok(()) => {
            body.push(b'\n');
            Response { status, headers: Vec::new(), content_type: "application/json", body }
        }
        Err(error) => Response::text(500, format!("{error}\n")),
    }
}

/// An error: JSON for every client but a browser.
fn refusal(error: &LookupError, format: Format) -> Response {
    let mut response = match format {
        Format::Html => page::error(error),
        Format::Text | Format::Json => to_json(error.status(), &error.to_json()),
    };
    if let Some(seconds) = error.retry_after() {
        response.headers.push(("retry-after", seconds.to_string().into()));
    }
    response
}

fn not_allowed(allowed: &'static str) -> Response {
    let body = serde_json::json!({"error": format!("this path has {allowed}"), "code": "method_not_allowed"});
    let mut response = to_json(405, &body);
    response.headers.push(("allow", allowed.into()));
    response
}
