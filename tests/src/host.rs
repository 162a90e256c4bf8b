//! A host: a network namespace with an agent of its own.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use weft_datapath::SocketRole;
use weft_datapath::afxdp::testing::Namespace;

use crate::{Answer, Engine, Guest, Vm, eventually, weft};

/// A namespace in which an agent runs, with its VMs.
#[derive(Debug)]
pub struct Host {
    // Dropped in this order: VMs go before the namespace in which their veth pairs end.
    vms: Mutex<Vec<Arc<Namespace>>>,
    namespace: Namespace,
    agent: Mutex<Option<Child>>,
    state: PathBuf,
    directory: tempfile::TempDir,
    name: &'static str,
    number: u8,
    vms_made: AtomicU8,
}

/// The counters of one port, from `weft stats -o json`.
#[derive(Clone, Debug)]
pub struct Stats(Value);

impl Host {
    /// A host without any configuration, its agent answering.
    ///
    /// # Panics
    /// If that is not possible.
    #[expect(clippy::new_without_default, reason = "it changes the system")]
    pub fn new() -> Self {
        let host = Self::asleep(None);
        host.start();
        host
    }

    /// A host whose agent does not run yet. Its state is in `state`, or in a directory that goes with it.
    pub fn asleep(state: Option<PathBuf>) -> Self {
        static HOSTS: AtomicU8 = AtomicU8::new(0);
        let directory = tempfile::tempdir().expect("a temporary directory");
        Self {
            vms: Mutex::default(),
            namespace: Namespace::new(),
            agent: Mutex::default(),
            state: state.unwrap_or_else(|| directory.path().join("state")),
            directory,
            name: "esxi01",
            number: HOSTS.fetch_add(1, Ordering::Relaxed),
            vms_made: AtomicU8::new(0),
        }
    }

    /// A host with the switch `vSwitch1`.
    pub fn with_switch() -> Self {
        Self::called("esxi01")
    }

    /// A host of this name with the switch `vSwitch1`.
    pub fn called(name: &'static str) -> Self {
        let mut host = Self::asleep(None);
        host.name = name;
        host.start();
        host.does("vswitch add vSwitch1");
        host
    }

