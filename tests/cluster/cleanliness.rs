//! What a run leaves behind: nothing, also when it fails in the middle.

use std::fs;
use std::process::Command;

use crate::lab::{Lab, alone};
use crate::support::netns::run;

/// Set for the process that is to fail.
const FAILING: &str = "VIPKEEPER_TEST_FAILING";

/// What it says then.
const WORDS: &str = "this run fails in the middle";

/// What a kubelet sets for a whole machine.
const SETTINGS: [&str; 6] = [
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
];

fn settings() -> Vec<String> {
    SETTINGS.iter().map(|key| fs::read_to_string(format!("/proc/sys/{key}")).unwrap()).collect()
}

#[test]
fn a_failed_run_leaves_nothing() {
    if std::env::var_os(FAILING).is_some() {
        let _lab = Lab::start(1);
        panic!("{WORDS}");
    }
    let _alone = alone();
    let before = settings();
    let test = ["--exact", "cleanliness::a_failed_run_leaves_nothing", "--nocapture"];
    let child = Command::new(std::env::current_exe().unwrap()).args(test).env(FAILING, "1").output().unwrap();
    let said = String::from_utf8_lossy(&child.stderr).into_owned() + &String::from_utf8_lossy(&child.stdout);
    assert!(!child.status.success() && said.contains(WORDS), "{said}");
    let mark = said.lines().find_map(|line| line.strip_prefix("the lab is ")).expect("it says its name").to_owned();
    let left = left_of(&mark);
    assert!(left.is_empty(), "{mark} left: {left:#?}");
    assert_eq!(settings(), before, "{SETTINGS:?}");
}

/// Whatever of the machine bears the mark of a run: namespaces, mounts, cgroups, folders, and processes but this one.
pub fn left_of(mark: &str) -> Vec<String> {
    let of_process = format!("{}-", mark.split('-').next().unwrap());
    let mut left: Vec<String> = run(Command::new("ip").args(["netns", "list"])).lines().map(str::to_owned).collect();
    left.extend(fs::read_to_string("/proc/self/mountinfo").unwrap().lines().map(str::to_owned));
    let folders = ["/tmp", "/sys/fs/bpf", "/var/lib", "/var/log", "/run"].into_iter().map(str::to_owned);
    let hierarchies = fs::read_dir("/sys/fs/cgroup").unwrap().map(|entry| entry.unwrap().path().display().to_string());
    for folder in folders.chain(hierarchies) {
        left.extend(
            fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path().display().to_string()),
        );
    }
    let own = std::process::id().to_string();
    for process in fs::read_dir("/proc").unwrap().flatten().filter(|process| *process.file_name() != *own) {
        for file in ["cmdline", "cgroup"] {
            let text = fs::read(process.path().join(file)).unwrap_or_default();
            let text = String::from_utf8_lossy(&text).replace('\0', " ");
            left.push(format!("{} {text}", process.path().display()));
        }
    }
    left.retain(|one| one.contains(&of_process));
    left
}
