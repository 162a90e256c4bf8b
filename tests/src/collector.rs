//! Other people's collectors of flows.

use std::fs;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;
use weft_datapath::afxdp::testing::Namespace;

use crate::process::Process;
use crate::{Answer, Capture, Fabric, Host, until};

/// A port of a bridge that forwards (Linux, `BR_STATE_FORWARDING`).
const FORWARDING: &str = "3";

/// Where what comes last is sent to, which nobody reads: "discard" (RFC 863).
const END_PORT: u16 = 9;

/// What comes last.
const END: &[u8] = b"nothing comes behind this";

/// The network of collectors, which hosts reach by interfaces of their own: 10.8.0.0/24 and fd08::/64. All collectors are at `.9`,
/// the first host at `.1`, and so on.
#[derive(Debug)]
pub struct Collectors {
    fabric: Fabric,
}

impl Collectors {
    /// The network of this host.
    pub fn new(host: &Host) -> Self {
        let fabric = Fabric::new(host, &["mgmt1"], "10.8.0.9/24");
        // The stricter of the two settings counts (Linux, ip-sysctl).
        set(fabric.namespace(), "net/ipv4/conf/all/rp_filter", "0");
        set(fabric.namespace(), "net/ipv4/conf/br0/rp_filter", "0");
        enable_ipv6(fabric.namespace(), "br0");
        fabric.does("ip addr add fd08::9/64 dev br0 nodad");
        let collectors = Self { fabric };
        collectors.number(host, 1);
        collectors
    }

    /// Plugs in the second host.
    pub fn join(&self, host: &Host) {
        self.fabric.plug(host, "mgmt2");
        self.number(host, 2);
    }

    /// Has every message answered that nobody takes, and not one a second.
    pub fn answer_all(&self) {
        set(self.fabric.namespace(), "net/ipv4/icmp_ratelimit", "0");
    }

    fn number(&self, host: &Host, number: u8) {
        let interface = format!("mgmt{number}");
        enable_ipv6(host.namespace(), &interface);
        host.runs(&format!("ip addr add 10.8.0.{number}/24 dev {interface}"));
        host.runs(&format!(
            "ip addr add fd08::{number}/64 dev {interface} nodad"
        ));
        // The kernel tells its bridge of a link up to a second late.
        let state = format!("cat /sys/class/net/{interface}/brport/state");
        until("the bridge forwards", || {
            self.fabric.does(&state).trim() == FORWARDING
        });
    }

    /// Starts nfcapd. Returns when it listens.
    pub fn nfcapd(&self, port: u16) -> Nfcapd<'_> {
        self.start_nfcapd(port, "")
    }

    /// Starts nfcapd, which listens on IPv6.
    pub fn nfcapd_v6(&self, port: u16) -> Nfcapd<'_> {
        self.start_nfcapd(port, "-6")
    }

    /// Starts nfcapd, which begins another file every two seconds.
    pub fn nfcapd_in_pieces(&self, port: u16) -> Nfcapd<'_> {
        self.start_nfcapd(port, "-t 2")
    }

    fn start_nfcapd(&self, port: u16, options: &str) -> Nfcapd<'_> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let files = directory.path().display();
        let line = format!("nfcapd {options} -p {port} -B 8000000 -w {files}");
        let process = Process::start(self.fabric.command(&line));
        until("nfcapd listens", || self.waiting(port).is_some());
        Nfcapd {
            process,
            port,
            directory,
            network: self,
        }
    }

    /// Starts nfacctd, which multiplies by the sampling interval. Returns when it listens.
    ///
    /// # Panics
    /// If its configuration cannot be written.
    pub fn nfacctd(&self, port: u16) -> Nfacctd {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (file, output) = (
            directory.path().join("nfacctd.conf"),
            directory.path().join("flows.json"),
        );
        let configuration = format!(
            "daemonize: false
nfacctd_ip: 10.8.0.9
nfacctd_port: {port}
nfacctd_renormalize: true
plugins: print[all]
aggregate[all]: src_mac, dst_mac, vlan, src_host, dst_host, src_port, dst_port, proto, tos
print_output[all]: json
print_output_file[all]: {}
print_output_file_append[all]: true
print_refresh_time[all]: 1
",
            output.display()
        );
        fs::write(&file, configuration).expect("the directory is there");
        let line = format!("nfacctd -f {}", file.display());
        let process = Process::start(self.fabric.command(&line));
        until("nfacctd listens", || self.waiting(port).is_some());
        // What its other half prints, it has to have joined first.
        process.says("JSON: setting object handlers");
        Nfacctd {
            _process: process,
            output,
            _directory: directory,
        }
    }

    /// Starts to record what is sent to a port.
    pub fn capture(&self, port: u16) -> Export {
        let run = |line: &str| self.fabric.command(line);
        let filter = format!("udp dst port {port} or {END_PORT}");
        Export(Capture::start(run, "br0", &filter))
    }

    /// A collector that reads nothing by itself.
    ///
    /// # Panics
    /// If the port is taken.
    pub fn socket(&self, port: u16) -> UdpSocket {
        let open = || UdpSocket::bind(("10.8.0.9", port)).expect("the port is free");
        self.fabric.namespace().run(open)
    }

    /// Octets that wait for who listens on a port; `None` if nobody does.
    ///
    /// # Panics
    /// If something was lost there.
    fn waiting(&self, port: u16) -> Option<u64> {
        let read = || {
            let read = |name| fs::read_to_string(format!("/proc/thread-self/net/{name}"));
            ["udp", "udp6"].map(|name| read(name).unwrap_or_default())
        };
        let sockets = self.fabric.namespace().run(read).concat();
        let local = format!(":{port:04X}");
        let mut lines = sockets
            .lines()
            .map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
        // Number, local, remote, state, tx:rx, and the last one: lost.
        let line = lines.find(|words| words.get(1).is_some_and(|it| it.ends_with(&local)))?;
        assert_eq!(line.last(), Some(&"0"), "the collector was too slow");
        let (_, waiting) = line[4].split_once(':')?;
        u64::from_str_radix(waiting, 16).ok()
    }
}

