//! `vipkeeper node`: the nodes of a store, and marks that move addresses away from them.

use std::io::Write;
use std::str::FromStr;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::columns::{Table, age};
use super::{ask, find};
use crate::api::kind::Kind;
use crate::cli::store_args::StoreArgs;
use crate::cli::{Exit, Failure, note, output};
use crate::store::{Key, Object, SharedStore, StoreError};

/// How often a write is made again when somebody else wrote at the same time.
const ATTEMPTS: usize = 10;

/// Show nodes, and move their addresses away: cordon, uncordon, taint.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  vipkeeper node list --store dir:/etc/vipkeeper
  vipkeeper node cordon node-a
  vipkeeper node taint node-a maintenance=disk:NoExecute
  vipkeeper node taint node-a maintenance-            take the taint off again")]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Show all nodes
    ///
    /// Example: vipkeeper node list -o wide --store dir:/etc/vipkeeper
    List {
        /// Show labels too
        #[arg(short, long, value_parser = ["wide"])]
        output: Option<String>,
        #[command(flatten)]
        store: StoreArgs,
    },
    /// Mark nodes so that they get no further address, and those they have move away
    ///
    /// Example: vipkeeper node cordon node-a node-b
    Cordon {
        /// The nodes
        #[arg(value_name = "NAME", required = true)]
        names: Vec<String>,
        #[command(flatten)]
        store: StoreArgs,
    },
    /// Take the mark of cordon off
    ///
    /// Example: vipkeeper node uncordon node-a
    Uncordon {
        /// The nodes
        #[arg(value_name = "NAME", required = true)]
        names: Vec<String>,
        #[command(flatten)]
        store: StoreArgs,
    },
    /// Put taints on a node, or take them off
    ///
    /// Example: vipkeeper node taint node-a maintenance=disk:NoExecute
    Taint {
        /// The node
        #[arg(value_name = "NAME")]
        name: String,
        /// KEY=VALUE:EFFECT or KEY:EFFECT to put on, KEY:EFFECT- or KEY- to take off; EFFECT is NoSchedule,
        /// PreferNoSchedule or NoExecute, which moves addresses away at once
        #[arg(value_name = "TAINT", required = true, allow_hyphen_values = true)]
        taints: Vec<Taint>,
        #[command(flatten)]
        store: StoreArgs,
    },
}

/// A change of a node's taints.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Taint {
    Put { key: String, value: String, effect: String },
    Take { key: String, effect: Option<String> },
}

impl FromStr for Taint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "it must be KEY=VALUE:EFFECT, KEY:EFFECT, KEY:EFFECT- or KEY-".to_owned();
        let (spec, take) = text.strip_suffix('-').map_or((text, false), |spec| (spec, true));
        let (left, effect) = spec.split_once(':').map_or((spec, None), |(left, effect)| (left, Some(effect)));
        let (key, value) = left.split_once('=').unwrap_or((left, ""));
        if key.is_empty() {
            return Err(wrong());
        }
        if effect.is_some_and(|effect| !["NoSchedule", "PreferNoSchedule", "NoExecute"].contains(&effect)) {
            return Err("the effect must be NoSchedule, PreferNoSchedule or NoExecute".to_owned());
        }
        match (take, effect) {
            (true, effect) => Ok(Self::Take { key: key.to_owned(), effect: effect.map(str::to_owned) }),
            (false, Some(effect)) => {
                Ok(Self::Put { key: key.to_owned(), value: value.to_owned(), effect: effect.to_owned() })
            }
            (false, None) => Err(wrong()),
        }
    }
}

impl Args {
    pub(crate) fn run(self) -> anyhow::Result<Exit> {
        match self.verb {
            Verb::List { output, store } => ask(async { list(&store.open().await?, output.is_some()).await })?,
            Verb::Cordon { names, store } => mark(&names, &store, "cordoned", |spec| set_cordon(spec, true))?,
            Verb::Uncordon { names, store } => mark(&names, &store, "uncordoned", |spec| set_cordon(spec, false))?,
            Verb::Taint { name, taints, store } => {
                mark(&[name], &store, "tainted", |spec| taints.iter().for_each(|taint| apply(spec, taint)))?;
            }
        }
        Ok(Exit::Done)
    }
}

async fn list(store: &SharedStore, wide: bool) -> anyhow::Result<()> {
    let nodes = store.list(Kind::Node).await?;
    if nodes.is_empty() {
        note("No resources found");
        return Ok(());
    }
    let mut heading = vec!["NAME", "STATUS", "TAINTS", "AGE"];
    heading.extend(wide.then_some("LABELS"));
    let mut table = Table::new(heading);
    for node in &nodes {
        let mut row = vec![
            node.key.name.clone(),
            state(node),
            taints(node),
            age(node.meta("creationTimestamp"), Timestamp::now()),
        ];
        if wide {
            let labels = node.body["metadata"]["labels"].as_object().into_iter().flatten();
            row.push(or_none(
                labels.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect(),
            ));
        }
        table.push(row);
    }
    let mut out = output();
    table.print(&mut out, "")?;
    Ok(out.flush()?)
}

