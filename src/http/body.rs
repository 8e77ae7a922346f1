//! The body of a request: read whole, within a size and a time.

use futures::{Stream, StreamExt};
use warp::Buf;
use warp::http::{HeaderMap, Method};

use super::{BODY_TIME, MAX_BODY, Response};

/// The body; or the answer that refuses it: 413 if it is longer than [`MAX_BODY`], 408 if it takes longer than
/// [`BODY_TIME`], 400 if it ends too early. `GET`, `HEAD` and `DELETE` have none that we read.
pub(super) async fn read<B: Buf>(
    method: &Method,
    headers: &HeaderMap,
    body: impl Stream<Item = Result<B, warp::Error>>,
) -> Result<Vec<u8>, Response> {
    if matches!(*method, Method::GET | Method::HEAD | Method::DELETE) {
        return Ok(Vec::new());
    }
    let announced = headers.get("content-length").and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > MAX_BODY as u64) {
        return Err(too_long());
    }
    match tokio::time::timeout(BODY_TIME, collect(body)).await {
        Ok(result) => result,
        Err(_) => Err(Response::text(408, format!("the body took longer than {BODY_TIME:?}\n"))),
    }
}

async fn collect<B: Buf>(body: impl Stream<Item = Result<B, warp::Error>>) -> Result<Vec<u8>, Response> {
    let mut body = std::pin::pin!(body);
    let mut bytes = Vec::new();
    while let Some(chunk) = body.next().await {
        let mut chunk = chunk.map_err(|error| Response::text(400, format!("the body ends too early: {error}\n")))?;
        if bytes.len() + chunk.remaining() > MAX_BODY {
            return Err(too_long());
        }
        while chunk.has_remaining() {
            let part = chunk.chunk();
            bytes.extend_from_slice(part);
            let length = part.len();
            chunk.advance(length);
        }
    }
    Ok(bytes)
}

fn too_long() -> Response {
    Response::text(413, format!("the body is longer than {MAX_BODY} bytes\n"))
}
