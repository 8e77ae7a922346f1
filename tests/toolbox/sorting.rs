//! A million lines through `ip sort` and `ip match`, in little memory.

use std::fs;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::command::{Run, ip_with};

/// Addresses all over both families, some of them twice; the same in every run.
fn addresses(count: u32) -> Vec<IpAddr> {
    let scattered = |i: u32| i.wrapping_mul(0x9e37_79b9).rotate_left(7) ^ i;
    (0..count)
        .map(|i| match i % 3 {
            0 => Ipv6Addr::from_bits(u128::from(scattered(i)) << 96 | u128::from(scattered(i / 7))).into(),
            1 => Ipv4Addr::from_bits(scattered(i)).into(),
            _ => Ipv4Addr::from_bits(scattered(i / 5) % 50_000).into(),
        })
        .collect()
}

fn text(addresses: &[IpAddr]) -> String {
    let mut text = String::new();
    for address in addresses {
        text.push_str(&address.to_string());
        text.push('\n');
    }
    text
}

fn check(run: &Run, expected: &[IpAddr]) {
    assert_eq!((run.code, run.err.as_str()), (0, ""));
    // Not assert_eq: a million lines are no message.
    assert!(run.out == text(expected), "the order is wrong");
}

#[test]
fn a_million_lines_are_sorted_through_files_that_nobody_sees() {
    let folder = tempfile::tempdir().unwrap();
    let mut expected = addresses(1_000_000);
    let input = text(&expected);
    expected.sort_unstable();
    // 1 MiB holds one of 13 parts of it.
    check(&ip_with(&format!("sort --memory 1 --temp-dir {}", folder.path().display()), input.as_bytes()), &expected);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "files are left behind");
}

#[test]
fn each_way_of_sorting_is_the_same_in_memory_and_through_files() {
    let mut expected = addresses(250_000);
    let input = text(&expected);
    let sort = |flags: &str| ip_with(&format!("sort {flags}"), input.as_bytes());
    expected.sort_unstable();
    check(&sort(""), &expected);
    let mut unique = expected.clone();
    unique.dedup();
    assert!(unique.len() < expected.len());
    for memory in ["1", "64"] {
        check(&sort(&format!("--unique --memory {memory}")), &unique);
    }
    expected.reverse();
    for memory in ["1", "64"] {
        check(&sort(&format!("--reverse --memory {memory}")), &expected);
    }
}

#[test]
fn a_full_disk_is_an_error_that_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    crate::support::require(&["mount"]);
    let mount = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"])
        .arg(folder.path())
        .status()
        .unwrap();
    assert!(mount.success());
    let run = ip_with(
        &format!("sort --memory 1 --temp-dir {}", folder.path().display()),
        text(&addresses(300_000)).as_bytes(),
    );
    let left = fs::read_dir(folder.path()).unwrap().count();
    let free = rustix::fs::statvfs(folder.path()).unwrap();
    let unmount = std::process::Command::new("umount").arg(folder.path()).status().unwrap();
    assert!(unmount.success());
    assert_eq!((run.code, run.out.as_str()), (3, ""), "{}", run.err);
    assert!(run.err.contains("No space left on device"), "{}", run.err);
    assert_eq!((left, free.f_blocks), (0, free.f_bfree), "space stays taken");
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let run = ip_with("sort --memory 1 --temp-dir /nowhere", text(&addresses(300_000)).as_bytes());
    assert_eq!(run.code, 3);
    assert!(run.err.contains("/nowhere"), "{}", run.err);
}

#[test]
fn a_million_lines_are_matched_one_by_one() {
    let addresses = addresses(1_000_000);
    let mut list = tempfile::NamedTempFile::new().unwrap();
    list.write_all(b"0.0.0.0/16 low\n0.0.0.0/0\n::/1\n").unwrap();
    let run = ip_with(&format!("match --prefixes {}", list.path().display()), text(&addresses).as_bytes());
    assert_eq!((run.code, run.err.as_str()), (1, ""));
    let lines = run.lines();
    assert_eq!(lines.len(), addresses.len());
    for (line, address) in lines.into_iter().zip(addresses) {
        let networks = match address {
            IpAddr::V4(v4) if v4.to_bits() < 1 << 16 => "0.0.0.0/16 (low) 0.0.0.0/0",
            IpAddr::V4(_) => "0.0.0.0/0",
            IpAddr::V6(v6) if v6.to_bits() >> 127 == 0 => "::/1",
            IpAddr::V6(_) => "-",
        };
        assert!(line == format!("{address} {networks}"), "{line}");
    }
}
