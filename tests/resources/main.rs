//! Manifests through the real binary: each bad one gives one clear error, and stops no good one.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

mod api_server;
mod cases;
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

use cases::{By, CASES, Case};
use serde_json::Value;

const GOOD: &str = "apiVersion: vipkeeper.dev/v1alpha1\nkind: VirtualIP\nmetadata: {name: good, namespace: shop}\n\
                    spec: {address: 203.0.113.5}\n";

fn validate(paths: &[&Path]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_vipkeeper")).arg("validate").args(paths).output().unwrap()
}

/// The exit code, and what `--json` prints.
fn validate_json(paths: &[&Path]) -> (i32, Value) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_vipkeeper")).args(["validate", "--json"]).args(paths).output().unwrap();
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    (output.status.code().unwrap(), serde_json::from_slice(&output.stdout).unwrap())
}

fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    folder
}

/// The problems of a folder in which `good.yaml` must be found good.
fn problems(folder: &tempfile::TempDir) -> Vec<Value> {
    fs::write(folder.path().join("good.yaml"), GOOD).unwrap();
    let (_, found) = validate_json(&[folder.path()]);
    assert!(found["objects"].as_array().unwrap().iter().any(|object| object["name"] == "good"), "{found}");
    found["problems"].as_array().unwrap().clone()
}

#[test]
fn every_bad_manifest_is_refused_with_its_field_and_line() {
    assert!(CASES.len() >= 60);
    assert!(CASES.iter().filter(|case| case.by == By::Both).count() >= 60);
    let wrong: Vec<String> = CASES.iter().filter_map(|case| check(case).err()).collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), CASES.len(), wrong.join("\n"));
}

fn check(case: &Case) -> Result<(), String> {
    let name = format!("{}.yaml", case.name);
    let folder = folder(&[(&name, case.text.as_bytes())]);
    let found = problems(&folder);
    let [problem] = found.as_slice() else { return Err(format!("{}: not one problem: {found:?}", case.name)) };
    let text = |field: &str| problem[field].as_str().unwrap_or_default().to_owned();
    let right = text("file").ends_with(&name)
        && text("field") == case.field
        && problem["line"] == case.line
        && problem["document"] == 1
        && text("message").contains(case.message);
    // The line for people has the same parts.
    let output = validate(&[&folder.path().join(&name)]);
    let line = String::from_utf8(output.stdout).unwrap();
    let shown = line.contains(&format!("{name}:{}: document 1", case.line)) && line.contains(case.message);
    if right && shown && output.status.code() == Some(1) {
        Ok(())
    } else {
        Err(format!("{}: {problem}\n{line}", case.name))
    }
}

#[test]
fn names_of_cases_are_their_own() {
    let mut names: Vec<_> = CASES.iter().map(|case| case.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), CASES.len());
}

#[test]
fn what_spans_files_is_found() {
    let pool = |name: &str, range: &str| {
        format!(
            "apiVersion: vipkeeper.dev/v1alpha1\nkind: AddressPool\nmetadata: {{name: {name}}}\nspec: {{ranges: [{range}]}}\n"
        )
    };
    let folder = folder(&[
        ("a.yaml", pool("a", "198.51.100.0/24").as_bytes()),
        ("b.yaml", pool("b", "198.51.100.255-198.51.101.9").as_bytes()),
        ("c.yaml", GOOD.as_bytes()),
        ("d.yaml", GOOD.replace("name: good", "name: other").as_bytes()),
        ("e.yaml", pool("e", "198.51.101.0/28").as_bytes()),
    ]);
    let found: Vec<String> = problems(&folder)
        .iter()
        .map(|p| {
            format!(
                "{} {} {}",
                p["name"].as_str().unwrap(),
                p["field"].as_str().unwrap(),
                p["message"].as_str().unwrap()
            )
        })
        .collect();
    assert_eq!(found.len(), 3, "{found:#?}");
    assert!(found[0].starts_with("b spec.ranges[0] must not overlap") && found[0].contains("a.yaml:4"), "{found:#?}");
    assert!(found[1].starts_with("other spec.address is the address of VirtualIP shop/good"), "{found:#?}");
    assert!(found[2].starts_with("good metadata.name stands twice") && found[2].contains("c.yaml:3"), "{found:#?}");
}

#[test]
fn a_second_document_of_the_same_name_is_refused() {
    let folder = folder(&[("two.yaml", format!("{GOOD}---\n{GOOD}").as_bytes())]);
    let (code, found) = validate_json(&[folder.path()]);
    assert_eq!((code, &found["problems"][0]["document"], &found["problems"][0]["line"]), (1, &2.into(), &8.into()));
}

