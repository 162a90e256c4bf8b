//! Looking after uplinks: links that fail and return, ports that move by that, and who is told of it.
//!
//! A thread of its own does it, by the short way: a link event goes straight to the data path, whatever change is being made
//! meanwhile. What else an interface's coming and going means, `reconcile` deals with in its own time.

mod announcer;
pub(crate) mod failback;
mod report;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use weft_api::{EventDetails, EventKind};
use weft_datapath::{LinkState, Move, PortId, Stalled};
use weft_model::{InterfaceName, ObjectKind, ObjectRef, PortKey, PortgroupName};

use super::Host;
use crate::events::News;
use crate::links::{self, LinkEvent, Links, update};
use crate::state::State;
use announcer::Announcer;

/// Words that can wait for the thread. Where more come, it reads all interfaces anew.
const WAITING: usize = 4096;

/// How often loads are looked at, and how long the thread waits at most.
const LOOK: Duration = Duration::from_secs(1);

/// What the thread is told.
#[derive(Debug)]
enum Word {
    /// Something happened to an interface.
    Link(LinkEvent),
    /// A configuration is in force, or engines are other ones.
    Changed,
    /// A guest began to use this port.
    Connected(PortId),
}

/// The way to the thread.
pub(super) struct Words {
    sender: Sender<Word>,
    receiver: Receiver<Word>,
    /// Some word did not fit.
    lost: AtomicBool,
}

impl Default for Words {
    fn default() -> Self {
        let (sender, receiver) = bounded(WAITING);
        let lost = AtomicBool::new(false);
        Self {
            sender,
            receiver,
            lost,
        }
    }
}

impl Words {
    fn say(&self, word: Word) {
        if self.sender.try_send(word).is_err() {
            self.lost.store(true, Ordering::Release);
        }
    }
}

/// What the thread remembers.
pub(crate) struct Follower {
    links: Links,
    /// All interfaces were read: one that is not among them is not there.
    knows_all: bool,
    announcer: Announcer,
    /// Port groups some of whose ports cannot leave the host, and how many.
    lost: BTreeMap<PortgroupName, usize>,
    unstable: BTreeSet<InterfaceName>,
    looked: Instant,
}

impl Follower {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            links: Links::new(),
            knows_all: false,
            announcer: Announcer::default(),
            lost: BTreeMap::new(),
            unstable: BTreeSet::new(),
            looked: now,
        }
    }
}

/// Looks after the uplinks of a host until it is gone.
///
/// # Errors
/// The system refuses a thread.
pub(crate) fn follow(host: &Arc<Host>) -> std::io::Result<()> {
    let receiver = host.uplinks.receiver.clone();
    let host = Arc::downgrade(host);
    std::thread::Builder::new()
        .name("weft-uplinks".to_owned())
        .spawn(move || run(&host, &receiver))
        .map(drop)
}

