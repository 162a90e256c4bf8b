//! Which ports a poll thread looks at in a pass: the active ones.
//!
//! A port that had nothing for a while rests: its engine's file descriptor is watched by epoll instead of its ring. A
//! thread of thousands of ports, few of which have frames, so pays for the few, and one system call now and then tells
//! which others woke. A thread may sleep when all its ports rest.
//!
//! A port that is in no configuration is put aside: not looked at, whatever waits there, until there is a new one. So is a
//! port whose limit is used up, until that lets frames pass again, when the thread would otherwise sleep.

use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{Timespec, epoll};

use crate::PortId;
use crate::clock;
use crate::engine::RxEngine;
use crate::forward::Source;
use crate::snapshot::Snapshot;

/// After this many empty looks in a row the clock is asked for how long a port has been quiet.
const EMPTY_LOOKS: u32 = 512;

/// A port rests when it has been quiet for this long. The senders that count are quiet for tens of microseconds between
/// their bursts, and to rest and wake costs two system calls.
const QUIET_NS: u64 = 10_000_000;

/// A port where every look is a system call rests sooner, but not at once: to wake the thread costs a sender more than to
/// send a frame, and one who keeps sending is not quiet for this long.
const COSTLY_QUIET_NS: u64 = 50_000;

/// Resting ports without a file descriptor that a pass looks at beside active ones: few enough to be lost in the cost of a
/// burst.
const BLIND_LOOKS: usize = 4;

/// A thread whose ports all rest looks at those without a file descriptor this often. Their guests asked to be polled
/// (vhost-user, VHOST_USER_SET_VRING_KICK without a descriptor), not to be served at once at the price of a core.
const BLIND_INTERVAL: Duration = Duration::from_millis(1);

/// The epoll key of the thread's own doorbell.
const DOORBELL: u64 = u64::MAX;

/// Most ports that one look at epoll names; the next look names the others.
const WAKE_EVENTS: usize = 64;

struct Member {
    source: Source,
    engine: RxEngine,
    empty_looks: u32,
    /// When the clock was first asked in the present quiet spell (monotonic time, ns; coarse unless looks are costly).
    quiet_since: Option<u64>,
    is_aside: bool,
    /// Until then (ns) the port's limit is used up.
    opens_at: u64,
}

/// What a look at a port showed.
pub(super) enum Look {
    /// So many frames, which are forwarded.
    Frames(usize),
    /// The port is in no configuration.
    NotConfigured,
    /// The port's limit is used up: its frames were left where they are.
    Closed {
        /// Until this time (ns).
        opens_at: u64,
    },
}

impl Member {
    /// Whether the port, at which a look was in vain, has been quiet for long enough to rest.
    #[inline]
    fn should_rest(&mut self) -> bool {
        if self.engine.is_costly_to_poll() {
            return self.is_quiet_for(COSTLY_QUIET_NS, clock::precise_nanoseconds());
        }
        self.empty_looks += 1;
        self.empty_looks >= EMPTY_LOOKS && self.is_quiet()
    }

    /// Asks the coarse clock, which is not worth it at every look.
    #[cold]
    fn is_quiet(&mut self) -> bool {
        self.empty_looks = 0;
        self.is_quiet_for(QUIET_NS, clock::coarse_nanoseconds())
    }

    #[inline]
    fn is_quiet_for(&mut self, long: u64, now: u64) -> bool {
        now - *self.quiet_since.get_or_insert(now) >= long
    }
}

/// The receive sides that one thread owns.
pub(super) struct Roster {
    /// Positions stay, so that the lists and epoll can name them.
    members: Vec<Option<Member>>,
    active: Vec<usize>,
    /// Resting ports that only looking tells about, looked at in turn.
    blind: Vec<usize>,
    turn: usize,
    /// Ports in no configuration, and those whose limit is used up while the thread sleeps, watched for what the control side
    /// asks of them.
    aside: Vec<usize>,
    /// Active ports whose limit was used up in the last pass.
    closed: usize,
    /// When the first of their limits lets frames pass again (ns); `u64::MAX` while there is none.
    active_opens_at: u64,
    /// The same of those that were put aside.
    aside_opens_at: u64,
    /// Where the snapshot is that ports were last looked for in.
    snapshot: usize,
    /// Watches the doorbell and every other resting port.
    epoll: OwnedFd,
}

