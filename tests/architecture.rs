//! The rules of the code's shape, as tests: who may import whom, which crate lives where, how long things may be.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The layers, lowest first: a module imports only modules of a lower layer, or itself.
const LAYERS: &[&[&str]] = &[
    &["core", "wire"],
    // Adapters read the clock where the kernel's time and theirs must not drift apart.
    &["api", "clock"],
    &[
        "store", "netlink", "packet", "gate", "nftables", "udp", "http", "upstream", "geo", "check", "metrics",
        "logging", "memory",
    ],
    &["agent", "controller", "prober", "lookup", "node", "hold"],
    &["cli"],
];

/// Pairs of one layer that may import each other's public items all the same, and why.
const SAME_LAYER: &[(&str, &str)] = &[
    // The failover machine's messages are the heartbeat packets themselves.
    ("core", "wire"),
];

/// Crates that do IO, and the one module each is used in (a `/` narrows it to a file or folder of that module).
const IO_CRATES: &[(&str, &[&str])] = &[
    ("rtnetlink", &["netlink"]),
    ("pnet_datalink", &["packet"]),
    ("warp", &["http"]),
    ("inotify", &["store/dir"]),
    ("kube::client", &["store/k8s"]),
    ("kube::config", &["store/k8s"]),
    ("kube::runtime", &["store/k8s"]),
    ("prometheus", &["metrics"]),
    ("hyper", &["http", "upstream"]),
    ("hyper_util", &["http", "upstream"]),
    ("tokio_rustls", &["upstream"]),
    ("maxminddb", &["geo"]),
];

/// Modules that may hold unsafe code: raw sockets and system calls that nothing safe offers.
const UNSAFE_ALLOWED: &[&str] =
    &["packet/socket.rs", "udp/socket.rs", "gate/bpf", "gate/bpf.rs", "agent/realtime.rs", "memory.rs"];

/// All metrics stand in one file, however many they are, so that one screen after the other shows what operators see.
const LONG_FILES: &[&str] = &["metrics.rs"];
const FILE_LIMIT: usize = 400;
const FUNCTION_LIMIT: usize = 70;

fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                files.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    files.sort();
    assert!(files.len() > 3, "the sources were not found");
    files
}

/// The part of a file before its unit tests.
fn before_tests(text: &str) -> &str {
    text.split("\n#[cfg(test)]").next().unwrap()
}

fn module_of(file: &str) -> &str {
    file.split('/').next().unwrap().trim_end_matches(".rs")
}

fn layer_of(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

fn code_lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.trim_start().starts_with("//"))
}

/// The modules of ours that a file names as `crate::MODULE` or in `crate::{…}`.
fn imports(text: &str) -> BTreeSet<String> {
    let text: String = code_lines(text).collect::<Vec<_>>().join("\n");
    let mut found = BTreeSet::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut word = String::new();
            for c in group.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => {
                        found.insert(std::mem::take(&mut word));
                    }
                    c if depth == 0 && (c.is_alphanumeric() || c == '_' || c == ':') => word.push(c),
                    _ => {}
                }
            }
            found.insert(word);
        } else {
            found.insert(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
        }
    }
    found.into_iter().map(|word| word.split(':').next().unwrap().to_owned()).filter(|word| !word.is_empty()).collect()
}

#[test]
fn imports_go_one_way() {
    let mut wrong = Vec::new();
    for (file, text) in sources() {
        let module = module_of(&file);
        if matches!(module, "lib" | "main") {
            continue;
        }
        let layer = layer_of(module).unwrap_or_else(|| panic!("module {module} has no layer in tests/architecture.rs"));
        for other in imports(before_tests(&text)) {
            let Some(other_layer) = layer_of(&other) else { continue };
            let allowed = other == module || other_layer < layer || SAME_LAYER.contains(&(module, other.as_str()));
            if !allowed {
                wrong.push(format!("{file} imports crate::{other}"));
            }
        }
    }
    assert!(wrong.is_empty(), "against the direction of imports:\n{}", wrong.join("\n"));
}