fn run(host: &Weak<Host>, receiver: &Receiver<Word>) {
    let mut follower = Follower::new(Instant::now());
    let mut wait = Duration::ZERO;
    loop {
        let first = match receiver.recv_timeout(wait) {
            Ok(word) => Some(word),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let Some(host) = host.upgrade() else { return };
        let words = first.into_iter().chain(receiver.try_iter()).collect();
        wait = host.follow_uplinks(&mut follower, words, Instant::now());
    }
}

impl Host {
    /// Passes on what happened to an interface.
    pub(crate) fn link_event(&self, event: &LinkEvent) {
        if !matches!(event, LinkEvent::Readdressed(_)) {
            self.uplinks.say(Word::Link(event.clone()));
        }
        self.link_concerns_flows(event);
    }

    /// Has uplinks looked at, since a configuration or engines changed.
    pub(super) fn uplinks_are_news(&self) {
        self.uplinks.say(Word::Changed);
        self.flows_are_news();
    }

    /// Has the switches beyond the uplinks told of a port that came up.
    pub(super) fn is_connected(&self, port: PortId) {
        self.uplinks.say(Word::Connected(port));
    }

    /// Does what words and the time ask for. Returns how long it may wait for more.
    fn follow_uplinks(&self, follower: &mut Follower, words: Vec<Word>, now: Instant) -> Duration {
        let mut is_news = false;
        let mut heard = Vec::new();
        for word in words {
            is_news = true;
            match word {
                Word::Link(event) => {
                    follower.knows_all |= matches!(event, LinkEvent::All(_));
                    update(&mut follower.links, event);
                    // A link that went down and is up again has been down.
                    heard.extend(self.links_of_uplinks(follower));
                }
                Word::Changed => {}
                Word::Connected(port) => follower.announcer.begin(port, now),
            }
        }
        if self.uplinks.lost.swap(false, Ordering::AcqRel) {
            match self.plane.links() {
                Ok(links) => {
                    follower.links = links;
                    follower.knows_all = true;
                }
                Err(problem) => tracing::error!(%problem, "links are not known"),
            }
            is_news = true;
        }
        let datapath = self.plane.datapath();
        let mut told = Ok(());
        if is_news {
            heard.extend(self.links_of_uplinks(follower));
            told = datapath.set_links(&heard);
        }
        let renewed = datapath.renew_ways();
        if now.saturating_duration_since(follower.looked) >= LOOK {
            follower.looked = now;
            told = told.and_then(|()| self.balance(&follower.links));
        }
        let wait = renewed.and_then(|wait| told.map(|()| wait));
        let wait = wait.unwrap_or_else(|stalled| {
            self.complain(stalled);
            None
        });
        let moves = datapath.take_moves();
        for moved in moves.iter().filter(|moved| !moved.to.is_empty()) {
            follower.announcer.begin(moved.port, now);
        }
        if is_news || !moves.is_empty() {
            self.tell_of_moves(follower, &moves);
        }
        let ports = follower.announcer.take(now);
        if !ports.is_empty() {
            let announcements = datapath.announcements(&ports);
            follower.announcer.note(announcements);
        }
        datapath.announce(&follower.announcer.next(now));
        let due = follower.announcer.due();
        let due = due.map(|due| due.saturating_duration_since(now));
        [wait, due].into_iter().flatten().fold(LOOK, Duration::min)
    }

    /// Does what the words that wait ask for, as the thread would.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn follow_now(&self, follower: &mut Follower, now: Instant) {
        let words = self.uplinks.receiver.try_iter().collect();
        self.follow_uplinks(follower, words, now);
    }

    fn complain(&self, stalled: Stalled) {
        if self.may_log("stalled", "uplinks") {
            tracing::error!(%stalled, "ports go by other uplinks late");
        }
    }

    /// Whether the link of each uplink is up, as far as that is known.
    fn links_of_uplinks(&self, follower: &Follower) -> Vec<(PortId, bool)> {
        let state = self.view();
        let uplinks = state.intent.uplinks().filter_map(|(_, interface)| {
            let key = PortKey::Uplink(interface.clone());
            let id = state.id(&key)?;
            let Some(link) = follower.links.get(interface) else {
                return follower.knows_all.then_some((id, false));
            };
            let engine = state.engines.get(&key);
            // An engine on another interface that had the name leads nowhere.
            let on = engine.and_then(|engine| engine.on);
            let is_same = on.is_none_or(|on| on.index == link.index);
            Some((id, link.up && link.carrier && is_same))
        });
        uplinks.collect()
    }

    /// Lets teams that balance loads compare them.
    fn balance(&self, links: &Links) -> Result<(), Stalled> {
        let datapath = self.plane.datapath();
        if !datapath.has_balancing_teams() {
            return Ok(());
        }
        let speeds: HashMap<PortId, u64> = {
            let state = self.view();
            let uplinks = state.intent.uplinks().filter_map(|(_, interface)| {
                let id = state.id(&PortKey::Uplink(interface.clone()))?;
                let megabits = links::speed(interface, *links.get(interface)?)?;
                Some((id, u64::from(megabits) * 1_000_000))
            });
            uplinks.collect()
        };
        datapath.balance(&speeds)
    }

    /// Says which ports go by other uplinks, which cannot leave the host, and which links are not used.
    fn tell_of_moves(&self, follower: &mut Follower, moves: &[Move]) {
        let state = self.view().clone();
        let ways = self.plane.datapath().ways();
        let portgroup = |port: PortId| {
            let PortKey::Port(name) = state.key(port)? else {
                return None;
            };
            Some(state.intent.ports.get(name)?.spec.portgroup.clone())
        };
        let mut lost: BTreeMap<PortgroupName, usize> = BTreeMap::new();
        for (&port, way) in &ways {
            if way.is_empty()
                && let Some(group) = portgroup(port)
            {
                *lost.entry(group).or_default() += 1;
            }
        }
        for (group, ports) in &lost {
            if !follower.lost.contains_key(group) {
                self.tell_of_no_uplink(group, *ports);
            }
        }
        let mut moved: BTreeMap<_, usize> = BTreeMap::new();
        let goes_elsewhere = |one: &&Move| !one.to.is_empty() && one.from != one.to;
        for one in moves.iter().filter(goes_elsewhere) {
            let Some(group) = portgroup(one.port) else {
                continue;
            };
            // A new port is no news.
            if !one.from.is_empty() || follower.lost.contains_key(&group) {
                *moved.entry((group, &one.from, &one.to)).or_default() += 1;
            }
        }
        let name = |uplinks: &[PortId]| {
            let names = uplinks
                .iter()
                .filter_map(|uplink| match state.key(*uplink)? {
                    PortKey::Uplink(interface) => Some(interface.to_string()),
                    PortKey::Port(_) => None,
                });
            names.collect::<Vec<_>>().join(",")
        };
        for ((group, from, to), ports) in moved {
            self.tell_of_move(&group, &name(from), &name(to), ports);
        }
        follower.lost = lost;
        self.tell_of_unstable(follower, &state);
    }

    fn tell_of_no_uplink(&self, group: &PortgroupName, ports: usize) {
        if !self.may_log("uplink", group.as_str()) {
            return;
        }
        tracing::warn!(portgroup = %group, ports, "no uplink of the port group is usable");
        let text = format!(
            "port group {group}: none of its uplinks is usable; {} cannot leave the host",
            counted(ports)
        );
        let details = EventDetails {
            count: Some(ports as u64),
            ..EventDetails::default()
        };
        let news = News::warning(EventKind::NoUplink, text);
        self.events.push(news.about(group).with(details));
    }

    fn tell_of_move(&self, group: &PortgroupName, from: &str, to: &str, ports: usize) {
        if !self.may_log("uplink", group.as_str()) {
            return;
        }
        let ports_text = counted(ports);
        let details = EventDetails {
            on: Some(to.to_owned()),
            count: Some(ports as u64),
            ..EventDetails::default()
        };
        let news = if from.is_empty() {
            tracing::info!(portgroup = %group, to, ports, "ports can leave the host again");
            let text =
                format!("port group {group}: {ports_text} can leave the host again, by {to}");
            News::info(EventKind::UplinkFound, text)
        } else {
            tracing::info!(portgroup = %group, from, to, ports, "ports go by another uplink");
            let go = if ports == 1 { "goes" } else { "go" };
            let text = format!("port group {group}: {ports_text} {go} by {to} instead of {from}");
            News::info(EventKind::PortsMoved, text)
        };
        self.events.push(news.about(group).with(details));
    }

    fn tell_of_unstable(&self, follower: &mut Follower, state: &State) {
        let mut unstable = BTreeSet::new();
        for (_, interface) in state.intent.uplinks() {
            let Some(id) = state.id(&PortKey::Uplink(interface.clone())) else {
                continue;
            };
            let (link, remaining) = self.plane.datapath().link_state(id, Duration::ZERO);
            let was_unstable = follower.unstable.contains(interface);
            match link {
                // One that is down at this moment is no more stable for that.
                LinkState::Down if was_unstable => {}
                LinkState::Unstable { .. } => {}
                _ => continue,
            }
            unstable.insert(interface.clone());
            if was_unstable || !self.may_log("unstable", interface.as_str()) {
                continue;
            }
            let seconds = remaining.unwrap_or_default().as_secs();
            tracing::warn!(uplink = %interface, seconds, "the link goes up and down too often");
            let object = ObjectRef::new(ObjectKind::Uplink, interface);
            let text = format!(
                "{object}: its link went down more than 60 times within a minute; it is not used until it has been stable, {seconds} s from now"
            );
            let news = News::warning(EventKind::LinkUnstable, text);
            self.events.push(news.about(object));
        }
        follower.unstable = unstable;
    }
}

/// A number of ports in words.
fn counted(ports: usize) -> String {
    match ports {
        1 => "1 port".to_owned(),
        many => format!("{many} ports"),
    }
}
