//! The guests' kernel: the one of Debian's cloud images, unpacked and not installed.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use crate::Answer;

/// Depends on the current kernel.
const NEWEST: &str = "linux-image-cloud-amd64";

/// An unpacked kernel package.
pub(super) struct Kernel(PathBuf);

impl Kernel {
    /// The current one, from the package archive if it was not unpacked before.
    ///
    /// # Panics
    /// If it is not to be had.
    pub(super) fn unpacked() -> Self {
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let _alone = ONE_AT_A_TIME.lock();
        let package = newest();
        let directory = cache().join(&package);
        if !directory.is_dir() {
            unpack(&package, &directory);
        }
        Self(directory)
    }

    /// What QEMU boots.
    pub(super) fn image(&self) -> PathBuf {
        self.only("boot", "vmlinuz-")
    }

    /// Where its modules are.
    pub(super) fn modules(&self) -> PathBuf {
        // Since Debian 13 packages have nothing in /lib.
        let places = ["usr/lib/modules", "lib/modules"];
        let there = places.iter().find(|place| self.0.join(place).is_dir());
        self.only(there.expect("a kernel package has modules"), "")
            .join("kernel")
    }

    /// The only file of a directory whose name begins so.
    fn only(&self, directory: &str, begins: &str) -> PathBuf {
        let directory = self.0.join(directory);
        let entries = std::fs::read_dir(&directory);
        let entries = entries.unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
        let mut paths = entries.flatten().map(|entry| entry.path());
        let begins = |path: &PathBuf| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with(begins))
        };
        let found = paths.find(begins);
        found.unwrap_or_else(|| panic!("{}: a kernel is missing", directory.display()))
    }
}

/// The name of the package.
fn newest() -> String {
    let depends = || Answer::of(Command::new("apt-cache").args(["depends", NEWEST])).stdout;
    let name = |depends: String| {
        let mut words = depends.split_ascii_whitespace();
        let found = words.find(|word| word.starts_with("linux-image-") && *word != NEWEST);
        found.map(str::to_owned)
    };
    let found = name(depends()).or_else(|| {
        update();
        name(depends())
    });
    found.unwrap_or_else(|| {
        panic!(
            "the package lists have no {NEWEST}, whose kernel the guests run; add a Debian archive"
        )
    })
}

/// Where unpacked kernels are kept: tests are in `target/PROFILE/deps`.
fn cache() -> PathBuf {
    let test = std::env::current_exe().expect("the system names the running program");
    let target = test.ancestors().nth(3);
    target
        .expect("cargo puts tests three directories deep")
        .join("guest-kernels")
}

fn unpack(package: &str, directory: &Path) {
    let cache = cache();
    std::fs::create_dir_all(&cache).expect("the target directory can be written");
    // Whole or not at all, whoever else does the same.
    let scratch = tempfile::tempdir_in(&cache).expect("the target directory can be written");
    let download = || {
        let mut command = Command::new("apt-get");
        command.args(["-qq", "download", package]);
        Answer::of(command.current_dir(&scratch))
    };
    if download().code != Some(0) {
        update();
        download().succeeds();
    }
    let files = std::fs::read_dir(&scratch).expect("it was made").flatten();
    let mut files = files.map(|file| file.path());
    let file = files.find(|file| file.extension().is_some_and(|end| end == "deb"));
    let root = scratch.path().join("root");
    let mut command = Command::new("dpkg-deb");
    command.arg("-x").arg(file.expect("it was downloaded"));
    Answer::of(command.arg(&root)).succeeds();
    // Who builds as a user and tests as root can still clean up.
    let mut command = Command::new("chown");
    command.args(["--recursive", "--reference=.."]);
    Answer::of(command.args([".", "root"]).current_dir(&scratch)).succeeds();
    let renamed = std::fs::rename(&root, directory);
    assert!(directory.is_dir(), "{}: {renamed:?}", directory.display());
}

/// Package lists may be missing, or so old that what they name is gone.
fn update() {
    Answer::of(Command::new("apt-get").args(["-qq", "update"])).succeeds();
}
