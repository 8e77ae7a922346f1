//! What the client prints, in the manner of ping(8) or as JSON lines.

use std::io::{self, Write};
use std::time::Duration;

use serde_json::{Value, json};

use crate::core::probe::{Counts, HolderNews, Latency};
use crate::prober::engine::{Event, Heard};
use crate::prober::ping::{News, Ping, PingTarget};

/// How much is printed, and in which form.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    /// No line per answer.
    pub(super) quiet: bool,
    /// JSON lines.
    pub(super) json: bool,
}

#[derive(Debug)]
pub(super) struct Report {
    pub(super) style: Style,
}

impl Report {
    /// What is measured.
    pub(super) fn begin(&self, out: &mut impl Write, ping: &Ping) -> io::Result<()> {
        if self.style.json {
            return Ok(());
        }
        for target in ping.targets() {
            let (name, address) = (&target.name, target.address);
            writeln!(out, "UDP-PING {name} ({}) port {}, {} octets", address.ip(), address.port(), ping.octets())?;
        }
        Ok(())
    }

    /// One piece of news.
    pub(super) fn news(&self, out: &mut impl Write, ping: &Ping, news: &News) -> io::Result<()> {
        let (News::Event(place, _) | News::Moved(place, _)) = news;
        let Some(target) = ping.targets().get(*place) else { return Ok(()) };
        let quiet = self.style.quiet && matches!(news, News::Event(_, event) if !matches!(event, Event::Holder { .. }));
        match (quiet, self.style.json) {
            (true, _) => Ok(()),
            (false, true) => news_json(target, news).map_or(Ok(()), |value| writeln!(out, "{value}")),
            (false, false) => news_text(target, news).map_or(Ok(()), |line| writeln!(out, "{line}")),
        }
    }

    /// A line for each target on standard error, while it goes on.
    #[expect(clippy::print_stderr, reason = "ping(8) prints this there, so that the output stays whole")]
    pub(super) fn interim(&self, ping: &Ping) {
        for (place, target) in ping.targets().iter().enumerate() {
            let counts = ping.counts(place);
            let figures = figures(&target.latency).map(|text| format!(", {text}")).unwrap_or_default();
            eprintln!(
                "{}: {}/{} packets, {} loss{figures}",
                target.name,
                counts.received,
                counts.sent,
                percent(&counts)
            );
        }
    }

    /// The end.
    pub(super) fn summary(&self, out: &mut impl Write, ping: &Ping) -> io::Result<()> {
        for (place, target) in ping.targets().iter().enumerate() {
            let counts = ping.counts(place);
            if self.style.json {
                writeln!(out, "{}", summary_json(target, &counts, ping.elapsed()))?;
            } else {
                summary_text(out, target, &counts, ping.elapsed())?;
            }
        }
        Ok(())
    }
}

fn news_text(target: &PingTarget, news: &News) -> Option<String> {
    let from = target.address.ip();
    Some(match news {
        News::Moved(_, address) => format!("{} is at {} now", target.name, address.ip()),
        News::Event(_, Event::Answer { heard: Heard::Stray, .. }) => {
            format!("From {from}: an answer to nothing that was sent")
        }
        News::Event(_, Event::Answer { heard: Heard::Corrupted, len, .. }) => {
            format!("{len} bytes from {from}: not as it was sent (CORRUPTED)")
        }
        News::Event(_, Event::Answer { heard, port, index, len, ttl, rtt, name, .. }) => {
            let name = name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
            let seq = index.map_or(0, |index| index + 1);
            let ttl = ttl.map(|ttl| format!(" ttl={ttl}")).unwrap_or_default();
            let port = if *port > 0 { format!(" path={port}") } else { String::new() };
            let time = rtt.map(|rtt| format!(" time={} ms", millis(rtt))).unwrap_or_default();
            let mark = match heard {
                Heard::Duplicated => " (DUP!)",
                Heard::Late => " (LATE)",
                Heard::Reordered => " (REORDERED)",
                _ => "",
            };
            format!("{len} bytes from {from}{name}: seq={seq}{port}{ttl}{time}{mark}")
        }
        News::Event(_, Event::Refused { errno, .. }) => {
            format!("From {from}: {}", io::Error::from_raw_os_error(*errno))
        }
        News::Event(_, Event::NotSent { error, .. }) => format!("To {from}: not sent: {error}"),
        News::Event(_, Event::Holder { news: HolderNews::First(_), .. }) => return None,
        News::Event(_, Event::Holder { news: HolderNews::Changed { from: before, to, gap }, .. }) => {
            format!(
                "{from} is answered by {to} now, before by {before}; nobody answered for {:.3} s",
                gap.as_secs_f64()
            )
        }
        News::Event(_, Event::Holder { news: HolderNews::Two { holder, other }, .. }) => {
            format!("{from} is answered by two at once: {holder} and {other}")
        }
    })
}

