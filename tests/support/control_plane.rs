//! A real API server for a test: etcd and kube-apiserver on loopback or in a namespace, with RBAC and service accounts,
//! and kubectl.
//!
//! The programs come from `$KUBEBUILDER_ASSETS`, or are built once for this version by `tests/cluster/tools/build`.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use rustix::process::Signal;

use super::netns::{Netns, command_in, run};
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

/// Where a control plane runs, and what it writes down.
#[derive(Debug, Clone)]
pub struct Site {
    /// The namespace; none for the machine's own, where it is on loopback.
    netns: Option<PathBuf>,
    address: IpAddr,
    audit: bool,
    kubelets: Vec<String>,
}

impl Site {
    /// On loopback.
    pub fn loopback() -> Self {
        Self { netns: None, address: Ipv4Addr::LOCALHOST.into(), audit: false, kubelets: Vec::new() }
    }

    /// In a namespace, for all who reach this address of it.
    pub fn within(netns: &Netns, address: IpAddr) -> Self {
        Self { netns: Some(netns.path()), address, ..Self::loopback() }
    }

    /// For kubelets of these names: nodes have the rights of nodes, `kubernetes` is a Service of pods, and the programs
    /// beside the API server have tokens ([`ControlPlane::kubeconfig_for`]): `manager`, `scheduler`, `proxy` and each
    /// node's name.
    #[must_use]
    pub fn with_kubelets(self, names: &[String]) -> Self {
        Self { kubelets: names.to_vec(), ..self }
    }

    /// With a log of every request that was answered ([`ControlPlane::requests`]).
    #[must_use]
    pub fn audited(self) -> Self {
        Self { audit: true, ..self }
    }

    fn command(&self, program: &Path) -> Command {
        match &self.netns {
            Some(netns) => command_in(netns, program),
            None => Command::new(program),
        }
    }

    /// The file of tokens.
    fn tokens(&self) -> String {
        let mut lines = "TOKEN,admin,admin,system:masters\n".to_owned();
        if !self.kubelets.is_empty() {
            for (token, user) in
                [("manager", "kube-controller-manager"), ("scheduler", "kube-scheduler"), ("proxy", "kube-proxy")]
            {
                lines += &format!("{token},system:{user},{token}\n");
            }
        }
        lines.extend(self.kubelets.iter().map(|name| format!("{name},system:node:{name},{name},system:nodes\n")));
        lines
    }

    /// A namespace of one's own has all ports free.
    fn port(&self, usual: u16) -> u16 {
        if self.netns.is_some() { usual } else { free_port() }
    }
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
    site: Site,
    folder: tempfile::TempDir,
    programs: PathBuf,
    etcd_url: String,
    port: u16,
}

impl ControlPlane {
    /// Starts it on loopback and waits until it is ready.
    pub fn start() -> Self {
        Self::start_at(Site::loopback())
    }

