//! A VM that is a real guest: Linux under QEMU, its adapter on a vhost-user socket.
//!
//! The processor is emulated, so that it runs on every machine. The kernel is Debian's for clouds; everything else is an initial
//! RAM disk of busybox and the tools of this machine.
//!
//! * `kernel`, `modules`, `initrd`, `archive`: what a guest boots.
//! * `qemu`: the process that it runs in.
//! * `serial`: commands that run in it.

mod archive;
mod initrd;
mod kernel;
mod modules;
mod qemu;
mod serial;

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tempfile::TempDir;
use weft_datapath::SocketRole;
use weft_packet::MacAddr;

use crate::{Answer, eventually};
use qemu::Qemu;

/// How long a guest may take to boot. It takes 3 s where nothing else runs.
const BOOT: Duration = Duration::from_secs(90);

/// How long a command in a guest may take.
const COMMAND: Duration = Duration::from_secs(60);

/// The VLAN of `eth0.30`.
pub const GUEST_VLAN: u16 = 30;

/// What a guest prints on its console when it is ready.
const READY: &str = "the guest is ready";

/// A Linux guest with the interfaces `eth0` and `eth0.30`, which sends nothing of its own accord.
#[derive(Debug)]
pub struct Guest {
    /// The name of its port.
    pub name: String,
    /// The address of its adapter, and the configured one of its port.
    pub mac: MacAddr,
    /// The IP address of `eth0`.
    pub ip: String,
    /// The IP address of `eth0.30`, which is tagged with VLAN 30.
    pub tagged_ip: String,
    role: SocketRole,
    /// Queue pairs of its adapter.
    pairs: usize,
    qemu: Mutex<Option<Qemu>>,
    /// How often it has been told to boot since it was started.
    boots: AtomicUsize,
    directory: TempDir,
}

impl Guest {
    /// A guest with so many queue pairs that does not run yet, and whose switch has this role. Its addresses follow from the
    /// numbers of the host and of the VM.
    pub(crate) fn new(
        name: &str,
        role: SocketRole,
        pairs: usize,
        (of_host, number): (u8, u8),
    ) -> Self {
        Self {
            name: name.to_owned(),
            mac: MacAddr::new([2, 0, 0, 2, of_host, number]),
            ip: format!("10.0.{of_host}.{number}"),
            tagged_ip: format!("10.{GUEST_VLAN}.{of_host}.{number}"),
            role,
            pairs,
            qemu: Mutex::default(),
            boots: AtomicUsize::new(0),
            directory: tempfile::tempdir().expect("a temporary directory"),
        }
    }

    /// The vhost-user socket of its adapter.
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("adapter.sock")
    }

    /// The flags of `weft port add` that attach it.
    pub(crate) fn attachment(&self) -> String {
        let role = match self.role {
            SocketRole::Client => "client",
            SocketRole::Server => "server",
        };
        format!("--vhost-user {} --role {role}", self.socket().display())
    }

    /// Starts it and does not wait.
    ///
    /// # Panics
    /// If it runs already, or something that it needs is missing on this machine.
    pub fn start(&self) {
        let mut qemu = self.qemu();
        assert!(qemu.is_none(), "{} runs already", self.name);
        self.boots.store(1, Ordering::Relaxed);
        // What an earlier life printed is not taken for the new one's.
        let _ = std::fs::remove_file(self.console_file());
        *qemu = Some(Qemu::start(self));
    }

    /// Waits until it has booted, after its start or its last reset, and its adapter has a link.
    ///
    /// # Panics
    /// If it does not come so far.
    #[track_caller]
    pub fn is_ready(&self) {
        let boots = self.boots.load(Ordering::Relaxed);
        let ready = eventually(BOOT, || {
            let ended = self.qemu().as_mut().and_then(Qemu::ended);
            let is_ready = self.console().matches(READY).count() >= boots;
            (is_ready || ended.is_some()).then_some(ended)
        });
        let (name, log, console) = (&self.name, self.log(), self.console());
        match ready {
            Some(None) => (),
            Some(Some(status)) => panic!("{name}: QEMU ended, {status}: {log}\n{console}"),
            None => panic!("{name} is not ready after {BOOT:?}: {log}\n{console}"),
        }
    }

    /// Runs a line of shell in it.
    ///
    /// # Panics
    /// If there is no answer within a minute.
    #[track_caller]
    pub fn runs(&self, line: &str) -> Answer {
        // One at a time: a serial line has no more than one client.
        let _running = self.qemu();
        let answer = serial::run(&self.serial(), line, COMMAND);
        answer.unwrap_or_else(|error| {
            let console = self.console();
            panic!("{}: {line}: {error}\n{}{console}", self.name, self.log())
        })
    }

    /// Runs a line of shell in it, which succeeds.
    ///
    /// # Panics
    /// If it does not.
    #[track_caller]
    pub fn does(&self, line: &str) -> String {
        self.runs(line).succeeds()
    }

    /// Runs a line of shell in it until it succeeds.
    ///
    /// # Panics
    /// If it still fails after 20 s; `what` then says what did not happen.
    #[track_caller]
    pub fn until(&self, what: &str, line: &str) {
        let last = |answer: Answer| (answer.code == Some(0)).then_some(());
        let held = eventually(Duration::from_secs(20), || last(self.runs(line)));
        assert!(
            held.is_some(),
            "{}: after 20 s, still not: {what}: {:#?}",
            self.name,
            self.runs(line)
        );
    }

    /// Whether three pings of an address are answered within 3 s: guests are emulated, and slow where much else runs.
    pub fn reaches(&self, ip: &str) -> bool {
        let answer = self.runs(&format!("ping -q -c 3 -i 0.05 -W 3 {ip}"));
        answer.stdout.contains(" 3 packets received")
    }

    /// Makes it boot again without any warning to its programs, and does not wait.
    ///
    /// # Panics
    /// If it does not run.
    #[track_caller]
    pub fn reset(&self) {
        self.boots.fetch_add(1, Ordering::Relaxed);
        // The answer is on its way before the guest is gone.
        self.does("(usleep 100000; reboot -f) >/dev/null 2>&1 &");
    }

    /// Kills it: SIGKILL for QEMU, as when that crashes. Returns when it is gone.
    pub fn kill(&self) {
        *self.qemu() = None;
    }

    /// What its kernel and its first process printed since it was started.
    pub fn console(&self) -> String {
        let console = std::fs::read(self.console_file());
        String::from_utf8_lossy(&console.unwrap_or_default()).into_owned()
    }

    fn console_file(&self) -> PathBuf {
        self.directory.path().join("console.log")
    }

    /// What QEMU said.
    fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.directory.path().join("qemu.log")
    }

    fn serial(&self) -> PathBuf {
        self.directory.path().join("serial.sock")
    }

    fn qemu(&self) -> MutexGuard<'_, Option<Qemu>> {
        self.qemu.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
