//! The queue before the transmit side of a port whose bucket is empty: short, of bounded size, and in order.

use std::collections::VecDeque;

use weft_packet::{Offload, TagEdit};

use super::Bucket;
use crate::config::ShapeConfig;
use crate::engine::Outgoing;
use crate::frame::{BURST, Burst};

/// Most frames that a queue holds; the most that ESXi's does (`NetShaperQueueSizeMax`).
const MOST_FRAMES: usize = 500;

/// Octets that a queue has room for: several of the largest frames, and 4 ms at 1 Gbit/s. Pages that no frame ever lay in
/// take no memory.
const ROOM: usize = 512 << 10;

/// Part of a second that frames wait at the average before one more is dropped: 50 ms.
const LONGEST_WAIT: u64 = 20;

/// Octets that a queue takes at any average: ten full frames, as ESXi's does (`NetShaperQueueSizeMin`).
const FEWEST_OCTETS: u64 = 10 * 1514;

/// What a limit on a port's transmit side needs. It stands beside the engine, under the same lock.
///
/// Frames lie one behind the other as they were received, from the start of the room again when the end is reached or when
/// all have left.
pub(crate) struct EgressQueue {
    /// `None` once the limit is taken away: what is left may leave at once.
    bucket: Option<Bucket>,
    room: Box<[u8]>,
    frames: VecDeque<Queued>,
    /// Octets of all frames.
    octets: usize,
    /// Most octets of all frames, but for a single one.
    most_octets: usize,
}

/// A frame that waits.
struct Queued {
    start: usize,
    len: usize,
    /// What it takes from the bucket.
    cost: usize,
    offload: Offload,
    edit: TagEdit,
}

impl EgressQueue {
    pub(crate) fn new(config: ShapeConfig) -> Self {
        Self {
            bucket: Some(Bucket::new(config)),
            room: vec![0; ROOM].into_boxed_slice(),
            frames: VecDeque::with_capacity(MOST_FRAMES),
            octets: 0,
            most_octets: most_octets(config),
        }
    }

