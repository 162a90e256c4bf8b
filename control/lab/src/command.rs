//! Running iproute2 and ethtool, each with a list of arguments and never through a shell.

use std::process::Stdio;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use weft_api::ProblemKind;

use crate::LabError;

/// The programs that a lab runs, with the Debian packages that hold them.
pub(crate) const PROGRAMS: [(&str, &str); 4] = [
    ("ip", "iproute2"),
    ("ethtool", "ethtool"),
    ("ping", "iputils-ping"),
    ("tcpdump", "tcpdump"),
];

/// Where programs are looked for besides `PATH`: a user's `PATH` on Debian has no system directories.
const SYSTEM_DIRECTORIES: [&str; 4] = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin"];

/// A program, known by its name alone where it is found in the usual places.
pub(crate) fn program(name: &str) -> Command {
    let path = find(name).unwrap_or_else(|| name.into());
    let mut command = Command::new(path);
    // A Ctrl-C on the terminal is for weft alone, which then takes the lab apart in order.
    command
        .process_group(0)
        .kill_on_drop(true)
        .stdin(Stdio::null());
    command
}

/// The file that holds the program `name`.
pub(crate) fn find(name: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(SYSTEM_DIRECTORIES.iter().map(Into::into))
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
}

/// Checks that this process may build labs, and that the programs which it needs are there.
pub(crate) fn check_requirements(what: &str, programs: &[&str]) -> Result<(), LabError> {
    let missing: Vec<&str> = PROGRAMS
        .iter()
        .filter(|(name, _)| programs.contains(name) && find(name).is_none())
        .map(|(_, package)| *package)
        .collect();
    if !missing.is_empty() {
        return Err(LabError::failed(
            what,
            format!("needs programs of the packages {}", missing.join(", ")),
        )
        .hint(format!("apt-get install {}", missing.join(" "))));
    }
    if !rustix::process::geteuid().is_root() {
        return Err(LabError::new(
            ProblemKind::NotPermitted,
            what,
            "only root can make network namespaces",
        )
        .hint("run it with sudo"));
    }
    Ok(())
}

/// Runs `ip` and returns what it printed.
pub(crate) async fn ip(arguments: &[&str]) -> Result<String, LabError> {
    run("ip", arguments, "").await
}

/// Runs several `ip` commands in one process, all in `namespace`. The first that fails ends it.
pub(crate) async fn ip_batch(namespace: &str, commands: &[String]) -> Result<(), LabError> {
    run(
        "ip",
        &["-n", namespace, "-batch", "-"],
        &commands.join("\n"),
    )
    .await
    .map(drop)
    .map_err(|mut error| {
        // ip ends with "Command failed -:LINE", a line of the input that only this function knows.
        let failed = error
            .problem
            .rsplit_once("; Command failed -:")
            .and_then(|(said, line)| {
                let command = commands.get(line.trim().parse::<usize>().ok()?.checked_sub(1)?)?;
                Some((format!("ip -n {namespace} {command}"), said.to_owned()))
            });
        if let Some((command, said)) = failed {
            (error.object, error.problem) = (command, said);
        }
        error
    })
}

/// Runs a program in `namespace` and returns what it printed.
pub(crate) async fn inside(
    namespace: &str,
    arguments: &[&str],
    input: &str,
) -> Result<String, LabError> {
    run(
        "ip",
        &[&["netns", "exec", namespace], arguments].concat(),
        input,
    )
    .await
}

async fn run(name: &str, arguments: &[&str], input: &str) -> Result<String, LabError> {
    let shown = || format!("{name} {}", arguments.join(" "));
    let mut child = program(name)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| LabError::io(shown(), &error))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that ends without reading says why with its status.
        let _ = stdin.write_all(input.as_bytes()).await;
    }
    let output = child
        .wait_with_output()
        .await
        .map_err(|error| LabError::io(shown(), &error))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr)
        .trim()
        .replace('\n', "; ");
    let problem = if said.is_empty() {
        output.status.to_string()
    } else {
        said
    };
    let error = LabError::failed(shown(), problem);
    Err(if error.problem.contains("Operation not permitted") {
        LabError {
            kind: ProblemKind::NotPermitted,
            ..error
        }
        .hint("network namespaces take root with CAP_SYS_ADMIN")
    } else {
        error
    })
}
