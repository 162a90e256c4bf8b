//! Whether what a collector is told arrives, as far as the network says, and whether a meter has enough room.
//!
//! The network answers late, and not for each message (Linux answers once a second at most). So trouble is over only when
//! something was sent and nobody complained for a while; what is told of it does not change with every message.

use std::io::{Error, ErrorKind};
use std::net::{IpAddr, SocketAddr};

use rustix::io::Errno;
use weft_datapath::MeterStatus;

/// How long nobody complains of what was sent, until trouble is over (ms).
const QUIET: u64 = 5_000;

/// How often a collector in trouble is told templates anew, which it may have missed and which show that it is back (ms).
pub(super) const PROBE: u64 = 10_000;

/// What is wrong with a collector, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::host) struct Trouble {
    pub(in crate::host) reason: String,
    /// The command to run next, if it is not that which shows the collector.
    pub(in crate::host) next: Option<String>,
}

impl Trouble {
    pub(super) fn of(error: &Error, to: SocketAddr, source: Option<IpAddr>) -> Self {
        let way = || Some(format!("ip route get {}", to.ip()));
        let (reason, next) = match error.kind() {
            ErrorKind::ConnectionRefused => ("nobody listens there".to_owned(), None),
            ErrorKind::WouldBlock => ("the network takes messages too slowly".to_owned(), None),
            ErrorKind::HostUnreachable => ("its host does not answer".to_owned(), way()),
            ErrorKind::NetworkUnreachable => ("there is no route to it".to_owned(), way()),
            ErrorKind::PermissionDenied => (
                "the host's firewall or routes forbid messages to it".to_owned(),
                Some("nft list ruleset".to_owned()),
            ),
            ErrorKind::InvalidInput => (
                "the address that it was told from is none of the host's any more".to_owned(),
                Some("ip -brief address".to_owned()),
            ),
            ErrorKind::AddrNotAvailable => match source {
                Some(source) => (
                    format!("the host may not send from {source}"),
                    Some("ip -brief address".to_owned()),
                ),
                None => (error.to_string(), None),
            },
            _ => match Errno::from_io_error(error) {
                Some(Errno::MSGSIZE) => (
                    "the way to it takes no message of 1400 octets".to_owned(),
                    way(),
                ),
                Some(Errno::NOBUFS) => ("the network takes messages too slowly".to_owned(), None),
                _ => (error.to_string(), None),
            },
        };
        Self { reason, next }
    }
}

/// What has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum News {
    Trouble(Trouble),
    Over,
}

/// How a collector is.
#[derive(Default)]
pub(super) struct Health(Option<Ailment>);

struct Ailment {
    trouble: Trouble,
    is_told: bool,
    /// When something was sent after the last complaint (monotonic, ms).
    sent: Option<u64>,
}

impl Health {
    /// A message was refused, or somebody complained of one.
    pub(super) fn failed(&mut self, trouble: Trouble) {
        let is_told = self.0.as_ref().is_some_and(|ailment| ailment.is_told);
        self.0 = Some(Ailment {
            trouble,
            is_told,
            sent: None,
        });
    }

    /// The network took a message.
    pub(super) fn sent(&mut self, now: u64) {
        if let Some(ailment) = &mut self.0 {
            ailment.sent.get_or_insert(now);
        }
    }

    pub(super) fn trouble(&self) -> Option<&Trouble> {
        self.0.as_ref().map(|ailment| &ailment.trouble)
    }

    /// What is to be told at this time (monotonic, ms).
    pub(super) fn news(&mut self, now: u64) -> Option<News> {
        let ailment = self.0.as_mut()?;
        if !std::mem::replace(&mut ailment.is_told, true) {
            return Some(News::Trouble(ailment.trouble.clone()));
        }
        if ailment.sent? + QUIET > now {
            return None;
        }
        self.0 = None;
        Some(News::Over)
    }
}

/// How long a meter has room again, until it had too little of it no more (ms).
const EASED: u64 = 10_000;

/// One flow in so many that begin may find no place in a table that is not full.
const FEW: u64 = 100;

/// Whether flows find room, and their records are taken in time.
#[derive(Default)]
pub(super) struct Pressure {
    looked: Option<(u64, MeterStatus)>,
    evicting: Option<u64>,
    losing: Option<u64>,
}

/// How often it is looked at (ms).
const LOOK: u64 = 1_000;

/// What a meter has too little of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::host) struct Strain {
    /// Flows are told early, for want of room.
    pub(in crate::host) evicting: bool,
    /// Records come faster than they are taken.
    pub(in crate::host) losing: bool,
}

