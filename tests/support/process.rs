//! Child processes that go with the test.

use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// The path of the `vipkeeper` that cargo built for this test run.
pub const VIPKEEPER: &str = env!("CARGO_BIN_EXE_vipkeeper");

/// How much of its output a failed test shows, from the end.
const PRINTED_LINES: usize = 100;

/// A running program, killed on drop; what it prints is kept.
#[derive(Debug)]
pub struct Process {
    child: Child,
    output: Arc<Mutex<String>>,
}

impl Process {
    /// Starts a command and collects both of its outputs.
    pub fn start(command: &mut Command) -> Self {
        let (reader, writer) = std::io::pipe().unwrap();
        let errors: OwnedFd = writer.try_clone().unwrap().into();
        let child = command
            .stdin(Stdio::null())
            .stdout(OwnedFd::from(writer))
            .stderr(errors)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        // The command keeps the writing ends; without them gone the reader never sees the end.
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let output = Arc::new(Mutex::new(String::new()));
        let sink = Arc::clone(&output);
        std::thread::spawn(move || {
            for line in std::io::BufRead::lines(std::io::BufReader::new(reader)).map_while(Result::ok) {
                let mut text = sink.lock().unwrap();
                text.push_str(&line);
                text.push('\n');
            }
        });
        Self { child, output }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed so far, both outputs together.
    pub fn output(&self) -> String {
        self.output.lock().unwrap().clone()
    }

    /// Waits until it has printed `text`.
    pub fn wait_output(&self, limit: Duration, text: &str) {
        super::wait_until(limit, &format!("{text:?} in the output"), || self.output().contains(text));
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let id = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(id, signal).unwrap();
    }

    /// Waits for its end, at most for `limit`.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let child = &mut self.child;
        let output = Arc::clone(&self.output);
        super::wait_for(limit, "the end of a process", || {
            child.try_wait().unwrap_or_else(|error| panic!("{error}; it printed:\n{}", output.lock().unwrap()))
        })
    }

    /// Whether it has not ended.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let output = self.output();
            let lines: Vec<_> = output.lines().collect();
            let last = lines.len().saturating_sub(PRINTED_LINES);
            eprintln!("process {} printed ({last} lines left out):\n{}", self.child.id(), lines[last..].join("\n"));
        }
    }
}
