//! The Debian package, on a Debian that has booted with systemd: installed, upgraded under traffic, restarted, removed, purged.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use weft_tests::{Answer, Debian, eventually, root, until, weft};

/// The most that 'systemd-analyze security' may say about the unit, in tenths: 0 is nothing, 100 a service without any limits.
/// What is left are the agent's own capabilities, its system call bpf, and the network.
const EXPOSURE: u32 = 33;

/// Packs the program under test under this version.
fn package(directory: &Path, version: &str) -> PathBuf {
    let mut build = Command::new(root().join("packaging/build-deb"));
    let name = Answer::of(build.arg(weft()).arg(directory).arg(version)).succeeds();
    directory.join(name.trim())
}

#[test]
fn the_package_installs_upgrades_and_leaves_nothing() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let packages = ["0.1.0", "0.1.1"].map(|version| package(directory.path(), version));
    let mut lintian = Command::new("lintian");
    Answer::of(lintian.args(["--fail-on", "error"]).arg(&packages[0])).succeeds();
    let debian = Debian::boot(&packages);
    let before = files(debian.root());

    installs(&debian, &packages[0]);
    forwards(&debian);
    upgrades_without_a_restart(&debian, &packages[1]);
    restarts_when_asked(&debian, &packages[1]);
    comes_back(&debian);
    obeys_its_file(&debian);
    is_removed(&debian);

    debian.does("dpkg --purge weft");
    let left: Vec<_> = files(debian.root()).difference(&before).cloned().collect();
    assert_eq!(left, [""; 0]);
    assert_eq!(debian.runs("getent group weft").code, Some(2));
    assert_eq!(debian.does("ls /run | grep weft || true"), "");
}

/// Every file, except of those who keep books about what happened.
fn files(root: &Path) -> BTreeSet<String> {
    let books = [
        "var/lib/dpkg",
        "var/log",
        "var/cache",
        "etc/group-",
        "etc/gshadow-",
        "root",
        "tmp",
        "var/tmp",
        "run",
    ];
    let mut find = Command::new("find");
    find.arg(root)
        .args(["-xdev", "-mindepth", "1", "-printf", "%P\\n"]);
    let found = Answer::of(&mut find).succeeds();
    let kept = found.lines().filter(|path| {
        let of_books = |book: &&str| path.starts_with(book);
        !books.iter().any(of_books)
    });
    kept.map(str::to_owned).collect()
}

/// What 'systemctl show' says of a property of the agent's unit.
fn property(debian: &Debian, name: &str) -> String {
    let line = format!("systemctl show --value --property {name} weft-agent");
    debian.does(&line).trim().to_owned()
}

fn shows(debian: &Debian, words: &str) -> Value {
    debian.runs(&format!("weft {words} -o json")).json()
}

fn installs(debian: &Debian, package: &Path) {
    let package = package.file_name().expect("a name").to_string_lossy();
    debian.does(&format!("dpkg --install /root/{package}"));
    // It is started, and dpkg has waited until it was ready.
    assert_eq!(property(debian, "ActiveState"), "active");
    let status = shows(debian, "status");
    assert_eq!(status["pid"].to_string(), property(debian, "MainPID"));
    assert_eq!(status["problems"], Value::Array(vec![]));
    assert_eq!(
        property(debian, "StatusText"),
        "0 of 0 ports up, 0 of 0 uplinks up"
    );
    assert_eq!(debian.does("systemctl is-enabled weft-agent"), "enabled\n");
    debian.does("getent group weft");
}

