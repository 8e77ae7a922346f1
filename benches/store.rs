//! The embedded store: beside what a program would do that flushes each file by itself.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use futures::StreamExt;
use serde_json::json;
use support::Bench;
use vipkeeper::api::kind::Kind;
use vipkeeper::store::dir::Dir;
use vipkeeper::store::{Change, Key, Store};

fn manifest(i: usize, interface: &str) -> String {
    format!(
        "apiVersion: vipkeeper.dev/v1alpha1\nkind: VirtualIP\nmetadata: {{name: v{i}, namespace: shop}}\n\
         spec: {{address: 10.{}.{}.{}, interface: {interface}}}\n",
        i / 65_536,
        i / 256 % 256,
        i % 256
    )
}

/// A folder with so many manifests in one file.
fn folder(count: usize) -> tempfile::TempDir {
    // Beside the results, for a temporary folder may be in memory.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let text: Vec<String> = (1..=count).map(|i| manifest(i, "eth0")).collect();
    fs::write(folder.path().join("vips.yaml"), text.join("---\n")).unwrap();
    folder
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// Seconds until all objects are told.
fn start(folder: &Path, count: usize) -> f64 {
    let begin = Instant::now();
    run(async {
        let store = Dir::open(folder, None).unwrap();
        let mut watch = store.watch(Kind::VirtualIP).await.unwrap();
        let Some(Change::Reset(all)) = watch.next().await else { panic!("a watch begins with all there is") };
        assert_eq!(all.len(), count);
    });
    begin.elapsed().as_secs_f64()
}

/// Seconds to write so many files of a kilobyte, each flushed and renamed to its place, and their folder at the end.
fn flush_each(count: usize) -> f64 {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let begin = Instant::now();
    for i in 0..count {
        write_durably(folder.path(), i);
    }
    File::open(folder.path()).unwrap().sync_all().unwrap();
    begin.elapsed().as_secs_f64()
}

fn write_durably(folder: &Path, i: usize) {
    let draft = folder.join("draft");
    let mut file = File::create(&draft).unwrap();
    file.write_all(&[b'x'; 1024]).unwrap();
    file.sync_data().unwrap();
    fs::rename(draft, folder.join(i.to_string())).unwrap();
}

fn starts(bench: &mut Bench) {
    for (count, runs) in [(1_000, 5), (10_000, 1)] {
        let first = format!("first start, {count} VirtualIPs");
        let baseline = "write, flush and rename each";
        bench.compare(&first, "s", runs, || start(folder(count).path(), count), baseline, || flush_each(count));
        let kept = folder(count);
        let again = format!("restart, {count} VirtualIPs");
        if bench.wants(&again) {
            start(kept.path(), count);
            bench.figure(&again, "s", runs, || start(kept.path(), count));
        }
    }
}

/// One file each; the time from the rename of an edited one to the change that tells of it.
fn edits(bench: &mut Bench) {
    let name = "one edit among 10,000 files, told after";
    if !bench.wants(name) {
        return;
    }
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    for i in 1..=10_000 {
        fs::write(folder.path().join(format!("v{i}.yaml")), manifest(i, "eth0")).unwrap();
    }
    let mut times = Vec::new();
    run(async {
        let store = Dir::open(folder.path(), None).unwrap();
        let mut watch = store.watch(Kind::VirtualIP).await.unwrap();
        watch.next().await.unwrap();
        for round in 1..=50 {
            let draft = folder.path().join(".draft");
            fs::write(&draft, manifest(77, &format!("eth{round}"))).unwrap();
            let begin = Instant::now();
            fs::rename(&draft, folder.path().join("v77.yaml")).unwrap();
            let Some(Change::Apply(_)) = watch.next().await else { panic!("the edit is told") };
            times.push(begin.elapsed().as_secs_f64() * 1e3);
        }
    });
    bench.latencies(name, "ms", &times, None);
}

/// One status after the other, each durable before the next.
fn statuses(bench: &mut Bench) {
    let kept = folder(1);
    let plain = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    start(kept.path(), 1);
    let store = Dir::open(kept.path(), None).unwrap();
    let key = Key::namespaced("shop", "v1");
    let mut count = 0;
    bench.compare(
        "a status, durable",
        "ms",
        50,
        || {
            count += 1;
            let begin = Instant::now();
            run(store.apply_status(Kind::VirtualIP, &key, "bench", json!({"observedGeneration": count}))).unwrap();
            begin.elapsed().as_secs_f64() * 1e3
        },
        "write, flush, rename, flush the folder",
        || {
            let begin = Instant::now();
            write_durably(plain.path(), 1);
            File::open(plain.path()).unwrap().sync_all().unwrap();
            begin.elapsed().as_secs_f64() * 1e3
        },
    );
}

fn main() {
    let mut bench = Bench::new("store");
    starts(&mut bench);
    edits(&mut bench);
    statuses(&mut bench);
    bench.finish();
}
