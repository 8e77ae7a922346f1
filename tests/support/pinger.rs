//! A client that pings an address all the time.

use std::time::Duration;

use rustix::process::Signal;

use super::netns::Netns;
use super::process::Process;
use super::wait_until;

/// Asks every 20 ms.
#[derive(Debug)]
pub struct Pinger(Process);

impl Pinger {
    /// Starts in a namespace, and waits for the first answers.
    pub fn start(netns: &Netns, address: &str) -> Self {
        super::require(&["ping"]);
        let ping = Process::start(netns.command("ping").args(["-n", "-i", "0.02", address]));
        let pinger = Self(ping);
        wait_until(Duration::from_secs(20), "answers to a ping", || pinger.answers() > 5);
        pinger
    }

    fn answers(&self) -> usize {
        self.0.output().matches("icmp_seq=").count()
    }

    /// Ends, and gives the numbers of the questions without an answer, the last one, which may be under way, left out.
    pub fn lost(mut self) -> Vec<u32> {
        self.0.signal(Signal::INT);
        self.0.wait_output(Duration::from_secs(10), " packets transmitted");
        self.0.wait(Duration::from_secs(10));
        let output = self.0.output();
        let sent = output.lines().find_map(|line| line.split_once(" packets transmitted")?.0.parse::<u32>().ok());
        let sent = sent.unwrap_or_else(|| panic!("ping said: {output}"));
        let number = |line: &str| line.split_once("icmp_seq=")?.1.split(' ').next()?.parse::<u32>().ok();
        let answered: std::collections::BTreeSet<u32> =
            output.lines().filter(|line| line.contains("bytes from")).filter_map(number).collect();
        (1..sent).filter(|number| !answered.contains(number)).collect()
    }
}
