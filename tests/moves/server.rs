//! An HTTP server inside a node's network namespace, which answers every request with one status.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::support::segment::Host;

pub(crate) const PORT: u16 = 8080;

pub(crate) struct Server {
    status: Arc<AtomicU16>,
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens on every address of the host.
    pub(crate) fn start(host: &Host, status: u16) -> Self {
        let listener = host.netns.run(|| TcpListener::bind(("0.0.0.0", PORT)).unwrap());
        listener.set_nonblocking(true).unwrap();
        let (status, done) = (Arc::new(AtomicU16::new(status)), Arc::new(AtomicBool::new(false)));
        let (answer, ended) = (Arc::clone(&status), Arc::clone(&done));
        let thread = std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((mut stream, _)) => {
                        stream.set_nonblocking(false).unwrap();
                        stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
                        let _ = stream.read(&mut [0; 1024]);
                        let status = answer.load(Ordering::Relaxed);
                        // The client may have gone.
                        let _ = write!(stream, "HTTP/1.1 {status} Word\r\nContent-Length: 0\r\n\r\n");
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(Duration::from_millis(2)),
                    Err(error) => panic!("{error}"),
                }
            }
        });
        Self { status, done, thread: Some(thread) }
    }

    /// Answers with another status from now on.
    pub(crate) fn answer(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        let _ = self.thread.take().unwrap().join();
    }
}
