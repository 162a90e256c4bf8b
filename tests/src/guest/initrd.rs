//! The initial RAM disk that guests run in: busybox, tools of this machine with their libraries, modules, the first process.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::archive::Archive;
use super::kernel::Kernel;
use super::modules;
use crate::Answer;

/// What tests run in guests beside busybox, with the packages.
const TOOLS: [(&str, &str); 3] = [
    ("tcpdump", "tcpdump"),
    ("iperf3", "iperf3"),
    ("ethtool", "ethtool"),
];

/// The adapter's driver on a PCI bus, and VLAN interfaces.
const MODULES: [&str; 3] = ["virtio_pci", "virtio_net", "8021q"];

/// The archive, the same for every guest.
pub(super) fn initrd(kernel: &Kernel) -> &'static [u8] {
    static INITRD: OnceLock<Vec<u8>> = OnceLock::new();
    INITRD.get_or_init(|| build(kernel))
}

fn build(kernel: &Kernel) -> Vec<u8> {
    assert_eq!(
        std::env::consts::ARCH,
        "x86_64",
        "guests run programs of this machine on an emulated x86-64"
    );
    let mut archive = Archive::default();
    for directory in ["/dev", "/proc", "/sys", "/tmp", "/run"] {
        archive.directory(directory);
    }
    archive.file("/init", include_bytes!("init.sh"));
    archive.file(
        "/bin/busybox",
        &content(&program("busybox", "busybox-static")),
    );
    // tcpdump insists on becoming a user of this name.
    archive.file("/etc/passwd", b"tcpdump:x:0:0::/:/bin/sh\n");
    archive.file("/etc/group", b"tcpdump:x:0:\n");
    let mut order = String::new();
    for (name, object) in modules::in_order(&kernel.modules(), &MODULES) {
        let path = format!("/lib/modules/{name}.ko");
        archive.file(&path, &object);
        order += &format!("{path}\n");
    }
    archive.file("/lib/modules/order", order.as_bytes());
    let mut added = Vec::new();
    for (tool, package) in TOOLS {
        let tool = program(tool, package);
        for path in libraries(&tool).into_iter().chain([tool]) {
            if !added.contains(&path) {
                let name = path.to_str().expect("a path in UTF-8");
                archive.file(name, &content(&path));
                added.push(path);
            }
        }
    }
    archive.finish()
}

/// Where a program is.
fn program(name: &str, package: &str) -> PathBuf {
    let places = ["/usr/bin", "/usr/sbin", "/bin", "/sbin"];
    let mut paths = places.iter().map(|place| Path::new(place).join(name));
    let found = paths.find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("guests need {name}: install {package}"))
}

/// The shared libraries of a program, and what loads them.
fn libraries(program: &Path) -> Vec<PathBuf> {
    let listed = Answer::of(Command::new("ldd").arg(program)).succeeds();
    let words = listed.split_ascii_whitespace();
    words
        .filter(|word| word.starts_with('/'))
        .map(PathBuf::from)
        .collect()
}

fn content(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