impl Roster {
    /// An empty roster whose thread wakes when `doorbell` rings.
    pub(super) fn new(doorbell: BorrowedFd<'_>) -> std::io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(
            &epoll,
            doorbell,
            epoll::EventData::new_u64(DOORBELL),
            epoll::EventFlags::IN,
        )?;
        Ok(Self {
            members: Vec::new(),
            active: Vec::new(),
            blind: Vec::new(),
            turn: 0,
            aside: Vec::new(),
            closed: 0,
            active_opens_at: u64::MAX,
            aside_opens_at: u64::MAX,
            snapshot: 0,
            epoll,
        })
    }

    pub(super) fn add(&mut self, source: Source, engine: RxEngine) {
        let at = self
            .members
            .iter()
            .position(Option::is_none)
            .unwrap_or_else(|| {
                self.members.push(None);
                self.members.len() - 1
            });
        self.members[at] = Some(Member {
            source,
            engine,
            empty_looks: 0,
            quiet_since: None,
            is_aside: false,
            opens_at: 0,
        });
        self.active.push(at);
        // Whichever list a port moves to later, it finds room: no pass allocates.
        let members = self.members.len();
        for list in [&mut self.active, &mut self.blind, &mut self.aside] {
            list.reserve(members - list.len());
        }
    }

    /// Closes the receive side of a port, every queue of it.
    pub(super) fn remove(&mut self, port: PortId) {
        for at in 0..self.members.len() {
            let Some(member) = &self.members[at] else {
                continue;
            };
            if member.source.id != port {
                continue;
            }
            if let Some(readiness) = member.engine.readiness() {
                // Fails for an active port, which is not watched.
                let _ = epoll::delete(&self.epoll, readiness);
            }
            self.members[at] = None;
            self.active.retain(|&active| active != at);
            self.blind.retain(|&blind| blind != at);
            self.aside.retain(|&aside| aside != at);
        }
    }

    /// Looks again at the ports that were put aside, if this is another snapshot than at the last call. Returns whether it is.
    #[inline]
    pub(super) fn renew(&mut self, snapshot: &Arc<Snapshot>) -> bool {
        let snapshot = Arc::as_ptr(snapshot).addr();
        let is_new = snapshot != self.snapshot;
        if is_new {
            self.snapshot = snapshot;
            self.take_back(|_| true);
            for member in self.members.iter_mut().flatten() {
                member.opens_at = 0;
            }
        }
        is_new
    }

    /// Looks again at the ports whose limits let frames pass by now.
    #[inline]
    pub(super) fn look_at_opened(&mut self, now: u64) {
        if self.aside_opens_at <= now {
            self.take_back(|member| (1..=now).contains(&member.opens_at));
        }
    }

    /// When the first limit that is used up lets frames pass again (ns).
    pub(super) fn next_opening(&self) -> Option<u64> {
        let first = self.active_opens_at.min(self.aside_opens_at);
        (first < u64::MAX).then_some(first)
    }

    #[cold]
    fn take_back(&mut self, is_due: impl Fn(&Member) -> bool) {
        let Self {
            members,
            active,
            aside,
            aside_opens_at,
            epoll,
            ..
        } = self;
        *aside_opens_at = u64::MAX;
        aside.retain(|&at| {
            let Some(member) = &mut members[at] else {
                return false;
            };
            if !is_due(member) {
                if member.opens_at > 0 {
                    *aside_opens_at = member.opens_at.min(*aside_opens_at);
                }
                return true;
            }
            member.is_aside = false;
            if let Some(readiness) = member.engine.readiness() {
                // Fails where only looking tells, and where the control side asks nothing.
                let _ = epoll::delete(&*epoll, readiness);
            }
            active.push(at);
            false
        });
    }

    /// Hands each port that may have frames to `look`. Returns how many frames there were.
    #[inline]
    pub(super) fn poll(
        &mut self,
        mut look: impl FnMut(&mut Source, &mut RxEngine) -> Look,
    ) -> usize {
        let mut frames = 0;
        self.closed = 0;
        self.active_opens_at = u64::MAX;
        let mut position = 0;
        while position < self.active.len() {
            let at = self.active[position];
            position += 1;
            let Some(member) = &mut self.members[at] else {
                continue;
            };
            let found = match look(&mut member.source, &mut member.engine) {
                Look::Frames(found) => found,
                Look::NotConfigured => {
                    member.opens_at = 0;
                    self.put_aside(at);
                    position -= 1;
                    self.active.swap_remove(position);
                    continue;
                }
                Look::Closed { opens_at } => {
                    member.opens_at = opens_at;
                    self.closed += 1;
                    self.active_opens_at = self.active_opens_at.min(opens_at);
                    continue;
                }
            };
            frames += found;
            if found > 0 {
                member.empty_looks = 0;
                member.quiet_since = None;
                continue;
            }
            if member.should_rest() && self.rest(at) {
                position -= 1;
                self.active.swap_remove(position);
            }
        }
        frames + self.poll_blind(look)
    }

    /// The same for ports at rest of which only looking tells: all of them, or a few in turn while others are active.
    #[inline]
    fn poll_blind(&mut self, mut look: impl FnMut(&mut Source, &mut RxEngine) -> Look) -> usize {
        let mut frames = 0;
        let looks = if self.is_at_rest() {
            self.blind.len()
        } else {
            BLIND_LOOKS.min(self.blind.len())
        };
        for _ in 0..looks {
            self.turn = if self.turn + 1 < self.blind.len() {
                self.turn + 1
            } else {
                0
            };
            let Some(&at) = self.blind.get(self.turn) else {
                break;
            };
            let Some(member) = &mut self.members[at] else {
                continue;
            };
            let found = match look(&mut member.source, &mut member.engine) {
                Look::Frames(found) => found,
                Look::NotConfigured => {
                    member.engine.attend();
                    continue;
                }
                Look::Closed { .. } => 0,
            };
            frames += found;
            // It is given a descriptor when its front-end thinks better of it.
            if found > 0 || member.engine.readiness().is_some() {
                member.empty_looks = 0;
                member.engine.disarm();
                self.blind.swap_remove(self.turn);
                self.active.push(at);
            }
        }
        frames
    }

    /// Whether all ports rest, or wait for their limits: looking at them in turn would be in vain.
    #[inline]
    pub(super) fn is_at_rest(&self) -> bool {
        self.active.len() == self.closed
    }

    /// Makes the resting ports that have frames active again, without waiting for any.
    pub(super) fn wake_ready(&mut self) {
        self.wake(Some(&Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        }));
    }

    /// Sleeps until a port has frames, the doorbell rings or `longest` has passed, and not for long where only looking tells.
    /// Frames that came since the last look end the sleep at once: a descriptor is watched by level.
    /// A port whose limit is used up at `now` (ns) wakes nobody.
    pub(super) fn sleep(&mut self, longest: Duration, now: u64) {
        let mut position = 0;
        self.closed = 0;
        while let Some(&at) = self.active.get(position) {
            let is_closed = |member: &Member| member.opens_at > now;
            if self.members[at].as_ref().is_some_and(is_closed) {
                self.put_aside(at);
                self.active.swap_remove(position);
            } else if self.rest(at) {
                self.active.swap_remove(position);
            } else {
                position += 1;
            }
        }
        let longest = if self.blind.is_empty() {
            longest
        } else {
            longest.min(BLIND_INTERVAL)
        };
        if self.is_at_rest() {
            self.wake(Some(&Timespec {
                tv_sec: longest.as_secs() as i64,
                tv_nsec: longest.subsec_nanos().into(),
            }));
        }
    }

    /// Lets a port rest. Returns whether it does: not where frames came while it was asked to announce them.
    fn rest(&mut self, at: usize) -> bool {
        let Some(member) = &mut self.members[at] else {
            return true;
        };
        member.empty_looks = 0;
        member.quiet_since = None;
        if member.engine.arm() {
            return false;
        }
        if !watch(&self.epoll, &member.engine, at) {
            self.blind.push(at);
        }
        true
    }

    /// Looks at a port no more until there is another snapshot, or its limit lets frames pass. What the control side may wait
    /// for is watched.
    #[cold]
    fn put_aside(&mut self, at: usize) {
        let Some(member) = &mut self.members[at] else {
            return;
        };
        member.engine.attend();
        if member.engine.is_attended() && !watch(&self.epoll, &member.engine, at) {
            self.blind.push(at);
            return;
        }
        member.empty_looks = 0;
        member.quiet_since = None;
        member.is_aside = true;
        if member.opens_at > 0 {
            self.aside_opens_at = self.aside_opens_at.min(member.opens_at);
        }
        self.aside.push(at);
    }

    fn wake(&mut self, timeout: Option<&Timespec>) {
        let mut buffer = [MaybeUninit::uninit(); WAKE_EVENTS];
        // Interrupted, or nothing: the thread comes back.
        let Ok((events, _)) = epoll::wait(&self.epoll, &mut buffer, timeout) else {
            return;
        };
        for event in events {
            let at = event.data.u64();
            let Some(Some(member)) = self.members.get_mut(at as usize) else {
                continue;
            };
            let Some(readiness) = member.engine.readiness() else {
                continue;
            };
            // Watched, or epoll would not have named it.
            let _ = epoll::delete(&self.epoll, readiness);
            member.engine.disarm();
            if member.is_aside {
                member.is_aside = false;
                self.aside.retain(|&aside| aside != at as usize);
            }
            self.active.push(at as usize);
        }
    }
}

/// Has epoll name a port when its engine becomes readable. Returns whether it will: not where only looking tells.
fn watch(epoll: &OwnedFd, engine: &RxEngine, at: usize) -> bool {
    engine.readiness().is_some_and(|readiness| {
        let data = epoll::EventData::new_u64(at as u64);
        epoll::add(epoll, readiness, data, epoll::EventFlags::IN).is_ok()
    })
}
