//! The binary that is shipped: small, stripped, and in need of nothing beside it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// The most octets that it may have.
const LARGEST: u64 = 12 << 20;

const PT_DYNAMIC: u32 = 2;
const PT_INTERP: u32 = 3;
const SHT_SYMTAB: u32 = 2;
const DT_NEEDED: u64 = 1;

/// What `make dist` builds, beside the binary that cargo built for the tests.
fn shipped() -> PathBuf {
    let target = PathBuf::from(crate::support::process::VIPKEEPER);
    let path = target.parent().unwrap().parent().unwrap().join("release/vipkeeper");
    assert!(path.exists(), "{} is not there: run `make dist`", path.display());
    path
}

/// The headers of a 64-bit little-endian ELF file.
struct Elf(Vec<u8>);

impl Elf {
    fn read() -> Self {
        let bytes = fs::read(shipped()).unwrap();
        assert_eq!(&bytes[..6], b"\x7fELF\x02\x01", "not a 64-bit little-endian ELF file");
        Self(bytes)
    }

    fn number(&self, at: usize, width: usize) -> u64 {
        self.0[at..at + width].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    fn place(&self, at: usize) -> usize {
        usize::try_from(self.number(at, 8)).unwrap()
    }

    /// Where each entry of a table begins: its offset, size of an entry and count stand at these places.
    fn table(&self, offset: usize, size: usize, count: usize) -> impl Iterator<Item = usize> {
        let (start, step) = (self.place(offset), self.number(size, 2));
        (0..self.number(count, 2)).map(move |i| start + usize::try_from(i * step).unwrap())
    }

    fn segments(&self) -> Vec<(u32, usize)> {
        self.table(32, 54, 56).map(|at| (u32::try_from(self.number(at, 4)).unwrap(), at)).collect()
    }

    fn section_types(&self) -> Vec<u32> {
        self.table(40, 58, 60).map(|at| u32::try_from(self.number(at + 4, 4)).unwrap()).collect()
    }

    /// Tags of the dynamic section.
    fn dynamic_tags(&self) -> Vec<u64> {
        let Some((_, header)) = self.segments().into_iter().find(|(kind, _)| *kind == PT_DYNAMIC) else {
            return Vec::new();
        };
        let (start, size) = (self.place(header + 8), self.place(header + 32));
        (start..start + size).step_by(16).map(|at| self.number(at, 8)).take_while(|tag| *tag != 0).collect()
    }
}

#[test]
fn it_is_static_and_stripped() {
    let elf = Elf::read();
    assert!(elf.segments().len() > 2, "no program headers were read");
    assert!(elf.segments().iter().all(|(kind, _)| *kind != PT_INTERP), "it names a program interpreter");
    assert!(!elf.dynamic_tags().contains(&DT_NEEDED), "it needs shared libraries");
    assert!(elf.section_types().len() > 2, "no section headers were read");
    assert!(!elf.section_types().contains(&SHT_SYMTAB), "it is not stripped");
}

#[test]
fn it_is_small() {
    let size = fs::metadata(shipped()).unwrap().len();
    assert!(size <= LARGEST, "{size} bytes, at most {LARGEST}");
}

#[test]
fn it_runs_where_nothing_else_is() {
    crate::support::require(&["chroot"]);
    let root = tempfile::tempdir().unwrap();
    fs::copy(shipped(), root.path().join("vipkeeper")).unwrap();
    let run = |words: &[&str]| {
        let output = Command::new("chroot").arg(root.path()).arg("/vipkeeper").args(words).output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(run(&["--version"]), format!("vipkeeper {}\n", env!("CARGO_PKG_VERSION")));
    assert_eq!(run(&["ip", "next", "192.0.2.1"]), "192.0.2.2\n");
    assert!(run(&["crds"]).contains("kind: CustomResourceDefinition"));
}
