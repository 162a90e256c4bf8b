//! The data path as the agent uses it: the only module that opens engines and asks the kernel about interfaces.

use std::net::IpAddr;
use std::time::Duration;

use weft_api::{EngineStatus, GuestQueue, GuestStatus, Problem, ProblemKind};
use weft_datapath::{
    AttachError, Config, Datapath, EngineInfo, EngineSpec, Event, PollMode, PortId, VhostQueue,
    VhostStatus,
};
use weft_model::{Attachment, InterfaceName, SocketRole, VethEngine, VhostUser, Vmk};

use crate::adapters::{self, Adapter};
use crate::error::AgentError;
use crate::links::{self, Link, Links};
use crate::offloads::Offloads;
use crate::options::{Options, Poll};
use crate::store::Identity;
use crate::wanted::Wanted;

/// How long an engine waits for an interface that a dying process may still hold.
pub(crate) const FULL_WAIT: Duration = Duration::from_secs(2);

/// A running data path, and the kernel under it.
pub(crate) struct Plane {
    // Before the kernel: closing the engines restores what the kernel's note says.
    datapath: Datapath,
    kernel: Kernel,
    /// What the devices that are made here are marked with, so that nobody else's is ever removed, nor one of another state.
    mark: String,
}

/// Where interfaces come from.
enum Kernel {
    /// The real one, asked through this runtime.
    Linux(tokio::runtime::Handle, Offloads),
    /// Memory ports and interfaces that a test makes up.
    #[cfg(any(test, feature = "testing"))]
    Memory(testing::Memory),
}

impl Plane {
    /// Starts poll threads for the agent of a state. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`AgentError::Cores`] and [`AgentError::Threads`].
    pub(crate) fn start(
        options: &Options,
        state: &Identity,
        events: &crossbeam_channel::Sender<Event>,
    ) -> Result<Self, AgentError> {
        let poll = match options.poll {
            Poll::Adaptive => PollMode::Adaptive,
            Poll::Busy => PollMode::Busy,
        };
        let cores = options.cores.clone();
        let datapath =
            Datapath::start(&weft_datapath::Options { cores, poll }, events).map_err(|error| {
                match error.kind() {
                    std::io::ErrorKind::InvalidInput => AgentError::Cores(error),
                    _ => AgentError::Threads(error),
                }
            })?;
        Ok(Self {
            datapath,
            kernel: Kernel::Linux(
                tokio::runtime::Handle::current(),
                Offloads::recover(&options.state_dir),
            ),
            mark: format!("vmk of weft on state {state}"),
        })
    }

    /// The data path, for what needs no kernel.
    pub(crate) fn datapath(&self) -> &Datapath {
        &self.datapath
    }

    /// Opens a port's engine. Blocks for up to `busy_wait` while somebody else holds the interface.
    ///
    /// # Errors
    /// Why it cannot be opened, for the operator. Of the host's own interface also why its device cannot have its address; the
    /// engine is closed then.
    pub(crate) fn attach(
        &self,
        id: PortId,
        wanted: &Wanted,
        busy_wait: Duration,
    ) -> Result<EngineInfo, Problem> {
        match &self.kernel {
            Kernel::Linux(runtime, offloads) => {
                if let Some(Adapter { device, .. }) = wanted.adapter() {
                    runtime.block_on(adapters::expect_own(device, &self.mark))?;
                }
                if let Some(interface) = wanted.link().filter(|_| wanted.uplink) {
                    offloads.hold(id, interface);
                }
                let info = self
                    .datapath
                    .attach(id, &engine_spec(wanted, busy_wait))
                    .inspect_err(|_| offloads.release(id))
                    .map_err(|error| attach_problem(wanted, &error))?;
                if let Some(adapter) = wanted.adapter() {
                    self.set_up(adapter).inspect_err(|_| self.detach(&[id]))?;
                }
                Ok(info)
            }
            #[cfg(any(test, feature = "testing"))]
            Kernel::Memory(memory) => memory.attach(&self.datapath, id, wanted, busy_wait),
        }
    }

    /// Gives the device of one of the host's own interfaces, whose engine is open, its addresses and MTU.
    ///
    /// # Errors
    /// Why it cannot have them, for the operator.
    pub(crate) fn set_up(&self, adapter: Adapter<'_>) -> Result<(), Problem> {
        match &self.kernel {
            Kernel::Linux(runtime, _) => runtime.block_on(adapters::set_up(adapter, &self.mark)),
            #[cfg(any(test, feature = "testing"))]
            Kernel::Memory(memory) => memory.set_up(adapter),
        }
    }

