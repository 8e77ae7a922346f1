//! Connections: the address that was checked is the address that is connected to.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::core::ip::scope::is_public;
use crate::core::lookup::chain::{Failure, Origin};

/// How many of a name's addresses are tried.
const MOST_ADDRESSES: usize = 4;

/// Connects to a host. The name is resolved once; where a stranger's word led here, only its global addresses are tried.
///
/// # Errors
/// [`Failure::Blocked`] if no address may be connected to, else why none could be.
pub(super) async fn connect(host: &str, port: u16, origin: Origin, time: Duration) -> Result<TcpStream, Failure> {
    let start = tokio::time::Instant::now();
    let found = tokio::time::timeout(time, tokio::net::lookup_host((host, port)))
        .await
        .map_err(|_| Failure::Timeout("finding the address of the server"))?
        .map_err(|error| Failure::Unreachable(format!("{host} has no address: {error}")))?;
    let addresses: Vec<SocketAddr> =
        found.filter(|address| origin == Origin::Configured || is_public(address.ip())).take(MOST_ADDRESSES).collect();
    if addresses.is_empty() {
        return Err(match origin {
            Origin::Referred => Failure::Blocked(host.to_owned()),
            Origin::Configured => Failure::Unreachable(format!("{host} has no address")),
        });
    }
    let mut last = Failure::Timeout("connecting");
    for (number, address) in addresses.iter().enumerate() {
        let left = time.saturating_sub(start.elapsed());
        let share = left / u32::try_from(addresses.len() - number).unwrap_or(1);
        match tokio::time::timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = Failure::Unreachable(format!("cannot connect to {host}: {error}")),
            Err(_) => last = Failure::Timeout("connecting"),
        }
    }
    Err(last)
}

/// Makes a connection a TLS one; the server's certificate must be of `host`.
pub(super) async fn secure(tls: &TlsConnector, stream: TcpStream, host: &str) -> Result<TlsStream<TcpStream>, Failure> {
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| Failure::Unreachable(format!("{host} is no name that a certificate could have")))?;
    tls.connect(name, stream).await.map_err(|error| Failure::Unreachable(format!("no TLS with {host}: {error}")))
}