#[test]
fn each_io_crate_has_one_adapter() {
    let mut wrong = Vec::new();
    for (file, text) in sources() {
        let code: String = code_lines(&text).collect::<Vec<_>>().join("\n");
        for (name, homes) in IO_CRATES {
            let used = code.match_indices(&format!("{name}::")).any(|(at, _)| {
                let before = code[..at].chars().next_back().unwrap_or(' ');
                !before.is_alphanumeric() && before != '_' && !code[..at].ends_with("::")
            });
            let at_home =
                homes.iter().any(|home| file.starts_with(&format!("{home}/")) || file == format!("{home}.rs"));
            if used && !at_home {
                wrong.push(format!("{file} uses {name}, which belongs to {homes:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn core_has_no_clock_no_io_and_no_unordered_map() {
    const FORBIDDEN: &[&str] = &[
        "HashMap",
        "HashSet",
        "Instant",
        "SystemTime",
        "std::fs",
        "std::net::Tcp",
        "std::net::Udp",
        "std::io",
        "std::env",
        "std::thread",
        "std::process",
        "tokio",
        "rand::",
        "getrandom",
        "kube::",
        "println!",
        "tracing::",
    ];
    let mut wrong = Vec::new();
    for (file, text) in sources() {
        if module_of(&file) != "core" {
            continue;
        }
        for (number, line) in before_tests(&text).lines().enumerate() {
            if line.trim_start().starts_with("//") || line.contains("#![deny") {
                continue;
            }
            for word in FORBIDDEN.iter().filter(|word| line.contains(*word)) {
                wrong.push(format!("src/{file}:{}: {word}", number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "core only decides:\n{}", wrong.join("\n"));
}

#[test]
fn every_rule_of_the_protocol_is_in_force() {
    for (file, text) in sources().into_iter().filter(|(file, _)| !file.starts_with("core/failover/")) {
        assert!(!before_tests(&text).contains("Rules::without"), "src/{file} switches a rule of the protocol off");
    }
}

#[test]
fn unsafe_code_lives_in_the_named_socket_modules() {
    for (file, text) in sources() {
        let has = code_lines(&text).any(|line| line.contains("unsafe ") || line.contains("allow(unsafe_code"));
        let allowed = UNSAFE_ALLOWED.iter().any(|home| file == *home || file.starts_with(&format!("{home}/")));
        assert!(!has || allowed, "src/{file} has unsafe code");
    }
}

#[test]
fn files_and_functions_are_short() {
    let mut wrong = Vec::new();
    for (file, text) in sources() {
        let text = before_tests(&text);
        let lines = text.lines().count();
        if lines > FILE_LIMIT && !LONG_FILES.contains(&file.as_str()) {
            wrong.push(format!("src/{file}: {lines} lines before its tests (at most {FILE_LIMIT})"));
        }
        let mut open: BTreeMap<usize, (usize, String)> = BTreeMap::new();
        for (number, line) in text.lines().enumerate() {
            let indent = line.len() - line.trim_start().len();
            let code = line.trim_start();
            let is_fn = code
                .split('(')
                .next()
                .is_some_and(|head| head.split_whitespace().any(|word| word == "fn") && !head.starts_with("//"));
            if is_fn {
                open.insert(indent, (number, code.to_owned()));
            } else if let Some((start, name)) = (code == "}").then(|| open.remove(&indent)).flatten() {
                let length = number - start + 1;
                if length > FUNCTION_LIMIT {
                    wrong.push(format!("src/{file}:{}: {length} lines (at most {FUNCTION_LIMIT}): {name}", start + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "too long to read at a glance:\n{}", wrong.join("\n"));
}

#[test]
fn every_dependency_says_why_it_is_there() {
    let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
    let mut section = String::new();
    let mut previous = String::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line.to_owned();
        } else if section.contains("dependencies") && line.contains('=') && !line.starts_with('#') {
            assert!(line.contains("# ") || previous.starts_with('#'), "no reason beside: {line}");
        }
        previous = line.to_owned();
    }
}
