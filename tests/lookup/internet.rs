//! A namespace that is an internet: global addresses on its loopback, a DNS server, and the service under test.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::client::{Answer, send};
use crate::dns::{self, Dns};
use crate::support::netns::{Netns, run};
use crate::support::process::{Process, VIPKEEPER};
use crate::support::wait_until;

/// Addresses that the registries call global; each is somebody's in these tests.
pub const IANA: &str = "192.0.47.59";
pub const REGISTRY: &str = "199.7.55.74";
pub const REGISTRAR: &str = "64.69.218.9";
pub const OTHER: &str = "193.0.6.135";
/// An address that takes connections and never completes one: its packets go nowhere.
pub const NOWHERE: &str = "8.8.4.4";

pub struct Internet {
    pub netns: Netns,
    pub dns: Dns,
    folder: tempfile::TempDir,
}

impl Internet {
    pub fn new(label: &str) -> Self {
        let netns = Netns::new(label);
        for address in [IANA, REGISTRY, REGISTRAR, OTHER, "10.0.0.5", "169.254.169.254"] {
            netns.ip(&format!("addr add {address}/32 dev lo"));
        }
        netns.ip("link add hole type veth peer name bottom");
        netns.ip("link set bottom up");
        netns.ip("link set hole up");
        netns.ip(&format!("route add {NOWHERE}/32 dev hole"));
        netns.ip(&format!("neigh add {NOWHERE} lladdr 02:00:00:00:00:99 dev hole"));
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("resolv.conf"), format!("nameserver {}\n", dns::ADDRESS)).unwrap();
        let dns = Dns::start(&netns);
        dns.set("whois.iana.org", &[&[IANA]]);
        dns.set("whois.verisign-grs.com", &[&[REGISTRY]]);
        dns.set("whois.arin.net", &[&[REGISTRY]]);
        dns.set("whois.registrar.example.net", &[&[REGISTRAR]]);
        dns.set("whois.other.example.net", &[&[OTHER]]);
        Self { netns, dns, folder }
    }

    /// A file of this internet's folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A command that runs inside, with this internet's DNS; its process is the program's.
    pub fn command(&self, program: &str) -> Command {
        let mut command = self.netns.command("unshare");
        let script = format!("mount --bind {} /etc/resolv.conf && exec \"$@\"", self.file("resolv.conf").display());
        command.args(["--mount", "--propagation", "private", "sh", "-c", &script, "sh", program]);
        command
    }

    /// Starts the service on 127.0.0.1:8080 with these flags beside, and waits until it is ready.
    pub fn serve(&self, flags: &[&str]) -> Process {
        let mut command = self.command(VIPKEEPER);
        command.args(["lookup", "serve", "--listen", "127.0.0.1:8080"]).args(flags);
        let mut process = Process::start(&mut command);
        wait_until(Duration::from_secs(30), "the service", || {
            assert!(process.is_running(), "the service ended:\n{}", process.output());
            process.output().contains("are served")
        });
        assert_eq!(self.get("/readyz").status, 200);
        process
    }

    pub fn get(&self, target: &str) -> Answer {
        send(&self.netns, "GET", target, "", "")
    }

    /// Asks for the JSON answer to a question such as `ip=192.0.2.1`.
    pub fn ask(&self, question: &str) -> Answer {
        self.get(&format!("/lookup?{question}&format=json"))
    }

    /// An authority, the file `ca.pem`, and a server's configuration with a certificate of it for these names.
    pub fn authority(&self, names: &[&str]) -> Arc<ServerConfig> {
        let openssl = |words: &str| {
            run(Command::new("openssl").args(words.split_whitespace()).current_dir(self.folder.path()));
        };
        let names: Vec<String> = names.iter().map(|name| format!("DNS:{name}")).collect();
        openssl("ecparam -name prime256v1 -genkey -noout -out ca.key");
        openssl(
            "req -x509 -new -key ca.key -subj /CN=authority -days 30 -out ca.pem -addext basicConstraints=critical,CA:TRUE",
        );
        openssl("ecparam -name prime256v1 -genkey -noout -out sec1.key");
        openssl("pkcs8 -topk8 -nocrypt -in sec1.key -out server.key");
        openssl("req -new -key server.key -subj /CN=server -out server.csr");
        let extensions = format!("subjectAltName={}\nbasicConstraints=CA:FALSE\n", names.join(","));
        fs::write(self.file("server.ext"), extensions).unwrap();
        openssl(
            "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile server.ext -out server.pem",
        );
        let certificate = CertificateDer::from_pem_file(self.file("server.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_file(self.file("server.key")).unwrap();
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        Arc::new(config)
    }
}
