//! One GET over a connection.

use std::time::Duration;

use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONNECTION, HOST, LOCATION, RETRY_AFTER, USER_AGENT};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::task::AbortOnDropHandle;

use super::MAX_ANSWER;
use crate::core::lookup::chain::Failure;
use crate::core::lookup::url::Url;

/// The largest header of an answer, in bytes.
const MAX_HEADER: usize = 32 << 10;

/// What a server answered.
#[derive(Debug, Clone)]
pub struct HttpAnswer {
    /// Status code.
    pub status: u16,
    /// `Location`.
    pub location: Option<String>,
    /// `Retry-After`, if it is a number of seconds.
    pub retry_after: Option<Duration>,
    /// The body, at most [`MAX_ANSWER`] bytes.
    pub body: Vec<u8>,
}

/// Sends the request and reads the whole answer.
pub(super) async fn get<S>(stream: S, url: &Url, accept: &str) -> Result<HttpAnswer, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let broken = |error: hyper::Error| Failure::Unreachable(format!("the connection broke: {error}"));
    let (mut sender, connection) =
        http1::Builder::new().max_buf_size(MAX_HEADER).handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let _driver = AbortOnDropHandle::new(tokio::spawn(connection));
    let request = hyper::Request::get(url.path.as_str())
        .header(HOST, url.authority())
        .header(ACCEPT, accept)
        .header(USER_AGENT, concat!("vipkeeper/", env!("CARGO_PKG_VERSION")))
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| Failure::Unreachable(format!("no request can be made of {url}: {error}")))?;
    let response = sender.send_request(request).await.map_err(broken)?;
    let field = |name| response.headers().get(name).and_then(|value: &hyper::header::HeaderValue| value.to_str().ok());
    let location = field(LOCATION).map(str::to_owned);
    let retry_after = field(RETRY_AFTER).and_then(|text| text.parse().ok()).map(Duration::from_secs);
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() {
            Failure::TooLong(MAX_ANSWER)
        } else {
            Failure::Unreachable(format!("the connection broke: {error}"))
        }
    })?;
    Ok(HttpAnswer { status, location, retry_after, body: body.to_bytes().to_vec() })
}
