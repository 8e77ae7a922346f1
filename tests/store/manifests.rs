//! From files to objects: what a user's editor does to a directory, and what the store makes of it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::BoxStream;
use serde_json::json;
use tempfile::TempDir;
use vipkeeper::api::kind::Kind;
use vipkeeper::store::dir::Dir;
use vipkeeper::store::{Change, Key, Object, SharedStore};

/// How long the store may take to say what it must say.
const LIMIT: Duration = Duration::from_secs(10);
/// For how long it must say nothing where nothing is to be said: longer than an editor may take.
const QUIET: Duration = Duration::from_millis(500);

/// A directory of manifests and the store of it.
struct Desk {
    folder: TempDir,
    store: SharedStore,
    watch: BoxStream<'static, Change>,
    first: Vec<Object>,
}

impl Desk {
    /// Opens the store of these files.
    async fn new(files: &[(&str, String)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::create_dir_all(folder.path().join(name).parent().unwrap()).unwrap();
            fs::write(folder.path().join(name), text).unwrap();
        }
        Self::open(folder, Kind::VirtualIP).await
    }

    async fn open(folder: TempDir, kind: Kind) -> Self {
        let store: SharedStore = Arc::new(Dir::open(folder.path(), None).unwrap());
        let mut watch = store.watch(kind).await.unwrap();
        let Some(Change::Reset(first)) = watch.next().await else { panic!("a watch begins with all there is") };
        Self { folder, store, watch, first }
    }

    /// The same directory after a restart.
    async fn again(self) -> Self {
        drop((self.watch, self.store));
        Self::open(self.folder, Kind::VirtualIP).await
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: impl AsRef<str>) {
        fs::write(self.path(name), text.as_ref()).unwrap();
    }

    /// As careful editors save: a new file beside it takes its place.
    fn rename_over(&self, name: &str, text: impl AsRef<str>) {
        let beside = self.path(&format!(".{name}.new"));
        fs::write(&beside, text.as_ref()).unwrap();
        fs::rename(beside, self.path(name)).unwrap();
    }

    async fn next(&mut self) -> Change {
        tokio::time::timeout(LIMIT, self.watch.next()).await.expect("the watch says something").unwrap()
    }

    async fn applied(&mut self) -> Object {
        match self.next().await {
            Change::Apply(object) => object,
            other => panic!("instead of an object: {other:?}"),
        }
    }

    async fn refused(&mut self) -> String {
        match self.next().await {
            Change::Invalid { reason, .. } => reason,
            other => panic!("instead of an error: {other:?}"),
        }
    }

    /// Sees that nothing is said for a while.
    async fn quiet(&mut self) {
        if let Ok(change) = tokio::time::timeout(QUIET, self.watch.next()).await {
            panic!("nothing was to be said: {change:?}");
        }
    }

    /// Sees that no object goes or changes its identity for a while, whatever else is said of it.
    async fn same(&mut self, uid: &str) {
        while let Ok(change) = tokio::time::timeout(QUIET, self.watch.next()).await {
            match change {
                Some(Change::Apply(object)) if object.uid() == uid && object.body["metadata"]["generation"] == 1 => {}
                other => panic!("the object was to stay the same: {other:?}"),
            }
        }
    }

    async fn get(&self, name: &str) -> Option<Object> {
        self.store.get(Kind::VirtualIP, &key(name)).await.unwrap()
    }
}

fn key(name: &str) -> Key {
    Key::namespaced("shop", name)
}

fn vip(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: vipkeeper.dev/v1alpha1\nkind: VirtualIP\nmetadata: {{name: {name}, namespace: shop}}\nspec: {{{spec}}}\n"
    )
}

fn pool(name: &str, range: &str) -> String {
    format!(
        "apiVersion: vipkeeper.dev/v1alpha1\nkind: AddressPool\nmetadata: {{name: {name}}}\nspec: {{ranges: [{range}]}}\n"
    )
}

fn names(objects: &[Object]) -> Vec<&str> {
    objects.iter().map(|object| object.key.name.as_str()).collect()
}

