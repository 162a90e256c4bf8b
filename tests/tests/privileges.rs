//! An agent has the capabilities that it needs and no other, and everything works with them.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command};

use rustix::fs::{Gid, Uid};
use weft_datapath::testing::{Guest, GuestOptions};
use weft_tests::{Answer, Engine, Host, until};

/// CAP_CHOWN 0, CAP_DAC_OVERRIDE 1, CAP_NET_ADMIN 12, CAP_NET_RAW 13, CAP_IPC_LOCK 14, CAP_BPF 39 (linux/capability.h).
const KEPT: u64 = 1 | 1 << 1 | 1 << 12 | 1 << 13 | 1 << 14 | 1 << 39;

/// The user and group nobody, as an example of a hypervisor's.
const NOBODY: u32 = 65534;

/// Fields of `/proc/PID/task/TID/status`.
fn status(task: &Path) -> BTreeMap<String, String> {
    let status = fs::read_to_string(task.join("status")).expect("the thread runs");
    let fields = status.lines().filter_map(|line| line.split_once(":\t"));
    fields
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[test]
fn every_thread_has_only_what_is_needed() {
    let host = Host::with_switch();
    let tasks = fs::read_dir(format!("/proc/{}/task", host.agent_pid())).expect("the agent runs");
    let mut threads = 0;
    for task in tasks {
        let status = status(&task.expect("it is readable").path());
        let set = |name: &str| u64::from_str_radix(&status[name], 16).expect("a set");
        for (name, expected) in [
            ("CapInh", 0),
            ("CapPrm", KEPT),
            ("CapEff", KEPT),
            ("CapBnd", KEPT),
            ("CapAmb", 0),
        ] {
            assert_eq!(
                set(name),
                expected,
                "{}: {name} {}",
                status["Name"],
                status[name]
            );
        }
        assert_eq!(status["NoNewPrivs"], "1");
        threads += 1;
    }
    assert!(threads > 3, "{threads}");
}

/// A folder and a socket of a hypervisor that keeps both to itself.
fn private_socket() -> (tempfile::TempDir, UnixListener) {
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("vm.sock");
    let listener = UnixListener::bind(&socket).expect("a socket");
    for (path, mode) in [(socket.as_path(), 0o600), (directory.path(), 0o700)] {
        fs::set_permissions(path, Permissions::from_mode(mode)).expect("it is ours");
        let (uid, gid) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
        rustix::fs::chown(path, Some(uid), Some(gid)).expect("tests run as root");
    }
    (directory, listener)
}

#[test]
fn every_engine_works_with_it() {
    let host = Host::new();
    let world = host.world("eth1");
    host.does("vswitch add vSwitch1 --uplink eth1");
    host.does("portgroup add Lab --vswitch vSwitch1");
    let vms = [Engine::AfXdp, Engine::Packet, Engine::Tap]
        .map(|engine| host.vm_by(engine, &format!("{engine:?}").to_lowercase(), "Lab"));
    for vm in &vms {
        assert!(vm.reaches(&world), "{}", vm.name);
        vms.iter().for_each(|other| {
            assert!(
                vm.name == other.name || vm.reaches(other),
                "{} {}",
                vm.name,
                other.name
            );
        });
    }
    let (directory, listener) = private_socket();
    let socket = directory.path().join("vm.sock");
    let socket = socket.display();
    host.does(&format!(
        "port add client --portgroup Lab --vhost-user {socket}"
    ));
    let (stream, _) = listener.accept().expect("the agent");
    let _guest = Guest::new(stream, GuestOptions::default());
    until("the guest runs", || host.port("client").0 == "up");
    let own = directory.path().join("own.sock");
    let line = format!(
        "port add server --portgroup Lab --role server --vhost-user {}",
        own.display()
    );
    host.does(&line);
    assert!(own.exists());
}

/// An agent that lacks a capability, killed when it is dropped.
struct Lacking {
    host: Host,
    agent: Child,
}

impl Drop for Lacking {
    fn drop(&mut self) {
        let _ = self.agent.kill();
        let _ = self.agent.wait();
    }
}

/// The command that runs a host's agent without a capability, and with little memory that may be locked.
fn lacking(host: &Host, capability: &str) -> Command {
    let agent = host.agent_command(host.state(), &host.socket());
    let words: Vec<_> = agent.get_args().collect();
    // To enter the namespace takes more than the agent has.
    let (enter, weft) = words.split_at(3);
    let mut command = Command::new(agent.get_program());
    command.args(enter).args(["prlimit", "--memlock=65536"]);
    command.args(["setpriv", "--bounding-set"]);
    command.arg(format!("-{capability}")).args(weft);
    command
}

#[test]
fn each_of_them_is_needed() {
    for capability in ["net_admin", "net_raw", "bpf,-sys_admin"] {
        let host = Host::asleep(None);
        let answer = Answer::of(&mut lacking(&host, capability));
        let name = capability.split(',').next().expect("a name").to_uppercase();
        answer.refused(8, &[&format!("CAP_{name}")]);
    }
    let start = |capability| {
        let host = Host::asleep(None);
        let agent = lacking(&host, capability)
            .spawn()
            .expect("running prlimit (install util-linux)");
        until("the agent answers", || host.weft("status").code == Some(0));
        host.does("vswitch add vSwitch1");
        host.does("portgroup add Lab --vswitch vSwitch1");
        Lacking { host, agent }
    };
    let add = |host: &Host| {
        let vm = host.unplugged_vm("one");
        let interface = &vm.interface;
        host.weft(&format!("port add one --portgroup Lab --veth {interface}"))
    };
    // The memory of frames is locked.
    let complete = start("sys_time");
    add(&complete.host).succeeds();
    add(&start("ipc_lock,-sys_resource").host).refused(1, &["port one"]);
    // The sockets of hypervisors belong to their users.
    let (directory, _listener) = private_socket();
    let socket = directory.path().join("vm.sock");
    let line = format!(
        "port add vm --portgroup Lab --vhost-user {}",
        socket.display()
    );
    let attached = |host: &Host| {
        host.does(&line);
        until("it was tried", || !host.port("vm").1.is_empty());
        host.port("vm").1
    };
    let reason = attached(&start("dac_override").host);
    assert!(reason.contains("not permitted to connect"), "{reason}");
    let reason = attached(&complete.host);
    assert!(!reason.contains("not permitted to connect"), "{reason}");
}