    /// Takes the addresses that some of the host's own interfaces are to have from others of them. Returns the devices that had one.
    pub(crate) fn make_room(&self, adapters: &[Adapter<'_>]) -> Vec<InterfaceName> {
        match &self.kernel {
            Kernel::Linux(runtime, _) => runtime.block_on(adapters::vacate(adapters, &self.mark)),
            #[cfg(any(test, feature = "testing"))]
            Kernel::Memory(memory) => memory.vacate(adapters),
        }
    }

    /// Has the device of the host's own interface stay when the agent ends, with its addresses, routes and connections.
    pub(crate) fn keep_device(&self, id: PortId) {
        #[cfg(any(test, feature = "testing"))]
        if let Kernel::Memory(memory) = &self.kernel {
            memory.keep(id);
        }
        if let Err(error) = self.datapath.set_persistent(id, true) {
            // It is made anew then.
            tracing::warn!(%error, "a device goes when the agent ends");
        }
    }

    /// Gives the device of one of the host's own interfaces its addresses and MTU again. Returns in words what it had not got any
    /// more.
    pub(crate) fn put_right(&self, adapter: Adapter<'_>) -> Vec<String> {
        match &self.kernel {
            Kernel::Linux(runtime, _) => {
                let missing = runtime.block_on(adapters::put_right(adapter, &self.mark));
                missing.unwrap_or_else(|error| {
                    // It may have gone meanwhile.
                    tracing::debug!(device = %adapter.device, error, "its addresses are not known");
                    Vec::new()
                })
            }
            #[cfg(any(test, feature = "testing"))]
            Kernel::Memory(memory) => memory.put_right(adapter),
        }
    }

    /// The devices of the host's own interfaces that were made here, by this agent or one before it.
    pub(crate) fn own_devices(&self) -> Vec<InterfaceName> {
        match &self.kernel {
            Kernel::Linux(runtime, _) => {
                let own = runtime.block_on(adapters::marked(&self.mark));
                own.unwrap_or_else(|error| {
                    tracing::error!(
                        error,
                        "it is not known whether devices of deleted vmks are left"
                    );
                    Vec::new()
                })
            }
            #[cfg(any(test, feature = "testing"))]
            Kernel::Memory(_) => Vec::new(),
        }
    }

    /// Removes the device of one of the host's own interfaces that is deleted.
    pub(crate) fn remove_device(&self, device: &InterfaceName) {
        match &self.kernel {
            Kernel::Linux(runtime, _) => {
                if let Err(error) = runtime.block_on(adapters::remove(device, &self.mark)) {
                    tracing::error!(%device, %error, "the device of a deleted vmk cannot be removed");
                }
            }
            #[cfg(any(test, feature = "testing"))]
            Kernel::Memory(memory) => memory.remove(device.as_str()),
        }
    }

    /// Closes the engines of ports.
    pub(crate) fn detach(&self, ids: &[PortId]) {
        if let Err(stalled) = self.datapath.detach_all(ids) {
            tracing::error!(ports = ids.len(), %stalled, "the engines of ports close late");
        }
        match &self.kernel {
            Kernel::Linux(_, offloads) => ids.iter().for_each(|&id| offloads.release(id)),
            #[cfg(any(test, feature = "testing"))]
            Kernel::Memory(memory) => memory.detached(ids),
        }
    }

    /// Puts a configuration in force.
    ///
    /// # Errors
    /// `timedOut`: a poll thread does not answer; the configuration is in force as soon as it goes on.
    pub(crate) fn apply(&self, config: &Config) -> Result<(), Problem> {
        self.datapath.apply(config).map_err(|stalled| {
            Problem::new(
                ProblemKind::TimedOut,
                format!("{stalled}; the change is durable, and in force when it does"),
            )
            .with_remedy("see 'weft status'; if the thread stays stalled, restart the agent")
        })
    }

    /// All interfaces as they are now.
    ///
    /// # Errors
    /// `failed`, if the kernel does not say.
    pub(crate) fn links(&self) -> Result<Links, Problem> {
        match &self.kernel {
            Kernel::Linux(runtime, _) => runtime
                .block_on(links::list())
                .map_err(|error| unanswered(&error)),
            #[cfg(any(test, feature = "testing"))]
            Kernel::Memory(memory) => Ok(memory.links()),
        }
    }

    /// One interface as it is now.
    ///
    /// # Errors
    /// `failed`, if the kernel does not say.
    pub(crate) fn link(&self, name: &InterfaceName) -> Result<Option<Link>, Problem> {
        match &self.kernel {
            Kernel::Linux(runtime, _) => runtime
                .block_on(links::find(name))
                .map_err(|error| unanswered(&error)),
            #[cfg(any(test, feature = "testing"))]
            Kernel::Memory(memory) => Ok(memory.links().get(name).copied()),
        }
    }

    /// What an interface is in use for on the host.
    ///
    /// # Errors
    /// `failed`, if the kernel does not say.
    pub(crate) fn uses(&self, link: Link) -> Result<Vec<String>, Problem> {
        match &self.kernel {
            Kernel::Linux(runtime, _) => runtime
                .block_on(links::uses(link))
                .map_err(|error| unanswered(&error)),
            #[cfg(any(test, feature = "testing"))]
            Kernel::Memory(memory) => Ok(memory.uses(link)),
        }
    }

    /// The number of the interface that has an IP address, whoever gave it.
    ///
    /// # Errors
    /// `failed`, if the kernel does not say.
    pub(crate) fn device_of(&self, address: IpAddr) -> Result<Option<u32>, Problem> {
        match &self.kernel {
            Kernel::Linux(runtime, _) => runtime
                .block_on(links::device_of(address))
                .map_err(|error| unanswered(&error)),
            #[cfg(any(test, feature = "testing"))]
            Kernel::Memory(_) => Ok(None),
        }
    }
}

fn unanswered(error: &str) -> Problem {
    Problem::new(
        ProblemKind::Failed,
        format!("the kernel does not tell its interfaces: {error}"),
    )
    .with_remedy("repeat the command; see the agent's log")
}

/// What the data path is to open.
fn engine_spec(wanted: &Wanted, busy_wait: Duration) -> EngineSpec {
    let Wanted {
        attachment,
        mtu,
        uplink,
        ..
    } = wanted;
    match attachment {
        Attachment::Veth {
            interface,
            engine: VethEngine::AfXdp,
        } => EngineSpec::AfXdp {
            interface: interface.to_string(),
            mtu: *mtu,
            uplink: *uplink,
            busy_wait,
        },
        Attachment::Veth {
            interface,
            engine: VethEngine::Packet,
        } => EngineSpec::Packet {
            interface: interface.to_string(),
        },
        Attachment::VhostUser(VhostUser { socket, role }) => EngineSpec::VhostUser {
            socket: socket.as_str().into(),
            role: match role {
                SocketRole::Client => weft_datapath::SocketRole::Client,
                SocketRole::Server => weft_datapath::SocketRole::Server,
            },
        },
        Attachment::Tap { device } | Attachment::Vmk(Vmk { device, .. }) => EngineSpec::Tap {
            device: device.to_string(),
            mtu: *mtu,
        },
    }
}

/// Why an engine could not be opened, for the operator.
fn attach_problem(wanted: &Wanted, error: &AttachError) -> Problem {
    let (kind, remedy) = match error {
        AttachError::NoInterface(_) => (
            ProblemKind::NotFound,
            "create it first, or name another; see 'ip link'",
        ),
        AttachError::InterfaceBusy(_) => (
            ProblemKind::Conflict,
            "stop the program that holds it ('ip link show', 'bpftool net'), or name another",
        ),
        AttachError::Socket { source, .. } => socket_problem(source.kind()),
        AttachError::DeviceBusy(_) => (
            ProblemKind::Conflict,
            "stop the program that holds it ('ip -details link show'), or name another",
        ),
        AttachError::NotATap(_) if wanted.adapter().is_some() => (
            ProblemKind::Conflict,
            "give the vmk another name, or first remove or rename that interface",
        ),
        AttachError::NotATap(_) => (
            ProblemKind::Conflict,
            "name a device that does not exist yet, or attach it with --veth",
        ),
        AttachError::NoAfXdp(_) => (
            ProblemKind::Failed,
            "run a kernel with CONFIG_XDP_SOCKETS=y",
        ),
        AttachError::NotPermitted(_) => (ProblemKind::NotPermitted, "run the agent as root"),
        AttachError::Mtu { .. } => (
            ProblemKind::Invalid,
            "set a smaller MTU on the switch, or change the interface",
        ),
        AttachError::System { .. } | AttachError::Attached(_) => {
            (ProblemKind::Failed, "see the agent's log")
        }
    };
    let message = match error {
        AttachError::NoAfXdp(_) | AttachError::NotPermitted(_) | AttachError::Attached(_) => {
            format!("{}: {error}", wanted.place())
        }
        // These name it themselves.
        _ => error.to_string(),
    };
    let problem = Problem::new(kind, message).with_remedy(remedy);
    match wanted.interface() {
        Some(interface) => problem.about_interface(interface),
        None => problem,
    }
}

/// Why a socket cannot be listened on, and what to do.
fn socket_problem(error: std::io::ErrorKind) -> (ProblemKind, &'static str) {
    use std::io::ErrorKind;
    match error {
        ErrorKind::NotFound => (
            ProblemKind::NotFound,
            "make the folder of the socket first, or name another",
        ),
        ErrorKind::AddrInUse => (
            ProblemKind::Conflict,
            "see what is there ('ls -l') and who listens on it ('ss -xlp'), or name another",
        ),
        ErrorKind::PermissionDenied => (
            ProblemKind::NotPermitted,
            "see who owns the folder and the socket, or name another",
        ),
        _ => (
            ProblemKind::Failed,
            "see who owns the folder and the socket, or name another",
        ),
    }
}

/// What an engine turned out to be, for the API.
pub(crate) fn engine_status(info: EngineInfo) -> EngineStatus {
    let plain = |kind: &str, queues, warnings| EngineStatus {
        kind: kind.to_owned(),
        xdp_mode: None,
        copy_mode: None,
        queues,
        driver: None,
        huge_pages: None,
        guest: None,
        warnings,
    };
    match info {
        EngineInfo::AfXdp {
            xdp_mode,
            copy_mode,
            queues,
            driver,
            huge_pages,
            warnings,
            ..
        } => EngineStatus {
            xdp_mode: Some(xdp_mode.to_owned()),
            copy_mode: Some(copy_mode.to_owned()),
            driver: Some(driver),
            huge_pages: Some(huge_pages),
            ..plain("af-xdp", Some(queues), warnings)
        },
        EngineInfo::Packet { warnings } => plain("packet", Some(1), warnings),
        EngineInfo::Tap { queues, .. } => plain("tap", Some(queues), Vec::new()),
        EngineInfo::VhostUser => plain("vhost-user", None, Vec::new()),
        EngineInfo::Memory => plain("memory", None, Vec::new()),
    }
}

/// How a VM is connected, for the API.
pub(crate) fn guest_status(status: VhostStatus) -> GuestStatus {
    let VhostStatus {
        state,
        reason,
        features,
        queues,
        connections,
    } = status;
    let queue = |VhostQueue {
                     index,
                     size,
                     available,
                     found,
                 }| {
        // Virtio 1.2, 5.1.2.
        let direction = if index % 2 == 0 {
            "receiveq"
        } else {
            "transmitq"
        };
        GuestQueue {
            name: format!("{direction}{}", index / 2 + 1),
            size,
            available,
            found,
        }
    };
    GuestStatus {
        state: state.name().to_owned(),
        reason: Some(reason).filter(|reason| !reason.is_empty()),
        connections,
        features: features.into_iter().map(str::to_owned).collect(),
        queues: queues.into_iter().map(queue).collect(),
    }
}

#[cfg(any(test, feature = "testing"))]
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "tests use more of it than benches")
)]
pub(crate) mod testing;

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn what_is_wrong_with_a_socket_has_its_exit_code() {
        let wanted = Wanted {
            attachment: Attachment::VhostUser(VhostUser {
                socket: "/run/vms/vm1.sock".parse().unwrap(),
                role: SocketRole::Server,
            }),
            mtu: 1500,
            uplink: false,
            mac: None,
        };
        for (errno, exit_code) in [
            (Errno::NOENT, 3),
            (Errno::ADDRINUSE, 4),
            (Errno::ACCESS, 8),
            (Errno::PERM, 8),
            (Errno::ROFS, 1),
        ] {
            let error = AttachError::Socket {
                socket: "/run/vms/vm1.sock".into(),
                source: errno.into(),
            };
            let problem = attach_problem(&wanted, &error);
            assert_eq!(problem.kind.exit_code(), exit_code, "{problem}");
            assert!(problem.message.starts_with("socket /run/vms/vm1.sock: "));
        }
    }
}
