//! How a port's thread is ended wherever it waits.

use std::io::Result;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use parking_lot::Mutex;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

/// The end of a port, and of the connection that it serves.
#[derive(Debug)]
pub(super) struct Stop {
    event: OwnedFd,
    connection: Mutex<Connection>,
}

#[derive(Debug, Default)]
struct Connection {
    /// The one that is served, as long as somebody may still want something.
    stream: Option<UnixStream>,
    /// There is none to come.
    is_over: bool,
}

impl Stop {
    pub(super) fn new() -> Result<Self> {
        Ok(Self {
            event: eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?,
            connection: Mutex::default(),
        })
    }

    /// Ends the connection, and whatever the thread waits for.
    pub(super) fn end(&self) {
        // A full counter is readable all the same.
        let _ = rustix::io::write(&self.event, &1u64.to_ne_bytes());
        let mut connection = self.connection.lock();
        connection.is_over = true;
        if let Some(stream) = &connection.stream {
            // Fails for one that the other side has closed, which ends the thread too.
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }

    /// A connection is there, which ends with the port. Returns whether it may be served.
    pub(super) fn enter(&self, stream: UnixStream) -> bool {
        let mut connection = self.connection.lock();
        connection.stream = Some(stream);
        !connection.is_over
    }

    /// It is gone.
    pub(super) fn leave(&self) {
        self.connection.lock().stream = None;
    }

    /// Whether the next message is to be read: what a stream holds stays readable when it is shut down.
    pub(super) fn is_served(&self) -> bool {
        let connection = self.connection.lock();
        connection.stream.is_some() && !connection.is_over
    }

    /// Waits for `other` or for the end. Returns whether it is the end.
    pub(super) fn wait(&self, other: Option<&UnixListener>, longest: Option<Duration>) -> bool {
        let mut events = vec![PollFd::new(&self.event, PollFlags::IN)];
        events.extend(other.map(|fd| PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN)));
        let timeout = longest.map(|longest| Timespec {
            tv_sec: longest.as_secs() as i64,
            tv_nsec: longest.subsec_nanos().into(),
        });
        // Interrupted: whoever asked looks again.
        let _ = poll(&mut events, timeout.as_ref());
        !events[0].revents().is_empty()
    }

    /// Makes a front-end wait that asks for too much. Of one that is gone meanwhile, the rest is not carried out: the next one
    /// would wait for it.
    pub(super) fn pause(&self, pause: Duration) {
        self.wait(None, Some(pause));
        let mut connection = self.connection.lock();
        connection.stream.take_if(|stream| has_hung_up(stream));
    }
}

fn has_hung_up(stream: &UnixStream) -> bool {
    let mut events = [PollFd::new(stream, PollFlags::empty())];
    let _ = poll(&mut events, Some(&Timespec::default()));
    events[0].revents().contains(PollFlags::HUP)
}
