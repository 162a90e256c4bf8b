//! Three guests and a namespace on one switch, which the tests share: guests take longer to boot than most tests.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use weft_datapath::SocketRole;
use weft_tests::{Guest, Host, Vm};

/// The port group of all VMs, unless a test connects guests to another.
pub(crate) const ACCESS: &str = "Access";

/// A port group whose guests tag.
pub(crate) const TRUNK: &str = "Trunk";

/// A host with three guests, and a namespace on an AF_XDP port.
pub(crate) struct Lab {
    // Dropped in this order: guests go before the host. The second one has two queue pairs.
    pub(crate) guests: [Guest; 3],
    pub(crate) vm: Vm,
    pub(crate) host: Host,
    /// Held by the test that uses it.
    turn: Mutex<()>,
}

impl Lab {
    /// Runs a test in the lab, and audits the switch after it.
    pub(crate) fn runs(test: impl FnOnce(&Self)) {
        let lab = Self::shared();
        let turn = lab.turn.lock();
        if turn.is_err() {
            // A test failed in it while this one waited.
            drop(turn);
            drop(lab);
            return Self::runs(test);
        }
        lab.connect(&lab.guests, ACCESS);
        test(&lab);
        lab.host.audit();
    }

    /// The lab that other tests use or wait for, unless one has failed in it and left it in any state; else a new one. It goes
    /// with the last of them.
    fn shared() -> Arc<Self> {
        static LAB: Mutex<Weak<Lab>> = Mutex::new(Weak::new());
        let mut shared = LAB.lock().unwrap_or_else(PoisonError::into_inner);
        let whole = shared.upgrade().filter(|lab| !lab.turn.is_poisoned());
        whole.unwrap_or_else(|| {
            let lab = Arc::new(Self::new());
            *shared = Arc::downgrade(&lab);
            lab
        })
    }

    fn new() -> Self {
        let host = Host::with_switch();
        for (name, vlan) in [(ACCESS, 10), (TRUNK, 4095)] {
            host.does(&format!(
                "portgroup add {name} --vswitch vSwitch1 --vlan {vlan}"
            ));
        }
        let guests = [
            ("one", SocketRole::Client, 1),
            ("two", SocketRole::Server, 2),
            ("three", SocketRole::Client, 1),
        ];
        let guests = guests.map(|(name, role, pairs)| host.guest(role, pairs, name, ACCESS));
        let vm = host.vm("vm", ACCESS);
        for guest in &guests {
            guest.is_ready();
        }
        Self {
            guests,
            vm,
            host,
            turn: Mutex::default(),
        }
    }

    /// Connects guests to a port group.
    pub(crate) fn connect(&self, guests: &[Guest], portgroup: &str) {
        for guest in guests {
            let name = &guest.name;
            self.host
                .does(&format!("port set {name} --portgroup {portgroup}"));
        }
    }
}
