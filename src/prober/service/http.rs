//! What the prober answers beside health and metrics: one-off probes in the manner of the blackbox exporter, and the
//! figures of each source port.

use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde_json::json;

use super::Prober;
use crate::core::lookup::query::{Parameter, decode_query_string};
use crate::core::probe;
use crate::http::{Handler, Request, Response};
use crate::prober::engine::{SHORT_TURNS, TargetSettings};
use crate::prober::resolve::{Family, Host, resolve};
use crate::wire::stamp::LEN;

/// One-off probes at a time.
pub(super) const MAX_ONE_OFF: usize = 64;
/// How long a one-off probe waits for its answer.
const TIMEOUT: Duration = Duration::from_secs(2);
/// How often it looks.
const LOOK: Duration = Duration::from_millis(5);

pub(super) struct Paths(pub(super) Arc<Prober>);

#[async_trait]
impl Handler for Paths {
    async fn handle(&self, request: Request) -> Option<Response> {
        let path = request.path.as_str();
        if !matches!(path, "/probe" | "/paths") {
            return None;
        }
        if request.method != "GET" {
            return Some(Response::method_not_allowed("GET, HEAD"));
        }
        let pairs = match decode_query_string(&request.query) {
            Ok(pairs) => pairs,
            Err(error) => return Some(Response::text(400, format!("{error}\n"))),
        };
        Some(if path == "/probe" { self.0.probe_once(&pairs).await } else { self.0.paths(&pairs) })
    }
}

/// A parameter that must stand there once.
fn parameter<'a>(pairs: &'a [Parameter<'_>], name: &str) -> Result<&'a str, Response> {
    let mut values = pairs.iter().filter(|(given, _)| given == name).map(|(_, value)| &**value);
    match (values.next(), values.next()) {
        (Some(value), None) if !value.is_empty() => Ok(value),
        (Some(_), Some(_)) => Err(Response::text(400, format!("the parameter {name} is given more than once\n"))),
        _ => Err(Response::text(400, format!("the parameter {name} is missing\n"))),
    }
}

impl Prober {
    /// `/probe?target=HOST[:PORT]&module=udp`: one probe, answered or not.
    async fn probe_once(&self, pairs: &[Parameter<'_>]) -> Response {
        match self.try_probe(pairs).await {
            Ok(text) => {
                Response { content_type: "text/plain; version=0.0.4; charset=utf-8", ..Response::text(200, text) }
            }
            Err(refusal) => refusal,
        }
    }

    async fn try_probe(&self, pairs: &[Parameter<'_>]) -> Result<String, Response> {
        let target = parameter(pairs, "target")?;
        let legacy = match parameter(pairs, "module")? {
            "udp" => false,
            "udp_legacy" => true,
            other => return Err(Response::text(400, format!("module {other:?} is not known: udp or udp_legacy\n"))),
        };
        let host = Host::parse(target, self.settings.port)
            .map_err(|error| Response::text(400, format!("target {error}\n")))?;
        let busy = || Response::text(503, "too many probes are under way\n");
        let _permit = self.one_off.try_acquire().map_err(|_| busy())?;
        let start = Instant::now();
        let name = host.clone();
        let found = tokio::task::spawn_blocking(move || resolve(&name, Family::Any)).await;
        let looked_up = start.elapsed();
        let address = found.ok().and_then(Result::ok).and_then(|found| found.first().map(|ip| host.at(*ip)));
        let mut rtt = None;
        if let Some(address) = address {
            let (size, tos) = (LEN as u16, 0);
            // Whoever waits for an answer shall not wait for a long turn.
            let interval = SHORT_TURNS;
            let measure = probe::Settings { interval, timeout: TIMEOUT, ports: 1, spread: false, holders: false };
            let id = self.runner.engine().add(TargetSettings { address, size, tos, legacy, limit: Some(1), measure });
            let answered = |counts: probe::Counts| counts.received + counts.lost > 0;
            while start.elapsed() < TIMEOUT + looked_up {
                tokio::time::sleep(LOOK).await;
                if self.runner.engine().target(id).is_none_or(|target| answered(target.session.counts())) {
                    break;
                }
            }
            rtt = self.runner.engine().remove(id).and_then(|target| target.session.last_rtt());
        }
        let family = address.map_or(0, |address| if address.is_ipv4() { 4 } else { 6 });
        Ok(blackbox(rtt, start.elapsed(), looked_up, family))
    }

    /// `/paths[?probe=NAMESPACE/NAME]`: the figures of each source port of each target.
    fn paths(&self, pairs: &[Parameter<'_>]) -> Response {
        let wanted = pairs.iter().find(|(name, _)| name == "probe").map(|(_, value)| &**value);
        let measured = self.measured();
        let engine = self.runner.engine();
        let mut targets = Vec::new();
        for (place, id) in measured.iter() {
            let probe = place.probe.to_string();
            let Some(target) = engine.target(*id).filter(|_| wanted.is_none_or(|wanted| wanted == probe)) else {
                continue;
            };
            let ipv6 = place.address.is_ipv6();
            let paths: Vec<_> = (0..)
                .zip(target.session.paths())
                .map(|(number, path)| {
                    json!({
                        "path": number, "sourcePort": engine.local_port(ipv6, number),
                        "rttSeconds": path.rtt.map(|rtt| rtt.as_secs_f64()), "lossRatio": path.counts.loss(),
                        "inFlight": path.counts.in_flight(), "counts": path.counts,
                    })
                })
                .collect();
            targets.push(json!({
                "probe": probe, "kind": place.kind.as_str(), "target": place.target,
                "address": place.address.ip().to_string(), "port": place.address.port(),
                "recentLossRatio": target.session.recent_loss(), "paths": paths,
            }));
        }
        Response::json(200, &json!({ "targets": targets }))
    }
}

/// The metrics of a one-off probe, by the blackbox exporter's names.
fn blackbox(rtt: Option<Duration>, total: Duration, looked_up: Duration, family: u8) -> String {
    let figures = [
        ("probe_success", "Whether the probe was answered.", f64::from(u8::from(rtt.is_some()))),
        ("probe_duration_seconds", "How long the probe took, name look-up included.", total.as_secs_f64()),
        ("probe_dns_lookup_time_seconds", "How long the look-up of the name took.", looked_up.as_secs_f64()),
        ("probe_ip_protocol", "The version of IP that was used; 0 if there is no address.", f64::from(family)),
    ];
    let mut text = String::new();
    let rtt = rtt.map(|rtt| ("probe_udp_rtt_seconds", "The round trip by the kernel's clock.", rtt.as_secs_f64()));
    for (name, help, value) in figures.into_iter().chain(rtt) {
        // Writing to a string does not fail.
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}");
    }
    text
}
