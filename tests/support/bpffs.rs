//! BPF file systems that go with the test.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::netns::run;

/// A bpffs of its own.
#[derive(Debug)]
pub struct Bpffs {
    folder: TempDir,
}

impl Bpffs {
    /// Mounts one.
    pub fn new() -> Self {
        super::require(&["mount", "umount"]);
        let folder = tempfile::Builder::new().prefix("vipkeeper-bpf-").tempdir().unwrap();
        run(Command::new("mount").args(["-t", "bpf", "bpf"]).arg(folder.path()));
        Self { folder }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Default for Bpffs {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Bpffs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.folder.path()).output();
    }
}