/// Ports of every engine.
fn forwards(debian: &Debian) {
    debian.does("weft vswitch add vSwitch1; weft portgroup add Lab --vswitch vSwitch1");
    for (number, engine) in [(1, "af-xdp"), (2, "packet")] {
        debian.does(&format!(
            "set -e; ip netns add vm{number}
            ip link add p-vm{number} type veth peer name eth0 netns vm{number}
            ip link set p-vm{number} up; ip -n vm{number} link set eth0 up
            ip -n vm{number} addr add 192.168.10.{number}/24 dev eth0
            weft port add vm{number} --portgroup Lab --veth p-vm{number} --engine {engine}"
        ));
    }
    debian.does("weft port add host0 --portgroup Lab --tap weft0; ip link set weft0 up");
    // Otherwise it answers for the address of the host's other interface on that switch.
    debian.does("echo 1 >/proc/sys/net/ipv4/conf/weft0/arp_ignore");
    debian.does(
        "weft port add guest --portgroup Lab --vhost-user /run/weft/guest.sock --role server",
    );
    debian.does("test -S /run/weft/guest.sock");
    debian.does("ip netns exec vm1 ping -q -c 3 -i 0.1 192.168.10.2");
    debian.does("weft vmk add vmk0 --portgroup Lab --ip 192.168.10.3/24");
    debian.does("ip netns exec vm1 ping -q -c 3 -i 0.1 192.168.10.3");
    // The unit may read no other process: the client tells how it is connected, also where sudo took that from it.
    for cleared in ["", "env -u SSH_CONNECTION"] {
        let refused = debian.runs(&format!(
            "SSH_CONNECTION='192.168.10.1 5 192.168.10.3 22' sh -c '{cleared} weft vmk del vmk0; exit $?'"
        ));
        refused.refused(4, &["vmk0", "192.168.10.3", "--yes"]);
    }
    until("only the guest is missing", || {
        let problems = shows(debian, "status")["problems"].take();
        let problems = problems.as_array().expect("a list").clone();
        problems.len() == 1 && problems[0]["object"]["name"] == "guest"
    });
}

fn upgrades_without_a_restart(debian: &Debian, package: &Path) {
    let package = package.file_name().expect("a name").to_string_lossy();
    let pid = property(debian, "MainPID");
    let mut ping = debian.command("exec ip netns exec vm1 ping -q -i 0.02 192.168.10.2");
    let ping = ping
        .stdout(Stdio::piped())
        .spawn()
        .expect("running nsenter");
    let said = debian.does(&format!("dpkg --install /root/{package}"));
    assert!(said.contains("systemctl restart weft-agent"), "{said}");
    assert_eq!(property(debian, "MainPID"), pid);
    // It is the old program that runs on.
    let program = debian.does(&format!("readlink /proc/{pid}/exe"));
    assert!(program.contains("deleted"), "{program}");
    debian.does("pkill -INT ping || kill -INT $(pidof ping)");
    let output = ping.wait_with_output().expect("it was a child");
    let output = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.contains(" 0% packet loss"), "{output}");
    assert!(debian.does("dpkg --status weft").contains("Version: 0.1.1"));
}

fn restarts_when_asked(debian: &Debian, package: &Path) {
    let package = package.file_name().expect("a name").to_string_lossy();
    let (pid, export) = (property(debian, "MainPID"), debian.does("weft export"));
    debian.does(&format!("WEFT_RESTART=yes dpkg --install /root/{package}"));
    assert_ne!(property(debian, "MainPID"), pid);
    assert_eq!(debian.does("weft export"), export);
    debian.does("ip netns exec vm1 ping -q -c 3 -i 0.1 192.168.10.2");
}