/// Everything below a folder but the state, with its content.
fn snapshot(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.ends_with(".vipkeeper") {
                continue;
            }
            if entry.is_dir() {
                folders.push(entry);
            } else {
                found.push((entry.clone(), fs::read(entry).unwrap()));
            }
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn what_is_there_at_the_start_is_in_the_first_word_and_the_files_stay_as_they_are() {
    let files =
        [("web.yaml", vip("web", "address: 192.0.2.1")), ("sub/two.yml", vip("two", "") + "---\n" + &vip("three", ""))];
    let desk = Desk::new(&files).await;
    assert_eq!(names(&desk.first), ["three", "two", "web"]);
    let mut found: Vec<_> = snapshot(desk.folder.path());
    found.retain(|(_, content)| !files.iter().any(|(_, text)| text.as_bytes() == content));
    assert_eq!(found, [], "the store writes nothing among the manifests");
    let object = desk.get("two").await.unwrap();
    assert_eq!(object.body["spec"]["failback"], "Never", "defaults are filled in: {}", object.body);
}

#[tokio::test]
async fn a_file_that_comes_changes_is_replaced_and_goes() {
    let mut desk = Desk::new(&[]).await;
    desk.write("web.yaml", vip("web", "address: 192.0.2.1"));
    let made = desk.applied().await;
    assert_eq!(made.body["spec"]["address"], "192.0.2.1");
    desk.write("web.yaml", vip("web", "address: 192.0.2.1, interface: eth1"));
    let edited = desk.applied().await;
    assert_eq!((edited.uid(), &edited.body["spec"]["interface"]), (made.uid(), &json!("eth1")));
    assert_eq!(edited.body["metadata"]["generation"], 2);
    desk.rename_over("web.yaml", vip("web", "address: 192.0.2.1, interface: eth2"));
    let replaced = desk.applied().await;
    assert_eq!((replaced.uid(), &replaced.body["spec"]["interface"]), (made.uid(), &json!("eth2")));
    fs::remove_file(desk.path("web.yaml")).unwrap();
    assert_eq!(desk.next().await, Change::Delete(key("web")));
    assert_eq!(desk.get("web").await, None);
}

#[tokio::test]
async fn folders_that_come_and_go_are_seen() {
    let mut desk = Desk::new(&[]).await;
    fs::create_dir_all(desk.path("a/b")).unwrap();
    desk.write("a/b/web.yaml", vip("web", ""));
    let made = desk.applied().await;
    fs::rename(desk.path("a"), desk.path("c")).unwrap();
    desk.same(made.uid()).await;
    desk.write("c/b/web.yaml", vip("web", "interface: eth1"));
    desk.applied().await;
    fs::remove_dir_all(desk.path("c")).unwrap();
    assert_eq!(desk.next().await, Change::Delete(key("web")));
}

#[tokio::test]
async fn an_editor_that_saves_deletes_nothing() {
    let mut desk = Desk::new(&[("web.yaml", vip("web", "interface: eth0"))]).await;
    let made = desk.first[0].clone();
    // As vim saves with a backup: the old file goes aside, a new one is written, the old one is removed.
    fs::write(desk.path(".web.yaml.swp"), "b0VIM").unwrap();
    fs::rename(desk.path("web.yaml"), desk.path("web.yaml~")).unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    desk.write("web.yaml", vip("web", "interface: eth1"));
    fs::remove_file(desk.path("web.yaml~")).unwrap();
    let saved = desk.applied().await;
    assert_eq!((saved.uid(), &saved.body["spec"]["interface"]), (made.uid(), &json!("eth1")));
    for junk in ["#web.yaml#", ".#web.yaml", "web.yaml.orig", "4913", "README.md"] {
        desk.write(junk, vip("junk", ""));
    }
    desk.quiet().await;
}

#[tokio::test]
async fn a_file_is_read_when_its_writer_closes_it() {
    let mut desk = Desk::new(&[("web.yaml", vip("web", "interface: eth0"))]).await;
    let mut file = fs::File::create(desk.path("web.yaml")).unwrap();
    desk.quiet().await;
    let text = vip("web", "interface: eth1") + "---\n" + &vip("two", "");
    file.write_all(&text.as_bytes()[..text.len() / 2]).unwrap();
    desk.quiet().await;
    assert!(desk.get("web").await.is_some(), "an empty file that is being written deletes nothing");
    file.write_all(&text.as_bytes()[text.len() / 2..]).unwrap();
    drop(file);
    let mut seen = [desk.applied().await, desk.applied().await];
    seen.sort_by(|one, other| one.key.cmp(&other.key));
    assert_eq!(names(&seen), ["two", "web"]);
    assert_eq!(seen[1].uid(), desk.first[0].uid());
}

#[tokio::test]
async fn what_is_wrong_is_said_and_what_was_accepted_stays() {
    let mut desk = Desk::new(&[("web.yaml", vip("web", "address: 192.0.2.1") + "---\n" + &vip("two", ""))]).await;
    desk.write("web.yaml", vip("web", "address: 192.0.2.1, burst: 3") + "---\n" + &vip("two", "interface: eth1"));
    let mut changes = [desk.next().await, desk.next().await];
    changes.sort_by_key(|change| matches!(change, Change::Invalid { .. }));
    let Change::Apply(two) = &changes[0] else { panic!("the good document is accepted: {changes:?}") };
    assert_eq!(two.body["spec"]["interface"], "eth1");
    let Change::Invalid { key: Some(at), reason } = &changes[1] else { panic!("the bad one is refused: {changes:?}") };
    assert_eq!(*at, key("web"));
    assert!(reason.contains("web.yaml:4") && reason.contains("spec.burst"), "{reason}");
    desk.write("web.yaml", "{");
    let reason = desk.refused().await;
    assert!(reason.contains("web.yaml:1"), "{reason}");
    desk.quiet().await;
    assert_eq!(names(&desk.store.list(Kind::VirtualIP).await.unwrap()), ["two", "web"]);
    // A watch that comes later is told as well.
    let mut late = desk.store.watch(Kind::VirtualIP).await.unwrap();
    assert!(matches!(late.next().await, Some(Change::Reset(_))));
    assert_eq!(late.next().await, Some(Change::Invalid { key: None, reason }));
    desk.write("web.yaml", vip("web", "address: 192.0.2.1, interface: eth3"));
    assert_eq!(desk.applied().await.body["spec"]["interface"], "eth3");
    assert_eq!(desk.next().await, Change::Delete(key("two")));
}

#[tokio::test]
async fn an_address_stays_as_it_was_accepted() {
    let mut desk = Desk::new(&[("web.yaml", vip("web", "address: 192.0.2.1"))]).await;
    desk.write("web.yaml", vip("web", "address: 192.0.2.2"));
    let reason = desk.refused().await;
    assert!(reason.contains("spec.address") && reason.contains("immutable"), "{reason}");
    let stored = desk.get("web").await.unwrap();
    assert_eq!(stored.body["spec"]["address"], "192.0.2.1");
    let events = desk.store.events(&stored).await.unwrap();
    assert!(events.iter().any(|event| event.reason == "ManifestRefused" && event.message == reason), "{events:?}");
    desk.write("web.yaml", vip("web", "address: 192.0.2.1, interface: eth1"));
    assert_eq!(desk.applied().await.body["spec"]["interface"], "eth1");
}

#[tokio::test]
async fn a_file_that_cannot_be_read_deletes_nothing() {
    let mut desk = Desk::new(&[("web.yaml", vip("web", ""))]).await;
    fs::remove_file(desk.path("web.yaml")).unwrap();
    std::os::unix::fs::symlink("web.yaml", desk.path("web.yaml")).unwrap();
    assert!(desk.refused().await.contains("cannot be read"));
    desk.quiet().await;
    assert!(desk.get("web").await.is_some());
    fs::remove_file(desk.path("web.yaml")).unwrap();
    assert_eq!(desk.next().await, Change::Delete(key("web")));
}

#[tokio::test]
async fn a_directory_that_goes_and_returns_changes_nothing() {
    let desk = Desk::new(&[("web.yaml", vip("web", ""))]).await;
    let root = desk.folder.path().to_owned();
    let state = tempfile::tempdir().unwrap();
    let store: SharedStore = Arc::new(Dir::open(&root, Some(state.path())).unwrap());
    let mut desk = Desk { watch: store.watch(Kind::VirtualIP).await.unwrap(), store, ..desk };
    let Change::Reset(first) = desk.next().await else { panic!("a watch begins with all there is") };
    let aside = root.with_extension("aside");
    fs::rename(&root, &aside).unwrap();
    assert!(desk.refused().await.contains("cannot be read"));
    desk.quiet().await;
    fs::rename(&aside, &root).unwrap();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    desk.write("web.yaml", vip("web", "interface: eth1"));
    assert_eq!(desk.applied().await.uid(), first[0].uid());
}

#[tokio::test]
async fn an_object_with_finalizers_goes_when_the_last_one_does() {
    let mut desk = Desk::new(&[("web.yaml", vip("web", ""))]).await;
    let patch = |operations| serde_json::from_value::<json_patch::Patch>(operations).unwrap();
    let add = patch(json!([{"op": "add", "path": "/metadata/finalizers", "value": ["vipkeeper.dev/release"]}]));
    let remove = patch(json!([{"op": "remove", "path": "/metadata/finalizers"}]));
    let made = desk.store.patch(Kind::VirtualIP, &key("web"), &add).await.unwrap();
    assert_eq!(desk.applied().await, made);
    fs::remove_file(desk.path("web.yaml")).unwrap();
    let going = desk.applied().await;
    assert!(!going.meta("deletionTimestamp").is_empty());
    // The manifest returns too late for this object; it is made anew when this one is gone.
    desk.write("web.yaml", vip("web", "interface: eth1"));
    desk.quiet().await;
    desk.store.patch(Kind::VirtualIP, &key("web"), &remove).await.unwrap();
    let mut change = desk.next().await;
    if change == Change::Delete(key("web")) {
        change = desk.next().await;
    }
    let Change::Apply(anew) = change else { panic!("{change:?}") };
    assert_ne!(anew.uid(), made.uid());
    assert_eq!(anew.body["spec"]["interface"], "eth1");
}

#[tokio::test]
async fn of_two_manifests_of_one_object_the_first_accepted_is_in_force() {
    let mut desk = Desk::new(&[("b.yaml", vip("web", "interface: eth1"))]).await;
    desk.write("a.yaml", vip("web", "interface: eth2"));
    let reason = desk.refused().await;
    assert!(reason.contains("a.yaml:3") && reason.contains("stands twice") && reason.contains("b.yaml"), "{reason}");
    assert_eq!(desk.get("web").await.unwrap().body["spec"]["interface"], "eth1");
    let mut desk = desk.again().await;
    assert!(desk.refused().await.contains("a.yaml:3"), "the same after a restart");
    assert_eq!(desk.first[0].body["spec"]["interface"], "eth1");
    fs::remove_file(desk.path("b.yaml")).unwrap();
    let other = desk.applied().await;
    assert_eq!((other.uid(), &other.body["spec"]["interface"]), (desk.first[0].uid(), &json!("eth2")));
    desk.quiet().await;
}

#[tokio::test]
async fn a_manifest_that_moves_to_another_file_is_the_same_object() {
    let mut desk = Desk::new(&[("b.yaml", vip("web", ""))]).await;
    let uid = desk.first[0].uid().to_owned();
    fs::rename(desk.path("b.yaml"), desk.path("a.yaml")).unwrap();
    desk.same(&uid).await;
    desk.write("a.yaml", vip("web", "interface: eth1"));
    assert_eq!(desk.applied().await.uid(), uid);
    let Desk { folder, store, watch, .. } = desk;
    drop((watch, store));
    fs::rename(folder.path().join("a.yaml"), folder.path().join("c.yaml")).unwrap();
    let mut desk = Desk::open(folder, Kind::VirtualIP).await;
    assert_eq!((names(&desk.first), desk.first[0].uid()), (vec!["web"], uid.as_str()));
    desk.quiet().await;
}

#[tokio::test]
async fn pools_that_overlap_are_refused_whoever_is_edited() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("one.yaml"), pool("one", "192.0.2.0/25")).unwrap();
    fs::write(folder.path().join("two.yaml"), pool("two", "192.0.2.128/25")).unwrap();
    let mut desk = Desk::open(folder, Kind::AddressPool).await;
    assert_eq!(names(&desk.first), ["one", "two"]);
    desk.write("one.yaml", pool("one", "192.0.2.0/24"));
    let reason = desk.refused().await;
    assert!(reason.contains("one.yaml:4") && reason.contains("spec.ranges"), "{reason}");
    desk.quiet().await;
    let one = desk.store.get(Kind::AddressPool, &Key::cluster("one")).await.unwrap().unwrap();
    assert_eq!(one.body["spec"]["ranges"], json!(["192.0.2.0/25"]));
    fs::remove_file(desk.path("two.yaml")).unwrap();
    let mut changes = [desk.next().await, desk.next().await];
    changes.sort_by_key(|change| matches!(change, Change::Delete(_)));
    assert_eq!(changes[1], Change::Delete(Key::cluster("two")));
    let Change::Apply(one) = &changes[0] else { panic!("{changes:?}") };
    assert_eq!(one.body["spec"]["ranges"], json!(["192.0.2.0/24"]), "nothing is in its way now");
}

