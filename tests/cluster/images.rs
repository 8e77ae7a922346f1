//! The images that the nodes get, as archives: there is no registry.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::netns::run;
use crate::support::process::VIPKEEPER;
use crate::support::require;

/// The image of the release binary.
pub const IMAGE: &str = "localhost/vipkeeper:test";

/// The image of the process that holds a pod's namespaces.
pub const PAUSE: &str = "localhost/pause:test";

/// A process that does nothing, and ends at once when asked to.
const PAUSE_SOURCE: &str = "#include <signal.h>
#include <unistd.h>
static void end(int signal) { (void)signal; _exit(0); }
int main(void) { signal(SIGTERM, end); signal(SIGINT, end); for (;;) pause(); }
";

/// Makes both archives in a folder, the one with the script that `make image` runs.
pub fn make(folder: &Path) {
    require(&["buildah", "cc"]);
    let binary = PathBuf::from(VIPKEEPER).parent().unwrap().parent().unwrap().join("release/vipkeeper");
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/.ci/image");
    run(Command::new(script).arg(binary).args([architecture]).arg(folder.join("vipkeeper.tar")).arg(IMAGE));
    pause(folder);
}

fn pause(folder: &Path) {
    let work = tempfile::tempdir().unwrap();
    let at = |name: &str| work.path().join(name).into_os_string().into_string().unwrap();
    std::fs::create_dir(at("context")).unwrap();
    std::fs::write(at("pause.c"), PAUSE_SOURCE).unwrap();
    run(Command::new("cc").args(["-static", "-Os", "-o", &at("context/pause"), &at("pause.c")]));
    std::fs::write(at("Dockerfile"), "FROM scratch\nCOPY pause /pause\nENTRYPOINT [\"/pause\"]\n").unwrap();
    let buildah = || {
        let mut command = Command::new("buildah");
        command.args(["--storage-driver", "vfs", "--root", &at("root"), "--runroot", &at("run")]);
        command
    };
    run(buildah().args(["bud", "--isolation", "chroot", "-q", "-t", PAUSE, "-f", &at("Dockerfile"), &at("context")]));
    let archive = format!("oci-archive:{}:{PAUSE}", folder.join("pause.tar").display());
    run(buildah().args(["push", "-q", PAUSE, &archive]));
}
