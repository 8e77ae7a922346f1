//! Each command's help: usage, an example, the exit codes.

use std::process::Command;

use crate::support::process::VIPKEEPER;

fn run(path: &[String], flag: &str) -> (bool, String) {
    let output = Command::new(VIPKEEPER).args(path).arg(flag).env_clear().output().unwrap();
    (output.status.success(), String::from_utf8(output.stdout).unwrap())
}

/// The names below the heading `Commands:`.
fn subcommands(help: &str) -> Vec<String> {
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    // A name stands at two spaces; a description that is folded stands further in.
    lines
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

/// All commands, each with its help.
fn commands() -> Vec<(Vec<String>, String)> {
    let mut found = Vec::new();
    let mut waiting = vec![Vec::new()];
    while let Some(path) = waiting.pop() {
        let (success, help) = run(&path, "--help");
        assert!(success, "{path:?} --help");
        waiting.extend(subcommands(&help).into_iter().map(|name| [path.clone(), vec![name]].concat()));
        found.push((path, help));
    }
    found
}

#[test]
fn every_command_has_help_with_an_example_of_itself() {
    let commands = commands();
    assert!(commands.len() > 15, "the commands were not found: {commands:?}");
    let mut wrong = Vec::new();
    for (path, help) in commands.iter().filter(|(path, _)| !path.is_empty()) {
        let name = format!("vipkeeper {}", path.join(" "));
        if !help.contains(&format!("Usage: {name}")) {
            wrong.push(format!("{name}: no usage"));
        }
        let example = help.split_once("Example").map_or("", |(_, rest)| rest);
        // A folded example may break the line between two words.
        let example = example.split_whitespace().collect::<Vec<_>>().join(" ");
        if !example.contains(&name) {
            wrong.push(format!("{name}: no example of it"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_command_of_the_toolbox_lists_its_exit_codes() {
    for (path, help) in commands().iter().filter(|(path, _)| path.first().is_some_and(|name| name == "ip")) {
        assert!(help.contains("Exit codes: 0 "), "{path:?}");
    }
    assert!(
        run(&[], "--help").1.contains("Exit codes: 0 done, 1 the answer is no, 2 wrong use, 3 the outside failed.")
    );
}

#[test]
fn every_command_tells_the_version() {
    for (path, _) in commands() {
        let (success, version) = run(&path, "--version");
        assert!(success && version.trim_end().ends_with(env!("CARGO_PKG_VERSION")), "{path:?}: {version}");
    }
}
