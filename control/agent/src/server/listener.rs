//! Accepting connections, also where file descriptors run out.

use std::io;
use std::time::Duration;

use axum::serve;
use rustix::io::Errno;
use tokio::net::unix::SocketAddr;
use tokio::net::{UnixListener, UnixStream};

use crate::descriptors::Reserve;

/// How long until it is tried again where nothing helps but somebody else's giving up descriptors.
const AGAIN: Duration = Duration::from_millis(100);

/// A listener that gives up descriptors which it held for that where there are no others, so that an operator can still ask what is
/// wrong and take ports away.
pub(crate) struct Listener {
    socket: UnixListener,
    reserve: Reserve,
}

impl Listener {
    pub(super) fn new(socket: UnixListener, reserve: Reserve) -> Self {
        Self { socket, reserve }
    }
}

impl serve::Listener for Listener {
    type Io = UnixStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (UnixStream, SocketAddr) {
        loop {
            match self.socket.accept().await {
                Ok(accepted) => {
                    self.reserve.refill();
                    return accepted;
                }
                Err(error) if is_exhausted(&error) => {
                    if !self.reserve.release() {
                        tokio::time::sleep(AGAIN).await;
                    }
                }
                // The other side gave up (accept(2)), or memory is short.
                Err(error) => {
                    tracing::warn!(%error, "a connection to the API cannot be accepted");
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

fn is_exhausted(error: &io::Error) -> bool {
    let exhausted = [Errno::MFILE, Errno::NFILE].map(|errno| Some(errno.raw_os_error()));
    exhausted.contains(&error.raw_os_error())
}
