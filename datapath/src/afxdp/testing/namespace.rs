//! Network namespaces and veth pairs between them.

use std::fs::File;
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// A network namespace of its own, deleted with everything in it when dropped.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Creates a namespace without IPv6, whose kernel therefore sends nothing by itself.
    #[expect(clippy::new_without_default, reason = "it changes the system")]
    pub fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("weft-test-{}-{number}", std::process::id());
        ip(&["netns", "add", &name]);
        let namespace = Self { name };
        namespace.run(|| {
            // Kernels without IPv6 have no such files, and no need of them.
            for scope in ["all", "default"] {
                let file = format!("/proc/sys/net/ipv6/conf/{scope}/disable_ipv6");
                let _ = std::fs::write(file, "1");
            }
        });
        namespace
    }

    /// The name that `ip netns` knows.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `ip` in the namespace.
    pub fn ip(&self, arguments: &[&str]) {
        ip(&[&["-n", &self.name], arguments].concat());
    }

    /// Runs `function` on a thread inside the namespace. Sockets that it opens stay in the namespace.
    pub fn run<T: Send>(&self, function: impl FnOnce() -> T + Send) -> T {
        let file = File::open(format!("/run/netns/{}", self.name)).expect("the namespace exists");
        let enter = move || {
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
                .expect("entering a network namespace (run as root)");
            function()
        };
        std::thread::scope(|scope| scope.spawn(enter).join())
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip")
            .args(["netns", "delete", &self.name])
            .output();
    }
}

/// Two namespaces joined by a veth pair that is up.
#[derive(Debug)]
pub struct VethPair {
    /// Where the switch is; its end is called [`VethPair::NEAR`].
    pub near: Namespace,
    /// Where the VM is; its end is called [`VethPair::FAR`].
    pub far: Namespace,
}

impl VethPair {
    /// Name of the interface in the near namespace.
    pub const NEAR: &str = "near0";
    /// Name of the interface in the far namespace.
    pub const FAR: &str = "far0";

    /// Creates a pair with this MTU and number of queues each way.
    pub fn new(mtu: u16, queues: u32) -> Self {
        let (near, far) = (Namespace::new(), Namespace::new());
        let (mtu, queues) = (mtu.to_string(), queues.to_string());
        let end = |name| {
            [
                "name",
                name,
                "mtu",
                &mtu,
                "numtxqueues",
                &queues,
                "numrxqueues",
                &queues,
            ]
        };
        let (first, second) = (end(Self::NEAR), end(Self::FAR));
        let add = ["link", "add"];
        near.ip(&[
            &add[..],
            &first,
            &["type", "veth", "peer"],
            &second,
            &["netns", far.name()],
        ]
        .concat());
        near.ip(&["link", "set", Self::NEAR, "up"]);
        far.ip(&["link", "set", Self::FAR, "up"]);
        Self { near, far }
    }
}

fn ip(arguments: &[&str]) {
    let output = Command::new("ip")
        .args(arguments)
        .output()
        .expect("running ip (install iproute2)");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "ip {}: {}",
        arguments.join(" "),
        text.trim()
    );
}