#[tokio::test]
async fn identity_order_and_status_outlive_a_restart() {
    let desk = Desk::new(&[("b.yaml", vip("b", "")), ("c.yaml", vip("c", ""))]).await;
    let status = json!({"address": "192.0.2.1"});
    desk.store.apply_status(Kind::VirtualIP, &key("b"), "controller", status).await.unwrap();
    desk.write("a.yaml", vip("a", ""));
    let mut desk = desk.again().await;
    assert_eq!(names(&desk.first), ["a", "b", "c"]);
    let mut by_age = desk.first.clone();
    by_age.sort_by_key(|object| object.parse::<vipkeeper::api::VirtualIP>().unwrap().metadata.creation_timestamp);
    assert_eq!(names(&by_age), ["b", "c", "a"], "the order in which they were seen first");
    assert_eq!(desk.first[1].body["status"]["address"], "192.0.2.1");
    let other = desk.store.apply_status(Kind::VirtualIP, &key("b"), "controller", json!({})).await.unwrap();
    assert_eq!(other.body["status"]["address"], json!(null), "who owns what of a status is kept as well");
    assert_eq!(desk.applied().await, other);
    fs::remove_file(desk.path("a.yaml")).unwrap();
    let mut desk = desk.again().await;
    if names(&desk.first).contains(&"a") {
        assert_eq!(desk.next().await, Change::Delete(key("a")), "what went while nobody looked is deleted");
    }
    assert_eq!(names(&desk.store.list(Kind::VirtualIP).await.unwrap()), ["b", "c"]);
}

