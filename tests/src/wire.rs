//! Who receives a crafted frame.

use std::collections::BTreeMap;
use std::time::Duration;

use weft_datapath::afxdp::testing::RawSocket;

use crate::{Host, Stats, Vm, until};

/// How long a frame that the switch has sent may be on its way.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long nothing must come where nothing may come.
const SILENCE: Duration = Duration::from_millis(50);

/// What each VM received, those left out that received nothing.
pub type Received = BTreeMap<String, Vec<Vec<u8>>>;

/// Raw sockets at the far ends of a host's ports.
#[derive(Debug)]
pub struct Wire<'a> {
    host: &'a Host,
    ends: BTreeMap<String, RawSocket>,
}

impl<'a> Wire<'a> {
    /// Sockets at these VMs, which are all that the host has.
    pub fn new<'b>(host: &'a Host, vms: impl IntoIterator<Item = &'b Vm>) -> Self {
        let ends = vms.into_iter().map(|vm| (vm.name.clone(), vm.socket()));
        Self {
            host,
            ends: ends.collect(),
        }
    }

    /// Sends a frame from a VM and returns who received what.
    ///
    /// The switch says how many frames went where, and so many are waited for; [`silent`](Self::silent) finds out
    /// whether it told the truth.
    ///
    /// # Panics
    /// If the switch does not see the frame, or one that it delivered does not arrive.
    #[track_caller]
    pub fn send(&mut self, from: &str, frame: &[u8]) -> Received {
        self.send_all(from, &[frame.to_vec()])
    }

    /// The same with several frames at once.
    #[track_caller]
    pub fn send_all(&mut self, from: &str, frames: &[Vec<u8>]) -> Received {
        let before = self.host.stats();
        for frame in frames {
            self.ends[from].send(frame);
        }
        let expected = before[from].count("rxFrames") + frames.len() as u64;
        let after = settled(self.host, from, expected);
        let mut received = Received::new();
        for (name, socket) in &mut self.ends {
            let sent = after[name].count("txFrames") - before[name].count("txFrames");
            let frames: Vec<_> = (0..sent)
                .map(|_| {
                    let frame = socket.receive(PATIENCE);
                    frame.unwrap_or_else(|| panic!("a frame was sent to {name}, and is lost"))
                })
                .collect();
            if !frames.is_empty() {
                received.insert(name.clone(), frames);
            }
        }
        received
    }

    /// Checks that nothing more arrives anywhere than what [`send`](Self::send) has returned.
    ///
    /// # Panics
    /// If something does.
    #[track_caller]
    pub fn silent(&mut self) {
        for (name, socket) in &mut self.ends {
            let frame = socket.receive(SILENCE);
            assert!(frame.is_none(), "{name} received {frame:02x?}");
        }
    }
}

/// The counters, once a port has sent so many frames and all are accounted for.
#[track_caller]
fn settled(host: &Host, port: &str, rx_frames: u64) -> BTreeMap<String, Stats> {
    let mut stats = BTreeMap::new();
    until("the switch has dealt with every frame", || {
        stats = host.stats();
        stats[port].count("rxFrames") >= rx_frames && stats.values().all(Stats::balances)
    });
    let seen = stats[port].count("rxFrames");
    assert_eq!(seen, rx_frames, "{port} sent more than it was asked to");
    stats
}
