//! Opening an interface as a port: the order of things, and what is held until it is closed.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, setrlimit};

use super::attach::{Attached, attach};
use super::device::Device;
use super::error::{Failure, OpenError, Step};
use super::guard::{Guard, Promiscuous};
use super::offloads::{self, Offloads};
use super::plan::{Plan, SINGLE_BUFFER_MTU};
use super::socket::{self, Setup};
use super::umem::Area;
use super::{RxQueue, TxQueue, bpf};

/// How to open an interface.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Longest payload in bytes that the port must carry, both ways.
    pub mtu: u16,
    /// The interface is a NIC to other hosts: receive frames for any address, and unchanged.
    pub uplink: bool,
    /// Entries of each queue's receive and transmit ring, a power of two.
    pub ring_size: u32,
    /// Frames of each queue, an even number; half of them receive, half transmit.
    pub frames: u32,
    /// How long to wait for an interface that somebody else holds: a process that is just dying lets go of it a
    /// little later.
    pub busy_wait: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            mtu: 1500,
            uplink: false,
            ring_size: 2048,
            frames: 4096,
            busy_wait: Duration::from_secs(2),
        }
    }
}

/// An interface opened as a port, taken apart: the queues go to the threads that serve them.
#[derive(Debug)]
pub struct AfXdpPort {
    /// The receive side of every queue, in the order of their numbers. All must be served.
    pub rx: Vec<RxQueue>,
    /// The transmit side of every queue; any of them reaches the wire.
    pub tx: Vec<TxQueue>,
    /// What the port turned out to be.
    pub info: Info,
    /// Gives the interface back when dropped.
    pub guard: Guard,
}

/// What an opened port turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// XDP runs in the driver; otherwise in the kernel's generic path.
    pub native: bool,
    /// Every queue shares its memory with the driver; otherwise the kernel copies.
    pub zero_copy: bool,
    /// Receive queues, all of them served.
    pub queues: u32,
    /// The driver's name, such as "veth"; empty where the device has none.
    pub driver: String,
    /// The UMEM lies on reserved huge pages.
    pub huge_pages: bool,
    /// Frames may take several buffers.
    pub multi_buffer: bool,
    /// 802.1Q tags that arrive beside the frame are put back into it.
    pub vlan_tag_restored: bool,
    /// What the operator should know, each a sentence.
    pub warnings: Vec<String>,
    /// Features of the driver that are off while the port is open; [`restore`](super::restore) switches them on
    /// again after a crash.
    pub changed_features: Vec<String>,
}

