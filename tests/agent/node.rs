//! A node that runs `vipkeeper run`, and the manifests that it reads.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::support::netns::run;
use crate::support::process::{Process, VIPKEEPER};
use crate::support::segment::{Host, Segment};
use crate::support::wait_until;

/// How long a busy machine may take for what takes milliseconds on an idle one.
pub(crate) const SOON: Duration = Duration::from_secs(20);

pub(crate) struct Node {
    pub(crate) segment: Segment,
    pub(crate) host: Host,
    pub(crate) client: Host,
    folder: TempDir,
}

impl Node {
    /// Host 1 of a segment, a client as host 2, and an empty directory of manifests.
    pub(crate) fn new() -> Self {
        let segment = Segment::new();
        let (host, client) = (segment.host("node", 1), segment.host("client", 2));
        Self { segment, host, client, folder: tempfile::tempdir().unwrap() }
    }

    /// `vipkeeper` inside the node's namespace.
    pub(crate) fn command(&self) -> Command {
        self.host.netns.command(VIPKEEPER)
    }

    /// The segment's view.
    pub(crate) fn view(&self) -> serde_json::Value {
        let mut get = self.command();
        let output = get.args(["get", "fview", "198.51.100.0-24", "-o", "json", "--store", &self.store()]).output();
        serde_json::from_slice::<serde_json::Value>(&output.unwrap().stdout).unwrap_or_default()["spec"].clone()
    }

    pub(crate) fn store(&self) -> String {
        format!("dir:{}", self.folder.path().display())
    }

    /// Starts `vipkeeper run` with further arguments and waits until it is ready.
    pub(crate) fn start(&self, more: &[&str]) -> Process {
        let mut command = self.command();
        command.args(["run", "--node", "node-a", "--store", &self.store()]).args(more);
        let process = Process::start(&mut command);
        wait_until(SOON, "the agent to be ready", || self.http("/readyz").as_deref() == Some("ok\n"));
        process
    }

    /// The answer of the agent's HTTP server, `None` if there is none or it is an error.
    pub(crate) fn http(&self, path: &str) -> Option<String> {
        let mut curl = self.host.netns.command("curl");
        let output = curl.args(["-sf", "--max-time", "5", &format!("http://127.0.0.1:9470{path}")]).output().unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
    }

    /// The value of a metric's series, as /metrics writes it.
    pub(crate) fn metric(&self, series: &str) -> Option<f64> {
        let metrics = self.http("/metrics")?;
        metrics.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.yaml"))
    }

    /// Writes the manifest of a VirtualIP as an editor does: a new file, renamed over the old one.
    pub(crate) fn apply(&self, name: &str, address: &str, spec: &str) {
        let text = format!(
            "apiVersion: vipkeeper.dev/v1alpha1\nkind: VirtualIP\nmetadata: {{name: {name}, namespace: shop}}\nspec:\n  address: \"{address}\"\n{spec}"
        );
        let new = self.folder.path().join(format!(".{name}.new"));
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, self.file(name)).unwrap();
    }

    /// Removes a manifest.
    pub(crate) fn delete(&self, name: &str) {
        std::fs::remove_file(self.file(name)).unwrap();
    }

    /// Waits until the node's interface has an address, or has it no more.
    pub(crate) fn wait_address(&self, address: &str, there: bool) {
        let what = format!("{address} {} the interface", if there { "on" } else { "to go from" });
        wait_until(SOON, &what, || self.host.has_address(address) == there);
    }

    /// A VirtualIP as `vipkeeper get` shows it.
    pub(crate) fn vip(&self, name: &str) -> serde_json::Value {
        let mut get = self.command();
        let text = run(get.args(["get", "vip", name, "-n", "shop", "-o", "json", "--store", &self.store()]));
        serde_json::from_str(&text).unwrap()
    }

    /// What `vipkeeper describe` says of a VirtualIP.
    pub(crate) fn describe(&self, name: &str) -> String {
        run(self.command().args(["describe", "vip", name, "-n", "shop", "--store", &self.store()]))
    }

    /// The status of one of a VirtualIP's conditions, empty if it has none of that type.
    pub(crate) fn condition(&self, name: &str, condition: &str) -> String {
        let vip = self.vip(name);
        let all = vip["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let found = all.iter().find(|one| one["type"] == condition);
        found.and_then(|one| one["status"].as_str()).unwrap_or_default().to_owned()
    }
}
