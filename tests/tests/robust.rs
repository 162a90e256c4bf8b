//! Disks that take nothing, files that are damaged, clocks that jump, descriptors that run out: what was acknowledged stays, frames
//! go on, and the operator is told.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use weft_tests::{Answer, Host, Pings, Random, Vm, rounds, until, weft};

/// A small disk of its own for a state directory.
struct Disk {
    directory: tempfile::TempDir,
}

impl Disk {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let disk = Self { directory };
        disk.mount("size=512k");
        disk
    }

    fn mount(&self, options: &str) {
        let mut mount = Command::new("mount");
        mount.args(["--no-mtab", "-t", "tmpfs", "-o", options, "tmpfs"]);
        Answer::of(mount.arg(self.path())).succeeds();
    }

    /// Lays the same disk over itself, read-only, for the agent that runs and for those to come: one that is written to cannot be
    /// remounted so.
    fn protect(&self, host: &Host) {
        for options in ["bind", "remount,bind,ro"] {
            let path = self.path().display();
            self.everywhere(host, &format!("mount --no-mtab -o {options} {path} {path}"));
        }
    }

    fn release(&self, host: &Host) {
        let path = self.path().display();
        self.everywhere(host, &format!("umount --no-mtab -l {path}"));
    }

    /// Runs a command here and in the mount namespace of the agent.
    fn everywhere(&self, host: &Host, line: &str) {
        let mut here = Command::new("sh");
        Answer::of(here.args(["-c", line])).succeeds();
        let mut there = Command::new("nsenter");
        there.arg(format!("--mount=/proc/{}/ns/mnt", host.agent_pid()));
        Answer::of(there.args(line.split_ascii_whitespace())).succeeds();
    }

    /// Fills it up to its last page.
    fn fill(&self) {
        let filler = self.path().join("filler");
        fs::write(filler, vec![0; 1 << 20]).expect_err("it is smaller");
    }

    fn empty(&self) {
        fs::remove_file(self.path().join("filler")).expect("the filler is there");
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let mut umount = Command::new("umount");
        let _ = umount.args(["--no-mtab", "-l"]).arg(self.path()).status();
    }
}

/// A host with two VMs that ping each other, its state on a disk of its own.
fn host_on(disk: &Disk) -> (Host, Vm, Vm) {
    let host = Host::asleep(Some(disk.path().join("state")));
    host.start();
    host.does("vswitch add vSwitch1");
    host.does("portgroup add Lab --vswitch vSwitch1 --vlan 10");
    let (one, two) = (host.vm("one", "Lab"), host.vm("two", "Lab"));
    (host, one, two)
}

/// Checks that nothing was lost while `work` was done.
fn without_loss(one: &Vm, two: &Vm, work: impl FnOnce()) {
    let pings = Pings::start(one, two);
    work();
    let (sent, received) = pings.stop();
    // The last one may still be under way.
    assert!(sent - received <= 1, "{received} of {sent} came back");
}

#[test]
fn a_full_disk_refuses_changes_and_nothing_else() {
    let disk = Disk::new();
    let (host, one, two) = host_on(&disk);
    let before = host.export();
    without_loss(&one, &two, || {
        disk.fill();
        let refused = host.weft("portgroup set Lab --vlan 11");
        refused.refused(1, &["generation-", "No space left", "make room"]);
        // Nor is anything opened anew that then has to be taken back.
        let refused = host.weft("vswitch set vSwitch1 --mtu 1400");
        refused.refused(1, &["generation-", "No space left"]);
        assert_eq!(host.export(), before);
        let status = host.does("status");
        assert!(
            status.contains("is full") && status.contains("df -h"),
            "{status}"
        );
    });
    host.kill();
    host.start();
    assert_eq!(host.export(), before);
    assert!(one.reaches(&two));
    disk.empty();
    host.does("portgroup set Lab --vlan 11");
    assert!(!host.does("status").contains("is full"));
}

/// A change that would be taken back waits for room; nobody's frames do.
#[test]
fn what_cannot_be_taken_back_for_lack_of_room_interrupts_nobody() {
    let disk = Disk::new();
    let (host, one, two) = host_on(&disk);
    let before = host.export();
    apply(&host, "--confirm 1s", "mtu", 1400);
    disk.fill();
    let log = "cannot be taken back yet";
    until("its time is over", || host.log().contains(log));
    without_loss(&one, &two, || {
        // The next attempt is 2 s later.
        until("it is tried again", || host.log().matches(log).count() > 1);
    });
    disk.empty();
    until("it is taken back", || host.export() == before);
    assert!(one.reaches(&two));
}

