//! TCP servers that answer each connection as a test says, and remember what they were asked.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::support::netns::Netns;

/// What a server has seen.
#[derive(Clone, Default)]
pub struct Seen {
    lines: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
    written: Arc<AtomicUsize>,
}

impl Seen {
    /// The first line of each connection, in order.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// How many connections there were.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// How many bytes were taken off the server's hands by [`endless`].
    pub fn written(&self) -> usize {
        self.written.load(Ordering::SeqCst)
    }
}

/// A server of WHOIS (RFC 3912): reads a line, then `answer` writes what it likes; the connection ends with it.
pub fn whois<F>(netns: &Netns, address: &str, port: u16, answer: F) -> Seen
where
    F: Fn(&str, &mut TcpStream, &Seen) -> std::io::Result<()> + Send + Sync + 'static,
{
    let answer = Arc::new(answer);
    accept(netns, address, port, move |mut stream, seen| {
        let mut line = String::new();
        BufReader::new(stream.try_clone()?).read_line(&mut line)?;
        seen.lines.lock().unwrap().push(line.clone());
        answer(line.trim_end(), &mut stream, seen)
    })
}

/// A server of WHOIS that always answers the same.
pub fn whois_text(netns: &Netns, address: &str, text: impl Into<String>) -> Seen {
    let text = text.into();
    whois(netns, address, 43, move |_, stream, _| stream.write_all(text.as_bytes()))
}

/// An answer over HTTP.
#[derive(Clone, Default)]
pub struct Page {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
}

impl Page {
    pub fn json(body: &serde_json::Value) -> Self {
        Self { status: 200, headers: Vec::new(), body: body.to_string() }
    }

    pub fn redirect(location: &str) -> Self {
        Self { status: 302, headers: vec![("location", location.to_owned())], body: String::new() }
    }
}

/// A server of HTTP, with TLS if there is a configuration of it: answers each GET of a path.
pub fn http<F>(netns: &Netns, address: &str, port: u16, tls: Option<Arc<ServerConfig>>, answer: F) -> Seen
where
    F: Fn(&str) -> Page + Send + Sync + 'static,
{
    let answer = Arc::new(answer);
    accept(netns, address, port, move |stream, seen| match &tls {
        Some(config) => {
            let connection = ServerConnection::new(Arc::clone(config)).map_err(std::io::Error::other)?;
            let mut secure = StreamOwned::new(connection, stream);
            serve(&mut secure, seen, answer.as_ref())?;
            secure.conn.send_close_notify();
            secure.flush()
        }
        None => serve(&mut { stream }, seen, answer.as_ref()),
    })
}

fn serve(stream: &mut (impl Read + Write), seen: &Seen, answer: impl Fn(&str) -> Page) -> std::io::Result<()> {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        request.push(byte[0]);
    }
    let request = String::from_utf8_lossy(&request).into_owned();
    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
    seen.lines.lock().unwrap().push(request);
    let Page { status, headers, body } = answer(&path);
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    write!(stream, "HTTP/1.1 {status} x\r\ncontent-length: {}\r\n{headers}\r\n{body}", body.len())?;
    stream.flush()
}

/// Writes without end, until the other side goes away, or a gigabyte.
pub fn endless(stream: &mut TcpStream, seen: &Seen) -> std::io::Result<()> {
    let block = "remarks: and so on and so on\r\n".repeat(2000);
    while seen.written() < 1 << 30 {
        stream.write_all(block.as_bytes())?;
        seen.written.fetch_add(block.len(), Ordering::SeqCst);
    }
    Ok(())
}

/// Listens in the namespace, and serves each connection on a thread of its own; ends with the process.
fn accept<F>(netns: &Netns, address: &str, port: u16, serve: F) -> Seen
where
    F: Fn(TcpStream, &Seen) -> std::io::Result<()> + Send + Sync + 'static,
{
    let listener = netns.run(|| TcpListener::bind((address, port)).unwrap());
    let seen = Seen::default();
    let (shared, serve) = (seen.clone(), Arc::new(serve));
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            shared.connections.fetch_add(1, Ordering::SeqCst);
            let (seen, serve) = (shared.clone(), Arc::clone(&serve));
            // Whatever goes wrong with a connection is the client's doing.
            std::thread::spawn(move || serve(stream, &seen));
        }
    });
    seen
}