/// As kubectl says it. A directory store knows no readiness: whether a node answers stands in the segment's view.
fn state(node: &Object) -> String {
    let conditions = node.body["status"]["conditions"].as_array().into_iter().flatten();
    let ready = conditions.filter(|condition| condition["type"] == "Ready").map(|condition| &condition["status"]);
    let ready = ready.map(|status| if status == "True" { "Ready" } else { "NotReady" }).next();
    let cordoned = (node.body["spec"]["unschedulable"] == true).then_some("SchedulingDisabled");
    or_none(ready.into_iter().chain(cordoned).map(str::to_owned).collect())
}

fn taints(node: &Object) -> String {
    let taints = node.body["spec"]["taints"].as_array().into_iter().flatten();
    let text = |taint: &Value| {
        let field = |name: &str| taint[name].as_str().unwrap_or_default();
        let value = if field("value").is_empty() { String::new() } else { format!("={}", field("value")) };
        format!("{}{value}:{}", field("key"), field("effect"))
    };
    or_none(taints.map(text).collect())
}

fn or_none(words: Vec<String>) -> String {
    if words.is_empty() { "<none>".to_owned() } else { words.join(",") }
}

/// Changes the spec of each node, and says for each whether that made a difference.
fn mark(names: &[String], store: &StoreArgs, word: &str, change: impl Fn(&mut Value)) -> anyhow::Result<()> {
    ask(async {
        let store = store.open().await?;
        let mut out = output();
        for name in names {
            let word = if change_node(&store, name, &change).await? { word } else { "unchanged" };
            writeln!(out, "node/{name} {word}")?;
        }
        Ok(out.flush()?)
    })
}

async fn change_node(store: &SharedStore, name: &str, change: impl Fn(&mut Value)) -> anyhow::Result<bool> {
    for _ in 0..ATTEMPTS {
        let node = find(store, Kind::Node, &Key::cluster(name)).await?;
        let mut body = node.body.clone();
        if !body["spec"].is_object() {
            body["spec"] = json!({});
        }
        change(&mut body["spec"]);
        if body == node.body {
            return Ok(false);
        }
        match store.replace(Kind::Node, body.into()).await {
            Ok(_) => return Ok(true),
            Err(StoreError::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(anyhow::Error::new(Failure {
        exit: Exit::Outside,
        message: format!("node {name} is being changed all the time"),
    }))
}

fn set_cordon(spec: &mut Value, cordon: bool) {
    if cordon {
        spec["unschedulable"] = true.into();
    } else if let Some(spec) = spec.as_object_mut() {
        spec.shift_remove("unschedulable");
    }
}

fn apply(spec: &mut Value, taint: &Taint) {
    let mut taints = spec["taints"].as_array().cloned().unwrap_or_default();
    match taint {
        Taint::Put { key, value, effect } => {
            let mut new = json!({"key": key, "effect": effect});
            if !value.is_empty() {
                new["value"] = value.as_str().into();
            }
            // A taint is told from others by key and effect.
            match taints.iter_mut().find(|old| old["key"] == **key && old["effect"] == **effect) {
                Some(old) if old["value"] == new["value"] => {}
                Some(old) => *old = new,
                None => taints.push(new),
            }
        }
        Taint::Take { key, effect } => {
            taints.retain(|old| old["key"] != **key || effect.as_ref().is_some_and(|effect| old["effect"] != **effect))
        }
    }
    match spec.as_object_mut() {
        Some(spec) if taints.is_empty() => _ = spec.shift_remove("taints"),
        _ => spec["taints"] = taints.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taints_are_written_as_for_kubectl() {
        let put = |key: &str, value: &str, effect: &str| Taint::Put {
            key: key.to_owned(),
            value: value.to_owned(),
            effect: effect.to_owned(),
        };
        assert_eq!("a=b:NoExecute".parse(), Ok(put("a", "b", "NoExecute")));
        assert_eq!("a:NoSchedule".parse(), Ok(put("a", "", "NoSchedule")));
        assert_eq!("a-".parse(), Ok(Taint::Take { key: "a".to_owned(), effect: None }));
        assert_eq!(
            "a:NoExecute-".parse(),
            Ok(Taint::Take { key: "a".to_owned(), effect: Some("NoExecute".to_owned()) })
        );
        for wrong in ["", "a", "a=b", ":NoExecute", "a:Sometimes", "-"] {
            assert!(wrong.parse::<Taint>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_taint_is_put_on_once_and_taken_off() {
        let mut spec = json!({});
        for text in ["a=b:NoExecute", "a=c:NoExecute", "a:NoSchedule"] {
            apply(&mut spec, &text.parse().unwrap());
        }
        assert_eq!(
            spec,
            json!({"taints": [{"key": "a", "effect": "NoExecute", "value": "c"}, {"key": "a", "effect": "NoSchedule"}]})
        );
        apply(&mut spec, &"a:NoExecute-".parse().unwrap());
        assert_eq!(spec, json!({"taints": [{"key": "a", "effect": "NoSchedule"}]}));
        apply(&mut spec, &"a-".parse().unwrap());
        assert_eq!(spec, json!({}));
    }
}
