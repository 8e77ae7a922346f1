//! A directory store, its manifests, and controllers on it.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use vipkeeper::api::kind::Kind;
use vipkeeper::api::{AddressPool, VirtualIP, VirtualIPStatus};
use vipkeeper::store::dir::Dir;
use vipkeeper::store::{Key, Object, SharedStore};

use crate::support::process::{Process, VIPKEEPER};
use crate::support::wait_for;

/// How long anything may take that takes milliseconds on a quiet machine.
pub const LIMIT: Duration = Duration::from_secs(30);

/// A directory of manifests and the test's own view of its store.
pub struct Bed {
    pub store: SharedStore,
    pub runtime: Runtime,
    folder: TempDir,
}

impl Bed {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let store: SharedStore = Arc::new(Dir::open(folder.path(), None).unwrap());
        Self { store, runtime, folder }
    }

    /// Starts a controller and waits until it has seen everything.
    pub fn controller(&self, identity: &str) -> Process {
        let mut command = Command::new(VIPKEEPER);
        command.args(["controller", "--listen", "127.0.0.1:0", "--identity", identity, "--store"]);
        let process = Process::start(command.arg(format!("dir:{}", self.folder.path().display())));
        let port = port(&process);
        wait_for(LIMIT, "readiness", || http(port, "/readyz").starts_with("HTTP/1.1 200").then_some(()));
        process
    }

    /// Writes an object's manifest.
    pub fn apply(&self, kind: Kind, key: &Key, spec: &Value) {
        std::fs::write(self.manifest(kind, key), body(kind, key, spec).to_string()).unwrap();
    }

    /// Makes an object past the manifests, as a cluster would take it.
    pub fn create(&self, kind: Kind, key: &Key, spec: &Value) {
        self.runtime.block_on(self.store.create(kind, body(kind, key, spec))).unwrap();
    }

    fn manifest(&self, kind: Kind, key: &Key) -> PathBuf {
        self.folder.path().join(format!("{}-{}.yaml", kind.plural(), key.name))
    }

    pub fn apply_vip(&self, name: &str, spec: Value) {
        self.apply(Kind::VirtualIP, &shop(name), &spec);
    }

    pub fn apply_pool(&self, name: &str, spec: Value) {
        self.apply(Kind::AddressPool, &Key::cluster(name), &spec);
    }

    /// Removes an object's manifest.
    pub fn delete(&self, kind: Kind, key: &Key) {
        std::fs::remove_file(self.manifest(kind, key)).unwrap();
    }

    pub fn get(&self, kind: Kind, key: &Key) -> Option<Object> {
        self.runtime.block_on(self.store.get(kind, key)).unwrap()
    }

    pub fn status(&self, vip: &str) -> VirtualIPStatus {
        let object = self.get(Kind::VirtualIP, &shop(vip));
        object.and_then(|object| object.parse::<VirtualIP>().unwrap().status).unwrap_or_default()
    }

    pub fn address(&self, vip: &str) -> String {
        self.status(vip).address.unwrap_or_default()
    }

    /// Waits until a condition of a `VirtualIP` has this status and reason; its message.
    pub fn wait_condition(&self, vip: &str, kind: &str, status: &str, reason: &str) -> String {
        let what = format!("{kind}={status} ({reason}) of {vip}");
        wait_for(LIMIT, &what, || {
            let conditions = self.status(vip).conditions;
            let found = conditions.iter().find(|c| c.type_ == kind && c.status == status && c.reason == reason);
            found.map(|condition| condition.message.clone())
        })
    }

    /// Waits until a pool says how many of its addresses are taken and whether it gives out more.
    pub fn wait_pool(&self, pool: &str, allocated: &str, reason: &str) {
        wait_for(LIMIT, &format!("{allocated} addresses of {pool} taken, {reason}"), || {
            let object = self.get(Kind::AddressPool, &Key::cluster(pool))?;
            let status = object.parse::<AddressPool>().unwrap().status?;
            let fits = status.allocated.as_deref() == Some(allocated) && status.conditions.first()?.reason == reason;
            fits.then_some(())
        });
    }

    /// The reasons of the events of a `VirtualIP`.
    pub fn events(&self, vip: &str) -> Vec<String> {
        let Some(object) = self.get(Kind::VirtualIP, &shop(vip)) else { return Vec::new() };
        let events = self.runtime.block_on(self.store.events(&object)).unwrap();
        events.into_iter().map(|event| event.reason).collect()
    }

    /// The versions of all objects that the controller writes.
    pub fn versions(&self) -> BTreeMap<String, String> {
        let mut versions = BTreeMap::new();
        for kind in [Kind::VirtualIP, Kind::AddressPool, Kind::FailoverView] {
            for object in self.runtime.block_on(self.store.list(kind)).unwrap() {
                versions.insert(format!("{} {}", kind.name(), object.key), object.resource_version().to_owned());
            }
        }
        versions
    }
}

fn body(kind: Kind, key: &Key, spec: &Value) -> Value {
    let mut metadata = json!({"name": key.name});
    if let Some(namespace) = &key.namespace {
        metadata["namespace"] = namespace.clone().into();
    }
    json!({"apiVersion": kind.api_version(), "kind": kind.name(), "metadata": metadata, "spec": spec})
}

/// The key of a `VirtualIP` in the namespace of the tests.
pub fn shop(name: &str) -> Key {
    Key::namespaced("shop", name)
}

/// The port on which a role serves, from its log.
pub fn port(process: &Process) -> u16 {
    wait_for(LIMIT, "the port in the log", || {
        let output = process.output();
        let at = output.find("127.0.0.1:")? + "127.0.0.1:".len();
        output[at..].chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok()
    })
}

/// The whole answer to a GET.
pub fn http(port: u16, path: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