#[test]
fn hostile_files_are_refused_at_once() {
    let bomb = (1..30).fold("a0: &a0 [x, x]\n".to_owned(), |text, i| {
        let one = format!("*a{}", i - 1);
        text + &format!("a{i}: &a{i} [{}]\n", vec![one; 9].join(", "))
    });
    let folder = folder(&[
        ("big.yaml", &vec![b'#'; 10_000_000]),
        ("binary.yaml", &(0..=255).cycle().take(100_000).collect::<Vec<u8>>()),
        ("latin1.yaml", b"apiVersion: v1\n# caf\xe9\n"),
        ("utf16.yaml", b"\xff\xfea\0:\0"),
        ("bomb.yaml", bomb.as_bytes()),
        ("deep.yaml", "[".repeat(4_000_000).as_bytes()),
        ("deep-map.yaml", "{a: ".repeat(1_000_000).as_bytes()),
        ("deep-block.yaml", "- ".repeat(1_000_000).as_bytes()),
        ("broken-documents.yaml", "---\n{\n".repeat(1_000_000).as_bytes()),
        ("many-keys.yaml", (0..500_000).map(|i| format!("k{i}: 1\n")).collect::<String>().as_bytes()),
        ("one-line.yaml", "x".repeat(8_000_000).as_bytes()),
        ("quotes.yaml", "'".repeat(8_000_001).as_bytes()),
        ("anchors.yaml", (0..500_000).map(|i| format!("- &a{i} x\n")).collect::<String>().as_bytes()),
    ]);
    let start = std::time::Instant::now();
    let found = problems(&folder);
    let took = start.elapsed();
    for (file, message) in [
        ("big.yaml", "larger than 8 MiB"),
        ("binary.yaml", "zero byte"),
        ("latin1.yaml", "no UTF-8"),
        ("utf16.yaml", "UTF-16"),
        ("bomb.yaml", "more than 20000 values"),
        ("deep.yaml", "32 levels deep"),
        ("deep-map.yaml", "32 levels deep"),
        ("deep-block.yaml", "32 levels deep"),
        ("broken-documents.yaml", "is no YAML"),
        ("many-keys.yaml", "more than 20000 values"),
        ("one-line.yaml", "KiB of text"),
        ("quotes.yaml", ""),
        ("anchors.yaml", "more than 20000 values"),
    ] {
        let of_file: Vec<_> =
            found.iter().filter(|p| p["file"].as_str().unwrap().ends_with(&format!("/{file}"))).collect();
        assert!(of_file.iter().any(|p| p["message"].as_str().unwrap().contains(message)), "{file}: {of_file:?}");
        assert!(of_file.len() <= 200, "{file}: {} problems", of_file.len());
    }
    // Generous for a busy machine and an unoptimised build: what is quadratic takes hours.
    assert!(took.as_secs() < 60, "{took:?}");
}

#[test]
fn folders_that_misbehave_stop_nothing() {
    let folder = folder(&[(".good.yaml.swp", b"x"), ("good.yaml~", b"x"), ("notes.txt", b"x")]);
    fs::create_dir(folder.path().join("sub")).unwrap();
    symlink("..", folder.path().join("sub/up")).unwrap();
    symlink("self.yaml", folder.path().join("self.yaml")).unwrap();
    symlink("/nowhere", folder.path().join("lost.yaml")).unwrap();
    fs::create_dir(folder.path().join("folder.yaml")).unwrap();
    let pipe = folder.path().join("pipe.yaml");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let found = problems(&folder);
    let mut files: Vec<_> = found.iter().map(|p| p["file"].as_str().unwrap().rsplit('/').next().unwrap()).collect();
    files.sort_unstable();
    assert_eq!(files, ["lost.yaml", "pipe.yaml", "self.yaml", "up"], "{found:#?}");
}

#[test]
fn an_unreadable_file_is_said_and_the_rest_is_read() {
    // Root reads everything, so this runs as nobody.
    let folder = folder(&[("good.yaml", GOOD.as_bytes()), ("locked.yaml", GOOD.as_bytes())]);
    let open = std::os::unix::fs::PermissionsExt::from_mode;
    fs::set_permissions(folder.path(), open(0o755)).unwrap();
    fs::set_permissions(folder.path().join("locked.yaml"), open(0o600)).unwrap();
    let binary = tempfile::Builder::new().permissions(open(0o755)).tempdir().unwrap();
    let program = binary.path().join("vipkeeper");
    fs::copy(env!("CARGO_BIN_EXE_vipkeeper"), &program).unwrap();
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&program)
        .args(["validate", "--json"])
        .arg(folder.path())
        .output()
        .unwrap();
    let found: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"));
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(found["objects"][0]["name"], "good");
    assert!(found["problems"][0]["message"].as_str().unwrap().contains("Permission denied"), "{found}");
}

#[test]
fn good_files_are_good_and_a_file_counts_once() {
    let folder = folder(&[("good.yaml", GOOD.as_bytes()), ("empty.yaml", b"# nothing\n---\n"), ("b.json", b"{}")]);
    fs::remove_file(folder.path().join("b.json")).unwrap();
    let output = validate(&[folder.path(), &folder.path().join("good.yaml")]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "1 good object, 0 problems\n");
    assert_eq!(output.status.code(), Some(0));
    let missing = validate(&[&folder.path().join("missing.yaml")]);
    assert_eq!(missing.status.code(), Some(3));
    assert_eq!(validate(&[]).status.code(), Some(2));
}

#[test]
fn the_examples_are_good() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests");
    let (code, found) = validate_json(&[&folder]);
    assert_eq!((code, &found["problems"]), (0, &Value::Array(Vec::new())));
    let kinds: Vec<_> = found["objects"].as_array().unwrap().iter().map(|o| o["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["AddressPool", "UDPProbe", "VirtualIP"], "one example of each kind that users write");
}

#[test]
fn the_crds_of_the_chart_are_those_of_the_code() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/vipkeeper/crds");
    let mut files: Vec<_> =
        fs::read_dir(&folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    files.sort();
    let mut expected: Vec<String> = vipkeeper::api::crd::all().iter().map(|d| d.file_name()).collect();
    expected.sort();
    assert_eq!(files, expected, "run `make crds`");
    for definition in vipkeeper::api::crd::all() {
        let text = format!("---\n{}", definition.to_yaml().unwrap());
        let checked_in = fs::read_to_string(folder.join(definition.file_name())).unwrap();
        assert!(text == checked_in, "{} is not what the code says: run `make crds`", definition.file_name());
    }
}
