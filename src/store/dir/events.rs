//! What happened to objects: a file of lines each, bounded, for `vipkeeper describe`.
//!
//! A line is appended with one write(2), so that lines of several processes do not mix. An event is no state: two
//! processes that shorten a file at the same time may lose one.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::name;
use super::place::{Place, fault};
use crate::api::kind::Kind;
use crate::store::{Event, EventType, Key, RecordedEvent, StoreError};

/// From this size on, in bytes, a file is shortened.
const LONG: u64 = 32 * 1024;
/// How many lines are left then.
const KEPT: usize = 50;
/// The longest message in bytes, as the API server has it.
const LONGEST_MESSAGE: usize = 1024;

#[derive(Debug, Serialize, Deserialize)]
struct Line {
    at: Timestamp,
    uid: String,
    warning: bool,
    reason: String,
    message: String,
}

fn path(place: &Place, kind: Kind, key: &Key) -> PathBuf {
    place.events(kind).join(name::stem(key))
}

/// Adds an event.
pub(super) fn record(place: &Place, event: &Event, now: Timestamp) -> Result<(), StoreError> {
    let path = path(place, event.kind, &event.key);
    let end = event.message.floor_char_boundary(LONGEST_MESSAGE);
    let line = Line {
        at: now,
        uid: event.uid.clone(),
        warning: event.event_type == EventType::Warning,
        reason: event.reason.to_owned(),
        message: event.message[..end].to_owned(),
    };
    let written = serde_json::to_vec(&line).map_err(io::Error::from).and_then(|mut bytes| {
        bytes.push(b'\n');
        let mut file = fs::OpenOptions::new().append(true).create(true).open(&path)?;
        file.write_all(&bytes)?;
        if file.metadata()?.size() > LONG { shorten(place, &path) } else { Ok(()) }
    });
    written.map_err(|error| fault("write", &path, &error))
}

fn shorten(place: &Place, path: &std::path::Path) -> io::Result<()> {
    let text = fs::read_to_string(path)?;
    let lines: Vec<&str> = text.lines().collect();
    let kept = lines[lines.len().saturating_sub(KEPT)..].join("\n") + "\n";
    let draft = place.draft(&format!("events-{}", super::fresh_id()));
    fs::write(&draft, kept)?;
    fs::rename(&draft, path)
}

/// The events of an object, the oldest first; the same one again is counted, not repeated.
pub(super) fn list(place: &Place, kind: Kind, key: &Key, uid: &str) -> Result<Vec<RecordedEvent>, StoreError> {
    let path = path(place, kind, key);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(fault("read", &path, &error)),
    };
    let mut events: Vec<RecordedEvent> = Vec::new();
    // A line that a killed writer left in half does not parse, and is left out.
    for line in text.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok()).filter(|line| line.uid == uid) {
        let event_type = if line.warning { EventType::Warning } else { EventType::Normal };
        let same = |event: &RecordedEvent| {
            event.event_type == event_type && event.reason == line.reason && event.message == line.message
        };
        let mut event = match events.iter().position(same) {
            Some(at) => events.remove(at),
            None => RecordedEvent {
                event_type,
                reason: line.reason,
                message: line.message,
                first: line.at,
                last: line.at,
                count: 0,
            },
        };
        event.count += 1;
        event.last = line.at;
        events.push(event);
    }
    Ok(events)
}

/// Removes the events of an object that is gone.
pub(super) fn forget(place: &Place, kind: Kind, key: &Key) {
    let _ = fs::remove_file(path(place, kind, key));
}
