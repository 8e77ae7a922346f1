//! A node: a host on both networks with a BPF file system of its own, and its agent.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use crate::station::{CLIENT, Station};
use crate::support::bpffs::Bpffs;
use crate::support::process::Process;
use crate::support::segment::Segment;
use crate::wall::WallClock;

pub(crate) struct Node {
    agent: Option<Process>,
    /// What former agents printed.
    former: String,
    pub(crate) station: Station,
    pub(crate) bpffs: Bpffs,
    clock: WallClock,
}

impl Node {
    pub(crate) fn new(data: &Segment, management: &Segment, number: u8) -> Self {
        let station = machine(data, management, number);
        Self { agent: None, former: String::new(), station, bpffs: Bpffs::new(), clock: WallClock::new() }
    }

    pub(crate) fn name(&self) -> String {
        format!("node-{}", self.station.number)
    }

    /// Runs its agent: a process group of its own, for keepalived is two processes.
    pub(crate) fn run(&mut self, command: &mut Command) {
        self.clock.give(command);
        self.agent = Some(Process::start(command.process_group(0)));
    }

    /// Steps the wall clock of its agent to so many seconds ahead of the machine's.
    pub(crate) fn set_clock_ahead(&mut self, seconds: i64) {
        let id = self.agent.as_ref().expect("an agent runs").id();
        assert!(WallClock::is_in(id), "the agent goes by the machine's clock");
        self.clock.set_ahead(seconds);
    }

    pub(crate) fn is_running(&self) -> bool {
        self.agent.is_some()
    }

    /// Sends all of the agent's processes a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let id = self.agent.as_ref().expect("an agent runs").id();
        kill_process_group(Pid::from_raw(id.cast_signed()).unwrap(), signal).unwrap();
    }

    /// Kills the agent.
    pub(crate) fn kill(&mut self) {
        if let Some(agent) = &self.agent {
            let _ = kill_process_group(Pid::from_raw(agent.id().cast_signed()).unwrap(), Signal::KILL);
            self.former.push_str(&agent.output());
            self.agent = None;
        }
    }

    /// Ends the agent as `kubectl delete pod` does, and waits for it.
    pub(crate) fn end(&mut self, limit: Duration) {
        self.signal(Signal::TERM);
        let mut agent = self.agent.take().unwrap();
        let status = agent.wait(limit);
        self.former.push_str(&agent.output());
        assert!(status.success(), "{} ended with {status}:\n{}", self.name(), agent.output());
    }

    /// The machine loses power: it is off the bridges at once and nothing of its kernel is left.
    pub(crate) fn power_off(&mut self, data: &Segment, management: &Segment) {
        // A process that saw its cable go would have a word to say, and a machine without power has none.
        if self.agent.is_some() {
            self.signal(Signal::STOP);
        }
        // Then the cables: between the end of the process and that of its links its kernel would still answer.
        for bridge in [data, management] {
            bridge.bridge().ip(&format!("link set {} down", crate::station::port(self.station.number)));
        }
        self.kill();
    }

    /// It boots again: another namespace, another BPF file system.
    pub(crate) fn boot(&mut self, data: &Segment, management: &Segment) {
        let number = self.station.number;
        for bridge in [data, management] {
            bridge.bridge().ip(&format!("link del {}", crate::station::port(number)));
        }
        self.station = machine(data, management, number);
        self.bpffs = Bpffs::new();
    }

    /// All that its agents printed.
    pub(crate) fn told(&self) -> String {
        let now = self.agent.as_ref().map(Process::output).unwrap_or_default();
        format!("{}{now}", self.former)
    }
}

/// A node's host: on both networks, with the client as its gateway.
fn machine(data: &Segment, management: &Segment, number: u8) -> Station {
    let station = Station::new(data, &format!("n{number}"), number);
    station.manage(management);
    station.route_by(CLIENT);
    station
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}