    /// Where its agent listens.
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("agent.sock")
    }

    /// Where its agent keeps its state.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// Its namespace.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Runs a command line in its namespace, which succeeds.
    ///
    /// # Panics
    /// If it does not.
    #[track_caller]
    pub fn runs(&self, line: &str) -> String {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", self.namespace.name()]);
        Answer::of(command.args(line.split_ascii_whitespace())).succeeds()
    }

    /// The command that runs an agent in its namespace.
    pub fn agent_command(&self, state: &Path, socket: &Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", self.namespace.name()]);
        command
            .arg(weft())
            .args(["agent", "--config", "/dev/null", "--poll", "adaptive"]);
        command
            .args(["--host-name", self.name, "--state"])
            .arg(state);
        command.arg("--socket").arg(socket);
        command.env_remove("WEFT_AGENT");
        command
    }

    /// Starts its agent and waits until it answers.
    ///
    /// # Panics
    /// If it does not.
    pub fn start(&self) {
        self.spawn();
        self.answers();
    }

    fn answers(&self) {
        let answers = || (self.weft("status").code == Some(0)).then_some(());
        let up = eventually(Duration::from_secs(10), answers);
        assert!(up.is_some(), "the agent does not answer: {}", self.log());
    }

    /// Starts its agent by another command, and waits until it answers.
    ///
    /// # Panics
    /// If it does not.
    pub fn start_as(&self, command: Command) {
        self.spawn_as(command);
        self.answers();
    }

    /// Starts its agent and does not wait.
    pub fn spawn(&self) {
        self.spawn_as(self.agent_command(&self.state, &self.socket()));
    }

    fn spawn_as(&self, mut command: Command) {
        let log = File::options()
            .append(true)
            .create(true)
            .open(self.log_file());
        let child = command
            .stdin(Stdio::null())
            .stderr(log.expect("the log can be written"))
            .spawn();
        *self.agent() = Some(child.expect("running ip (install iproute2)"));
    }

    /// Kills its agent: SIGKILL, as when it crashes. Returns when it is gone.
    pub fn kill(&self) {
        if let Some(mut agent) = self.agent().take() {
            agent.kill().expect("the agent can be killed");
            agent.wait().expect("the agent was a child");
        }
    }

    /// Asks its agent to end: SIGTERM, as a service manager does. Returns when it has.
    ///
    /// # Panics
    /// If it does not end well.
    pub fn end(&self) {
        let mut agent = self.agent().take().expect("the agent was started");
        kill_process(Pid::from_child(&agent), Signal::TERM).expect("the agent runs");
        let status = agent.wait().expect("the agent was a child");
        assert!(status.success(), "{status}: {}", self.log());
    }

    /// The process of its agent.
    ///
    /// # Panics
    /// If it does not run.
    pub fn agent_pid(&self) -> u32 {
        let mut agent = self.agent();
        let agent = agent.as_mut().expect("the agent was started");
        let ended = agent.try_wait().expect("the agent is a child");
        assert!(
            ended.is_none(),
            "the agent ended, {ended:?}: {}",
            self.log()
        );
        agent.id()
    }

    fn agent(&self) -> MutexGuard<'_, Option<Child>> {
        self.agent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What its agent logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.directory.path().join("agent.log")
    }

    /// Runs `weft` with these words against its agent.
    pub fn weft(&self, line: &str) -> Answer {
        self.weft_words(line.split_ascii_whitespace())
    }

    /// Runs `weft` with these arguments against its agent.
    pub fn weft_words<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Answer {
        let mut command = Command::new(weft());
        command.env_remove("WEFT_AGENT");
        Answer::of(command.arg("--agent").arg(self.socket()).args(words))
    }

    /// Runs `weft` with these words, which succeeds.
    ///
    /// # Panics
    /// If it does not.
    #[track_caller]
    pub fn does(&self, line: &str) -> String {
        self.weft(line).succeeds()
    }

    /// What `weft` with these words shows, as JSON.
    ///
    /// # Panics
    /// If it fails.
    #[track_caller]
    pub fn shows(&self, line: &str) -> Value {
        self.weft(&format!("{line} -o json")).json()
    }

    /// Its configuration.
    #[track_caller]
    pub fn export(&self) -> String {
        self.does("export")
    }

    /// Adds a VM, and its port in a port group.
    #[track_caller]
    pub fn vm(&self, name: &str, portgroup: &str) -> Vm {
        let vm = self.unplugged_vm(name);
        let (interface, mac) = (&vm.interface, vm.mac);
        self.does(&format!(
            "port add {name} --portgroup {portgroup} --veth {interface} --mac {mac}"
        ));
        vm
    }

    /// Adds a VM, and its port with this engine in a port group.
    #[track_caller]
    pub fn vm_by(&self, engine: Engine, name: &str, portgroup: &str) -> Vm {
        if engine == Engine::AfXdp {
            return self.vm(name, portgroup);
        }
        let vm = Vm::unplugged(name, &format!("p-{name}"), self.numbers());
        self.keep(&vm);
        let attachment = if engine == Engine::Tap {
            "--tap"
        } else {
            vm.plug_with_offloads(&self.namespace);
            "--engine packet --veth"
        };
        let (interface, mac) = (&vm.interface, vm.mac);
        self.does(&format!(
            "port add {name} --portgroup {portgroup} {attachment} {interface} --mac {mac}"
        ));
        if engine == Engine::Tap {
            vm.take(&self.namespace);
        }
        vm
    }

    /// Adds a VM that is a real guest with so many queue pairs, and its port in a port group. It is still booting.
    #[track_caller]
    pub fn guest(&self, role: SocketRole, pairs: usize, name: &str, portgroup: &str) -> Guest {
        let guest = Guest::new(name, role, pairs, self.numbers());
        let (attachment, mac) = (guest.attachment(), guest.mac);
        self.does(&format!(
            "port add {name} --portgroup {portgroup} {attachment} --mac {mac}"
        ));
        guest.start();
        guest
    }

    /// Adds a VM whose port is still to be added.
    pub fn unplugged_vm(&self, name: &str) -> Vm {
        self.far_end(name, &format!("p-{name}"))
    }

    /// Adds the world behind an uplink: `eth0` of the result is what `interface` is plugged into.
    pub fn world(&self, interface: &str) -> Vm {
        self.far_end(interface, interface)
    }

    fn far_end(&self, name: &str, interface: &str) -> Vm {
        let vm = Vm::new(&self.namespace, name, interface, self.numbers());
        self.keep(&vm);
        vm
    }

    /// The numbers of the host and of its next VM.
    fn numbers(&self) -> (u8, u8) {
        let number = self.vms_made.fetch_add(1, Ordering::Relaxed) + 1;
        (self.number, number)
    }

    /// Keeps a VM for the audit at the end, which needs the ports.
    fn keep(&self, vm: &Vm) {
        let mut vms = self.vms.lock().unwrap_or_else(PoisonError::into_inner);
        vms.push(vm.keep());
    }

    /// Plugs a VM in again whose veth pair is gone.
    pub fn replug(&self, vm: &Vm) {
        vm.plug_into(&self.namespace);
    }

    /// Joins an interface of this host to one of another, both called `interface`.
    pub fn join(&self, other: &Self, interface: &str) {
        let far = other.namespace.name();
        self.namespace.ip(&[
            "link", "add", interface, "type", "veth", "peer", "name", interface, "netns", far,
        ]);
        for host in [self, other] {
            host.namespace.ip(&["link", "set", interface, "up"]);
            host.runs(&format!("ethtool -K {interface} tx off txvlan off"));
        }
    }

    /// The state of a port and the reason for it, from `weft port show`.
    #[track_caller]
    pub fn port(&self, name: &str) -> (String, String) {
        let status = self.shows(&format!("port show {name}"))["status"].take();
        let text = |key: &str| status[key].as_str().unwrap_or_default().to_owned();
        (text("state"), text("reason"))
    }

    /// The counters of every port and uplink.
    #[track_caller]
    pub fn stats(&self) -> BTreeMap<String, Stats> {
        let stats = self.shows("stats");
        let ports = stats.as_array().expect("stats are a list");
        ports
            .iter()
            .map(|port| (port["name"].as_str().expect("a name").to_owned(), port))
            .map(|(name, port)| (name, Stats(port.clone())))
            .collect()
    }

    /// How often frames were dropped for a reason, from `weft drops`.
    ///
    /// # Panics
    /// If there is no such reason.
    #[track_caller]
    pub fn drops(&self, reason: &str) -> u64 {
        let report = self.shows("drops");
        let reasons = report["reasons"].as_array().expect("reasons are a list");
        let found = reasons.iter().find(|entry| entry["reason"] == reason);
        let found = found.unwrap_or_else(|| panic!("no reason {reason}: {report}"));
        assert!(!found["help"].as_str().expect("a line of help").is_empty());
        found["count"].as_u64().expect("a count")
    }

    /// Checks that every frame which entered, and every copy which was to leave, is accounted for.
    ///
    /// # Panics
    /// If the counters of a port do not balance within 5 s, or a thread of the agent panicked.
    #[track_caller]
    pub fn audit(&self) {
        self.agent_pid();
        let log = self.log();
        assert!(!log.contains("panicked at"), "{log}");
        let mut said = String::new();
        let balanced = eventually(Duration::from_secs(5), || {
            let stats = self.stats();
            let wrong = stats.values().find(|port| !port.balances());
            said = wrong.map(|port| port.0.to_string()).unwrap_or_default();
            wrong.is_none().then_some(())
        });
        assert!(balanced.is_some(), "frames are unaccounted for: {said}");
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("--- {}\n{}", self.log_file().display(), self.log());
        } else if self.agent().is_some() {
            let audit = std::panic::AssertUnwindSafe(|| self.audit());
            let result = std::panic::catch_unwind(audit);
            self.kill();
            if let Err(panic) = result {
                std::panic::resume_unwind(panic);
            }
        }
        self.kill();
    }
}

