//! A wall clock of a program's own, which can be stepped while it runs: the kernel's is the whole machine's, and time
//! namespaces have none.

use std::io::{Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use tempfile::{NamedTempFile, TempDir};

use crate::support::netns::run;

/// See the module.
pub(crate) struct WallClock {
    /// By how many seconds it is ahead.
    ahead: NamedTempFile,
}

impl WallClock {
    pub(crate) fn new() -> Self {
        let mut clock = Self { ahead: NamedTempFile::new().unwrap() };
        clock.set_ahead(0);
        clock
    }

    /// Has a program, and all that it starts, go by this clock.
    pub(crate) fn give(&self, command: &mut Command) {
        command.env("LD_PRELOAD", library()).env("WALL_CLOCK", self.ahead.path());
    }

    /// Steps it, for programs that run too, to so many seconds ahead of the machine's.
    pub(crate) fn set_ahead(&mut self, seconds: i64) {
        let file = self.ahead.as_file_mut();
        file.seek(SeekFrom::Start(0)).and_then(|_| file.write_all(&seconds.to_ne_bytes())).unwrap();
    }

    /// Whether a running program goes by such a clock.
    pub(crate) fn is_in(process: u32) -> bool {
        std::fs::read_to_string(format!("/proc/{process}/maps")).unwrap().contains(library().to_str().unwrap())
    }
}

/// What is preloaded, built once.
fn library() -> PathBuf {
    static BUILT: OnceLock<TempDir> = OnceLock::new();
    let folder = BUILT.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("wall.c");
        std::fs::write(&source, include_str!("wall.c")).unwrap();
        run(Command::new("cc").args(["-shared", "-fPIC", "-O", "-o"]).arg(folder.path().join("wall.so")).arg(source));
        folder
    });
    folder.path().join("wall.so")
}

#[test]
fn a_program_that_runs_sees_its_wall_clock_step_and_no_other_clock() {
    let mut clock = WallClock::new();
    let script =
        "import time\nfor _ in range(3):\n print(int(time.time()), int(time.monotonic()), flush=True)\n input()";
    let mut python = Command::new("python3");
    python.args(["-c", script]).stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    clock.give(&mut python);
    let mut process = python.spawn().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(process.stdout.take().unwrap()));
    let mut seen = Vec::new();
    for ahead in [0, 3600, -3600] {
        clock.set_ahead(ahead);
        if !seen.is_empty() {
            process.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
        }
        let line = lines.next().unwrap().unwrap();
        let numbers: Vec<i64> = line.split(' ').map(|number| number.parse().unwrap()).collect();
        seen.push((numbers[0], numbers[1]));
        assert!(WallClock::is_in(process.id()));
    }
    process.kill().and_then(|()| process.wait()).unwrap();
    let [a, b, c] = seen[..] else { panic!("{seen:?}") };
    assert!((3600..3660).contains(&(b.0 - a.0)) && (-3660..-3500).contains(&(c.0 - a.0)), "{seen:?}");
    assert!((0..60).contains(&(c.1 - a.1)), "{seen:?}");
}
