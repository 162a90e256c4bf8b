//! The socket by which a collector is told.

use std::io::{Error, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use nix::sys::socket::{setsockopt, sockopt};
use rustix::net::{RecvFlags, recv, sockopt::set_socket_send_buffer_size_force};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

/// Octets that may wait for the network: as many as a full ring of records makes, so that a burst is not lost to a slow wire.
const WAITING: usize = 4 << 20;

/// What interrupts a system call may do so a few times.
const INTERRUPTIONS: usize = 8;

/// What became of a message.
pub(super) enum Sent {
    /// The network took it.
    Taken,
    /// It did not.
    Refused(Error),
}

/// A socket to one collector.
pub(super) struct Line {
    socket: UdpSocket,
    from: SocketAddr,
    /// It sends from an address of the host.
    is_own: bool,
}

impl Line {
    /// Opens it, from this port if it is one and free. Where the source is no address of the host, the kernel is asked to send from it
    /// all the same.
    pub(super) fn open(to: SocketAddr, source: Option<IpAddr>, port: u16) -> Result<Self, Error> {
        let socket = Socket::new(Domain::for_address(to), Type::DGRAM, Some(Protocol::UDP))?;
        let any: IpAddr = match to {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let bind = |port| {
            let from = SocketAddr::new(source.unwrap_or(any), port);
            match socket.bind(&from.into()) {
                Err(error) if error.kind() == ErrorKind::AddrNotAvailable => {
                    match to {
                        SocketAddr::V4(_) => socket.set_ip_transparent_v4(true)?,
                        SocketAddr::V6(_) => socket.set_freebind_v6(true)?,
                    }
                    socket.bind(&from.into()).map(|()| false)
                }
                bound => bound.map(|()| true),
            }
        };
        let is_own = match bind(port) {
            Err(error) if error.kind() == ErrorKind::AddrInUse => bind(0)?,
            bound => bound?,
        };
        socket.connect(&to.into())?;
        socket.set_nonblocking(true)?;
        // So that a host that is away is told of, and not only a port on which nobody listens (ip(7), IP_RECVERR).
        match to {
            SocketAddr::V4(_) => setsockopt(&socket, sockopt::Ipv4RecvErr, &true)?,
            SocketAddr::V6(_) => setsockopt(&socket, sockopt::Ipv6RecvErr, &true)?,
        }
        // Without the right to it, what the system gives to everybody has to do.
        if set_socket_send_buffer_size_force(&socket, WAITING).is_err() {
            let _ = socket.set_send_buffer_size(WAITING);
        }
        let socket = UdpSocket::from(socket);
        Ok(Self {
            from: socket.local_addr()?,
            socket,
            is_own,
        })
    }

    /// The port that it sends from.
    pub(super) const fn port(&self) -> u16 {
        self.from.port()
    }

    /// Whether the address that it sends from is none of the host's any more. IPv6 sends from it all the same, and IPv4 nothing.
    pub(super) fn is_lost(&self) -> bool {
        let mut from = self.from;
        from.set_port(0);
        let bound = UdpSocket::bind(from);
        self.is_own && bound.is_err_and(|error| error.kind() == ErrorKind::AddrNotAvailable)
    }

    /// What the network said of a message that it had taken, if it said something since the last time.
    pub(super) fn complaint(&self) -> Option<Error> {
        let error = SockRef::from(&self.socket).take_error().ok().flatten()?;
        // Each answer is also kept with the message that it is about.
        while recv(
            &self.socket,
            &mut [0; 1][..],
            RecvFlags::ERRQUEUE | RecvFlags::DONTWAIT,
        )
        .is_ok()
        {}
        Some(error)
    }

    /// Sends a message. `complained` is told what comes to light of an earlier one.
    pub(super) fn send(&self, message: &[u8], mut complained: impl FnMut(Error)) -> Sent {
        if let Some(error) = self.complaint() {
            complained(error);
        }
        for _ in 0..INTERRUPTIONS {
            match self.socket.send(message) {
                Ok(_) => return Sent::Taken,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Can only be an answer to a message before; this one was not tried.
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => complained(error),
                Err(error) => return Sent::Refused(error),
            }
        }
        Sent::Refused(ErrorKind::Interrupted.into())
    }
}
