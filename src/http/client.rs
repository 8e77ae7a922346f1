//! One GET to a role's own server.

use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;

/// The longest answer that is read, in bytes.
const MAX_ANSWER: usize = 16 << 20;

/// The body of a 200, read whole within `timeout`.
///
/// # Errors
/// Why there is none, for people: nobody answers, another status, or a body longer than 16 MiB.
pub async fn get(to: SocketAddr, path: &str, timeout: Duration) -> Result<Vec<u8>, String> {
    let late = || format!("{to} did not answer within {timeout:?}");
    tokio::time::timeout(timeout, ask(to, path)).await.map_err(|_| late())?
}

async fn ask(to: SocketAddr, path: &str) -> Result<Vec<u8>, String> {
    let broken = |error: hyper::Error| format!("the connection to {to} broke: {error}");
    let stream = TcpStream::connect(to).await.map_err(|error| format!("{to}: {error}"))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let _driver = AbortOnDropHandle::new(tokio::spawn(connection));
    let request = hyper::Request::get(path).header("host", to.to_string()).body(Empty::<Bytes>::new());
    let request = request.map_err(|error| format!("{path}: {error}"))?;
    let response = sender.send_request(request).await.map_err(broken)?;
    if response.status() != 200 {
        return Err(format!("{to} answered with status {}", response.status().as_u16()));
    }
    let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
    Ok(body.map_err(|error| format!("the answer of {to}: {error}"))?.to_bytes().to_vec())
}