impl AfXdpPort {
    /// Opens `interface` of the calling thread's network namespace. From here on its frames come to the port's queues
    /// and no longer to the kernel's stack. An interface that is down may be opened where its driver allows that (veth
    /// does); frames pass when it is up.
    ///
    /// Blocks for at most [`Options::busy_wait`] while somebody else holds the interface.
    ///
    /// # Errors
    /// [`OpenError`]; the interface is then as it was before.
    pub fn open(interface: &str, options: Options) -> Result<Self, OpenError> {
        let failed = |failure: Failure| failure.at(interface);
        let deadline = Instant::now() + options.busy_wait;
        check(options).map_err(failed)?;
        let device = Device::find(interface).map_err(failed)?;
        let mtu = device.mtu().map_err(failed)?;
        let plan = Plan::new(interface, options.mtu, mtu).map_err(|reason| OpenError::Mtu {
            interface: interface.to_owned(),
            mtu: options.mtu,
            reason,
        })?;
        // Whether there are such sockets at all, before anything is changed.
        socket::new().map_err(failed)?;
        raise_memory_limit();
        let driver = device.driver();
        let queues = device.receive_queues();
        let index = device.index();
        let strips_tags = offloads::strips_tags(&device);

        let offloads = if options.uplink {
            let step = "switching receive offloads off";
            Some(Offloads::switch_off(device).step(step).map_err(failed)?)
        } else {
            None
        };
        let sockets = bpf::create_socket_map(queues).step("creating the map of sockets");
        let sockets = sockets.map_err(failed)?;
        let attached = attach(index, sockets.as_fd(), plan, deadline);
        let attached = attached.map_err(|failure| unfit(failure, interface, options.mtu, plan))?;
        let Attached {
            link,
            plan,
            native,
            vlan_tag_restored,
            mut warnings,
        } = attached;
        let step = "switching promiscuous mode on";
        let promiscuous = options.uplink.then(|| Promiscuous::join(index)).transpose();
        let guard = Guard::new(link, promiscuous.step(step).map_err(failed)?, offloads);

        let len = queues as usize * options.frames as usize * plan.frame_size as usize;
        let area = Area::new(len).step("allocating the UMEM").map_err(failed)?;
        let huge_pages = area.huge_pages();
        let setup = Setup {
            interface: index,
            ring_size: options.ring_size,
            multi_buffer: plan.multi_buffer,
            copy: !native,
            deadline,
        };
        let (mut rx, mut tx, mut zero_copy) = (Vec::new(), Vec::new(), true);
        for (queue, slice) in (0..).zip(area.divide(queues, options.frames, plan.frame_size)) {
            let opened = socket::open(&setup, queue, slice)
                .map_err(|failure| unfit(failure, interface, options.mtu, plan))?;
            bpf::set_socket(sockets.as_fd(), queue, opened.receive.fd())
                .step("steering a queue to its socket")
                .map_err(failed)?;
            rx.push(opened.receive);
            tx.push(opened.transmit);
            zero_copy &= opened.zero_copy;
        }

        let changed_features = guard.changed_features();
        let stripped_still = strips_tags
            && !changed_features
                .iter()
                .any(|name| name == "rx-vlan-hw-parse");
        warnings.extend(tag_warning(
            interface,
            &driver,
            vlan_tag_restored,
            stripped_still,
        ));
        let info = Info {
            native,
            zero_copy,
            queues,
            driver,
            huge_pages,
            multi_buffer: plan.multi_buffer,
            vlan_tag_restored,
            warnings,
            changed_features,
        };
        Ok(Self {
            rx,
            tx,
            info,
            guard,
        })
    }
}

fn check(options: Options) -> Result<(), Failure> {
    let Options {
        ring_size, frames, ..
    } = options;
    let fits = |count: u32| (64..=1 << 16).contains(&count);
    if ring_size.is_power_of_two() && fits(ring_size) && frames % 2 == 0 && fits(frames) {
        return Ok(());
    }
    let text =
        "rings take a power of two and queues an even number of frames, each from 64 to 65536";
    Err(io::Error::new(io::ErrorKind::InvalidInput, text)).step("checking ring and UMEM sizes")
}

/// Kernels that do not know AF_XDP with several buffers to a frame call the request for it invalid.
fn unfit(failure: Failure, interface: &str, mtu: u16, plan: Plan) -> OpenError {
    if !plan.multi_buffer || failure.source.kind() != io::ErrorKind::InvalidInput {
        return failure.at(interface);
    }
    let reason = format!(
        "frames for an MTU above {SINGLE_BUFFER_MTU}, here or at a veth's peer, take several buffers, which the kernel \
         (6.6 or later) or the driver does not offer: {}: {}",
        failure.step, failure.source
    );
    OpenError::Mtu {
        interface: interface.to_owned(),
        mtu,
        reason,
    }
}

/// A driver that takes tags out of frames hides them from AF_XDP, unless the program puts them back.
fn tag_warning(interface: &str, driver: &str, restored: bool, stripped: bool) -> Option<String> {
    // A veth passes on what its peer left beside the frame, whatever its own features say.
    match driver {
        _ if restored => None,
        "veth" => Some(
            "802.1Q tags that the peer offloads are not visible on this port; \
             run 'ethtool -K PEER txvlan off' in the peer's namespace"
                .to_owned(),
        ),
        _ if stripped => Some(format!(
            "802.1Q tags that the driver takes out of frames are not visible on this port; \
             run 'ethtool -K {interface} rxvlan off'"
        )),
        _ => None,
    }
}

/// Registering a UMEM counts its pages against RLIMIT_MEMLOCK, and so do BPF maps on kernels before 5.11.
fn raise_memory_limit() {
    let unlimited = Rlimit {
        current: None,
        maximum: None,
    };
    // Where this is not permitted, the limit may be high enough; if not, registering says so.
    let _ = setrlimit(Resource::Memlock, unlimited);
}
