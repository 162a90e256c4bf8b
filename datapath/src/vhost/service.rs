//! A port's thread: it connects to a socket or listens on one, and serves one front-end at a time.

use std::io::{Error, ErrorKind, Result};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with};
use vhost::vhost_user::{self, BackendReqHandler};

use super::backend::Backend;
use super::early;
use super::pace::Pace;
use super::queue::Faults;
use super::rx::RxControl;
use super::status::{Shared, SocketRole, VhostState};
use super::stop::Stop;
use crate::port::Transmit;

/// Between two tries to connect: short at first, so that queues move soon after a start.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// After a front-end that came, was not content and left: another try would end the same way.
const PAUSE_AFTER_REFUSAL: Duration = Duration::from_secs(5);

/// Serves a port's socket until it is dropped.
pub(crate) struct Service {
    shared: Arc<Shared>,
    stop: Arc<Stop>,
    thread: Option<JoinHandle<()>>,
}

impl Service {
    /// Starts to connect, or to listen.
    ///
    /// # Errors
    /// The socket cannot be listened on, or the kernel refuses a descriptor or a thread.
    pub(crate) fn start(
        socket: &Path,
        role: SocketRole,
        controls: Vec<RxControl>,
        tx: Transmit,
        faults: Arc<Faults>,
    ) -> Result<Self> {
        let listener = match role {
            SocketRole::Client => None,
            SocketRole::Server => Some(Listener::bind(socket)?),
        };
        let shared = Arc::new(Shared::new(faults));
        let stop = Arc::new(Stop::new()?);
        let thread = Thread {
            socket: socket.to_owned(),
            listener,
            controls: Arc::new(controls),
            tx,
            shared: Arc::clone(&shared),
            stop: Arc::clone(&stop),
        };
        thread.waits();
        let handle = std::thread::Builder::new()
            .name("weft-vhost".to_owned())
            .stack_size(256 << 10)
            .spawn(move || thread.run())?;
        Ok(Self {
            shared,
            stop,
            thread: Some(handle),
        })
    }

    /// What the thread tells.
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.stop.end();
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}

/// A socket that the switch listens on, removed when it is dropped.
struct Listener {
    listener: UnixListener,
    socket: PathBuf,
}

impl Listener {
    fn bind(socket: &Path) -> Result<Self> {
        let listener = match UnixListener::bind(socket) {
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                remove_stale(socket)?;
                UnixListener::bind(socket)?
            }
            other => other?,
        };
        listener.set_nonblocking(true)?;
        // The hypervisor may run as another user of the same group.
        std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o660))?;
        Ok(Self {
            listener,
            socket: socket.to_owned(),
        })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Gone already: somebody removed it.
        let _ = std::fs::remove_file(&self.socket);
    }
}

/// Removes a socket that a switch left behind when it was killed, and nothing else.
fn remove_stale(socket: &Path) -> Result<()> {
    let in_use = || Error::from(ErrorKind::AddrInUse);
    if !std::fs::symlink_metadata(socket)?.file_type().is_socket() {
        return Err(in_use());
    }
    match connect(socket) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => std::fs::remove_file(socket),
        _ => Err(in_use()),
    }
}

/// Connects without waiting: one who listens and does not accept, as a stopped hypervisor, is an error like any other.
fn connect(socket: &Path) -> Result<UnixStream> {
    let address = SocketAddrUnix::new(socket)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let stream = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::connect(&stream, &address)?;
    Ok(stream.into())
}

struct Thread {
    socket: PathBuf,
    listener: Option<Listener>,
    controls: Arc<Vec<RxControl>>,
    tx: Transmit,
    shared: Arc<Shared>,
    stop: Arc<Stop>,
}

