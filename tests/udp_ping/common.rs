//! What the tests of this area share: a reflector on a host, raw packets, HTTP, the two wire formats octet by octet.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::support::netns::Netns;
use crate::support::process::{Process, VIPKEEPER};
use crate::support::segment::{Host, Segment};
use crate::support::wait_until;

/// The original program's port.
pub const PORT: u16 = 32767;
/// Where reflectors under test serve their metrics, as it is asked for inside their namespace.
pub const METRICS: &str = "127.0.0.1:9474";
/// How long a busy machine may take for what takes milliseconds on an idle one.
pub const SOON: Duration = Duration::from_secs(20);

/// Two hosts on a segment: 1 asks, 2 answers.
pub fn pair() -> (Segment, Host, Host) {
    let segment = Segment::new();
    let (one, two) = (segment.host("asks", 1), segment.host("answers", 2));
    (segment, one, two)
}

/// Starts a reflector with its metrics and these further words, and waits until it answers.
pub fn reflector(netns: &Netns, words: &[&str]) -> Process {
    let mut command = netns.command(VIPKEEPER);
    command.args(["udp-ping", "server", "--listen", "[::]:9474"]).args(words);
    let process = Process::start(&mut command);
    process.wait_output(SOON, "probes are answered");
    process
}

/// The body of `http://ADDRESS/PATH`, asked for inside a namespace.
pub fn get(netns: &Netns, address: &str, path: &str) -> String {
    let answer = netns.run(|| {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    });
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

/// The value of a series in a metrics text; the series as it is written, with its labels.
pub fn series(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

/// How many packets a reflector counted with this result.
pub fn results(netns: &Netns, result: &str) -> f64 {
    let text = get(netns, METRICS, "/metrics");
    series(&text, &format!("vipkeeper_reflector_packets_total{{result=\"{result}\"}}")).unwrap()
}

/// Waits until a reflector has counted that many packets with this result.
pub fn wait_results(netns: &Netns, result: &str, count: f64) {
    wait_until(SOON, &format!("{count} {result}"), || results(netns, result) >= count);
}

/// A socket inside a namespace that gives up on a read after a while.
pub fn socket(netns: &Netns, bind: &str) -> UdpSocket {
    let socket = netns.run(|| UdpSocket::bind(bind)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    socket
}

/// Sends a datagram and returns the answer and who sent it.
pub fn ask(socket: &UdpSocket, to: impl Into<SocketAddr>, bytes: &[u8]) -> Option<(Vec<u8>, SocketAddr)> {
    socket.send_to(bytes, to.into()).unwrap();
    let mut answer = [0; 65536];
    let (len, from) = socket.recv_from(&mut answer).ok()?;
    Some((answer[..len].to_vec(), from))
}

/// The original client's probe: one octet of sequence, then milliseconds since 1970, big-endian.
pub fn original(seq: u8, millis: i64) -> Vec<u8> {
    [&[seq][..], &millis.to_be_bytes()].concat()
}

/// A STAMP request by RFC 8762 figure 2 with the session identifier of RFC 8972 figure 1.
pub fn stamp_request(seq: u32, timestamp: u64, error: u16, ssid: u16) -> Vec<u8> {
    let parts = [&seq.to_be_bytes()[..], &timestamp.to_be_bytes(), &error.to_be_bytes(), &ssid.to_be_bytes(), &[0; 28]];
    parts.concat()
}

/// Sends an IPv4 UDP packet with whatever source it is told to have.
pub fn send_forged(netns: &Netns, from: (Ipv4Addr, u16), to: (Ipv4Addr, u16), payload: &[u8]) {
    let length = u16::try_from(28 + payload.len()).unwrap().to_be_bytes();
    let mut packet = vec![0x45, 0, length[0], length[1], 0, 0, 0, 0, 64, 17, 0, 0];
    packet.extend(from.0.octets());
    packet.extend(to.0.octets());
    packet.extend(from.1.to_be_bytes());
    packet.extend(to.1.to_be_bytes());
    packet.extend(u16::try_from(8 + payload.len()).unwrap().to_be_bytes());
    // A UDP checksum of zero is none (RFC 768); the kernel fills in the header's.
    packet.extend([0, 0]);
    packet.extend(payload);
    netns.run(|| {
        let raw = socket2::Socket::new(
            socket2::Domain::IPV4,
            socket2::Type::RAW,
            Some(socket2::Protocol::from(libc::IPPROTO_RAW)),
        )
        .unwrap();
        raw.send_to(&packet, &SocketAddr::new(IpAddr::V4(to.0), 0).into()).unwrap();
    });
}

/// A STAMP reply by RFC 8762 figure 5 to the request in `probe`, with the reflector's own number.
pub fn stamp_reply(probe: &[u8], number: u32) -> Vec<u8> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let seconds = (now.as_secs() + 2_208_988_800) << 32;
    let stamp = (seconds | ((u64::from(now.subsec_nanos()) << 32) / 1_000_000_000)).to_be_bytes();
    let head = [&number.to_be_bytes()[..], &stamp, &[0x80, 1], &probe[14..16], &stamp, &probe[0..14], &[0, 0]].concat();
    let mut reply = [&head[..], &[64, 0, 0, 0]].concat();
    reply.resize(probe.len(), 0);
    reply
}

/// A datagram, and who sent it.
pub type Seen = (SocketAddr, Vec<u8>);

/// A server in a thread that answers as it is told; it ends on drop.
pub struct Echo {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Vec<Seen>>>,
    thread: Option<JoinHandle<()>>,
}

impl Echo {
    /// Answers each datagram with those that `script` gives for its place in the order of arrival and its payload.
    pub fn start(
        netns: &Netns,
        bind: &str,
        mut script: impl FnMut(usize, &[u8]) -> Vec<Vec<u8>> + Send + 'static,
    ) -> Self {
        let socket = socket(netns, bind);
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let (stop, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (ended, log) = (Arc::clone(&stop), Arc::clone(&seen));
        let thread = std::thread::spawn(move || {
            let mut probe = [0; 65536];
            while !ended.load(Ordering::Relaxed) {
                let Ok((len, from)) = socket.recv_from(&mut probe) else { continue };
                let place = log.lock().unwrap().len();
                log.lock().unwrap().push((from, probe[..len].to_vec()));
                for answer in script(place, &probe[..len]) {
                    socket.send_to(&answer, from).unwrap();
                }
            }
        });
        Self { stop, seen, thread: Some(thread) }
    }

    /// What has come in, and from whom.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().unwrap().join();
    }
}