    /// Changes the limit or takes it away; frames and what was used of the bucket stay.
    pub(crate) fn set(&mut self, config: Option<ShapeConfig>, now: u64) {
        self.bucket = config.map(|config| match &self.bucket {
            Some(bucket) => bucket.with(config, now),
            None => Bucket::new(config),
        });
        if let Some(config) = config {
            self.most_octets = most_octets(config);
        }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Octets at which a frame may still begin to leave without having waited: none while others wait.
    #[inline]
    pub(crate) fn budget(&self, now: u64) -> usize {
        if self.is_empty() { self.left(now) } else { 0 }
    }

    /// Octets at which a frame may still begin to leave; see [`Bucket::octets`].
    #[inline]
    fn left(&self, now: u64) -> usize {
        let bucket = self.bucket.as_ref();
        bucket.map_or(usize::MAX, |bucket| bucket.octets(now))
    }

    #[inline]
    pub(crate) fn charge(&mut self, octets: usize, now: u64) {
        if let Some(bucket) = &mut self.bucket {
            bucket.charge_alone(octets, now);
        }
    }

    /// When the first frame that waits may leave (ns); `None` where none waits.
    pub(crate) fn opens_at(&self) -> Option<u64> {
        let bucket = self.bucket.as_ref();
        (!self.is_empty()).then(|| bucket.map_or(0, Bucket::opens_at))
    }

    /// Has a copy of a frame wait. Returns whether there was room.
    pub(crate) fn push(&mut self, burst: &Burst, outgoing: Outgoing) -> bool {
        let Outgoing { frame, edit } = outgoing;
        let len = burst.frames()[frame].len();
        let Some(start) = self.place(len) else {
            return false;
        };
        burst.write(frame, TagEdit::Keep, &mut self.room[start..start + len]);
        self.octets += len;
        self.frames.push_back(Queued {
            start,
            len,
            cost: burst.cost(frame, edit),
            offload: burst.frames()[frame].offload,
            edit,
        });
        true
    }

    /// Where a frame of `len` octets finds room.
    fn place(&self, len: usize) -> Option<usize> {
        let (Some(first), Some(last)) = (self.frames.front(), self.frames.back()) else {
            return (len <= ROOM).then_some(0);
        };
        if self.frames.len() >= MOST_FRAMES || self.octets + len > self.most_octets {
            return None;
        }
        let end = last.start + last.len;
        let fits = |start: usize, end: usize| start + len <= end;
        if last.start < first.start {
            fits(end, first.start).then_some(end)
        } else if fits(end, ROOM) {
            Some(end)
        } else {
            fits(0, first.start).then_some(0)
        }
    }

    /// Shows `send` the frames that may leave now, a burst at most, in `view`, and forgets them. Returns how many.
    pub(crate) fn take(
        &mut self,
        now: u64,
        view: &mut Burst,
        send: impl FnOnce(&Burst, &[Outgoing]),
    ) -> usize {
        let left = self.left(now);
        let (mut count, mut cost) = (0, 0);
        let mut outgoing = [Outgoing {
            frame: 0,
            edit: TagEdit::Keep,
        }; BURST];
        for (frame, queued) in self.frames.iter().take(BURST).enumerate() {
            if cost >= left {
                break;
            }
            cost += queued.cost;
            count += 1;
            let edit = queued.edit;
            outgoing[frame] = Outgoing { frame, edit };
        }
        if count == 0 {
            return 0;
        }
        self.charge(cost, now);
        let octets = |queued: &Queued| &self.room[queued.start..queued.start + queued.len];
        let frames = self.frames.iter().take(count);
        view.show(
            frames.map(|queued| (octets(queued), queued.offload)),
            |view| send(view, &outgoing[..count]),
        );
        self.octets -= self
            .frames
            .drain(..count)
            .map(|queued| queued.len)
            .sum::<usize>();
        count
    }

    /// Forgets all frames. Returns how many there were.
    pub(crate) fn clear(&mut self) -> usize {
        let count = self.frames.len();
        self.frames.clear();
        self.octets = 0;
        count
    }
}

fn most_octets(config: ShapeConfig) -> usize {
    (config.average / 8 / LONGEST_WAIT).clamp(FEWEST_OCTETS, ROOM as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::with_frame;

    const OUTGOING: Outgoing = Outgoing {
        frame: 0,
        edit: TagEdit::Keep,
    };

    fn queue(average: u64) -> EgressQueue {
        EgressQueue::new(ShapeConfig {
            average,
            peak: average,
            burst: 1_000_000,
        })
    }

    /// A frame's first octets are its number, and all others too.
    fn frame(number: u8, len: usize) -> Vec<u8> {
        vec![number; len]
    }

    fn push(queue: &mut EgressQueue, frame: &[u8]) -> bool {
        with_frame(frame, |burst| queue.push(burst, OUTGOING))
    }

    /// What leaves by then, in whole frames.
    fn take(queue: &mut EgressQueue, now: u64) -> Vec<Vec<u8>> {
        let (mut view, mut left) = (Box::<Burst>::default(), Vec::new());
        queue.take(now, &mut view, |burst, outgoing| {
            for outgoing in outgoing {
                let mut frame = vec![0; burst.frames()[outgoing.frame].len()];
                burst.write(outgoing.frame, outgoing.edit, &mut frame);
                left.push(frame);
            }
        });
        left
    }

    #[test]
    fn nothing_passes_what_waits() {
        let mut queue = queue(1_000_000_000);
        assert!(queue.budget(1) > 0);
        assert!(push(&mut queue, &frame(1, 60)));
        assert_eq!((queue.budget(1), queue.left(1)), (0, 625_000));
        assert_eq!(take(&mut queue, 1), [frame(1, 60)]);
        assert_eq!(queue.budget(1), 625_000 - 60);
    }

    /// Frames of many lengths go round the room many times, and come out as they went in.
    #[test]
    fn frames_stay_what_they_are_all_the_way_round() {
        // A microsecond is a thousand octets; none are left of the burst.
        let mut queue = queue(8_000_000_000);
        queue.charge(1_000_000, 1);
        let mut waiting = VecDeque::new();
        let (mut refused, capacity) = (0, queue.frames.capacity());
        for n in 0..2000usize {
            let frame = frame(n as u8, 60 + n * 7919 % 60_000);
            if push(&mut queue, &frame) {
                waiting.push_back(frame);
            } else {
                refused += 1;
            }
            for frame in take(&mut queue, 1 + n as u64 * 25_000) {
                assert!(waiting.pop_front() == Some(frame), "after {n}");
            }
        }
        assert!(refused > 0);
        assert_eq!(
            queue.frames.capacity(),
            capacity,
            "nothing is allocated on the way"
        );
    }

    #[test]
    fn frames_are_bounded_in_number_and_octets() {
        for (average, len, most) in [
            (u64::MAX, 60, MOST_FRAMES),
            (u64::MAX, 2048, ROOM / 2048),
            (8_000_000, 1000, 50),
            (0, 1514, 10),
        ] {
            let mut queue = queue(average);
            let taken = (0..1000).filter(|_| push(&mut queue, &frame(0, len)));
            assert_eq!(taken.count(), most, "frames of {len} at {average} bit/s");
        }
    }

    #[test]
    fn a_limit_that_goes_lets_everything_pass() {
        let mut queue = queue(0);
        assert!(push(&mut queue, &frame(1, 60)));
        assert_eq!(queue.opens_at(), Some(0));
        queue.charge(2_000_000, 1);
        assert!(take(&mut queue, 1).is_empty());
        assert!(queue.opens_at() > Some(1));
        queue.set(None, 1);
        assert_eq!((queue.opens_at(), take(&mut queue, 1).len()), (Some(0), 1));
        assert_eq!((queue.opens_at(), queue.budget(1)), (None, usize::MAX));
    }
}
