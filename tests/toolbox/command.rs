//! Runs of `vipkeeper ip`.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::support::process::VIPKEEPER;

/// What a run came to.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Run {
    /// Standard output as lines.
    pub(crate) fn lines(&self) -> Vec<&str> {
        self.out.lines().collect()
    }

    /// Standard output as JSON values, one a line.
    pub(crate) fn values(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
    }
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
    }
}

/// `vipkeeper ip` with these words.
pub(crate) fn command(words: &str) -> Command {
    let mut command = Command::new(VIPKEEPER);
    command.arg("ip").args(words.split_whitespace());
    command
}

/// Runs `vipkeeper ip` with these words and nothing to read.
pub(crate) fn ip(words: &str) -> Run {
    command(words).stdin(Stdio::null()).output().unwrap().into()
}

/// Runs `vipkeeper ip` with these words and an input.
pub(crate) fn ip_with(words: &str, input: &[u8]) -> Run {
    let mut child = command(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        // A command that ends before it has read all is no fault of the test's.
        scope.spawn(move || drop(stdin.write_all(input)));
        child.wait_with_output().unwrap().into()
    })
}

/// The lines that a run prints which must succeed and complain of nothing.
pub(crate) fn answer(words: &str) -> Vec<String> {
    let run = ip(words);
    assert_eq!((run.code, run.err.as_str()), (0, ""), "{words}");
    run.lines().into_iter().map(str::to_owned).collect()
}
