//! A host whose flows are told, with two VMs.

use weft_tests::{Capture, Host, Vm, until};

/// Frames that are sent before it is looked whether all have come: fewer than a ring holds.
const AT_ONCE: usize = 500;

/// A host with two VMs in the port group `Lab`, which is to have its flows told, and may use any VLAN.
pub(crate) struct Lab {
    // The VMs go before their host.
    pub(crate) one: Vm,
    pub(crate) two: Vm,
    pub(crate) host: Host,
}

impl Lab {
    pub(crate) fn new() -> Self {
        Self::of(Host::with_switch())
    }

    pub(crate) fn of(host: Host) -> Self {
        host.does("portgroup add Lab --vswitch vSwitch1 --vlan 4095");
        let (one, two) = (host.vm("one", "Lab"), host.vm("two", "Lab"));
        Self { one, two, host }
    }

    /// Has flows told as this says.
    pub(crate) fn tell(&self, settings: &str) {
        self.host.does(&format!("netflow set vSwitch1 {settings}"));
        self.host.does("portgroup set Lab --netflow enabled");
    }

    /// Waits until the ports of both VMs are up.
    pub(crate) fn are_up(&self) {
        until("both ports are up", || {
            let vms = [&self.one, &self.two];
            vms.iter().all(|vm| self.host.port(&vm.name).0 == "up")
        });
    }

    /// Starts to record what the second VM receives.
    pub(crate) fn capture(&self) -> Capture {
        Capture::start(|line| self.two.command(line), "eth0", "")
    }

    /// Sends frames from a VM, and returns when the switch has dealt with all of them, and lost none.
    pub(crate) fn send(&self, from: &Vm, frames: &[Vec<u8>]) {
        let socket = from.socket();
        let count = || self.host.stats()[&from.name].count("rxFrames");
        let mut expected = count();
        for some in frames.chunks(AT_ONCE) {
            some.iter().for_each(|frame| socket.send(frame));
            expected += some.len() as u64;
            until("the switch has dealt with every frame", || {
                count() >= expected
            });
        }
        self.host.audit();
        for (name, stats) in self.host.stats() {
            assert_eq!(stats.tx_drops("RingFull"), 0, "{name}");
        }
    }

    /// Frames that were delivered to a VM.
    pub(crate) fn delivered(&self, to: &Vm) -> u64 {
        self.host.stats()[&to.name].count("txFrames")
    }

    /// Waits until no flow goes on, and so many records were told to the first collector.
    #[track_caller]
    pub(crate) fn over(&self, records: u64) {
        until("all flows are over, and told", || {
            let status = self.status();
            status["flows"] == 0 && status["collectors"][0]["records"].as_u64() >= Some(records)
        });
    }

    /// What the agent says of what it tells.
    pub(crate) fn status(&self) -> serde_json::Value {
        self.host.shows("netflow show vSwitch1")["status"].take()
    }
}