impl Stats {
    /// One counter.
    ///
    /// # Panics
    /// If there is no such counter.
    #[track_caller]
    pub fn count(&self, counter: &str) -> u64 {
        let value = self.0[counter].as_u64();
        value.unwrap_or_else(|| panic!("no counter {counter}: {}", self.0))
    }

    /// Frames that the port sent and the switch dropped for a reason.
    pub fn rx_drops(&self, reason: &str) -> u64 {
        self.0["rxDrops"][reason].as_u64().unwrap_or_default()
    }

    /// Copies that were meant for the port and dropped for a reason.
    pub fn tx_drops(&self, reason: &str) -> u64 {
        self.0["txDrops"][reason].as_u64().unwrap_or_default()
    }

    /// Whether everything that entered and everything that was to leave is accounted for.
    pub fn balances(&self) -> bool {
        let sum = |drops: &str| -> u64 {
            let reasons = self.0[drops].as_object().expect("drops are by reason");
            reasons.values().filter_map(Value::as_u64).sum()
        };
        let entered = self.count("rxDelivered") + self.count("rxUndelivered") + sum("rxDrops");
        let left = self.count("txFrames") + self.count("txQueued") + sum("txDrops");
        self.count("rxFrames") == entered && self.count("txAttempts") == left
    }
}
