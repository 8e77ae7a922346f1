//! One question from the command line: put to a service, or answered by this process itself.

use std::io::Write;
use std::sync::Arc;

use anyhow::Context;

use super::sources::SourceArgs;
use crate::cli::store_args::StoreArgs;
use crate::cli::{Exit, Failure, output};
use crate::core::lookup::chain::Origin;
use crate::core::lookup::query::Query;
use crate::core::lookup::url::Url;
use crate::lookup::Resources;
use crate::metrics::{LookupMetrics, Metrics};
use crate::upstream::{HttpAnswer, Times, Upstream};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// What to look up
    #[arg(value_name = "ARG")]
    value: String,
    /// Print the whole answer as JSON
    #[arg(long)]
    json: bool,
    /// Ask this service instead of answering here
    #[arg(long, value_name = "URL", value_parser = parse_url, env = "VIPKEEPER_SERVER")]
    server: Option<Url>,
    #[command(flatten)]
    sources: SourceArgs,
    #[command(flatten)]
    store: StoreArgs,
}

/// Ask a look-up service whether it is there.
///
/// Example: vipkeeper lookup check --server http://lookup:8080
#[derive(Debug, clap::Args)]
pub(super) struct CheckArgs {
    /// The service
    #[arg(long, value_name = "URL", value_parser = parse_url, default_value = "http://localhost:8080", env = "VIPKEEPER_SERVER")]
    server: Url,
}

fn parse_url(text: &str) -> Result<Url, String> {
    Url::parse(text).ok_or_else(|| "write a URL such as http://localhost:8080".to_owned())
}

impl Args {
    /// Looks up `ARG`, which is a `mac`, `ip`, `domain` or `asn`.
    pub(super) fn run(self, kind: &str) -> anyhow::Result<Exit> {
        let query = Query::parse(kind, &self.value)
            .context("a kind of question that is not known")?
            .map_err(|error| Failure::usage(error.to_string()))?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        match self.server {
            Some(server) => {
                let format = if self.json { "json" } else { "text" };
                let upstream = self.sources.client()?;
                let url = server.join(&format!("lookup?{kind}={query}&format={format}"));
                runtime.block_on(get(&upstream, &url))
            }
            None => {
                let mut service = self.sources.open(&LookupMetrics::new(&Metrics::new()), |_| {})?;
                let answer = runtime.block_on(async {
                    if let Some(store) = self.store.open_if_given().await? {
                        let resources = Resources::default();
                        resources.load(&store).await?;
                        service.resources = Some(Arc::new(resources));
                    }
                    service.answer(&query).await.map(|(answer, _)| answer).map_err(|error| {
                        anyhow::Error::new(Failure { exit: exit_of(error.status()), message: error.to_string() })
                    })
                })?;
                let mut out = output();
                if self.json {
                    serde_json::to_writer_pretty(&mut out, &answer)?;
                    writeln!(out)?;
                } else {
                    write!(out, "{}", answer.to_text())?;
                }
                out.flush()?;
                Ok(Exit::Done)
            }
        }
    }
}

impl CheckArgs {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let upstream = Upstream::new(Times::default(), None).map_err(anyhow::Error::msg)?;
        runtime.block_on(get(&upstream, &self.server.join("check")))
    }
}

/// Prints what a service answers.
async fn get(upstream: &Upstream, url: &Url) -> anyhow::Result<Exit> {
    let HttpAnswer { status, body, .. } =
        upstream.get(url, Origin::Configured, "*/*").await.with_context(|| format!("{url} gives no answer"))?;
    if status == 200 {
        let mut out = output();
        out.write_all(&body)?;
        if !body.ends_with(b"\n") {
            writeln!(out)?;
        }
        out.flush()?;
        return Ok(Exit::Done);
    }
    let error: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let message = match error["error"].as_str() {
        Some(message) => message.to_owned(),
        None => format!("{url} answered with HTTP status {status}"),
    };
    Err(anyhow::Error::new(Failure { exit: exit_of(status), message }))
}

/// The exit code of an HTTP status.
const fn exit_of(status: u16) -> Exit {
    match status {
        404 => Exit::No,
        400 | 405 | 413 => Exit::Usage,
        _ => Exit::Outside,
    }
}
