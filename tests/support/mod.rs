//! What tests on real kernels share: network namespaces, an Ethernet segment of them, a capture of its own, waiting.
//!
//! A test binary takes it with `#[path = "../support/mod.rs"] mod support;`. Nothing here uses vipkeeper's own adapters:
//! what a test sees on the wire it reads with its own socket.
#![allow(dead_code, missing_docs, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

pub mod bpffs;
pub mod capture;
pub mod control_plane;
pub mod installed;
pub mod mmdb;
pub mod netns;
pub mod pinger;
pub mod process;
pub mod segment;

use std::time::{Duration, Instant};

/// Polls `condition` until it gives a value, at most for `limit`; a test that waits in vain fails and says for what.
pub fn wait_for<T>(limit: Duration, what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    wait_saying(limit, what, || condition().ok_or(String::new))
}

/// The same, for a condition that can say what is there instead, and is asked when the time is over.
pub fn wait_saying<T, S: FnOnce() -> String>(
    limit: Duration,
    what: &str,
    mut condition: impl FnMut() -> Result<T, S>,
) -> T {
    let start = Instant::now();
    loop {
        let instead = match condition() {
            Ok(value) => return value,
            Err(instead) => instead,
        };
        assert!(start.elapsed() < limit, "waited {limit:?} in vain for {what} {}", instead());
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Polls `condition` until it holds, at most for `limit`.
pub fn wait_until(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    wait_for(limit, what, || condition().then_some(()));
}

/// Gives the calling thread real-time priority, so that what it measures is not its own waiting for a processor.
pub fn realtime() {
    require(&["chrt"]);
    let thread = rustix::thread::gettid().as_raw_nonzero().to_string();
    netns::run(std::process::Command::new("chrt").args(["--fifo", "--pid", "10", &thread]));
}

/// Fails the test with a clear word when it cannot run here: not root, or a program is missing.
pub fn require(programs: &[&str]) {
    assert!(
        rustix::process::geteuid().is_root(),
        "this test makes network namespaces: run it as root, for example with `sudo -E cargo test`"
    );
    for program in programs {
        let found = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]
            .iter()
            .any(|folder| std::path::Path::new(folder).join(program).exists());
        assert!(found, "this test needs `{program}`: run `make tools`, or: apt-get install {}", package(program));
    }
}

/// The Debian package of a program.
fn package(program: &str) -> &str {
    match program {
        "ip" | "bridge" | "tc" | "ss" => "iproute2",
        "nsenter" | "mount" | "umount" | "chrt" => "util-linux",
        "sysctl" => "procps",
        "ping" => "iputils-ping",
        "curl" => "curl",
        "nft" => "nftables",
        other => other,
    }
}
