//! A client that pings the address every five milliseconds.

use std::process::Stdio;
use std::time::Duration;

use crate::support::process::Process;
use crate::support::segment::Host;
use crate::support::{require, wait_until};
use crate::trio::VIP;

pub(crate) struct Pings(Process);

impl Pings {
    /// Begins to ping, `count` times.
    pub(crate) fn start(host: &Host, count: u32) -> Self {
        require(&["ping"]);
        let mut command = host.netns.command("ping");
        command.args(["-n", "-i", "0.005", "-W", "1", "-c", &count.to_string(), VIP]).stdin(Stdio::null());
        let pings = Self(Process::start(&mut command));
        wait_until(Duration::from_secs(10), "an answer to a ping", || pings.0.output().contains("bytes from"));
        pings
    }

    /// Waits for the last, and returns how many were sent and answered.
    pub(crate) fn end(mut self) -> (u32, u32) {
        self.0.wait(Duration::from_secs(60));
        let line = || self.0.output().lines().find(|line| line.contains("packets transmitted")).map(str::to_owned);
        let line = crate::support::wait_for(Duration::from_secs(5), "the sum of the pings", line);
        let mut numbers = line.split(' ').filter_map(|word| word.parse().ok());
        (numbers.next().unwrap(), numbers.next().unwrap())
    }
}
