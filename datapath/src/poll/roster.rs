//! Which ports a poll thread looks at: the active ones in every pass, a few of the resting ones in turn.
//!
//! A thread of thousands of ports, few of which have frames, would otherwise spend its time on empty rings.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::epoll;

use crate::PortId;
use crate::engine::RxEngine;
use crate::forward::Source;

/// A port rests after this many empty looks in a row.
const EMPTY_LOOKS: u32 = 512;

/// Resting ports looked at in one pass: few enough to be lost in the cost of a burst.
const RESTING_LOOKS: usize = 4;

/// The epoll key of the thread's own doorbell.
const DOORBELL: u64 = u64::MAX;

/// Most ports that one wake-up names; the others wake the thread again.
const WAKE_EVENTS: usize = 64;

struct Member {
    source: Source,
    engine: RxEngine,
    empty_looks: u32,
}

/// The receive sides that one thread owns.
#[derive(Default)]
pub(super) struct Roster {
    /// Positions stay, so that lists and epoll can name them.
    members: Vec<Option<Member>>,
    active: Vec<usize>,
    resting: Vec<usize>,
    /// Where among the resting ports the next pass looks.
    cursor: usize,
    epoll: Option<OwnedFd>,
}

impl Roster {
    /// Prepares for sleeping: `doorbell` and every port that can tell wake the thread.
    pub(super) fn watch(&mut self, doorbell: BorrowedFd<'_>) -> std::io::Result<()> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(
            &epoll,
            doorbell,
            epoll::EventData::new_u64(DOORBELL),
            epoll::EventFlags::IN,
        )?;
        self.epoll = Some(epoll);
        Ok(())
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
        if let (Some(epoll), Some(readiness)) = (&self.epoll, engine.readiness()) {
            let data = epoll::EventData::new_u64(at as u64);
            if let Err(error) = epoll::add(epoll, readiness, data, epoll::EventFlags::IN) {
                tracing::warn!(port = source.id.0, %error, "the port cannot wake its poll thread");
            }
        }
        self.members[at] = Some(Member {
            source,
            engine,
            empty_looks: 0,
        });
        self.active.push(at);
    }

    /// Closes the receive side of a port, every queue of it.
    pub(super) fn remove(&mut self, port: PortId) {
        for at in 0..self.members.len() {
            if self.members[at]
                .as_ref()
                .is_some_and(|member| member.source.id == port)
            {
                if let (Some(epoll), Some(member)) = (&self.epoll, &self.members[at])
                    && let Some(readiness) = member.engine.readiness()
                {
                    // Fails only where adding failed.
                    let _ = epoll::delete(epoll, readiness.as_fd());
                }
                self.members[at] = None;
                self.active.retain(|&position| position != at);
                self.resting.retain(|&position| position != at);
            }
        }
    }

    /// Hands each port that may have frames to `look`, which returns how many it had. Returns the sum.
    #[inline]
    pub(super) fn poll(
        &mut self,
        mut look: impl FnMut(&mut Source, &mut RxEngine) -> usize,
    ) -> usize {
        let mut frames = 0;
        let mut position = 0;
        while position < self.active.len() {
            let at = self.active[position];
            position += 1;
            let Some(member) = &mut self.members[at] else {
                continue;
            };
            let found = look(&mut member.source, &mut member.engine);
            if found > 0 {
                member.empty_looks = 0;
                frames += found;
                continue;
            }
            member.empty_looks += 1;
            if member.empty_looks >= EMPTY_LOOKS {
                position -= 1;
                self.active.swap_remove(position);
                self.resting.push(at);
            }
        }
        for _ in 0..RESTING_LOOKS.min(self.resting.len()) {
            self.cursor = if self.cursor + 1 < self.resting.len() {
                self.cursor + 1
            } else {
                0
            };
            let at = self.resting[self.cursor];
            let Some(member) = &mut self.members[at] else {
                continue;
            };
            let found = look(&mut member.source, &mut member.engine);
            if found > 0 {
                frames += found;
                self.resting.swap_remove(self.cursor);
                self.wake(at);
            }
            if self.resting.is_empty() {
                break;
            }
        }
        frames
    }

    /// Whether no port has a frame.
    pub(super) fn is_empty(&mut self) -> bool {
        self.members
            .iter_mut()
            .flatten()
            .all(|member| member.engine.is_empty())
    }

    /// Sleeps until a port or the doorbell has something; the ports that do are active from then on.
    pub(super) fn wait(&mut self) {
        let Some(epoll) = &self.epoll else { return };
        let mut buffer = [MaybeUninit::uninit(); WAKE_EVENTS];
        // Interrupted, or nothing: the next pass looks, and the thread comes back.
        let Ok((events, _)) = epoll::wait(epoll, &mut buffer, None) else {
            return;
        };
        for event in events {
            let at = event.data.u64() as usize;
            if let Some(position) = self.resting.iter().position(|&resting| resting == at) {
                self.resting.swap_remove(position);
                self.wake(at);
            }
        }
    }

    fn wake(&mut self, at: usize) {
        if let Some(member) = &mut self.members[at] {
            member.empty_looks = 0;
            self.active.push(at);
        }
    }
}
