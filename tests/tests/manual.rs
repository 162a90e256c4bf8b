//! The manual and the files that a package installs.
#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use weft_tests::{Answer, weft};

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{directory:?}: {error}"));
    let mut files: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    files
}

/// All that a package installs below `/usr/share`.
fn package_files() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let mut command = Command::new(weft());
    Answer::of(command.arg("package-files").arg(directory.path())).succeeds();
    directory
}

#[test]
fn every_page_is_well_formed() {
    let directory = package_files();
    let pages = files(&directory.path().join("man/man1"));
    assert!(pages.len() > 30, "{pages:?}");
    for page in &pages {
        let mut man = Command::new("man");
        man.args(["--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z"])
            .arg(page);
        let answer = Answer::of(man.env("LC_ALL", "C.UTF-8"));
        assert_eq!(
            (answer.code, answer.stderr.as_str()),
            (Some(0), ""),
            "{page:?}"
        );
        let mut mandoc = Command::new("mandoc");
        let answer = Answer::of(mandoc.args(["-T", "lint", "-W", "warning"]).arg(page));
        // A page without a date is the same in every build.
        let complaints = answer
            .stdout
            .lines()
            .filter(|line| !line.contains("missing date"));
        assert_eq!(complaints.collect::<Vec<_>>(), [""; 0]);
    }
}

#[test]
fn man_shows_the_page_of_a_command() {
    let directory = package_files();
    let mut man = Command::new("man");
    man.arg("-M").arg(directory.path().join("man"));
    let text = Answer::of(
        man.args(["weft-port-add"])
            .env("MANWIDTH", "200")
            .env("LC_ALL", "C.UTF-8"),
    );
    let text = text.succeeds();
    let example = "weft port add web --portgroup Lab --veth p-web --engine packet";
    assert!(text.lines().any(|line| line.trim() == example), "{text}");
    assert!(text.contains("--vhost-user"), "{text}");
}

#[test]
fn a_package_has_what_shells_look_for() {
    let directory = package_files();
    for file in [
        "bash-completion/completions/weft",
        "zsh/vendor-completions/_weft",
        "fish/vendor_completions.d/weft.fish",
    ] {
        let text = fs::read_to_string(directory.path().join(file));
        let text = text.unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(text.contains("complete"), "{file}");
    }
    for (shell, file) in [
        ("bash", "bash-completion/completions/weft"),
        ("zsh", "zsh/vendor-completions/_weft"),
        ("fish", "fish/vendor_completions.d/weft.fish"),
    ] {
        let mut command = Command::new(shell);
        let answer = Answer::of(command.arg("-n").arg(directory.path().join(file)));
        assert_eq!(
            (answer.code, answer.stderr.as_str()),
            (Some(0), ""),
            "{file}"
        );
    }
}
