//! `vipkeeper get`: objects and how they stand.

use std::io::Write;

use anyhow::Context;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{KindName, ask, columns, find, key};
use crate::cli::store_args::StoreArgs;
use crate::cli::{Exit, note, output};
use crate::store::Object;

/// Show VirtualIPs, AddressPools, UDPProbes or the views of segments, and how they stand.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  vipkeeper get vip -A --store dir:/etc/vipkeeper
  vipkeeper get vip web -n shop -o yaml
  vipkeeper get vippool -o wide")]
pub(crate) struct Args {
    /// vip, vippool, udpprobe or fview
    #[arg(value_name = "KIND")]
    kind: KindName,
    /// Only the objects of these names
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Objects of this namespace
    #[arg(short, long, default_value = "default", env = "VIPKEEPER_NAMESPACE")]
    namespace: String,
    /// Objects of every namespace
    #[arg(short = 'A', long, conflicts_with = "names")]
    all_namespaces: bool,
    /// How to print them
    #[arg(short, long, value_enum, default_value_t = Format::Table, value_name = "FORMAT")]
    output: Format,
    #[command(flatten)]
    store: StoreArgs,
}

/// How objects are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// A table
    Table,
    /// A table with more columns
    Wide,
    /// JSON
    Json,
    /// YAML
    Yaml,
}

impl Args {
    pub(crate) fn run(self) -> anyhow::Result<Exit> {
        let objects = ask(self.read())?;
        let namespaced = self.kind.0.namespaced();
        let mut out = output();
        match self.output {
            Format::Table | Format::Wide if objects.is_empty() => note(&match namespaced && !self.all_namespaces {
                true => format!("No resources found in {} namespace.", self.namespace),
                false => "No resources found".to_owned(),
            }),
            Format::Table | Format::Wide => {
                let wide = self.output == Format::Wide;
                let namespaces = namespaced && self.all_namespaces;
                columns::table(self.kind.0, &objects, namespaces, wide, Timestamp::now()).print(&mut out, "")?;
            }
            Format::Json => writeln!(out, "{:#}", self.document(objects))?,
            Format::Yaml => {
                out.write_all(serde_yaml::to_string(&self.document(objects)).context("print YAML")?.as_bytes())?;
            }
        }
        out.flush()?;
        Ok(Exit::Done)
    }

    async fn read(&self) -> anyhow::Result<Vec<Object>> {
        let store = self.store.open().await?;
        let mut objects = Vec::new();
        for name in &self.names {
            objects.push(find(&store, self.kind.0, &key(self.kind.0, name, &self.namespace)).await?);
        }
        if self.names.is_empty() {
            objects = store.list(self.kind.0).await?;
            let namespace = Some(self.namespace.as_str()).filter(|_| self.kind.0.namespaced() && !self.all_namespaces);
            objects.retain(|object| namespace.is_none() || object.key.namespace.as_deref() == namespace);
        }
        Ok(objects)
    }

    /// One object that was named by itself, any other number as a list.
    fn document(&self, objects: Vec<Object>) -> Value {
        let mut bodies: Vec<Value> = objects.into_iter().map(|object| object.body.into()).collect();
        match (self.names.len(), bodies.pop()) {
            (1, Some(body)) => body,
            (_, last) => {
                bodies.extend(last);
                json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": bodies})
            }
        }
    }
}