    /// Starts it and waits until it is ready.
    pub fn start_at(site: Site) -> Self {
        let programs = programs(&["etcd", "kube-apiserver", "kubectl"]);
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).into_os_string().into_string().unwrap();
        make_keys(&at("sa.key"), &at("sa.pub"));
        fs::write(at("tokens.csv"), site.tokens()).unwrap();
        let policy = r#"{"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
            "rules": [{"level": "Metadata"}]}"#;
        fs::write(at("audit.json"), policy).unwrap();
        let etcd_url = format!("http://127.0.0.1:{}", site.port(2379));
        let etcd = start_etcd(&site, &programs, folder.path(), &etcd_url);
        let port = site.port(6443);
        let api_server = start_api_server(&site, &programs, folder.path(), &etcd_url, port);
        let url = format!("https://{}:{port}", site.address);
        let plane = Self { url, site, folder, api_server, etcd, programs, etcd_url, port };
        fs::write(plane.kubeconfig(), plane.kubeconfig_for("TOKEN")).unwrap();
        plane.wait_ready();
        plane
    }

    /// Starts the API server again, where it was, after it was killed; waits until it is ready.
    pub fn restart_api_server(&mut self) {
        self.api_server = start_api_server(&self.site, &self.programs, self.folder.path(), &self.etcd_url, self.port);
        self.wait_ready();
    }

    /// Keeps a copy of all that is stored now, for [`restore`](Self::restore).
    pub fn back_up(&self) {
        self.etcd.signal(Signal::STOP);
        run(Command::new("cp").arg("-a").arg(self.data()).arg(self.folder.path().join("copy")));
        self.etcd.signal(Signal::CONT);
    }

    /// Goes back to the copy: what came after it has never been, and its versions come again. The API server is down
    /// meanwhile.
    pub fn restore(&mut self) {
        self.api_server.signal(Signal::KILL);
        self.etcd.signal(Signal::KILL);
        self.api_server.wait(Duration::from_secs(10));
        self.etcd.wait(Duration::from_secs(10));
        fs::remove_dir_all(self.data()).unwrap();
        fs::rename(self.folder.path().join("copy"), self.data()).unwrap();
        self.etcd = start_etcd(&self.site, &self.programs, self.folder.path(), &self.etcd_url);
        self.restart_api_server();
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("etcd")
    }

    /// Every request that was answered so far, as the API server's audit log has it; for a site that is audited.
    pub fn requests(&self) -> Vec<serde_json::Value> {
        let log = fs::read_to_string(self.folder.path().join("audit.log")).unwrap();
        // The last line may be under way.
        let lines = log.lines().map(serde_json::from_str).filter_map(Result::ok);
        lines.filter(|line: &serde_json::Value| line["stage"] == "ResponseComplete").collect()
    }

    /// A token of a service account, as the kubelet would give a pod.
    pub fn token(&self, namespace: &str, account: &str) -> String {
        self.run(&["-n", namespace, "create", "token", account]).trim().to_owned()
    }

    /// helm as the administrator.
    pub fn helm(&self) -> Command {
        let mut command = self.site.command(&helm_program());
        command.env("KUBECONFIG", self.kubeconfig()).stdin(Stdio::null());
        command
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

    /// A file of the control plane's.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A program that is to run where the API server runs.
    pub fn command(&self, program: &Path) -> Command {
        self.site.command(program)
    }

    /// kubectl as the administrator.
    pub fn kubectl(&self) -> Command {
        let mut command = self.site.command(&kubectl_program());
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

fn start_etcd(site: &Site, programs: &Path, folder: &Path, url: &str) -> Process {
    Process::start(
        site.command(&programs.join("etcd"))
            .args(["--unsafe-no-fsync", "--logger=zap", "--log-level=warn", "--data-dir"])
            .arg(folder.join("etcd"))
            .args(["--listen-client-urls", url, "--advertise-client-urls", url])
            .args(["--listen-peer-urls", "http://127.0.0.1:0"]),
    )
}

fn start_api_server(site: &Site, programs: &Path, folder: &Path, etcd_url: &str, port: u16) -> Process {
    let at = |name: &str| folder.join(name).into_os_string().into_string().unwrap();
    let mut command = site.command(&programs.join("kube-apiserver"));
    let address = site.address.to_string();
    let bound = if site.netns.is_some() { "0.0.0.0" } else { &address };
    command
        .args(["--etcd-servers", etcd_url, "--bind-address", bound, "--secure-port", &port.to_string()])
        .args(["--cert-dir", &at("pki"), "--advertise-address", &address])
        .args(["--service-cluster-ip-range=10.96.0.0/16", "--allow-privileged"])
        .args(["--service-account-issuer=https://kubernetes.default.svc"])
        .args(["--service-account-key-file", &at("sa.pub"), "--service-account-signing-key-file", &at("sa.key")])
        .args(["--token-auth-file", &at("tokens.csv")]);
    if site.kubelets.is_empty() {
        command.args(["--authorization-mode=RBAC", "--endpoint-reconciler-type=none"]);
    } else {
        command.args(["--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction"]);
        command.arg("--kubelet-preferred-address-types=InternalIP");
    }
    if site.audit {
        command.args(["--audit-policy-file", &at("audit.json"), "--audit-log-path", &at("audit.log")]);
    }
    Process::start(&mut command)
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
