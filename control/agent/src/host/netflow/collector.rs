//! One collector: what it is told, by which socket, and what became of it.

use std::io::{Error, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::rc::Rc;

use socket2::{Domain, Protocol, Socket, Type};
use weft_netflow::Record;
use weft_netflow::export::{Exporter, Message, NamedInterface, Now, Settings, Statistics, Totals};

/// How far apart two attempts are to open a socket that could not be opened (ms).
const OPEN_AGAIN: u64 = 1_000;

/// What became of what a collector was told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) messages: u64,
    pub(super) records: u64,
    pub(super) lost_records: u64,
    /// Records that the version has no place for.
    pub(super) unsaid: u64,
    /// Why the last message could not be sent, if it could not.
    pub(super) error: Option<String>,
}

/// A collector and what it is told.
pub(super) struct Collector {
    to: SocketAddr,
    source: Option<IpAddr>,
    settings: Settings,
    exporter: Exporter,
    socket: Option<Rc<UdpSocket>>,
    /// Not before this time (monotonic, ms) it is tried again to open one.
    open_at: u64,
    statistics: Statistics,
    unsaid: u64,
    /// The records of the last message, of which an error may still tell that nobody took it.
    last: Totals,
    error: Option<String>,
}

impl Collector {
    pub(super) fn new(to: SocketAddr, source: Option<IpAddr>, settings: Settings) -> Self {
        Self {
            to,
            source,
            exporter: Exporter::new(settings.clone()),
            settings,
            socket: None,
            open_at: 0,
            statistics: Statistics::default(),
            unsaid: 0,
            last: Totals::default(),
            error: None,
        }
    }

    /// Whether it is told to this address, from that one.
    pub(super) fn is(&self, to: SocketAddr, source: Option<IpAddr>) -> bool {
        (self.to, self.source) == (to, source)
    }

    /// Other settings, or other interfaces: templates and options go out again.
    pub(super) fn set(&mut self, settings: Settings) {
        if settings == self.settings {
            self.exporter.changed();
        } else {
            self.exporter.set(settings.clone());
            self.settings = settings;
        }
    }

    /// When it wants to be told something though there are no records (monotonic, ms).
    pub(super) fn due(&self) -> Option<u64> {
        self.exporter.due()
    }

    pub(super) fn told(&self) -> Told {
        Told {
            messages: self.statistics.messages,
            records: self.statistics.flows,
            lost_records: self.statistics.not_sent.flows,
            unsaid: self.unsaid,
            error: self.error.clone(),
        }
    }

    /// Tells it records, and what else is due. `open` gives the socket for an address and a source.
    pub(super) fn tell(
        &mut self,
        now: Now,
        records: &[Record],
        interfaces: &[NamedInterface],
        open: impl FnOnce(SocketAddr, Option<IpAddr>) -> Result<Rc<UdpSocket>, Error>,
    ) {
        if self.socket.is_none() && now.monotonic_ms >= self.open_at {
            match open(self.to, self.source) {
                Ok(socket) => self.socket = Some(socket),
                Err(error) => {
                    self.error = Some(explained(&error, self.source));
                    self.open_at = now.monotonic_ms + OPEN_AGAIN;
                }
            }
        }
        let Self {
            exporter,
            socket,
            statistics,
            last,
            error,
            source,
            ..
        } = self;
        let before = *statistics;
        let send = |message: Message<'_>| {
            let Some(socket) = socket else {
                statistics.not_sent += message.flows;
                return;
            };
            let mut sent = socket.send(message.bytes);
            if let Err(refused) = &sent
                && refused.kind() == ErrorKind::ConnectionRefused
            {
                // An answer to the message before, which nobody took; this one was not tried yet.
                statistics.flows -= last.flows;
                statistics.not_sent += std::mem::take(last);
                *error = Some(explained(refused, *source));
                sent = socket.send(message.bytes);
            } else if sent.is_ok() {
                *error = None;
            }
            match sent {
                Ok(_) => {
                    statistics.messages += 1;
                    statistics.flows += message.flows.flows;
                    *last = message.flows;
                }
                Err(failed) => {
                    statistics.not_sent += message.flows;
                    *error = Some(explained(&failed, *source));
                }
            }
        };
        let unsaid = exporter.encode(now, records, interfaces, &before, send);
        self.unsaid += unsaid.flows;
    }
}

/// Opens a socket to a collector. Where the source is no address of the host, the kernel is asked to send from it all the same.
pub(super) fn open(to: SocketAddr, source: Option<IpAddr>) -> Result<UdpSocket, Error> {
    let socket = Socket::new(Domain::for_address(to), Type::DGRAM, Some(Protocol::UDP))?;
    let any: IpAddr = match to {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let from = SocketAddr::new(source.unwrap_or(any), 0);
    match socket.bind(&from.into()) {
        Err(error) if error.kind() == ErrorKind::AddrNotAvailable => {
            match to {
                SocketAddr::V4(_) => socket.set_ip_transparent_v4(true)?,
                SocketAddr::V6(_) => socket.set_freebind_v6(true)?,
            }
            socket.bind(&from.into())?;
        }
        bound => bound?,
    }
    socket.connect(&to.into())?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn explained(error: &Error, source: Option<IpAddr>) -> String {
    match error.kind() {
        ErrorKind::ConnectionRefused => "nobody listens there".to_owned(),
        ErrorKind::WouldBlock => "the network takes messages too slowly".to_owned(),
        ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable => {
            format!("there is no way to it: {error}")
        }
        ErrorKind::AddrNotAvailable => match source {
            Some(source) => format!("the host may not send from {source}: {error}"),
            None => error.to_string(),
        },
        _ => error.to_string(),
    }
}
