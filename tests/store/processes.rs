//! Several processes on one state folder: races, and kill -9 in the middle of writes.
//!
//! A worker is this test program itself, started again for the one test with a variable that says which folder.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use vipkeeper::api::kind::Kind;
use vipkeeper::store::dir::Dir;
use vipkeeper::store::{Key, Object, Store, StoreError};

use crate::support;

const FOLDER: &str = "VIPKEEPER_TEST_FOLDER";
const COUNT: &str = "VIPKEEPER_TEST_COUNT";

fn key() -> Key {
    Key::cluster("counter")
}

/// The folder and the number of writes, if this process is a worker.
fn worker() -> Option<(PathBuf, u64)> {
    let count = std::env::var(COUNT).ok()?.parse().unwrap();
    Some((std::env::var_os(FOLDER)?.into(), count))
}

fn start(test: &str, folder: &Path, count: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("processes::{test}"), "--nocapture"])
        .env(FOLDER, folder)
        .env(COUNT, count.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap(), signal).unwrap();
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

fn value(object: &Object) -> u64 {
    object.body["spec"]["counter"].as_u64().unwrap()
}

async fn make_counter(folder: &Path) -> Dir {
    let store = Dir::open(folder, None).unwrap();
    let body = json!({"metadata": {"name": "counter"}, "spec": {"counter": 0, "padding": "x".repeat(3000)}});
    store.create(Kind::FailoverView, body).await.unwrap();
    store
}

/// Raises the counter so many times by compare-and-swap, and says each success on standard output.
fn raise(folder: &Path, count: u64) {
    run(async {
        let store = Dir::open(folder, None).unwrap();
        for _ in 0..count {
            loop {
                let mut object = store.get(Kind::FailoverView, &key()).await.unwrap().unwrap();
                object.body["spec"]["counter"] = (value(&object) + 1).into();
                match store.replace(Kind::FailoverView, object.body.into()).await {
                    Ok(object) => {
                        // One write each, so that a kill leaves no half line.
                        std::io::stdout().write_all(format!("raised {}\n", value(&object)).as_bytes()).unwrap();
                        break;
                    }
                    Err(StoreError::Conflict { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        }
    });
}

/// The values that a worker has said so far, as it says them.
fn follow(child: &mut Child, said: &Arc<AtomicU64>) -> std::thread::JoinHandle<Vec<u64>> {
    let (reader, said) = (BufReader::new(child.stdout.take().unwrap()), Arc::clone(said));
    std::thread::spawn(move || {
        let mut values = Vec::new();
        for line in reader.lines().map_while(Result::ok) {
            if let Some(value) = line.strip_prefix("raised ") {
                values.push(value.parse().unwrap());
                said.fetch_add(1, Ordering::Relaxed);
            }
        }
        values
    })
}

#[test]
fn of_racing_processes_each_write_counts_once() {
    if let Some((folder, count)) = worker() {
        return raise(&folder, count);
    }
    let folder = tempfile::tempdir().unwrap();
    let store = run(make_counter(folder.path()));
    let said = Arc::new(AtomicU64::new(0));
    let mut children: Vec<Child> =
        (0..4).map(|_| start("of_racing_processes_each_write_counts_once", folder.path(), 50)).collect();
    let readers: Vec<_> = children.iter_mut().map(|child| follow(child, &said)).collect();
    assert!(children.iter_mut().all(|child| child.wait().unwrap().success()));
    let mut values: Vec<u64> = readers.into_iter().flat_map(|reader| reader.join().unwrap()).collect();
    values.sort_unstable();
    assert_eq!(values, (1..=200).collect::<Vec<u64>>(), "no two processes made the same step");
    let object = run(store.get(Kind::FailoverView, &key())).unwrap().unwrap();
    assert_eq!(value(&object), 200);
}

#[test]
fn a_kill_in_the_middle_of_a_write_loses_nothing() {
    if let Some((folder, count)) = worker() {
        return raise(&folder, count);
    }
    let folder = tempfile::tempdir().unwrap();
    let store = run(make_counter(folder.path()));
    let said = Arc::new(AtomicU64::new(0));
    let mut told = Vec::new();
    for round in 0..12_u64 {
        let before = said.load(Ordering::Relaxed);
        let mut children: Vec<Child> =
            (0..2).map(|_| start("a_kill_in_the_middle_of_a_write_loses_nothing", folder.path(), u64::MAX)).collect();
        let readers: Vec<_> = children.iter_mut().map(|child| follow(child, &said)).collect();
        support::wait_until(Duration::from_secs(30), "writes", || said.load(Ordering::Relaxed) > before + 5);
        // Another moment of the write each time.
        std::thread::sleep(Duration::from_micros(137 * round));
        children.iter().for_each(|child| signal(child, Signal::KILL));
        children.iter_mut().for_each(|child| _ = child.wait().unwrap());
        told.extend(readers.into_iter().flat_map(|reader| reader.join().unwrap()));
        let object = run(store.get(Kind::FailoverView, &key())).unwrap().expect("the object is whole");
        let highest = told.iter().copied().max().unwrap();
        assert!(value(&object) >= highest, "what was told done is done: {} < {highest}", value(&object));
        assert!(value(&object) <= highest + 2, "and no more than what was under way");
    }
    let steps = told.len();
    told.sort_unstable();
    told.dedup();
    assert_eq!(told.len(), steps, "no step was made twice");
    // A fresh process clears what the killed ones left, and sees the same.
    let other = Dir::open(folder.path(), None).unwrap();
    let (one, two) = (run(store.get(Kind::FailoverView, &key())), run(other.get(Kind::FailoverView, &key())));
    assert_eq!(one.unwrap(), two.unwrap());
    let versions = std::fs::read_dir(folder.path().join(".vipkeeper/views")).unwrap().count();
    assert_eq!(versions, 1, "one version is kept");
}

#[test]
fn a_stopped_process_holds_up_nobody_and_wins_nothing_late() {
    if let Some((folder, count)) = worker() {
        return raise(&folder, count);
    }
    let folder = tempfile::tempdir().unwrap();
    let store = run(make_counter(folder.path()));
    let said = Arc::new(AtomicU64::new(0));
    let mut child = start("a_stopped_process_holds_up_nobody_and_wins_nothing_late", folder.path(), u64::MAX);
    let reader = follow(&mut child, &said);
    let mut ours = Vec::new();
    for round in 0..20_u64 {
        let before = said.load(Ordering::Relaxed);
        support::wait_until(Duration::from_secs(30), "writes", || said.load(Ordering::Relaxed) > before + 1);
        std::thread::sleep(Duration::from_micros(211 * round));
        signal(&child, Signal::STOP);
        for _ in 0..3 {
            let mut object = run(store.get(Kind::FailoverView, &key())).unwrap().unwrap();
            object.body["spec"]["counter"] = (value(&object) + 1).into();
            // The stopped one may have committed its last step between our look and our write, never hold it up.
            match run(store.replace(Kind::FailoverView, object.body.into())) {
                Ok(object) => ours.push(value(&object)),
                Err(StoreError::Conflict { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
        signal(&child, Signal::CONT);
    }
    assert!(ours.len() >= 59, "a stopped process holds up nobody: {}", ours.len());
    signal(&child, Signal::KILL);
    child.wait().unwrap();
    let mut all = reader.join().unwrap();
    all.extend(&ours);
    let steps = all.len();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), steps, "no step was made twice");
    let end = value(&run(store.get(Kind::FailoverView, &key())).unwrap().unwrap());
    assert!(end as usize >= steps && end as usize <= steps + 1, "{end} after {steps} steps");
}
