//! `vipkeeper describe`: one object with its conditions and what happened to it.

use std::io::{self, Write};

use anyhow::Context;
use jiff::Timestamp;
use serde_json::Value;

use super::columns::{Table, age, span};
use super::{KindName, ask, find, key};
use crate::cli::store_args::StoreArgs;
use crate::cli::{Exit, output};
use crate::store::{EventType, Object, RecordedEvent};

/// Show an object with its conditions and what happened to it: who holds an address, and why others do not.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  vipkeeper describe vip web -n shop --store dir:/etc/vipkeeper
  vipkeeper describe vippool public --context lab")]
pub(crate) struct Args {
    /// vip, vippool, udpprobe or fview
    #[arg(value_name = "KIND")]
    kind: KindName,
    /// The object's name
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
    /// The object's namespace
    #[arg(short, long, default_value = "default", env = "VIPKEEPER_NAMESPACE")]
    namespace: String,
    #[command(flatten)]
    store: StoreArgs,
}

impl Args {
    pub(crate) fn run(self) -> anyhow::Result<Exit> {
        let found = ask(async {
            let store = self.store.open().await?;
            let mut found = Vec::new();
            for name in &self.names {
                let object = find(&store, self.kind.0, &key(self.kind.0, name, &self.namespace)).await?;
                let events = store.events(&object).await?;
                found.push((object, events));
            }
            Ok(found)
        })?;
        let mut out = output();
        for (at, (object, events)) in found.iter().enumerate() {
            if at > 0 {
                writeln!(out, "\n")?;
            }
            print(&mut out, object, events, Timestamp::now())?;
        }
        out.flush()?;
        Ok(Exit::Done)
    }
}

fn print(out: &mut impl Write, object: &Object, events: &[RecordedEvent], now: Timestamp) -> anyhow::Result<()> {
    let body = &object.body;
    let mut line = |name: &str, value: &str| writeln!(out, "{:<14}{value}", format!("{name}:"));
    line("Name", &object.key.name)?;
    if let Some(namespace) = &object.key.namespace {
        line("Namespace", namespace)?;
    }
    line("Kind", object.kind.name())?;
    line("Labels", &pairs(&body["metadata"]["labels"]))?;
    line("Annotations", &pairs(&body["metadata"]["annotations"]))?;
    let created = object.meta("creationTimestamp");
    line("Created", &format!("{created} ({} ago)", age(created, now)))?;
    let deleted = object.meta("deletionTimestamp");
    if !deleted.is_empty() {
        line("Deleted", &format!("{deleted} ({} ago), waits for {}", age(deleted, now), finalizers(body)))?;
    }
    section(out, "Spec", &body["spec"])?;
    let mut status = body["status"].clone();
    let conditions = status.as_object_mut().and_then(|status| status.shift_remove("conditions"));
    section(out, "Status", &status)?;
    print_conditions(out, conditions.as_ref().and_then(Value::as_array).map(Vec::as_slice), now)?;
    print_events(out, events, now)?;
    Ok(())
}

fn pairs(map: &Value) -> String {
    let pairs: Vec<String> = map
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    if pairs.is_empty() { "<none>".to_owned() } else { pairs.join(", ") }
}

fn finalizers(body: &Value) -> String {
    let finalizers = body["metadata"]["finalizers"].as_array().into_iter().flatten();
    finalizers.filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
}

fn section(out: &mut impl Write, name: &str, value: &Value) -> anyhow::Result<()> {
    if value.as_object().is_none_or(serde_json::Map::is_empty) {
        writeln!(out, "{:<14}<none>", format!("{name}:"))?;
        return Ok(());
    }
    writeln!(out, "{name}:")?;
    for line in serde_yaml::to_string(value).context("print YAML")?.lines() {
        writeln!(out, "  {line}")?;
    }
    Ok(())
}

fn print_conditions(out: &mut impl Write, conditions: Option<&[Value]>, now: Timestamp) -> io::Result<()> {
    let Some(conditions) = conditions.filter(|conditions| !conditions.is_empty()) else {
        return writeln!(out, "Conditions:   <none>");
    };
    let mut table = Table::new(["Type", "Status", "Reason", "Since", "Message"]);
    for condition in conditions {
        let text = |field: &str| condition[field].as_str().unwrap_or_default().to_owned();
        let since = age(&text("lastTransitionTime"), now);
        table.push(vec![text("type"), text("status"), text("reason"), since, text("message")]);
    }
    writeln!(out, "Conditions:")?;
    table.print(out, "  ")
}

fn print_events(out: &mut impl Write, events: &[RecordedEvent], now: Timestamp) -> io::Result<()> {
    if events.is_empty() {
        return writeln!(out, "Events:       <none>");
    }
    let ago = |time: Timestamp| span(now.duration_since(time).as_secs());
    let mut table = Table::new(["Type", "Reason", "Age", "Message"]);
    for event in events {
        let severity = match event.event_type {
            EventType::Normal => "Normal",
            EventType::Warning => "Warning",
        };
        let age = match event.count {
            0 | 1 => ago(event.last),
            count => format!("{} (x{count} over {})", ago(event.last), ago(event.first)),
        };
        table.push(vec![severity.to_owned(), event.reason.clone(), age, event.message.clone()]);
    }
    writeln!(out, "Events:")?;
    table.print(out, "  ")
}