#[test]
fn a_disk_that_is_read_only_refuses_changes_and_nothing_else() {
    let disk = Disk::new();
    let (host, one, two) = host_on(&disk);
    let before = host.export();
    let told = || {
        let refused = host.weft("portgroup set Lab --vlan 11");
        refused.refused(1, &["generation-", "Read-only file system"]);
        assert_eq!(host.export(), before);
        let status = host.does("status");
        assert!(
            status.contains("is not writable: Read-only file system"),
            "{status}"
        );
    };
    without_loss(&one, &two, || {
        disk.protect(&host);
        told();
    });
    // An agent that starts on such a disk has everything that was acknowledged, and is as honest.
    host.kill();
    host.start();
    told();
    assert!(one.reaches(&two));
    disk.release(&host);
    host.does("portgroup set Lab --vlan 11");
    assert!(!host.does("status").contains("not writable"));
}

/// The generations of a state directory, oldest first.
fn generations(state: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(state).expect("the state directory");
    let paths = entries.map(|entry| entry.expect("it is readable").path());
    let is_one = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("generation-")
    };
    let mut paths: Vec<_> = paths.filter(is_one).collect();
    paths.sort();
    paths
}

/// The way in which files get lost that disks do not tell.
fn damage(way: &str, newest: &Path) {
    let content = fs::read(newest).expect("it is readable");
    let damaged = match way {
        "emptied" => Vec::new(),
        "truncated" => content[..content.len() / 2].to_vec(),
        "zeroed" => vec![0; content.len()],
        "flipped" => {
            let mut content = content;
            let middle = content.len() / 2;
            content[middle] ^= 4;
            content
        }
        other => unreachable!("{other}"),
    };
    fs::write(newest, damaged).expect("it is writable");
}

#[test]
fn a_damaged_generation_is_told_and_the_one_before_it_is_used() {
    let host = Host::with_switch();
    host.does("portgroup add Lab --vswitch vSwitch1 --vlan 10");
    let (one, two) = (host.vm("one", "Lab"), host.vm("two", "Lab"));
    for way in ["emptied", "truncated", "zeroed", "flipped"] {
        host.does("port set two --block no");
        let before = host.export();
        host.does("portgroup set Lab --vlan 11");
        host.kill();
        let newest = generations(host.state()).pop().expect("there are some");
        let name = newest.file_name().expect("a name").to_string_lossy();
        damage(way, &newest);
        host.start();
        assert_eq!(host.export(), before, "{way}");
        assert!(one.reaches(&two));
        let status = host.does("status");
        assert!(
            status.contains(&*name) && status.contains("the generation before it is in use"),
            "{way}: {status}"
        );
        let history = host.does("history");
        assert!(history.contains("damaged"), "{way}: {history}");
        // What comes next stands on what is in force.
        host.does("portgroup set Lab --vlan 12");
        host.kill();
        host.start();
        assert!(host.export().contains("vlan: 12"), "{way}");
        host.does("portgroup set Lab --vlan 10");
    }
}

/// An agent whose clock is in another year, which starts and goes on after its clock jumps.
#[test]
fn a_clock_that_jumps_changes_nothing() {
    let host = Host::asleep(None);
    let clock = host.state().with_file_name("clock");
    let set = |time: &str| fs::write(&clock, time).expect("a file");
    let start = || {
        let mut command = host.agent_command(host.state(), &host.socket());
        command.env("LD_PRELOAD", faketime());
        command.env("FAKETIME_TIMESTAMP_FILE", &clock);
        command.envs([
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ]);
        host.start_as(command);
    };
    set("@2031-05-05 12:00:00");
    start();
    host.does("vswitch add vSwitch1");
    host.does("portgroup add Lab --vswitch vSwitch1 --vlan 10");
    let (one, two) = (host.vm("one", "Lab"), host.vm("two", "Lab"));
    without_loss(&one, &two, || {
        // Twenty years back: later generations are older by the clock, and newer all the same.
        set("@2011-05-05 12:00:00");
        host.does("portgroup set Lab --promiscuous accept");
        let waiting = apply(&host, "--confirm 1h", "vlan", 30);
        assert!(waiting.contains("in force for 3600 s"), "{waiting}");
        set("@2051-05-05 12:00:00");
    });
    host.kill();
    set("@1999-05-05 12:00:00");
    start();
    assert!(host.export().contains("vlan: 30"), "it still waits");
    host.does("confirm");
    let history = host.shows("history");
    let years: Vec<_> = (0..3)
        .map(|at| history[at]["writtenAt"].as_str().expect("a time")[..4].to_owned())
        .collect();
    assert_eq!(years, ["2011", "2011", "2031"]);
    assert!(one.reaches(&two));
}

