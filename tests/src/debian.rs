//! A Debian that has booted: its own first process is systemd, its own interfaces, processes and files.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::{Answer, eventually};

/// How long it may take to boot. It takes a second where nothing else runs.
const BOOT: Duration = Duration::from_secs(60);

/// What it has beyond the least of all installations.
const PACKAGES: &str = "systemd-sysv,iproute2,iputils-ping,libgcc-s1";

/// A container with systemd, which goes when it is dropped.
#[derive(Debug)]
pub struct Debian {
    nspawn: Child,
    root: tempfile::TempDir,
}

impl Debian {
    /// Boots one of the release of this machine, with these files in `/root`.
    ///
    /// # Panics
    /// If that is not possible.
    pub fn boot(files: &[PathBuf]) -> Self {
        let root = tempfile::tempdir().expect("a temporary directory");
        let mut tar = Command::new("tar");
        tar.arg("--extract").arg("--file").arg(installed());
        Answer::of(tar.arg("--directory").arg(root.path())).succeeds();
        for file in files {
            let name = file.file_name().expect("a file has a name");
            std::fs::copy(file, root.path().join("root").join(name)).expect("a copy");
        }
        let mut nspawn = Command::new("systemd-nspawn");
        nspawn
            .args(["--quiet", "--boot", "--register=no", "--keep-unit"])
            .args(["--console=pipe", "--private-network", "--capability=all"])
            .args(["--system-call-filter=@known", "--bind=/dev/net/tun"])
            .arg(format!("--machine=weft-test-{}", std::process::id()))
            .arg("--directory")
            .arg(root.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A Ctrl-C is for the tests, which take it apart in order.
            .process_group(0);
        let nspawn = nspawn.spawn();
        let debian = Self {
            nspawn: nspawn.expect("running systemd-nspawn (install systemd-container)"),
            root,
        };
        let is_up = || {
            let state = debian.runs("systemctl is-system-running").stdout;
            (state == "running\n").then_some(())
        };
        let state = eventually(BOOT, is_up);
        assert!(
            state.is_some(),
            "{:#?}",
            debian.runs("systemctl --failed --no-pager")
        );
        debian
    }

    /// Its files, from outside.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// Runs a line of shell in it.
    pub fn runs(&self, line: &str) -> Answer {
        Answer::of(&mut self.command(line))
    }

    /// Runs a line of shell in it, which succeeds.
    ///
    /// # Panics
    /// If it does not.
    #[track_caller]
    pub fn does(&self, line: &str) -> String {
        self.runs(line).succeeds()
    }

    /// The command that runs a line of shell in it.
    pub fn command(&self, line: &str) -> Command {
        let nspawn = self.nspawn.id();
        let children = std::fs::read_to_string(format!("/proc/{nspawn}/task/{nspawn}/children"));
        let children = children.unwrap_or_default();
        // Before its first process is there, the line is run by nobody.
        let first = children.split(' ').next().filter(|first| !first.is_empty());
        let mut command = Command::new("nsenter");
        command.args(["--all", "--target", first.unwrap_or("0"), "--"]);
        command
            .args([
                "env",
                "-i",
                "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
                "LANG=C.UTF-8",
            ])
            .args([
                "HOME=/root",
                "DEBIAN_FRONTEND=noninteractive",
                "sh",
                "-c",
                line,
            ])
            .stdin(Stdio::null());
        command
    }
}

impl Drop for Debian {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.runs("journalctl --no-pager --unit weft-agent").stdout;
            println!("--- the agent's journal\n{log}");
        }
        // Its first process dies with it, and all others with that.
        let _ = self.nspawn.kill();
        let _ = self.nspawn.wait();
    }
}

/// An archive of an installed Debian, made once.
fn installed() -> PathBuf {
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let mut lines = release.lines();
    let name = lines.find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    let name = name.expect("/etc/os-release names the release");
    let test = std::env::current_exe().expect("the system names the running program");
    let target = test
        .ancestors()
        .nth(3)
        .expect("tests are in target/PROFILE/deps");
    let archive = target.join("guests").join(format!("{name}-systemd.tar"));
    if !archive.is_file() {
        std::fs::create_dir_all(target.join("guests")).expect("a directory");
        let unfinished = archive.with_extension("unfinished.tar");
        let mut mmdebstrap = Command::new("mmdebstrap");
        mmdebstrap.args(["--quiet", "--variant=minbase", "--include", PACKAGES, name]);
        Answer::of(mmdebstrap.arg(&unfinished)).succeeds();
        std::fs::rename(&unfinished, &archive).expect("a name");
    }
    archive
}