/// After a crash, and after a poll thread stood still.
fn comes_back(debian: &Debian) {
    let export = debian.does("weft export");
    let restarted = |times: &str| {
        let is_up =
            || property(debian, "NRestarts") == times && debian.runs("weft status").code == Some(0);
        let back = eventually(Duration::from_secs(40), || is_up().then_some(()));
        assert!(
            back.is_some(),
            "not restarted: {}",
            debian.does("systemctl status weft-agent")
        );
        assert_eq!(debian.does("weft export"), export);
        debian.does("test -S /run/weft/guest.sock");
        debian.does("ip netns exec vm1 ping -q -c 3 -i 0.1 192.168.10.2");
        debian.does("ip netns exec vm1 ping -q -c 3 -i 0.1 192.168.10.3");
    };
    debian.does("systemctl kill --kill-whom main --signal KILL weft-agent");
    restarted("1");
    // Less patience than the unit has by itself, for the sake of the test.
    debian.does(
        "set -e; mkdir -p /run/systemd/system/weft-agent.service.d
        printf '[Service]\\nWatchdogSec=4s\\n' >/run/systemd/system/weft-agent.service.d/test.conf
        systemctl daemon-reload; systemctl restart weft-agent",
    );
    // As a debugger does; it sees to what is left of the thread when it is killed (ptrace(2), __WALL).
    let call = if cfg!(target_arch = "x86_64") {
        101
    } else {
        117
    };
    debian.does(&format!(
        "cd /proc/$(systemctl show --value --property MainPID weft-agent)/task
        task=$(grep -l weft-poll-0 */comm | cut -d/ -f1)
        perl -e '
            my $task = shift;
            syscall({call}, 0x4206, $task + 0, 0, 0) == 0 or die \"seize: $!\";
            syscall({call}, 0x4207, $task + 0, 0, 0) == 0 or die \"interrupt: $!\";
            1 while waitpid($task, 0x40000000) > 0' $task"
    ));
    let journal = debian.does("journalctl --no-pager --unit weft-agent");
    assert!(journal.contains("a poll thread is stalled"), "{journal}");
    assert!(journal.contains("Watchdog timeout"), "{journal}");
    restarted("1");
}

fn obeys_its_file(debian: &Debian) {
    debian.does("echo 'host-name: esxi01' >>/etc/weft/agent.yaml; systemctl restart weft-agent");
    assert_eq!(shows(debian, "status")["host"], "esxi01");
    debian.does("echo 'host-nam: esxi02' >>/etc/weft/agent.yaml");
    debian.runs("systemctl restart weft-agent");
    let journal = debian.does("journalctl --no-pager --unit weft-agent");
    assert!(journal.contains("did you mean host-name?"), "{journal}");
    debian.does("sed -i '$ d' /etc/weft/agent.yaml; systemctl reset-failed weft-agent; systemctl restart weft-agent");
}

/// The agent goes, and takes its interfaces along; what an operator made stays.
fn is_removed(debian: &Debian) {
    debian.does("dpkg --remove weft");
    assert_eq!(debian.does("pidof weft || true"), "");
    assert_eq!(debian.does("ls /run | grep weft || true"), "");
    let links = debian.does("ip -details link");
    assert!(
        !links.contains("xdp") && !links.contains("weft0") && !links.contains("vmk0"),
        "{links}"
    );
    debian.does("test -e /etc/weft/agent.yaml; ls /var/lib/weft/generation-*");
    debian.does("getent group weft");
    debian.does("ip netns del vm1; ip netns del vm2");
}

#[test]
fn the_unit_is_valid_and_says_little_about_the_host() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let unit = directory.path().join("weft-agent.service");
    let text = std::fs::read_to_string(root().join("packaging/weft-agent.service"));
    let text = text
        .expect("the unit")
        .replace("/usr/bin/weft", &weft().to_string_lossy());
    std::fs::write(&unit, text).expect("it can be written");
    let analyse = |words: &[&str]| {
        let mut analyse = Command::new("systemd-analyze");
        Answer::of(analyse.args(words).arg(&unit))
    };
    let answer = analyse(&["verify", "--man=no", "--recursive-errors=no"]);
    assert_eq!(
        (answer.code, answer.stdout.as_str()),
        (Some(0), ""),
        "{answer:#?}"
    );
    assert!(
        !answer.stderr.contains("weft-agent.service:"),
        "{answer:#?}"
    );
    analyse(&[
        "security",
        "--offline=true",
        "--no-pager",
        &format!("--threshold={EXPOSURE}"),
    ])
    .succeeds();
}