fn news_json(target: &PingTarget, news: &News) -> Option<Value> {
    let (name, address) = (&target.name, target.address.ip().to_string());
    Some(match news {
        News::Moved(..) => json!({"type": "moved", "target": name, "address": address}),
        News::Event(_, Event::Answer { heard, port, index, len, ttl, rtt, name: node, .. }) => json!({
            "type": "answer", "target": name, "address": address, "heard": heard.as_str(),
            "seq": index.map(|index| index + 1), "path": port, "octets": len, "ttl": ttl,
            "rtt_seconds": rtt.map(|rtt| rtt.as_secs_f64()), "node": node,
        }),
        News::Event(_, Event::Refused { errno, .. }) => json!({
            "type": "refused", "target": name, "address": address,
            "error": io::Error::from_raw_os_error(*errno).to_string(),
        }),
        News::Event(_, Event::NotSent { error, .. }) => {
            json!({"type": "not_sent", "target": name, "address": address, "error": error})
        }
        News::Event(_, Event::Holder { news: HolderNews::First(node), .. }) => {
            json!({"type": "holder", "target": name, "address": address, "node": node})
        }
        News::Event(_, Event::Holder { news: HolderNews::Changed { from, to, gap }, .. }) => json!({
            "type": "holder_changed", "target": name, "address": address, "from": from, "node": to,
            "gap_seconds": gap.as_secs_f64(),
        }),
        News::Event(_, Event::Holder { news: HolderNews::Two { holder, other }, .. }) => {
            json!({"type": "two_holders", "target": name, "address": address, "node": holder, "other": other})
        }
    })
}

fn summary_text(out: &mut impl Write, target: &PingTarget, counts: &Counts, elapsed: Duration) -> io::Result<()> {
    writeln!(out, "\n--- {} udp-ping statistics ---", target.name)?;
    write!(out, "{} packets transmitted, {} received, {} packet loss", counts.sent, counts.received, percent(counts))?;
    let directed = counts.lost_forward + counts.lost_backward;
    if directed > 0 {
        write!(out, " ({} lost on the way there, {} on the way back", counts.lost_forward, counts.lost_backward)?;
        let rest = counts.lost - directed;
        write!(out, "{})", if rest > 0 { format!(", {rest} unknown") } else { String::new() })?;
    }
    if counts.in_flight() > 0 {
        write!(out, ", {} in flight", counts.in_flight())?;
    }
    writeln!(out, ", time {}ms", elapsed.as_millis())?;
    let others = [
        (counts.reordered, "reordered"),
        (counts.duplicated, "duplicated"),
        (counts.late, "late"),
        (counts.corrupted, "corrupted"),
        (counts.refused, "refused"),
        (counts.stray, "stray"),
    ];
    let others: Vec<String> =
        others.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    if !others.is_empty() {
        writeln!(out, "{}", others.join(", "))?;
    }
    if let Some(figures) = figures(&target.latency) {
        writeln!(out, "rtt {figures}")?;
    }
    Ok(())
}

fn summary_json(target: &PingTarget, counts: &Counts, elapsed: Duration) -> Value {
    let latency = &target.latency;
    let seconds = |figure: Option<Duration>| figure.map(|figure| figure.as_secs_f64());
    let mut value = json!({
        "type": "summary", "target": target.name, "address": target.address.ip().to_string(),
        "port": target.address.port(), "elapsed_seconds": elapsed.as_secs_f64(), "in_flight": counts.in_flight(),
        "loss_ratio": counts.loss(),
        "rtt_seconds": {
            "min": seconds(latency.min()), "avg": seconds(latency.avg()), "p50": seconds(latency.quantile(0.5)),
            "p99": seconds(latency.quantile(0.99)), "max": seconds(latency.max()), "mdev": seconds(latency.mdev()),
        },
    });
    if let (Some(value), Ok(Value::Object(counters))) = (value.as_object_mut(), serde_json::to_value(counts)) {
        value.extend(counters);
    }
    value
}

/// `min/avg/p50/p99/max/mdev = … ms`, `None` if nothing was measured.
fn figures(latency: &Latency) -> Option<String> {
    let all = [
        latency.min()?,
        latency.avg()?,
        latency.quantile(0.5)?,
        latency.quantile(0.99)?,
        latency.max()?,
        latency.mdev()?,
    ];
    let all: Vec<String> = all.iter().map(|figure| format!("{:.3}", figure.as_secs_f64() * 1e3)).collect();
    Some(format!("min/avg/p50/p99/max/mdev = {} ms", all.join("/")))
}

/// Loss in percent of what is settled, with as many digits as it takes, as ping(8) has it.
fn percent(counts: &Counts) -> String {
    let percent = counts.loss().unwrap_or(0.0) * 100.0;
    if percent.fract() == 0.0 { format!("{percent}%") } else { format!("{percent:.4}%") }
}

/// Milliseconds with three digits that matter, as ping(8) has them.
fn millis(time: Duration) -> String {
    let millis = time.as_secs_f64() * 1e3;
    let digits = match millis {
        ms if ms >= 100.0 => 0,
        ms if ms >= 10.0 => 1,
        ms if ms >= 1.0 => 2,
        _ => 3,
    };
    format!("{millis:.digits$}")
}
