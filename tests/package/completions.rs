//! Completions: those of bash are tried in a bash, the others must name the commands.

use std::process::Command;

use crate::support::process::VIPKEEPER;

/// What bash offers for these words; the last one is being typed.
fn offered(words: &[&str]) -> Vec<String> {
    let script = r#"
        source <("$0" completions bash) || exit 3
        COMP_WORDS=("$@")
        COMP_CWORD=$(($# - 1))
        _vipkeeper vipkeeper "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let output = Command::new("bash").args(["-c", script, VIPKEEPER]).args(words).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_and_flags() {
    assert_eq!(offered(&["vipkeeper", "compl"]), ["completions"]);
    assert_eq!(offered(&["vipkeeper", "ip", "enum"]), ["enumerate"]);
    assert_eq!(offered(&["vipkeeper", "ip", "match", "--pre"]), ["--prefixes"]);
}

#[test]
fn every_shell_gets_completions_of_every_command() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let output = Command::new(VIPKEEPER).args(["completions", shell]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{shell}");
        for name in ["completions", "enumerate", "--prefixes"] {
            assert!(text.contains(name.trim_start_matches('-')), "{shell} does not know {name}");
        }
    }
    let unknown = Command::new(VIPKEEPER).args(["completions", "tcsh"]).output().unwrap();
    assert_eq!(unknown.status.code(), Some(2));
}
