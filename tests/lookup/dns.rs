//! A DNS server (RFC 1035) of one zone, in which a name can have other addresses each time it is asked for.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::{Arc, Mutex};

use crate::support::netns::Netns;

/// The address that the server listens at, in the namespace.
pub const ADDRESS: &str = "127.0.0.53";

#[derive(Default)]
struct Zone {
    /// The answers to the first question for a name, to the second, …; the last one is repeated.
    names: BTreeMap<String, Vec<Vec<Ipv4Addr>>>,
    /// How often a name's IPv4 addresses were asked for.
    asked: BTreeMap<String, usize>,
}

/// See the module; it ends with its namespace.
#[derive(Clone)]
pub struct Dns {
    zone: Arc<Mutex<Zone>>,
}

impl Dns {
    pub fn start(netns: &Netns) -> Self {
        let socket = netns.run(|| UdpSocket::bind((ADDRESS, 53)).unwrap());
        let zone = Arc::new(Mutex::new(Zone::default()));
        let served = Arc::clone(&zone);
        std::thread::spawn(move || {
            let mut buffer = [0; 1500];
            while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
                if let Some(answer) = answer(&buffer[..length], &mut served.lock().unwrap()) {
                    let _ = socket.send_to(&answer, peer);
                }
            }
        });
        Self { zone }
    }

    /// Gives a name its addresses; of several lists the first answers the first question, and so on.
    pub fn set(&self, name: &str, answers: &[&[&str]]) {
        let parse = |list: &&[&str]| list.iter().map(|address| address.parse().unwrap()).collect();
        self.zone.lock().unwrap().names.insert(name.to_owned(), answers.iter().map(parse).collect());
    }

    /// How often a name's IPv4 addresses were asked for.
    pub fn asked(&self, name: &str) -> usize {
        self.zone.lock().unwrap().asked.get(name).copied().unwrap_or(0)
    }
}

/// The answer to a query with one question; `None` to what is none.
fn answer(query: &[u8], zone: &mut Zone) -> Option<Vec<u8>> {
    let mut labels = Vec::new();
    let mut at = 12;
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8(query.get(at..at + length)?.to_vec()).ok()?);
        at += length;
    }
    let is_ipv4 = query.get(at..at + 2)? == [0, 1];
    let question = query.get(12..at + 4)?;
    let name = labels.join(".").to_lowercase();
    let known = zone.names.get(&name);
    let mut addresses: &[Ipv4Addr] = &[];
    if let Some(answers) = known.filter(|_| is_ipv4) {
        let asked = zone.asked.entry(name.clone()).or_default();
        addresses = &answers[(*asked).min(answers.len() - 1)];
        *asked += 1;
    }
    let failure = if known.is_some() { 0 } else { 3 };
    let mut answer = query.get(..2)?.to_vec();
    answer.extend([0x81, 0x80 | failure, 0, 1, 0, u8::try_from(addresses.len()).unwrap(), 0, 0, 0, 0]);
    answer.extend(question);
    for address in addresses {
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        answer.extend(address.octets());
    }
    Some(answer)
}
