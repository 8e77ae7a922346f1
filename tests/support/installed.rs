//! What tests ask of an installation of the chart, on whatever nodes: VirtualIPs, who holds them, the view.

use std::time::Duration;

use serde_json::{Value, json};

use super::control_plane::{ControlPlane, succeed};
use super::{wait_saying, wait_until};

/// How long anything may take that takes seconds on a quiet machine.
pub const LIMIT: Duration = Duration::from_secs(90);

/// The namespace of the installation.
pub const NAMESPACE: &str = "vipkeeper";

/// The chart's folder.
pub fn chart() -> String {
    concat!(env!("CARGO_MANIFEST_DIR"), "/charts/vipkeeper").to_owned()
}

/// An installation, whose nodes are counted from 0.
pub trait Installed {
    /// Where it is installed.
    fn plane(&self) -> &ControlPlane;

    /// The nodes' names.
    fn names(&self) -> Vec<String>;

    /// Whether a node's kernel has an address on the segment.
    fn has_address(&self, node: usize, address: &str) -> bool;

    fn helm(&self, arguments: &[&str]) -> String {
        succeed(self.plane().helm().args(arguments).output().unwrap(), arguments)
    }

    fn kubectl(&self, arguments: &[&str]) -> String {
        self.plane().run(arguments)
    }

    fn apply(&self, object: &Value) {
        succeed(self.plane().apply(&object.to_string(), &[]), &["apply"]);
    }

    fn vip(&self, name: &str, spec: &Value) {
        let metadata = json!({"name": name, "namespace": "default"});
        self.apply(&json!({
            "apiVersion": "vipkeeper.dev/v1alpha1", "kind": "VirtualIP", "metadata": metadata, "spec": spec,
        }));
    }

    /// An object or a list; null if there is none or nobody answers.
    fn get(&self, arguments: &[&str]) -> Value {
        let output = self.plane().kubectl().arg("get").args(arguments).args(["-o", "json"]).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    /// The nodes whose kernel has the address.
    fn bearers(&self, address: &str) -> Vec<usize> {
        (0..self.names().len()).filter(|node| self.has_address(*node, address)).collect()
    }

    /// Waits until this node alone has the address.
    fn wait_alone(&self, address: &str, node: usize) {
        wait_until(LIMIT, &format!("{address} on node {node} alone"), || self.bearers(address) == [node]);
    }

    /// Waits until nobody has the address.
    fn wait_gone(&self, address: &str) {
        wait_until(LIMIT, &format!("{address} to go"), || self.bearers(address).is_empty());
    }

    /// Waits until a VirtualIP is reported as held; the address, and the node that holds it.
    fn wait_held(&self, vip: &str) -> (String, usize) {
        self.wait_held_by(vip, &|_| true)
    }

    /// The same, by a node of which this is true.
    fn wait_held_by(&self, vip: &str, wanted: &dyn Fn(usize) -> bool) -> (String, usize) {
        let names = self.names();
        let held = |status: &Value| {
            let ready = status["conditions"].as_array()?.iter().find(|one| one["type"] == "Ready")?;
            let node = names.iter().position(|name| status["holder"]["node"] == **name)?;
            let address = status["address"].as_str()?.to_owned();
            let holds = ready["status"] == "True" && wanted(node) && self.has_address(node, &address);
            holds.then_some((address, node))
        };
        wait_saying(LIMIT, &format!("{vip} to be held"), || {
            let status = self.get(&["vip", vip])["status"].clone();
            held(&status).ok_or(move || {
                let bearers = status["address"].as_str().map(|address| self.bearers(address));
                format!("(borne by {bearers:?}): {status}\nview: {}", self.view())
            })
        })
    }

    /// The view of the tests' segment.
    fn view(&self) -> Value {
        self.get(&["fview", "198.51.100.0-24"])["spec"].clone()
    }

    /// Waits until all nodes watch over each other, and nobody waits for anybody.
    fn wait_settled(&self) {
        let names = self.names();
        let size = |value: &Value| value.as_object().map_or(0, serde_json::Map::len);
        let watched = |member: &Value| {
            member["state"] == "Up" && member["mode"] == "peers" && size(&member["watchers"]) + 1 == names.len()
        };
        wait_until(LIMIT, "all nodes to watch each other", || {
            let view = self.view();
            let up = names.iter().all(|node| watched(&view["members"][node]));
            let assign = view["assign"].as_object();
            up && assign
                .is_some_and(|all| all.values().all(|one| one["holder"].is_string() && size(&one["after"]) == 0))
        });
    }
}
