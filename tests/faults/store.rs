//! What the nodes of a lab share: a directory, or an API server on the management network.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use tempfile::TempDir;
use vipkeeper::store::dir::Dir;
use vipkeeper::store::k8s::Kubernetes;

use crate::journal::{Journal, Opened};
use crate::station::{MANAGEMENT, port};
use crate::support::control_plane::{ControlPlane, Site};
use crate::support::netns::{Netns, enter, run};
use crate::support::segment::Segment;
use crate::table::Store;

/// The name of the lab's segment: its lowest prefix.
pub(crate) const SEGMENT: &str = "198.18.0.0-15";

/// The API server's number on the management network.
pub(crate) const API: u8 = 250;

pub(crate) struct Shared {
    folder: TempDir,
    pub(crate) plane: Option<ControlPlane>,
    /// Where the API server is.
    netns: Option<Netns>,
}

impl Shared {
    pub(crate) fn new(store: Store, management: &Segment, nodes: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("manifests")).unwrap();
        let (plane, netns) = (store == Store::Kubernetes).then(|| plane(management, nodes)).unzip();
        if let Some(plane) = &plane {
            let text = plane.kubeconfig_through(&format!("https://192.0.2.{API}:6443"), "TOKEN");
            std::fs::write(folder.path().join("kubeconfig"), text).unwrap();
        }
        Self { folder, plane, netns }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn manifests(&self) -> PathBuf {
        self.folder.path().join("manifests")
    }

    /// The arguments of whoever reaches it from a node.
    pub(crate) fn arguments(&self) -> Vec<String> {
        match &self.plane {
            None => vec!["--store".into(), format!("dir:{}", self.manifests().display())],
            Some(_) => {
                let file = self.folder.path().join("kubeconfig");
                vec!["--store".into(), "k8s".into(), "--kubeconfig".into(), file.display().to_string()]
            }
        }
    }

    /// The program beside the store, with these words and the way to it.
    fn beside(&self, program: &str, words: &[&str]) -> Command {
        match &self.plane {
            None => {
                let mut command = Command::new(program);
                command.args(words).args(self.arguments());
                command
            }
            Some(plane) => {
                let mut command = plane.command(Path::new(program));
                command.args(words).args(["--store", "k8s", "--kubeconfig"]).arg(plane.kubeconfig());
                command
            }
        }
    }

    /// The command of the controller.
    pub(crate) fn controller(&self, program: &str) -> Command {
        self.beside(program, &["controller", "--listen", "127.0.0.1:0"])
    }

    /// `vipkeeper node VERB NAME`.
    pub(crate) fn node(&self, program: &str, verb: &str, name: &str) {
        run(&mut self.beside(program, &["node", verb, name]));
    }

    /// Writes these manifests: all there are.
    pub(crate) fn apply(&self, texts: &[String]) {
        match &self.plane {
            None => {
                let file = self.folder.path().join("vips.yaml");
                std::fs::write(&file, texts.join("---\n")).unwrap();
                std::fs::rename(&file, self.manifests().join("vips.yaml")).unwrap();
            }
            Some(plane) => {
                let output = plane.apply(&texts.join("---\n"), &[]);
                assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            }
        }
    }

    /// Deletes all VIPs.
    pub(crate) fn delete(&self) {
        match &self.plane {
            None => std::fs::remove_file(self.manifests().join("vips.yaml")).unwrap(),
            Some(plane) => {
                plane.run(&["delete", "virtualips", "--all", "-n", "shop", "--wait=false"]);
            }
        }
    }

    /// A watch on the view.
    pub(crate) fn journal(&self) -> Journal {
        let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        match &self.plane {
            None => {
                let folder = self.manifests();
                Journal::start(SEGMENT, move || Opened {
                    runtime: runtime(),
                    store: Arc::new(Dir::open(folder, None).unwrap()),
                })
            }
            Some(plane) => {
                let (file, inside) = (plane.kubeconfig(), self.netns.as_ref().expect("it has a namespace").path());
                Journal::start(SEGMENT, move || {
                    enter(&inside);
                    let runtime = runtime();
                    let store = runtime.block_on(Kubernetes::connect(Some(&file), None)).unwrap();
                    Opened { runtime, store: Arc::new(store) }
                })
            }
        }
    }
}

/// A control plane on the management network that knows the nodes.
fn plane(management: &Segment, nodes: usize) -> (ControlPlane, Netns) {
    let netns = Netns::new("api");
    management.plug(&netns, MANAGEMENT, &port(API), API);
    netns.ip(&format!("addr add 192.0.2.{API}/24 dev {MANAGEMENT}"));
    let plane = ControlPlane::start_at(Site::within(&netns, IpAddr::from([192, 0, 2, API])));
    plane.install_crds();
    for name in ["vipkeeper", "shop"] {
        plane.run(&["create", "namespace", name]);
    }
    for number in 1..=nodes {
        let node = format!("apiVersion: v1\nkind: Node\nmetadata: {{name: node-{number}}}\n");
        assert!(plane.apply(&node, &[]).status.success());
    }
    (plane, netns)
}
