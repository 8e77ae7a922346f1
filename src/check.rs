//! Health checks, carried out: one question to one address.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use crate::core::health::{Ask, Outcome};

/// The longest status line that is read, in bytes.
const LINE: usize = 256;

/// Asks, and says what came of it within `timeout`.
pub async fn run(ip: IpAddr, ask: Ask, timeout: Duration) -> Outcome {
    match ask {
        Ask::Tcp { port } => outcome(tokio::time::timeout(timeout, TcpStream::connect((ip, port))).await.map(drop_ok)),
        Ask::Http { port, path } => match tokio::time::timeout(timeout, get(SocketAddr::new(ip, port), &path)).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(error)) => of(&error),
            Err(_) => Outcome::TimedOut,
        },
        // Silence is no fault of a service that does not know the datagram.
        Ask::Udp { port } => match tokio::time::timeout(timeout, datagram(SocketAddr::new(ip, port))).await {
            Ok(Ok(())) | Err(_) => Outcome::Passed,
            Ok(Err(error)) => of(&error),
        },
    }
}

fn drop_ok<T>(result: io::Result<T>) -> io::Result<()> {
    result.map(drop)
}

fn outcome(result: Result<io::Result<()>, tokio::time::error::Elapsed>) -> Outcome {
    match result {
        Ok(Ok(())) => Outcome::Passed,
        Ok(Err(error)) => of(&error),
        Err(_) => Outcome::TimedOut,
    }
}

fn of(error: &io::Error) -> Outcome {
    match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => Outcome::Refused,
        io::ErrorKind::TimedOut => Outcome::TimedOut,
        io::ErrorKind::UnexpectedEof => Outcome::NotHttp,
        _ => Outcome::Unsent,
    }
}

/// A GET whose status line alone is read (RFC 9112 section 4).
async fn get(to: SocketAddr, path: &str) -> io::Result<Outcome> {
    let mut stream = TcpStream::connect(to).await?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {to}\r\nUser-Agent: vipkeeper\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut line = Vec::with_capacity(LINE);
    while line.len() < LINE && !line.contains(&b'\n') {
        if stream.read_buf(&mut line).await? == 0 {
            break;
        }
    }
    Ok(status_of(&line).map_or(Outcome::NotHttp, |status| match status {
        200..=399 => Outcome::Passed,
        other => Outcome::Status(other),
    }))
}

/// The status of `HTTP/1.1 200 OK`.
fn status_of(answer: &[u8]) -> Option<u16> {
    let line = answer.split(|octet| *octet == b'\n').next()?;
    let mut words = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
    words.next().filter(|version| version.starts_with("HTTP/1."))?;
    words.next().filter(|status| status.len() == 3)?.parse().ok()
}

/// An empty datagram; ends when something comes back, an ICMP error or an answer.
async fn datagram(to: SocketAddr) -> io::Result<()> {
    let any: IpAddr = if to.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(to).await?;
    socket.send(&[]).await?;
    socket.recv(&mut [0]).await.map(drop)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    const SOON: Duration = Duration::from_secs(5);
    const LOCAL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    /// Answers one connection with these words, and returns what a check says.
    async fn answered(words: &'static str) -> Outcome {
        let listener = TcpListener::bind((LOCAL, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = [0; 1024];
            let length = stream.read(&mut asked).await.unwrap();
            assert!(asked[..length].starts_with(b"GET /ready?now HTTP/1.1\r\nHost: 127.0.0.1:"));
            stream.write_all(words.as_bytes()).await.unwrap();
        };
        tokio::join!(run(LOCAL, Ask::Http { port, path: "/ready?now".to_owned() }, SOON), server).0
    }

    #[tokio::test]
    async fn http_is_judged_by_its_status() {
        assert_eq!(answered("HTTP/1.1 200 OK\r\n\r\nfine").await, Outcome::Passed);
        assert_eq!(answered("HTTP/1.0 399 Odd\r\n").await, Outcome::Passed);
        assert_eq!(answered("HTTP/1.1 503 Service Unavailable\r\n\r\n").await, Outcome::Status(503));
        assert_eq!(answered("HTTP/1.1 404\r\n\r\n").await, Outcome::Status(404));
        assert_eq!(answered("SSH-2.0-OpenSSH\r\n").await, Outcome::NotHttp);
        assert_eq!(answered("").await, Outcome::NotHttp);
    }

    #[tokio::test]
    async fn who_does_not_listen_refuses_and_who_is_silent_is_late() {
        let listener = TcpListener::bind((LOCAL, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let path = || "/".to_owned();
        assert_eq!(run(LOCAL, Ask::Tcp { port }, SOON).await, Outcome::Passed);
        let short = Duration::from_millis(50);
        assert_eq!(run(LOCAL, Ask::Http { port, path: path() }, short).await, Outcome::TimedOut);
        drop(listener);
        assert_eq!(run(LOCAL, Ask::Tcp { port }, SOON).await, Outcome::Refused);
        assert_eq!(run(LOCAL, Ask::Http { port, path: path() }, SOON).await, Outcome::Refused);
        let socket = UdpSocket::bind((LOCAL, 0)).await.unwrap();
        let port = socket.local_addr().unwrap().port();
        assert_eq!(run(LOCAL, Ask::Udp { port }, short).await, Outcome::Passed);
        drop(socket);
        assert_eq!(run(LOCAL, Ask::Udp { port }, SOON).await, Outcome::Refused);
    }
}
