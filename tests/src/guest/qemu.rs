//! The process that a guest runs in.

use std::fs::File;
use std::process::{Child, Command, ExitStatus, Stdio};

use weft_datapath::SocketRole;

use super::initrd::initrd;
use super::kernel::Kernel;
use super::{GUEST_VLAN, Guest};

/// A running QEMU, which is killed when it is dropped, and also when the process of the test is.
#[derive(Debug)]
pub(super) struct Qemu {
    process: Child,
    keeper: Child,
}

impl Qemu {
    /// Boots a guest.
    ///
    /// # Panics
    /// If something that it needs is missing on this machine.
    pub(super) fn start(guest: &Guest) -> Self {
        let kernel = Kernel::unpacked();
        let directory = guest.directory.path();
        std::fs::write(directory.join("initrd"), initrd(&kernel)).expect("it can be written");
        let log = File::create(guest.log_file()).expect("the log can be written");
        let mut process = command(guest, &kernel)
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("running qemu-system-x86_64 (install qemu-system-x86)");
        // Its input ends with this process, however that ends.
        let keeper = Command::new("sh")
            .arg("-c")
            .arg(format!("read -r end; kill -9 {}", process.id()))
            .stdin(Stdio::piped())
            .spawn();
        let keeper = keeper.unwrap_or_else(|error| {
            let _ = process.kill();
            panic!("running sh: {error}")
        });
        Self { process, keeper }
    }

    /// How it ended, if it has.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.process.try_wait().expect("it was a child")
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        // It is waited for last: until then its number is that of no other process, whom the keeper could kill.
        let _ = self.process.kill();
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
        let _ = self.process.wait();
    }
}

fn command(guest: &Guest, kernel: &Kernel) -> Command {
    let mut command = Command::new("qemu-system-x86_64");
    let mut flags = |line: &str| {
        command.args(line.split_ascii_whitespace());
    };
    flags("-accel tcg -cpu qemu64 -machine q35 -nodefaults -no-user-config -display none -m 256");
    // The switch maps the memory by its descriptor.
    flags("-object memory-backend-memfd,id=memory,size=256M,share=on -numa node,memdev=memory");
    // The kernel's messages go to the first line, so that none gets into an answer.
    flags("-serial file:console.log -serial unix:serial.sock,server=on,wait=off");
    let socket = match guest.role {
        SocketRole::Client => "server=on,wait=off",
        SocketRole::Server => "reconnect=1",
    };
    let path = guest.socket();
    flags(&format!(
        "-chardev socket,id=adapter,path={},{socket}",
        path.display()
    ));
    let pairs = guest.pairs;
    flags(&format!(
        "-netdev vhost-user,id=net,chardev=adapter,queues={pairs},vhostforce=on"
    ));
    // QEMU 7.2 dies of message-signalled interrupts of vhost-user when it emulates the processor. `vectors=0` is without them,
    // and without them `vhostforce` is needed. An empty `romfile`: nothing boots from the network.
    flags(&format!(
        "-device virtio-net-pci,netdev=net,mac={},mq={},vectors=0,romfile=",
        guest.mac,
        if pairs > 1 { "on" } else { "off" }
    ));
    command.arg("-kernel").arg(kernel.image());
    command.args(["-initrd", "initrd", "-append"]);
    // Without IPv6 a guest sends nothing of its own accord. The rest makes booting faster, or possible where the emulator is slow.
    command.arg(format!(
        "console=ttyS0 loglevel=4 mitigations=off nokaslr no_timer_check ipv6.disable=1 \
         guest.ip={} guest.tagged-ip={} guest.vlan={GUEST_VLAN} guest.pairs={pairs}",
        guest.ip, guest.tagged_ip
    ));
    command
}