/// The library that stands between a program and its clock (Debian package faketime).
fn faketime() -> PathBuf {
    let mut list = Command::new("dpkg");
    let files = Answer::of(list.args(["-L", "libfaketime"])).succeeds();
    let library = files
        .lines()
        .find(|line| line.ends_with("libfaketimeMT.so.1"));
    PathBuf::from(library.expect("libfaketime is installed"))
}

/// Applies the host's own configuration with another number in the first field of this name.
fn apply(host: &Host, flags: &str, field: &str, number: u64) -> String {
    let manifest = host.export();
    let field = format!("{field}: ");
    let (before, rest) = manifest.split_once(&field).expect("it has one");
    let (_, after) = rest.split_once('\n').expect("a line ends");
    let changed = format!("{before}{field}{number}\n{after}");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("host.yaml");
    fs::write(&path, changed).expect("a file");
    host.does(&format!("apply -f {} {flags}", path.display()))
}

#[test]
fn an_agent_without_descriptors_forwards_and_answers() {
    let host = Host::with_switch();
    host.does("portgroup add Lab --vswitch vSwitch1 --vlan 10");
    let (one, two) = (host.vm("one", "Lab"), host.vm("two", "Lab"));
    let three = host.unplugged_vm("three");
    let process = host.agent_pid();
    let open = || {
        let directory = format!("/proc/{process}/fd");
        fs::read_dir(directory).expect("the agent runs").count()
    };
    let limit = |files: usize| {
        let mut prlimit = Command::new("prlimit");
        prlimit.args([
            &format!("--pid={process}"),
            &format!("--nofile={files}:20000"),
        ]);
        Answer::of(&mut prlimit).succeeds();
    };
    without_loss(&one, &two, || {
        // No new one may be opened; those that are there stay.
        limit(open().min(20));
        until("the agent says that it has no descriptors", || {
            host.does("status").contains("no file descriptors left")
        });
        // The reserve goes to whoever asks for it, until there is nothing left for another port.
        let sockets = host.state().display().to_string();
        let refused = (0..8).find_map(|number| {
            let attachment = format!("--vhost-user {sockets}/{number}.sock --role server");
            let answer = host.weft(&format!("port add vm{number} --portgroup Lab {attachment}"));
            (answer.code != Some(0)).then_some(answer)
        });
        let refused = refused.expect("descriptors are bounded");
        refused.refused(1, &["port vm", "open files"]);
        host.does("stats");
    });
    limit(20_000);
    host.does(&format!(
        "port add three --portgroup Lab --veth {} --mac {}",
        three.interface, three.mac
    ));
    assert!(one.reaches(&three));
    until("it has them again", || {
        !host.does("status").contains("no file descriptors left")
    });
}

