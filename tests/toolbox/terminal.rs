//! The bar of a long job: on a terminal, and only there.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::command::command;

/// A terminal: our side and the command's.
fn terminal() -> (File, File) {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let name = ptsname(&ours, Vec::new()).unwrap();
    let theirs = File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
    (File::from(ours), theirs)
}

/// What a command shows on its terminal until `enough` of it is there.
fn shown(words: &str, enough: impl Fn(&str) -> bool) -> String {
    let (mut ours, theirs) = terminal();
    let mut child =
        command(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(OwnedFd::from(theirs)).spawn().unwrap();
    let begin = Instant::now();
    let mut text = String::new();
    let mut buffer = [0; 4096];
    while !enough(&text) {
        // The command writes to its terminal until it ends, and then the read fails: it cannot block for ever.
        let read = ours.read(&mut buffer).unwrap_or(0);
        assert!(read > 0 && begin.elapsed() < Duration::from_secs(30), "{words} has shown only {text:?}");
        text.push_str(&String::from_utf8_lossy(&buffer[..read]));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    text
}

#[test]
fn a_long_job_shows_how_far_it_is() {
    let sized = shown("enumerate 0.0.0.0/0", |text| text.matches('%').count() >= 2);
    assert!(sized.contains('[') && sized.contains("left"), "{sized:?}");
    // Of all of IPv6 no share is ever done: a count must do.
    let endless = shown("enumerate ::/0", |text| text.contains(','));
    assert!(!endless.contains('%'), "{endless:?}");
}

#[test]
fn without_a_terminal_nothing_is_shown() {
    let mut child =
        command("enumerate ::/0").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let begin = Instant::now();
    let mut out = child.stdout.take().unwrap();
    let mut buffer = vec![0; 1 << 16];
    while begin.elapsed() < Duration::from_secs(2) {
        assert!(out.read(&mut buffer).unwrap() > 0);
    }
    drop(out);
    let mut shown = String::new();
    child.stderr.take().unwrap().read_to_string(&mut shown).unwrap();
    assert_eq!((shown.as_str(), child.wait().unwrap().code()), ("", Some(0)));
}
