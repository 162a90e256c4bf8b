//! The program under test, and where it comes from.

use std::path::{Path, PathBuf};

/// The root of the repository.
///
/// # Panics
/// Never: these tests are a member of its workspace.
pub fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = tests.parent().expect("it is a member of the workspace");
    root.to_owned()
}

/// The `weft` executable: `$WEFT`, else the one that was built beside the tests.
///
/// # Panics
/// If there is none, or if this is not root, without whom it can do nothing.
pub fn weft() -> PathBuf {
    assert!(
        rustix::process::geteuid().is_root(),
        "these tests make network namespaces and AF_XDP sockets: run them as root"
    );
    let weft = std::env::var_os("WEFT").map_or_else(beside_the_tests, PathBuf::from);
    assert!(
        weft.is_file(),
        "{} does not exist; build it first: cargo build -p weft-cli",
        weft.display()
    );
    weft
}

/// Tests are in `PROFILE/deps`, programs in `PROFILE`.
fn beside_the_tests() -> PathBuf {
    let test = std::env::current_exe().expect("the system names the running program");
    let profile = test.parent().and_then(|deps| deps.parent());
    profile
        .expect("cargo puts tests two directories deep")
        .join("weft")
}