/// Whoever was told that a manifest is applied finds it applied, whole, whenever the agent is killed; and so it is with what is
/// confirmed, rolled back or taken back.
#[test]
fn no_acknowledged_configuration_is_lost_or_half_made() {
    let host = Host::with_switch();
    let vms: Vec<_> = ["one", "two", "three"]
        .map(|name| host.unplugged_vm(name))
        .into();
    let mut random = Random::new();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut configurations = BTreeMap::new();
    for number in 0..6 {
        let path = directory.path().join(format!("{number}.yaml"));
        fs::write(&path, configuration(number, &vms)).expect("a file");
        host.does(&format!("apply -f {}", path.display()));
        configurations.insert(path, host.export());
    }
    let mut expected = vec![host.export()];
    let mut acknowledged = 0;
    for round in 0..rounds(20) {
        let life = Duration::from_millis(random.below(150) as u64);
        let possible = std::thread::scope(|scope| {
            let changes = scope.spawn(|| {
                let mut sure = expected.clone();
                loop {
                    let at = random.below(configurations.len());
                    let (path, goal) = configurations.iter().nth(at).expect("it is one of them");
                    let apply = format!("apply -f {}", path.display());
                    // What follows, and what is then one of several: a change with little time may be taken back at any time.
                    let (line, goals) = match random.below(7) {
                        0 => (format!("{apply} --confirm 1h"), vec![goal.clone()]),
                        1 => (format!("{apply} --confirm 1s"), with(&sure, goal)),
                        2 => ("confirm".to_owned(), sure.clone()),
                        3 => ("rollback --dry-run".to_owned(), sure.clone()),
                        // Acknowledged as soon as it is durable.
                        4 => (format!("{apply} --wait none"), vec![goal.clone()]),
                        _ => (apply, vec![goal.clone()]),
                    };
                    let answer = host.weft(&line);
                    match answer.code {
                        Some(0) => {
                            acknowledged += 1;
                            sure = goals;
                        }
                        // Something else waits for its confirmation: it goes back, or stays.
                        Some(4) => sure = settle(&host, &sure),
                        Some(5) => return with(&sure, goal),
                        _ => panic!("{answer:#?}"),
                    }
                }
            });
            std::thread::sleep(life);
            host.kill();
            changes.join().expect("changes do not panic")
        });
        host.start();
        let found = host.export();
        assert!(
            possible.contains(&found),
            "round {round}: {found}\nis none of\n{possible:#?}"
        );
        host.weft("confirm");
        expected = vec![host.export()];
    }
    println!("{acknowledged} commands were acknowledged");
}

/// The same where the agent dies at the very moment that somebody is told that a change is durable.
#[test]
fn a_change_that_is_durable_and_not_yet_in_force_survives_kill_9() {
    let host = Host::with_switch();
    host.does("portgroup add Lab --vswitch vSwitch1");
    for vlan in 0..rounds(10) {
        let vlan = vlan % 4000 + 1;
        host.does(&format!("portgroup set Lab --vlan {vlan} --wait none"));
        host.kill();
        host.start();
        assert!(
            host.export().contains(&format!("vlan: {vlan}\n")),
            "VLAN {vlan}"
        );
    }
}

fn with(some: &[String], another: &str) -> Vec<String> {
    let mut all = some.to_vec();
    all.push(another.to_owned());
    all
}

/// Confirms what waits. What is there then is what was there before, or what it was to be.
fn settle(host: &Host, sure: &[String]) -> Vec<String> {
    if host.weft("confirm").code != Some(0) {
        return sure.to_vec();
    }
    match host.weft("export") {
        answer if answer.code == Some(0) => {
            assert!(
                sure.contains(&answer.stdout),
                "{answer:#?}\nis none of\n{sure:#?}"
            );
            vec![answer.stdout]
        }
        _ => sure.to_vec(),
    }
}

/// One of several configurations in which the same interfaces belong to ports and port groups of other names.
fn configuration(number: usize, vms: &[Vm]) -> String {
    let mut text = format!(
        "vswitches:\n  - name: vSwitch1\n    portgroups:\n      - {{name: Lab, vlan: {}}}\n      - {{name: PG{number}}}\nports:\n",
        10 + number
    );
    for (at, vm) in vms.iter().enumerate() {
        let group = if (number + at).is_multiple_of(2) {
            "Lab".to_owned()
        } else {
            format!("PG{number}")
        };
        let interface = &vms[(at + number) % vms.len()].interface;
        let name = &vm.name;
        text += &format!(
            "  - {{name: {name}{}, portgroup: {group}, veth: {interface}}}\n",
            number % 2
        );
    }
    text
}

/// State that nobody can use is never taken for an empty one, nor overwritten.
#[test]
fn a_state_of_which_nothing_is_readable_stops_the_start() {
    let host = Host::with_switch();
    host.kill();
    for path in generations(host.state()) {
        fs::write(path, "garbage").expect("it is writable");
    }
    let mut command = host.agent_command(host.state(), &host.socket());
    let answer = Answer::of(&mut command);
    answer.refused(1, &["no generation", "backup"]);
    // Nor by a command that is run by hand.
    let mut other = Command::new(weft());
    other.args(["agent", "--state"]).arg(host.state());
    assert_ne!(Answer::of(&mut other).code, Some(0));
    for path in generations(host.state()) {
        assert_eq!(fs::read_to_string(path).expect("it is there"), "garbage");
    }
}