#[tokio::test]
async fn a_mounted_config_map_is_replaced_as_a_whole() {
    let folder = tempfile::tempdir().unwrap();
    let version = |name: &str, interface: &str| {
        fs::create_dir(folder.path().join(name)).unwrap();
        let text = vip("web", &format!("interface: {interface}"));
        fs::write(folder.path().join(name).join("web.yaml"), text).unwrap();
    };
    version("..v1", "eth1");
    std::os::unix::fs::symlink("..v1", folder.path().join("..data")).unwrap();
    std::os::unix::fs::symlink("..data/web.yaml", folder.path().join("web.yaml")).unwrap();
    version("..v2", "eth2");
    let mut desk = Desk::open(folder, Kind::VirtualIP).await;
    std::os::unix::fs::symlink("..v2", desk.path("..tmp")).unwrap();
    fs::rename(desk.path("..tmp"), desk.path("..data")).unwrap();
    let edited = desk.applied().await;
    assert_eq!((edited.uid(), &edited.body["spec"]["interface"]), (desk.first[0].uid(), &json!("eth2")));
}

#[tokio::test]
async fn an_edit_of_what_a_link_leads_to_is_seen() {
    let elsewhere = tempfile::tempdir().unwrap();
    let target = elsewhere.path().join("web.txt");
    fs::write(&target, vip("web", "interface: eth1")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(&target, folder.path().join("web.yaml")).unwrap();
    let mut desk = Desk::open(folder, Kind::VirtualIP).await;
    for interface in ["eth2", "eth3"] {
        fs::write(&target, vip("web", &format!("interface: {interface}"))).unwrap();
        assert_eq!(desk.applied().await.body["spec"]["interface"], interface);
    }
}

#[tokio::test]
async fn several_stores_of_one_directory_agree() {
    let folder = tempfile::tempdir().unwrap();
    for i in 0..40 {
        fs::write(folder.path().join(format!("v{i}.yaml")), vip(&format!("v{i}"), "")).unwrap();
    }
    let stores: Vec<SharedStore> =
        (0..3).map(|_| Arc::new(Dir::open(folder.path(), None).unwrap()) as SharedStore).collect();
    let watches = futures::future::join_all(stores.iter().map(|store| store.watch(Kind::VirtualIP))).await;
    let mut watches: Vec<_> = watches.into_iter().map(Result::unwrap).collect();
    for i in 0..40 {
        fs::write(folder.path().join(format!("v{i}.yaml")), vip(&format!("v{i}"), "interface: eth1")).unwrap();
    }
    fs::remove_file(folder.path().join("v0.yaml")).unwrap();
    let mut views = Vec::new();
    for watch in &mut watches {
        let mut seen = std::collections::BTreeMap::new();
        let settled = |seen: &std::collections::BTreeMap<Key, Object>| {
            seen.len() == 39 && seen.values().all(|object| object.body["spec"]["interface"] == "eth1")
        };
        let limit = Instant::now() + LIMIT;
        while !settled(&seen) {
            let left = limit.saturating_duration_since(Instant::now());
            match tokio::time::timeout(left, watch.next()).await.expect("the stores come to agree").unwrap() {
                Change::Reset(all) => seen = all.into_iter().map(|object| (object.key.clone(), object)).collect(),
                Change::Apply(object) => {
                    let version = |object: &Object| object.resource_version().parse::<u64>().unwrap();
                    let before = seen.insert(object.key.clone(), object.clone());
                    assert!(before.is_none_or(|before| version(&before) < version(&object)), "versions only rise");
                }
                Change::Delete(key) => _ = seen.remove(&key),
                other => panic!("{other:?}"),
            }
        }
        views.push(seen);
    }
    assert!(views.windows(2).all(|pair| pair[0] == pair[1]));
    assert!(views[0].values().all(|object| object.body["metadata"]["generation"] == 2), "each edit counts once");
}
