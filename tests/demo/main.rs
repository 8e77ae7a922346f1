//! The demo of `make demo`: what it shows, and that it leaves nothing behind, whatever ends it.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "../support/mod.rs"]
mod support;

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

use support::process::{Process, VIPKEEPER};
use support::wait_until;

const LIMIT: Duration = Duration::from_secs(180);

/// A demo that runs, with a temporary folder of its own.
struct Demo {
    process: Process,
    folder: TempDir,
}

impl Demo {
    fn start(program: &Path) -> Self {
        support::require(&["ip", "tcpdump", "jq", "curl", "ping", "python3"]);
        let folder = tempfile::tempdir().unwrap();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/demo/run");
        // As at a terminal, also where this runs in a shell's background, which ignores Ctrl-C for all its children.
        let mut command = Command::new("env");
        command
            .args(["--default-signal=INT", script])
            .arg(program)
            .arg(folder.path().join("timeline.svg"))
            .env("TMPDIR", folder.path())
            .process_group(0);
        Self { process: Process::start(&mut command), folder }
    }

    fn end(&mut self) -> Option<i32> {
        self.process.wait(LIMIT).code()
    }

    /// Fails if a namespace, a process, a mount or a file of it is there still.
    fn assert_clean(&self) {
        let namespaces = std::fs::read_dir("/run/netns").unwrap().map(|entry| entry.unwrap().file_name());
        let own = format!("vkdemo{}-", self.process.id());
        let left: Vec<_> = namespaces.filter(|name| name.to_string_lossy().starts_with(&own)).collect();
        assert!(left.is_empty(), "namespaces are left: {left:?}");
        let place = self.folder.path().to_str().unwrap();
        let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
        assert!(!mounts.contains(place), "a mount is left:\n{mounts}");
        let files = std::fs::read_dir(place).unwrap().map(|entry| entry.unwrap().file_name());
        let left: Vec<_> = files.filter(|name| name != "timeline.svg").collect();
        assert!(left.is_empty(), "files are left: {left:?}");
        let processes = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
            let line = std::fs::read(entry.unwrap().path().join("cmdline")).ok()?;
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            (line.contains(place) || line.contains(&own)).then_some(line)
        });
        let left: Vec<String> = processes.collect();
        assert!(left.is_empty(), "processes are left: {left:?}");
    }
}

#[test]
fn it_shows_a_takeover_and_leaves_nothing_but_the_drawing() {
    let mut demo = Demo::start(Path::new(VIPKEEPER));
    let code = demo.end();
    let output = demo.process.output();
    assert_eq!(code, Some(0), "{output}");
    assert!(output.contains("0% packet loss"), "{output}");
    assert!(output.contains("two nodes answered at the same time: never"), "{output}");
    let drawing = std::fs::read_to_string(demo.folder.path().join("timeline.svg")).unwrap();
    for expected in ["<svg ", "node-a", "node-b", "node-c", "client", "loses power", "</svg>"] {
        assert!(drawing.contains(expected), "no {expected} in:\n{drawing}");
    }
    demo.assert_clean();
}

#[test]
fn it_leaves_nothing_behind_when_it_is_interrupted() {
    let mut demo = Demo::start(Path::new(VIPKEEPER));
    demo.process.wait_output(LIMIT, "loses power; the client");
    // As Ctrl-C at a terminal: every process of the group gets it.
    kill_process_group(Pid::from_raw(demo.process.id().cast_signed()).unwrap(), Signal::INT).unwrap();
    assert_eq!(demo.end(), Some(130), "{}", demo.process.output());
    demo.assert_clean();
}

#[test]
fn it_leaves_nothing_behind_when_a_step_fails() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("vipkeeper");
    std::fs::write(&program, "#!/bin/sh\necho 'broken on purpose' >&2\nexit 3\n").unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut demo = Demo::start(&program);
    assert_eq!(demo.end(), Some(1), "{}", demo.process.output());
    wait_until(LIMIT, "the reason in the output", || demo.process.output().contains("broken on purpose"));
    demo.assert_clean();
}
