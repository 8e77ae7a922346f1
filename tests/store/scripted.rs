//! What an API server does that a healthy one cannot be brought to do on demand: it is too busy, it has forgotten the
//! version that a watch asks for, it says nothing for longer than it may. A server of a few lines says it instead.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::StreamExt;
use serde_json::{Value, json};
use vipkeeper::api::kind::Kind;
use vipkeeper::store::k8s::Kubernetes;
use vipkeeper::store::{Change, Key, Store, StoreError};

/// What the server answers to a request.
enum Answer {
    /// A status code and a body.
    Body(u16, Value),
    /// The lines of a watch, after which the connection stays open and silent.
    Lines(Vec<Value>),
    /// The lines of a watch, after which it ends.
    End(Vec<Value>),
}

/// A server on loopback; `script` gives the answer to the n-th request, from 0, with its method and path.
struct Server {
    kubeconfig: PathBuf,
    asked: Arc<Mutex<Vec<String>>>,
    _folder: tempfile::TempDir,
}

impl Server {
    fn start(script: impl Fn(usize, &str) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let folder = tempfile::tempdir().unwrap();
        let kubeconfig = folder.path().join("kubeconfig");
        let text = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": url}}],
            "users": [{"name": "test", "user": {"token": "TOKEN"}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        });
        std::fs::write(&kubeconfig, text.to_string()).unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (seen, script) = (Arc::clone(&asked), Arc::new(script));
        std::thread::spawn(move || {
            for connection in listener.incoming().map_while(Result::ok) {
                let (seen, script) = (Arc::clone(&seen), Arc::clone(&script));
                std::thread::spawn(move || serve(connection, &seen, &*script));
            }
        });
        Self { kubeconfig, asked, _folder: folder }
    }

    async fn store(&self) -> Kubernetes {
        Kubernetes::connect(Some(&self.kubeconfig), None).await.unwrap()
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn serve(connection: TcpStream, seen: &Mutex<Vec<String>>, script: &(impl Fn(usize, &str) -> Answer + ?Sized)) {
    let mut reader = BufReader::new(connection.try_clone().unwrap());
    let mut connection = connection;
    loop {
        let mut first = String::new();
        if reader.read_line(&mut first).unwrap_or(0) == 0 {
            return;
        }
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            if line.trim().is_empty() {
                break;
            }
            if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        reader.read_exact(&mut vec![0; length]).unwrap();
        let request = first.trim_end_matches(" HTTP/1.1\r\n").to_owned();
        let number = {
            let mut seen = seen.lock().unwrap();
            seen.push(request.clone());
            seen.len() - 1
        };
        match script(number, &request) {
            Answer::Body(code, body) => {
                let body = body.to_string();
                let head = format!(
                    "HTTP/1.1 {code} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                    body.len()
                );
                connection.write_all(head.as_bytes()).unwrap();
                connection.write_all(body.as_bytes()).unwrap();
            }
            answer @ (Answer::Lines(_) | Answer::End(_)) => {
                connection.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").unwrap();
                let (lines, ends) = match answer {
                    Answer::Lines(lines) => (lines, false),
                    Answer::End(lines) => (lines, true),
                    Answer::Body(..) => unreachable!("matched before"),
                };
                for line in lines {
                    let line = format!("{line}\n");
                    connection.write_all(format!("{:x}\r\n{line}\r\n", line.len()).as_bytes()).unwrap();
                }
                if ends {
                    connection.write_all(b"0\r\n\r\n").unwrap();
                }
            }
        }
    }
}

fn vip(name: &str, version: u32) -> Value {
    json!({
        "apiVersion": "vipkeeper.dev/v1alpha1", "kind": "VirtualIP",
        "metadata": {"name": name, "namespace": "shop", "uid": name, "resourceVersion": version.to_string()}, "spec": {},
    })
}

fn list(version: u32, items: Vec<Value>) -> Answer {
    Answer::Body(200, json!({"metadata": {"resourceVersion": version.to_string()}, "items": items}))
}

fn status(code: u16, reason: &str, details: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code, "reason": reason,
        "message": format!("{reason} it is"), "details": details,
    })
}

fn event(what: &str, object: Value) -> Value {
    json!({"type": what, "object": object})
}

#[tokio::test]
async fn a_version_that_is_forgotten_is_listed_anew() {
    for as_answer in [true, false] {
        let gone = status(410, "Expired", json!({}));
        let server = Server::start(move |number, _| match number {
            0 => list(5, vec![vip("a", 3), vip("b", 4)]),
            1 => Answer::End(vec![event("ADDED", vip("c", 7))]),
            2 if as_answer => Answer::Body(410, gone.clone()),
            2 => Answer::Lines(vec![event("ERROR", gone.clone())]),
            3 => list(90, vec![vip("b", 80)]),
            _ => Answer::Lines(vec![event("DELETED", vip("b", 91))]),
        });
        let mut watch = server.store().await.watch(Kind::VirtualIP).await.unwrap();
        let mut told = Vec::new();
        for _ in 0..4 {
            told.push(match watch.next().await.unwrap() {
                Change::Reset(all) => format!("reset {}", all.iter().map(|o| o.key.name.as_str()).collect::<String>()),
                Change::Apply(object) => format!("apply {}", object.key.name),
                Change::Delete(key) => format!("delete {}", key.name),
                other => panic!("{other:?}"),
            });
        }
        assert_eq!(told, ["reset ab", "apply c", "reset b", "delete b"]);
        let asked = server.asked();
        assert!(asked[1].contains("resourceVersion=5"), "from the list's version on: {}", asked[1]);
        assert!(asked[2].contains("resourceVersion=7"), "from the last version seen on: {}", asked[2]);
        assert!(asked[4].contains("resourceVersion=90"), "{}", asked[4]);
    }
}

