//! A real API server for a test: etcd and kube-apiserver on loopback, with RBAC and service accounts, and kubectl.
//!
//! The programs come from `$KUBEBUILDER_ASSETS`, or are built once for this version by `tests/cluster/tools/build`.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use super::process::Process;
use super::wait_for;

/// The folder that has these programs.
pub fn programs(names: &[&str]) -> PathBuf {
    if let Some(folder) = std::env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from)
        && names.iter().all(|name| folder.join(name).exists())
    {
        return folder;
    }
    let build = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster/tools/build");
    let output = Command::new(&build).args(names).stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "{} failed", build.display());
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}

/// The path of kubectl.
pub fn kubectl_program() -> PathBuf {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| programs(&["kubectl"]).join("kubectl")).clone()
}

/// The path of helm.
pub fn helm_program() -> PathBuf {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| programs(&["helm"]).join("helm")).clone()
}

/// An API server, killed on drop.
#[derive(Debug)]
pub struct ControlPlane {
    /// Where it listens.
    pub url: String,
    /// The API server; before etcd, so that it goes first.
    pub api_server: Process,
    /// Its store.
    pub etcd: Process,
    folder: tempfile::TempDir,
    programs: PathBuf,
    etcd_url: String,
}

impl ControlPlane {
    /// Starts it and waits until it is ready.
    pub fn start() -> Self {
        let programs = programs(&["etcd", "kube-apiserver", "kubectl"]);
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).into_os_string().into_string().unwrap();
        make_keys(&at("sa.key"), &at("sa.pub"));
        fs::write(at("tokens.csv"), "TOKEN,admin,admin,system:masters\n").unwrap();
        let etcd_url = format!("http://127.0.0.1:{}", free_port());
        let etcd = Process::start(
            Command::new(programs.join("etcd"))
                .args(["--data-dir", &at("etcd"), "--unsafe-no-fsync", "--logger=zap", "--log-level=warn"])
                .args(["--listen-client-urls", &etcd_url, "--advertise-client-urls", &etcd_url])
                .args(["--listen-peer-urls", "http://127.0.0.1:0"]),
        );
        let port = free_port();
        let api_server = start_api_server(&programs, folder.path(), &etcd_url, port);
        let plane = Self { url: format!("https://127.0.0.1:{port}"), folder, api_server, etcd, programs, etcd_url };
        fs::write(plane.kubeconfig(), plane.kubeconfig_for("TOKEN")).unwrap();
        plane.wait_ready();
        plane
    }

    /// Starts the API server again, where it was, after it was killed; waits until it is ready.
    pub fn restart_api_server(&mut self) {
        let port = self.url.rsplit(':').next().unwrap().parse().unwrap();
        self.api_server = start_api_server(&self.programs, self.folder.path(), &self.etcd_url, port);
        self.wait_ready();
    }

    /// Waits until it is ready.
    pub fn wait_ready(&self) {
        wait_for(Duration::from_secs(120), "the API server to be ready", || {
            let ready = self.kubectl().args(["get", "--raw", "/readyz"]).output().unwrap();
            // The namespace default comes a moment after.
            let namespace = self.kubectl().args(["get", "namespace", "default"]).output().unwrap();
            (ready.status.success() && namespace.status.success()).then_some(())
        });
    }

    /// The kubeconfig of the administrator.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// The text of a kubeconfig for the bearer of a token.
    pub fn kubeconfig_for(&self, token: &str) -> String {
        self.kubeconfig_through(&self.url, token)
    }

    /// The same, for a way to the API server that a test has put in between.
    pub fn kubeconfig_through(&self, url: &str, token: &str) -> String {
        let authority = self.folder.path().join("pki/apiserver.crt");
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: test\n\
             clusters: [{{name: test, cluster: {{server: \"{}\", certificate-authority: {}}}}}]\n\
             users: [{{name: test, user: {{token: \"{token}\"}}}}]\n\
             contexts: [{{name: test, context: {{cluster: test, user: test}}}}]\n",
            url,
            authority.display()
        )
    }

    /// kubectl as the administrator.
    pub fn kubectl(&self) -> Command {
        let mut command = Command::new(kubectl_program());
        command.env("KUBECONFIG", self.kubeconfig()).stdin(Stdio::null());
        command
    }

    /// Runs kubectl as the administrator; its output, if it succeeds.
    pub fn run(&self, arguments: &[&str]) -> String {
        succeed(self.kubectl().args(arguments).output().unwrap(), arguments)
    }

    /// Applies YAML that is given as text, with these further arguments.
    pub fn apply(&self, yaml: &str, arguments: &[&str]) -> Output {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), yaml).unwrap();
        self.kubectl().args(["apply", "-f"]).arg(file.path()).args(arguments).output().unwrap()
    }

    /// Installs the CRDs of the chart and waits until objects can be made.
    pub fn install_crds(&self) {
        let crds = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/vipkeeper/crds");
        self.run(&["apply", "--server-side", "-f", crds]);
        self.run(&["wait", "--for=condition=Established", "--timeout=60s", "-f", crds]);
    }
}

fn start_api_server(programs: &Path, folder: &Path, etcd_url: &str, port: u16) -> Process {
    let at = |name: &str| folder.join(name).into_os_string().into_string().unwrap();
    Process::start(
        Command::new(programs.join("kube-apiserver"))
            .args(["--etcd-servers", etcd_url, "--bind-address=127.0.0.1", "--secure-port", &port.to_string()])
            .args(["--cert-dir", &at("pki"), "--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none"])
            .args(["--service-cluster-ip-range=10.96.0.0/16", "--authorization-mode=RBAC", "--allow-privileged"])
            .args(["--service-account-issuer=https://kubernetes.default.svc"])
            .args(["--service-account-key-file", &at("sa.pub"), "--service-account-signing-key-file", &at("sa.key")])
            .args(["--token-auth-file", &at("tokens.csv")]),
    )
}

/// The standard output of a command that must have succeeded.
pub fn succeed(output: Output, what: &[&str]) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{what:?} failed:\n{text}\n{errors}");
    text
}

/// The key pair of the service accounts' tokens.
fn make_keys(private: &str, public: &str) {
    super::require(&["openssl"]);
    let arguments = ["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", private];
    succeed(Command::new("openssl").args(arguments).output().unwrap(), &arguments);
    let arguments = ["ec", "-in", private, "-pubout", "-out", public];
    succeed(Command::new("openssl").args(arguments).output().unwrap(), &arguments);
}

/// A port that nobody uses now.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
