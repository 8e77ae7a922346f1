//! Asking the registries: WHOIS over TCP, RDAP over HTTPS, each with limits of time and size, and never where a
//! stranger's word leads to an address that is not global.

pub mod bootstrap;
mod connect;
mod http;

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::core::ip::scope;
use crate::core::lookup::chain::{Ask, Failure, Origin, Reply};
use crate::core::lookup::rdap;
use crate::core::lookup::url::Url;
use crate::core::lookup::whois::Server;

pub use http::HttpAnswer;

/// The largest answer that is read, in bytes.
pub const MAX_ANSWER: usize = 1 << 20;

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// Finding a name's addresses and connecting to one of them.
    pub connect: Duration,
    /// A whole exchange with one server, connecting included.
    pub hop: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self { connect: Duration::from_secs(3), hop: Duration::from_secs(5) }
    }
}

/// A client of registries; see the module.
#[derive(Clone)]
pub struct Upstream {
    times: Times,
    tls: TlsConnector,
}

impl std::fmt::Debug for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upstream").field("times", &self.times).finish_non_exhaustive()
    }
}

impl Upstream {
    /// A client that trusts the usual authorities and those of `authorities`, a PEM text.
    ///
    /// # Errors
    /// Which part of the PEM text is no certificate.
    pub fn new(times: Times, authorities: Option<&[u8]>) -> Result<Self, String> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        if let Some(pem) = authorities {
            let mut count = 0;
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let certificate = certificate.map_err(|error| format!("not a PEM certificate: {error}"))?;
                roots.add(certificate).map_err(|error| format!("not the certificate of an authority: {error}"))?;
                count += 1;
            }
            if count == 0 {
                return Err("there is no PEM certificate in it".to_owned());
            }
        }
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { times, tls: TlsConnector::from(Arc::new(config)) })
    }

    /// Asks one server.
    ///
    /// # Errors
    /// Why there is no answer; an HTTP status other than 200 is an answer.
    pub async fn ask(&self, ask: &Ask) -> Result<Reply, Failure> {
        match ask {
            Ask::Whois(server, line, origin) => self.whois(server, line, *origin).await.map(Reply::Text),
            Ask::Rdap(url, origin) => {
                if !url.tls && !is_loopback(&url.host) {
                    return Err(Failure::Blocked(url.to_string()));
                }
                let answer = self.get(url, *origin, rdap::MEDIA_TYPE).await?;
                Ok(Reply::Http {
                    status: answer.status,
                    location: answer.location,
                    retry_after: answer.retry_after,
                    body: answer.body,
                })
            }
        }
    }

    /// GETs a URL; redirects are not followed.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn get(&self, url: &Url, origin: Origin, accept: &str) -> Result<HttpAnswer, Failure> {
        let exchange = async {
            let stream = connect::connect(&url.host, url.port, origin, self.times.connect).await?;
            if url.tls {
                http::get(connect::secure(&self.tls, stream, &url.host).await?, url, accept).await
            } else {
                http::get(stream, url, accept).await
            }
        };
        self.within(exchange).await
    }

    async fn whois(&self, server: &Server, line: &str, origin: Origin) -> Result<Vec<u8>, Failure> {
        self.within(async {
            let mut stream = connect::connect(&server.host, server.port, origin, self.times.connect).await?;
            let broken = |error: std::io::Error| Failure::Unreachable(format!("the connection broke: {error}"));
            stream.write_all(line.as_bytes()).await.map_err(broken)?;
            let mut answer = Vec::new();
            (&mut stream).take(MAX_ANSWER as u64 + 1).read_to_end(&mut answer).await.map_err(broken)?;
            if answer.len() > MAX_ANSWER { Err(Failure::TooLong(MAX_ANSWER)) } else { Ok(answer) }
        })
        .await
    }

    async fn within<T>(&self, exchange: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        tokio::time::timeout(self.times.hop, exchange).await.unwrap_or(Err(Failure::Timeout("the answer")))
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(scope::is_loopback)
}
