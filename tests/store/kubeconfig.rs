//! Ways to an API server: kubeconfig files in every form that kubectl reads, and what they send along as who asks.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use crate::support::process::VIPKEEPER;

/// An API server without objects, which remembers who asked: the `authorization` field of each request.
struct Server {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let head = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
                let fields: Vec<String> = head.take_while(|line| !line.is_empty()).collect();
                let who = fields.iter().find_map(|field| field.strip_prefix("authorization: "));
                seen.lock().unwrap().push(who.unwrap_or_default().to_owned());
                let body = r#"{"kind": "List", "metadata": {"resourceVersion": "1"}, "items": []}"#;
                let length = body.len();
                let _ = write!(
                    stream,
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\
                     content-length: {length}\r\n\r\n{body}"
                );
                let _ = stream.shutdown(std::net::Shutdown::Write);
                let _ = stream.read(&mut [0; 16]);
            }
        });
        Self { url, asked }
    }

    /// Who the program says that it is with these files as `$KUBECONFIG`.
    fn who(&self, files: &str, words: &[&str]) -> String {
        let output = get(files, words);
        assert!(output.status.success(), "{files}: {}", String::from_utf8_lossy(&output.stderr));
        let mut asked = self.asked.lock().unwrap();
        assert_eq!(asked.len(), 1, "{files}");
        asked.remove(0)
    }
}

fn get(files: &str, words: &[&str]) -> Output {
    let mut command = Command::new(VIPKEEPER);
    command.args(["get", "vip", "--store", "k8s"]).args(words).env("KUBECONFIG", files);
    command.output().unwrap()
}

/// Writes a file that only its owner may run and says its path.
fn write(folder: &Path, name: &str, text: &str) -> String {
    use std::os::unix::fs::PermissionsExt;

    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
    path.display().to_string()
}

/// A kubeconfig as tools write it: unquoted words, comments, a blank document, fields that nobody here knows.
fn config(url: &str, user: &str) -> String {
    format!(
        "---\n# written by a tool\napiVersion: v1\nkind: Config\npreferences: {{}}\nclusters:\n- name: 2024\n  cluster:\n    \
         server: {url}\n    extensions:\n    - name: x\n      extension: {{n: 1, f: 0.5, b: yes, z: ~}}\ncontexts:\n- context:\n    \
         cluster: 2024\n    user: me\n  name: here\n- {{name: nobody, context: {{cluster: 2024, user: nobody}}}}\n\
         current-context: here\nusers:\n- name: nobody\n- name: me\n  user:\n{user}---\n"
    )
}

#[test]
fn whoever_a_kubeconfig_says_asks() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    write(folder.path(), "token", "FROM-FILE");
    write(folder.path(), "bin/json", "#!/bin/sh\necho '{\"status\": {\"token\": \"'$1'-'$WHERE'\"}}'\n");
    write(folder.path(), "bin/yaml", "#!/bin/sh\nprintf 'kind: ExecCredential\\nstatus:\\n  token: \"0x1\"\\n'\n");
    write(folder.path(), "bin/gcp", "#!/bin/sh\necho '{\"credential\": [{\"access token\": \"OLD\"}]}'\n");
    let gcp = format!(
        "    auth-provider:\n      name: gcp\n      config:\n        cmd-path: {}\n        token-key: '{{.credential[0][\"access token\"]}}'\n",
        folder.path().join("bin/gcp").display()
    );
    let api = "apiVersion: client.authentication.k8s.io/v1";
    for (name, user, who) in [
        ("number", "    token: 12345678901234567890123\n", "Bearer 12345678901234567890123"),
        ("word", "    token: \"yes\"\n    password:\n", "Bearer yes"),
        ("folded", "    token: >-\n      LONG\n", "Bearer LONG"),
        ("basic", "    {username: me, password: 1e3}\n", "Basic bWU6MWUz"),
        ("file", "    tokenFile: token\n", "Bearer FROM-FILE"),
        (
            "exec",
            &format!(
                "    exec:\n      {api}\n      command: bin/json\n      args: [T]\n      env:\n      - {{name: WHERE, value: HERE}}\n      interactiveMode: Never\n"
            ),
            "Bearer T-HERE",
        ),
        ("plugin", &format!("    exec: {{command: bin/yaml, {api}, interactiveMode: IfAvailable}}\n"), "Bearer 0x1"),
        ("gcp", &gcp, "Bearer OLD"),
    ] {
        let file = write(folder.path(), name, &config(&server.url, user));
        assert_eq!(server.who(&file, &[]), who, "{name}");
        assert_eq!(server.who("", &["--kubeconfig", &file]), who, "{name}");
        assert_eq!(server.who(&file, &["--context", "nobody"]), "", "{name}");
    }
}

#[test]
fn of_several_files_the_first_word_counts() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    let file = |name, text: &str| write(folder.path(), name, text);
    let whole = file("whole", &config(&server.url, "    token: WHOLE\n"));
    // Anchors and merge keys, as people write them.
    let more = file(
        "more",
        "x: &base {token: BASE, username: a}\nusers:\n- name: other\n  user:\n    <<: *base\n    token: OWN\n\
         contexts:\n- name: other\n  context: {cluster: 2024, user: other}\ncurrent-context: other\n",
    );
    let empty = file("empty", "");
    assert_eq!(server.who(&format!("{whole}:{more}:{empty}"), &[]), "Bearer WHOLE");
    assert_eq!(server.who(&format!("{empty}:{more}:{whole}"), &[]), "Bearer OWN");
    assert_eq!(server.who(&format!("{whole}:{more}"), &["--context", "other"]), "Bearer OWN");
}

#[test]
fn a_broken_kubeconfig_is_told_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let bomb: String =
        (1..9).map(|n| format!("a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 9].join(","))).collect();
    let bomb = format!("a0: &a0 x\n{bomb}");
    for (name, text, told) in [
        ("type", "users:\n- name: x\n  user: [1]\n", "line 3"),
        ("yaml", "users:\n- name: [\n", "line 2"),
        ("loop", "a: 1\nusers: &a [*a]\n", "line 2"),
        ("bomb", &bomb, "nodes"),
        ("context", "current-context: nowhere\n", "nowhere"),
    ] {
        let file = write(folder.path(), name, text);
        let output = get("", &["--kubeconfig", &file]);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && errors.contains(told), "{name}: {errors}");
    }
}