fn set(namespace: &Namespace, name: &str, value: &str) {
    let write = || fs::write(format!("/proc/sys/{name}"), value).expect("the setting is there");
    namespace.run(write);
}

/// Its addresses are in use at once: whether they are somebody else's is not asked.
fn enable_ipv6(namespace: &Namespace, interface: &str) {
    for setting in ["accept_dad", "disable_ipv6"] {
        set(
            namespace,
            &format!("net/ipv6/conf/{interface}/{setting}"),
            "0",
        );
    }
}

/// What is told to a port, recorded.
#[derive(Debug)]
pub struct Export(Capture);

impl Export {
    /// The file with all that a host has sent so far.
    ///
    /// # Panics
    /// If it does not get there within 10 s.
    #[track_caller]
    pub fn all(&self, host: &Host) -> &Path {
        let file = self.0.file();
        host.namespace().run(|| {
            let socket = UdpSocket::bind(("0.0.0.0", 0)).expect("a free port");
            let sent = socket.send_to(END, ("10.8.0.9", END_PORT));
            sent.expect("there is a way to the collectors");
        });
        until("all messages are recorded", || {
            let recorded = fs::read(file).unwrap_or_default();
            recorded.ends_with(END)
        });
        file
    }
}

/// A running nfcapd.
#[derive(Debug)]
pub struct Nfcapd<'a> {
    process: Process,
    port: u16,
    directory: TempDir,
    network: &'a Collectors,
}

impl Nfcapd<'_> {
    /// The records in those files that it has finished, as nfdump reads them.
    ///
    /// # Panics
    /// If it cannot.
    pub fn records(&self) -> Vec<Value> {
        nfdump(&self.directory)
    }

    /// Has it read all that came, and end. Returns its records, as nfdump reads them, and what it logged.
    ///
    /// # Panics
    /// If it does not end, or complains of what came.
    #[track_caller]
    pub fn ends(self) -> (Vec<Value>, String) {
        until("nfcapd has read all that came", || {
            self.network.waiting(self.port) == Some(0)
        });
        let log = self.process.ends();
        assert!(log.contains("Bad Packets: 0"), "{log}");
        (nfdump(&self.directory), log)
    }
}

fn nfdump(directory: &TempDir) -> Vec<Value> {
    let files = fs::read_dir(directory.path()).expect("the directory is there");
    let mut finished = files
        .filter_map(Result::ok)
        .filter(|file| !file.file_name().to_string_lossy().contains("current"));
    if finished.next().is_none() {
        return Vec::new();
    }
    let mut command = std::process::Command::new("nfdump");
    command.args(["-o", "json", "-R"]);
    let answer = Answer::of(command.arg(directory.path()));
    if answer.stdout.contains("No matching flows") {
        return Vec::new();
    }
    let records = answer.json();
    records.as_array().expect("records are a list").clone()
}

/// A running nfacctd.
#[derive(Debug)]
pub struct Nfacctd {
    _process: Process,
    output: PathBuf,
    _directory: TempDir,
}

impl Nfacctd {
    /// What it has printed so far.
    pub fn records(&self) -> Vec<Value> {
        let lines = fs::read_to_string(&self.output).unwrap_or_default();
        // The last one may be half written.
        let records = lines
            .lines()
            .map_while(|line| serde_json::from_str(line).ok());
        records.collect()
    }
}