impl Pressure {
    /// Takes in what a meter has done until now (monotonic, ms).
    pub(super) fn look(&mut self, now: u64, status: MeterStatus) {
        let (at, before) = *self.looked.get_or_insert((now, status));
        if now < at + LOOK {
            return;
        }
        self.looked = Some((now, status));
        let grown = |count: fn(&MeterStatus) -> u64| count(&status).saturating_sub(count(&before));
        if grown(|status| status.evicted) > grown(|status| status.flows) / FEW {
            self.evicting = Some(now);
        }
        if grown(|status| status.lost_records) > 0 {
            self.losing = Some(now);
        }
    }

    pub(super) fn strain(&self, now: u64) -> Strain {
        let holds = |last: Option<u64>| last.is_some_and(|last| now < last + EASED);
        Strain {
            evicting: holds(self.evicting),
            losing: holds(self.losing),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused() -> Trouble {
        let to = "10.8.0.9:2055".parse().unwrap();
        Trouble::of(&ErrorKind::ConnectionRefused.into(), to, None)
    }

    #[test]
    fn one_that_answers_once_a_second_is_in_trouble_all_the_time() {
        let mut health = Health::default();
        assert_eq!(health.news(0), None);
        let mut told = Vec::new();
        for now in (0..60_000).step_by(100) {
            health.sent(now);
            if now % 1_000 == 0 {
                health.failed(refused());
            }
            told.extend(health.news(now));
            assert!(health.trouble().is_some());
        }
        assert_eq!(told, [News::Trouble(refused())]);
    }

    #[test]
    fn trouble_is_over_when_nobody_complains_of_what_was_sent() {
        let mut health = Health::default();
        health.failed(refused());
        assert_eq!(health.news(0), Some(News::Trouble(refused())));
        assert_eq!(health.news(100_000), None, "nothing was sent meanwhile");
        health.sent(100_000);
        health.sent(104_000);
        assert_eq!(health.news(104_999), None);
        assert_eq!(health.news(105_000), Some(News::Over));
        assert_eq!(health.news(200_000), None);
        assert_eq!(health.trouble(), None);
    }

    #[test]
    fn what_is_wrong_says_what_to_do() {
        let to = "10.8.0.9:2055".parse().unwrap();
        let of = |error: Error| {
            let trouble = Trouble::of(&error, to, Some("10.8.0.1".parse().unwrap()));
            (trouble.reason, trouble.next.unwrap_or_default())
        };
        for (number, reason, next) in [
            (Errno::CONNREFUSED, "nobody listens there", ""),
            (
                Errno::HOSTUNREACH,
                "its host does not answer",
                "ip route get 10.8.0.9",
            ),
            (
                Errno::NETUNREACH,
                "there is no route to it",
                "ip route get 10.8.0.9",
            ),
            (
                Errno::PERM,
                "the host's firewall or routes forbid messages to it",
                "nft list ruleset",
            ),
            (
                Errno::ADDRNOTAVAIL,
                "the host may not send from 10.8.0.1",
                "ip -brief address",
            ),
            (
                Errno::INVAL,
                "the address that it was told from is none of the host's any more",
                "ip -brief address",
            ),
            (
                Errno::MSGSIZE,
                "the way to it takes no message of 1400 octets",
                "ip route get 10.8.0.9",
            ),
            (Errno::NOBUFS, "the network takes messages too slowly", ""),
            (Errno::AGAIN, "the network takes messages too slowly", ""),
        ] {
            assert_eq!(of(number.into()), (reason.to_owned(), next.to_owned()));
        }
    }

    #[test]
    fn a_full_table_is_told_while_it_is_full() {
        let mut pressure = Pressure::default();
        let status = |flows, evicted, lost_records| MeterStatus {
            flows,
            evicted,
            lost_records,
            ..MeterStatus::default()
        };
        pressure.look(0, status(10_000, 500, 7));
        assert_eq!(
            pressure.strain(0),
            Strain::default(),
            "before that is not now"
        );
        pressure.look(1_000, status(20_000, 600, 7));
        assert_eq!(
            pressure.strain(1_000),
            Strain::default(),
            "few have no place"
        );
        pressure.look(2_000, status(20_100, 700, 8));
        let both = Strain {
            evicting: true,
            losing: true,
        };
        for now in (2_000..12_000).step_by(100) {
            pressure.look(now, status(20_100, 700, 8));
            assert_eq!(pressure.strain(now), both);
        }
        assert_eq!(pressure.strain(12_000), Strain::default());
    }
}