impl Thread {
    fn run(&self) {
        let mut pace = Pace::new(Arc::clone(&self.stop));
        let mut pause = FIRST_PAUSE;
        loop {
            let connected = match &self.listener {
                Some(listener) => {
                    if self.stop.wait(Some(&listener.listener), None) {
                        return;
                    }
                    listener.listener.accept().map(|(stream, _)| stream)
                }
                None => connect(&self.socket),
            };
            let served = connected.and_then(|stream| self.serve(stream, &mut pace));
            pause = match served {
                // Who listens waits for the next front-end, not for the time.
                Ok(_) if self.listener.is_some() => Duration::ZERO,
                Ok(true) => FIRST_PAUSE,
                Ok(false) => PAUSE_AFTER_REFUSAL,
                Err(error) => {
                    self.waits_because(&error);
                    (pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE)
                }
            };
            if self.stop.wait(None, Some(pause)) {
                return;
            }
        }
    }

    /// Serves a front-end until it leaves. Returns whether it got what it came for.
    ///
    /// # Errors
    /// The kernel refuses descriptors.
    fn serve(&self, stream: UnixStream, pace: &mut Pace) -> Result<bool> {
        // It was made without waiting.
        stream.set_nonblocking(false)?;
        let early = stream.try_clone()?;
        if !self.stop.enter(stream.try_clone()?) {
            return Ok(true);
        }
        self.shared.update(|status| {
            status.state = VhostState::Negotiating;
            "the front-end is connected and has not started a queue".clone_into(&mut status.reason);
            status.connections += 1;
        });
        let since = Instant::now();
        // One that is refused at once, and comes back at once, is no faster than one that stays.
        pace.wait();
        let backend = Backend::new(
            Arc::clone(&self.shared),
            Arc::clone(&self.controls),
            Arc::clone(&self.tx),
            pace,
        );
        let backend = Arc::new(std::sync::Mutex::new(backend));
        let mut handler = BackendReqHandler::from_stream(stream, Arc::clone(&backend));
        let error = loop {
            let handled = early::enable(&early, &backend, &self.stop).and_then(|()| {
                if self.stop.is_served() {
                    handler.handle_request()
                } else {
                    Err(vhost_user::Error::Disconnected)
                }
            });
            if let Err(error) = handled {
                break error;
            }
        };
        self.stop.leave();
        let mut backend = match backend.lock() {
            Ok(backend) => backend,
            Err(poisoned) => poisoned.into_inner(),
        };
        backend.stop();
        self.shared.faults().clear_all();
        let left = matches!(
            error,
            vhost_user::Error::Disconnected | vhost_user::Error::PartialMessage
        );
        self.shared.update(|status| {
            status.queues.clear();
            status.features.clear();
            if left {
                status.state = VhostState::Waiting;
                "the front-end closed the connection; it comes back when the VM starts"
                    .clone_into(&mut status.reason);
            } else if status.state != VhostState::Failed {
                status.state = VhostState::Failed;
                status.reason =
                    format!("the front-end sent what the protocol does not allow: {error}");
            }
        });
        Ok(left && (backend.has_run() || since.elapsed() >= PAUSE_AFTER_REFUSAL))
    }

    fn waits(&self) {
        let socket = self.socket.display();
        self.shared.update(|status| {
            status.state = VhostState::Waiting;
            status.reason = match self.listener {
                Some(_) => format!("no VM has connected to {socket} yet; start it"),
                None => format!("nobody listens on {socket} yet; start the VM"),
            };
        });
    }

    fn waits_because(&self, error: &Error) {
        let socket = self.socket.display();
        self.shared.update(|status| {
            if status.state == VhostState::Failed {
                return;
            }
            status.state = VhostState::Waiting;
            status.reason = match error.kind() {
                _ if self.listener.is_some() => {
                    format!("accepting a connection on {socket}: {error}")
                }
                ErrorKind::NotFound => format!("there is no socket {socket} yet; start the VM"),
                ErrorKind::ConnectionRefused => {
                    format!("nobody listens on {socket}; start the VM")
                }
                ErrorKind::WouldBlock => {
                    format!(
                        "who listens on {socket} does not accept; see whether the VM is stopped"
                    )
                }
                ErrorKind::PermissionDenied => {
                    format!("not permitted to connect to {socket}; see who owns it")
                }
                _ => format!("connecting to {socket}: {error}"),
            };
        });
    }
}
