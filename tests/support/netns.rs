//! Network namespaces that go with the test.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

static COUNT: AtomicU32 = AtomicU32::new(0);

/// A network namespace with its loopback up and no duplicate address detection; removed on drop, after a panic too.
#[derive(Debug)]
pub struct Netns {
    name: String,
}

impl Netns {
    /// Makes one; `label` is part of its name, which no other test and no other run has.
    pub fn new(label: &str) -> Self {
        super::require(&["ip", "nsenter"]);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("vk{}-{count}-{label}", std::process::id());
        run(Command::new("ip").args(["netns", "add", &name]));
        let netns = Self { name };
        netns.ip("link set lo up");
        for scope in ["all", "default"] {
            netns.sysctl(&format!("net/ipv6/conf/{scope}/accept_dad"), "0");
        }
        netns
    }

    /// Its name, as `ip netns` lists it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that keeps it, for setns(2).
    pub fn path(&self) -> PathBuf {
        PathBuf::from("/run/netns").join(&self.name)
    }

    /// A command that will run inside; its process is `program` itself, so that a signal to it reaches `program`. It
    /// keeps the machine's mounts (a bpffs of the machine, for one).
    pub fn command(&self, program: &str) -> Command {
        command_in(&self.path(), program.as_ref())
    }

    /// Runs `ip` with these words inside and returns what it printed; the test fails when `ip` does.
    pub fn ip(&self, words: &str) -> String {
        run(Command::new("ip").args(["-n", &self.name]).args(words.split_whitespace()))
    }

    /// Runs `ip` inside and returns whether it succeeded.
    pub fn try_ip(&self, words: &str) -> bool {
        Command::new("ip").args(["-n", &self.name]).args(words.split_whitespace()).output().unwrap().status.success()
    }

    /// Writes a file of /proc/sys, such as `net/ipv4/conf/all/arp_ignore`.
    pub fn sysctl(&self, key: &str, value: &str) {
        self.run(|| std::fs::write(format!("/proc/sys/{key}"), value).unwrap());
    }

    /// Runs `work` on a thread inside, and returns what it returns; its panic is the caller's.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let entered = std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    self.enter();
                    work()
                })
                .join()
        });
        entered.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Runs the future on a runtime of its own (one thread, inside), to its end.
    pub fn block_on<T: Send>(&self, future: impl Future<Output = T> + Send) -> T {
        self.run(|| tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future))
    }

    /// Moves the calling thread inside, for good.
    pub fn enter(&self) {
        enter(&self.path());
    }
}

/// Moves the calling thread into the network namespace that a file keeps ([`Netns::path`]), for good.
pub fn enter(path: &Path) {
    let file = File::open(path).unwrap();
    rustix::thread::move_into_link_name_space(file.as_fd(), Some(rustix::thread::LinkNameSpaceType::Network))
        .unwrap_or_else(|error| panic!("cannot enter network namespace {}: {error}", path.display()));
}

impl Drop for Netns {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).output();
    }
}

/// A command that will run in the network namespace of this file, as [`Netns::command`] says.
pub fn command_in(netns: &Path, program: &Path) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net={}", netns.display())).arg("--").arg(program);
    command
}

/// Runs a command to its end and returns its standard output; the test fails when the command does, with its words.
pub fn run(command: &mut Command) -> String {
    let Output { status, stdout, stderr } =
        command.output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    assert!(status.success(), "{command:?} failed, {status}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}