#[tokio::test]
async fn a_bookmark_moves_the_version_on() {
    let server = Server::start(|number, _| match number {
        0 => list(5, Vec::new()),
        1 => Answer::End(vec![event("BOOKMARK", vip("", 70))]),
        _ => Answer::Lines(vec![event("ADDED", vip("a", 71))]),
    });
    let mut watch = server.store().await.watch(Kind::VirtualIP).await.unwrap();
    assert_eq!(watch.next().await, Some(Change::Reset(Vec::new())));
    assert!(matches!(watch.next().await, Some(Change::Apply(_))));
    assert!(server.asked()[2].contains("resourceVersion=70"), "{:?}", server.asked());
}

#[tokio::test]
async fn a_connection_whose_other_end_is_gone_is_made_again() {
    let server = Server::start(|number, _| match number {
        0 => list(5, vec![vip("a", 3)]),
        // It says nothing more, and never ends.
        1 => Answer::Lines(vec![event("MODIFIED", vip("a", 6))]),
        _ => Answer::Lines(vec![event("MODIFIED", vip("a", 7))]),
    });
    let store = server.store().await.with_silence(Duration::from_millis(300));
    let mut watch = store.watch(Kind::VirtualIP).await.unwrap();
    assert!(matches!(watch.next().await, Some(Change::Reset(_))));
    for version in ["6", "7"] {
        let Some(Change::Apply(object)) = watch.next().await else { panic!("a change, and nothing is lost") };
        assert_eq!(object.resource_version(), version);
    }
    assert!(server.asked()[2].contains("resourceVersion=6"), "{:?}", server.asked());
}

#[tokio::test]
async fn an_object_of_a_strange_shape_stops_no_other() {
    let strange =
        json!({"metadata": {"name": "odd", "namespace": "shop", "resourceVersion": "8"}, "spec": 7, "status": []});
    let server = Server::start(move |number, _| match number {
        0 => list(5, vec![strange.clone(), vip("a", 3)]),
        _ => Answer::Lines(vec![event("MODIFIED", strange.clone()), event("MODIFIED", vip("a", 9))]),
    });
    let mut watch = server.store().await.watch(Kind::VirtualIP).await.unwrap();
    let Some(Change::Reset(all)) = watch.next().await else { panic!("a watch begins with all there is") };
    assert_eq!(all.len(), 2);
    let parsed = all.iter().map(|object| object.parse::<vipkeeper::api::VirtualIP>());
    let (good, bad): (Vec<_>, Vec<_>) = parsed.partition(Result::is_ok);
    assert_eq!((good.len(), bad.len()), (1, 1));
    assert!(matches!(bad[0], Err(StoreError::Malformed { .. })), "{bad:?}");
    for _ in 0..2 {
        assert!(matches!(watch.next().await, Some(Change::Apply(_))));
    }
}

#[tokio::test]
async fn a_server_that_is_too_busy_is_left_alone_for_as_long_as_it_says() {
    let server = Server::start(|number, _| match number {
        0 | 1 => Answer::Body(429, status(429, "TooManyRequests", json!({"retryAfterSeconds": 1}))),
        _ => Answer::Body(201, vip("a", 3)),
    });
    let start = Instant::now();
    server.store().await.create(Kind::VirtualIP, vip("a", 0)).await.unwrap();
    assert!(start.elapsed() >= Duration::from_secs(2), "{:?}", start.elapsed());
    assert_eq!(server.asked().len(), 3);
}

#[tokio::test]
async fn a_patch_that_loses_a_race_is_made_again_and_one_whose_test_fails_is_not() {
    let patch: json_patch::Patch =
        serde_json::from_value(json!([{"op": "test", "path": "/spec", "value": {}}])).unwrap();
    let key = Key::namespaced("shop", "a");
    let details = json!({"name": "a"});
    let conflict = status(409, "Conflict", details.clone());
    let server = Server::start(move |number, _| match number {
        0 | 1 => Answer::Body(409, conflict.clone()),
        _ => Answer::Body(200, vip("a", 3)),
    });
    server.store().await.patch(Kind::VirtualIP, &key, &patch).await.unwrap();
    assert_eq!(server.asked().len(), 3);
    let invalid = status(422, "Invalid", json!({}));
    let server = Server::start(move |_, _| Answer::Body(422, invalid.clone()));
    let failed = server.store().await.patch(Kind::VirtualIP, &key, &patch).await;
    assert!(matches!(failed, Err(StoreError::TestFailed { .. })), "{failed:?}");
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn what_is_not_allowed_and_what_is_not_installed_are_said() {
    let denied = status(403, "Forbidden", json!({"kind": "virtualips"}));
    let server = Server::start(move |_, _| Answer::Body(403, denied.clone()));
    let store = server.store().await;
    let error = store.list(Kind::VirtualIP).await.unwrap_err();
    assert!(matches!(error, StoreError::Forbidden(_)), "{error:?}");
    let mut watch = store.watch(Kind::VirtualIP).await.unwrap();
    assert!(matches!(watch.next().await, Some(Change::Lost(reason)) if reason.contains("not allowed")));
    let missing = status(404, "NotFound", json!({}));
    let server = Server::start(move |_, _| Answer::Body(404, missing.clone()));
    let store = server.store().await;
    let error = store.get(Kind::VirtualIP, &Key::namespaced("shop", "a")).await.unwrap_err();
    assert!(error.to_string().contains("vipkeeper crds"), "{error}");
}
