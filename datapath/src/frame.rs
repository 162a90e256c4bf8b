//! A received frame between receiving and transmitting: its private head, and where the rest of it lies.
//!
//! The head is read once; every decision is made on this copy, and it is what destinations get. Bytes behind the head stay
//! in the source's memory (UMEM, guest buffer) until each destination has copied them: one copy per destination.

mod finish;
mod write;

use weft_packet::{Head, MAX_HEADERS, Offload, TagEdit, vnet};

use crate::DropReason;

pub(crate) use write::{EditedHead, Slices};

/// Most frames that are received at once.
pub(crate) const BURST: usize = 32;

/// Octets of a frame that are read into private memory where its sender may have left work to its NIC: all that carrying
/// it out looks at or changes.
pub(crate) const HEAD: usize = MAX_HEADERS;

/// Octets that are read from a frame of a port where nothing needs to look deeper.
pub(crate) const SHORT_HEAD: usize = 64;

/// Most pieces behind the head that a burst can hold in all: a jumbo frame takes three 4 KiB chunks, and a guest's packet
/// of 64 KiB some 18.
const PIECES: usize = BURST * 8;

/// Most pieces of one frame.
pub(crate) const FRAME_PIECES: usize = 64;

/// A piece of a frame in the source's memory.
#[derive(Clone, Copy, Debug)]
struct Piece {
    start: *const u8,
    len: u32,
}

/// One received frame.
#[repr(C)]
pub(crate) struct Frame {
    /// Octets of the whole frame.
    len: u32,
    head_len: u16,
    pieces: u16,
    first_piece: u16,
    /// Why the frame cannot be forwarded, whatever it says: what came with it is wrong.
    pub(crate) fault: Option<DropReason>,
    /// What the sender left to its (virtual) NIC.
    pub(crate) offload: Offload,
    head: [u8; HEAD],
}

impl Frame {
    const EMPTY: Self = Self {
        len: 0,
        head_len: 0,
        pieces: 0,
        first_piece: 0,
        fault: None,
        offload: Offload {
            checksum: None,
            segmentation: None,
        },
        head: [0; HEAD],
    };

    /// Octets of the whole frame.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len as usize
    }

    /// Octets of the longest frame that it becomes for a destination that takes only finished ones.
    #[inline]
    pub(crate) fn finished_len(&self) -> usize {
        match self.offload.segmentation {
            None => self.len(),
            Some(cut) => usize::from(cut.header_len) + usize::from(cut.size),
        }
    }

    /// Octets of all frames that it becomes for a destination that takes only finished ones, each `change` octets longer.
    #[inline]
    fn finished_octets(&self, change: isize) -> usize {
        let len = self.len().wrapping_add_signed(change);
        match self.offload.segmentation {
            None => len,
            Some(cut) => {
                let header_len = usize::from(cut.header_len);
                let payload = self.len().saturating_sub(header_len);
                let more = payload.div_ceil(usize::from(cut.size).max(1)).max(1) - 1;
                len + more * header_len.wrapping_add_signed(change)
            }
        }
    }

    /// The private copy of the frame's first octets.
    #[inline]
    pub(crate) fn head(&self) -> &[u8] {
        &self.head[..usize::from(self.head_len)]
    }
}

/// Up to [`BURST`] frames from one receive queue, in order of arrival.
///
/// A burst borrows the memory of the engine that filled it: the engine clears it before it takes that memory back.
pub(crate) struct Burst {
    frames: [Frame; BURST],
    len: usize,
    pieces: [Piece; PIECES],
    used_pieces: usize,
    /// Some sender left something to its NIC.
    asks: bool,
    /// Octets of all frames, finished.
    octets: usize,
    /// Once there are as many octets, there is no room.
    most_octets: usize,
    /// Of every frame as much is read as somebody may want to look at.
    deep: bool,
}

// SAFETY: a burst moves between threads only together with the engines that fill it, and between two of their bursts, when
// it holds no piece (`Worker` owns both). Pieces are read through `&self` on the thread that owns them.
unsafe impl Send for Burst {}

impl Default for Burst {
    fn default() -> Self {
        Self {
            frames: [const { Frame::EMPTY }; BURST],
            len: 0,
            pieces: [Piece {
                start: std::ptr::null(),
                len: 0,
            }; PIECES],
            used_pieces: 0,
            asks: false,
            octets: 0,
            most_octets: usize::MAX,
            deep: false,
        }
    }
}

impl Burst {
    /// The frames received.
    #[inline]
    pub(crate) fn frames(&self) -> &[Frame] {
        &self.frames[..self.len]
    }

    /// How many frames were received.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Whether no sender left anything to its NIC: every frame is finished.
    #[inline]
    pub(crate) fn asks_for_nothing(&self) -> bool {
        !self.asks
    }

    /// Octets of all frames, as a limit counts them: what a sender left to be cut counts as the segments.
    #[inline]
    pub(crate) fn octets(&self) -> usize {
        self.octets
    }

    /// Octets of frame `index` with `edit`, as a limit counts them.
    #[inline]
    pub(crate) fn cost(&self, index: usize, edit: TagEdit) -> usize {
        self.frames[index].finished_octets(edit.length_change())
    }

    /// From here to the next [`Self::clear`] no frame begins once there are so many octets.
    #[inline]
    pub(crate) fn limit(&mut self, octets: usize) {
        self.most_octets = octets;
    }

    /// From here on [`HEAD`] octets of each frame are read into private memory, where there are as many, or no more than its engine
    /// wants.
    #[inline]
    pub(crate) fn set_deep(&mut self, deep: bool) {
        self.deep = deep;
    }

    /// Octets at which there is no room any more; `usize::MAX` if nobody set a limit.
    #[inline]
    pub(crate) fn most_octets(&self) -> usize {
        self.most_octets
    }

    /// Whether another frame, of up to `pieces` pieces, fits.
    #[inline]
    pub(crate) fn has_room(&self, pieces: usize) -> bool {
        self.len < BURST && self.used_pieces + pieces <= PIECES && self.octets < self.most_octets
    }

    /// Forgets all frames, and with them every pointer into the source's memory.
    #[inline]
    pub(crate) fn clear(&mut self) {
        self.len = 0;
        self.used_pieces = 0;
        self.asks = false;
        self.octets = 0;
        self.most_octets = usize::MAX;
    }

    /// Adds a frame that lies in `pieces`, reading up to `head_size` octets of it into private memory.
    ///
    /// Does nothing where the burst has no room; the caller asks [`Self::has_room`] first.
    ///
    /// # Safety
    /// Every piece stays readable, and is not written by this process, until the burst is cleared.
    #[inline]
    pub(crate) unsafe fn push(&mut self, pieces: &[&[u8]], head_size: usize) {
        debug_assert!(head_size == SHORT_HEAD || head_size == HEAD);
        let head_size = if self.deep { HEAD } else { head_size };
        if !self.has_room(pieces.len()) {
            return;
        }
        // One piece is the rule.
        if let [only] = pieces {
            self.push_only(only, head_size);
        } else {
            self.push_scattered(pieces, head_size);
        }
    }

    #[inline]
    fn push_only(&mut self, only: &[u8], head_size: usize) {
        let first_piece = self.used_pieces;
        let frame = &mut self.frames[self.len];
        frame.offload = Offload::default();
        frame.fault = None;
        // A fixed size lets the compiler copy without a call.
        let taken = if only.len() >= SHORT_HEAD && head_size == SHORT_HEAD {
            frame.head[..SHORT_HEAD].copy_from_slice(&only[..SHORT_HEAD]);
            SHORT_HEAD
        } else {
            let taken = only.len().min(head_size);
            if taken >= SHORT_HEAD {
                frame.head[..SHORT_HEAD].copy_from_slice(&only[..SHORT_HEAD]);
                frame.head[SHORT_HEAD..taken].copy_from_slice(&only[SHORT_HEAD..taken]);
            } else {
                frame.head[..taken].copy_from_slice(&only[..taken]);
            }
            taken
        };
        let rest = &only[taken..];
        frame.len = only.len() as u32;
        frame.head_len = taken as u16;
        frame.first_piece = first_piece as u16;
        frame.pieces = u16::from(!rest.is_empty());
        if !rest.is_empty() {
            self.pieces[first_piece] = Piece {
                start: rest.as_ptr(),
                len: rest.len() as u32,
            };
            self.used_pieces += 1;
        }
        self.octets += only.len();
        self.len += 1;
    }

    #[inline(never)]
    fn push_scattered(&mut self, pieces: &[&[u8]], head_size: usize) {
        let first_piece = self.used_pieces;
        let frame = &mut self.frames[self.len];
        frame.offload = Offload::default();
        frame.fault = None;
        let (mut taken, mut total, mut count) = (0, 0, 0);
        for piece in pieces {
            total += piece.len();
            let into_head = piece.len().min(head_size - taken);
            frame.head[taken..taken + into_head].copy_from_slice(&piece[..into_head]);
            taken += into_head;
            let rest = &piece[into_head..];
            if !rest.is_empty() {
                self.pieces[first_piece + count] = Piece {
                    start: rest.as_ptr(),
                    len: rest.len() as u32,
                };
                count += 1;
            }
        }
        frame.len = total as u32;
        frame.head_len = taken as u16;
        frame.first_piece = first_piece as u16;
        frame.pieces = count as u16;
        self.used_pieces += count;
        self.octets += total;
        self.len += 1;
    }

    /// Marks the newest frame's checksum as one that the sender left to its NIC, if it is (Linux CHECKSUM_PARTIAL).
    #[inline]
    pub(crate) fn recognise_checksum(&mut self) {
        let Some(frame) = self.newest() else { return };
        frame.offload.checksum = weft_packet::recognise(frame.head(), frame.len());
        self.asks |= frame.offload.checksum.is_some();
    }

    /// Reads what the virtio-net `header` of the newest frame, of which [`HEAD`] octets were read, asks for.
    #[inline]
    pub(crate) fn read_vnet(&mut self, header: &[u8; vnet::LEN]) {
        // Most frames ask for nothing: no flag, no segmentation.
        if header[0] == 0 && header[1] == 0 {
            return;
        }
        if let Some(frame) = self.newest() {
            match Offload::from_vnet(header, frame.head(), frame.len()) {
                Ok(offload) => {
                    frame.offload = offload;
                    let more = frame.finished_octets(0) - frame.len();
                    self.octets += more;
                    self.asks = true;
                }
                Err(_) => frame.fault = Some(DropReason::BadVnetHeader),
            }
        }
    }

    /// Shows `look` these frames in the place of all others, as many as there is room for, each with what its sender left to
    /// its NIC, and forgets them.
    pub(crate) fn show<'a, R>(
        &mut self,
        frames: impl Iterator<Item = (&'a [u8], Offload)>,
        look: impl FnOnce(&Self) -> R,
    ) -> R {
        self.clear();
        for (octets, offload) in frames {
            if !self.has_room(1) {
                break;
            }
            let asks = !offload.is_none();
            // SAFETY: the octets are borrowed for longer than this call, nobody can write them meanwhile, and the burst is
            // cleared before it ends.
            unsafe { self.push(&[octets], if asks { HEAD } else { SHORT_HEAD }) };
            if let Some(frame) = self.newest() {
                frame.offload = offload;
            }
            self.asks |= asks;
        }
        let seen = look(self);
        self.clear();
        seen
    }

    /// Marks the newest frame as one that is to be dropped.
    #[inline]
    pub(crate) fn mark(&mut self, fault: DropReason) {
        if let Some(frame) = self.newest() {
            frame.fault = Some(fault);
        }
    }

    #[inline]
    fn newest(&mut self) -> Option<&mut Frame> {
        self.len.checked_sub(1).map(|last| &mut self.frames[last])
    }

    /// Parses the head of frame `index`.
    #[inline]
    pub(crate) fn parse(&self, index: usize) -> Result<Head, weft_packet::Runt> {
        let frame = &self.frames[index];
        Head::parse(frame.head(), frame.len())
    }

    #[inline]
    fn body(&self, frame: &Frame) -> &[Piece] {
        let first = usize::from(frame.first_piece);
        &self.pieces[first..first + usize::from(frame.pieces)]
    }
}

/// Shows `look` a burst of this one frame, which asks for nothing.
pub(crate) fn with_frame<R>(frame: &[u8], look: impl FnOnce(&Burst) -> R) -> R {
    let frames = std::iter::once((frame, Offload::default()));
    Box::<Burst>::default().show(frames, look)
}

impl Piece {
    #[inline]
    fn as_slice(&self) -> &[u8] {
        // SAFETY: a piece is only reached through a frame of a burst that was not cleared since, and the caller of
        // `Burst::push` keeps the memory readable and unwritten until then.
        unsafe { std::slice::from_raw_parts(self.start, self.len as usize) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use weft_packet::{TPID_CTAG, Tag};

    fn edits() -> impl Strategy<Value = TagEdit> {
        let tag = Tag::new(TPID_CTAG, 5, 0);
        prop::sample::select(vec![
            TagEdit::Keep,
            TagEdit::Strip,
            TagEdit::Push(tag),
            TagEdit::Replace(tag),
        ])
    }

    proptest! {
        /// However a frame is split on the way in, and into whatever buffers it goes, it is the frame with its edit.
        #[test]
        fn splits_do_not_show(
            pieces in vec(vec(any::<u8>(), 1..200), 1..5),
            edit in edits(),
            deep: bool,
            buffer in 1usize..300,
        ) {
            let whole = pieces.concat();
            prop_assume!(whole.len() >= 18);
            let mut expected = vec![0; whole.len() + 4];
            let len = edit.apply(&whole, &mut expected);
            expected.truncate(len);

            let slices: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
            let mut burst = Burst::default();
            // SAFETY: `pieces` outlives the burst and is not written.
            unsafe { burst.push(&slices, if deep { HEAD } else { SHORT_HEAD }) };
            prop_assert_eq!(burst.frames()[0].len(), whole.len());
            prop_assert_eq!(burst.edited_len(0, edit), len);
            let mut out = vec![0xee; len];
            prop_assert_eq!(burst.write(0, edit, &mut out), len);
            prop_assert_eq!(&out, &expected);
            let mut parts = vec![0xee; len];
            for (offset, part) in (0..).step_by(buffer).zip(parts.chunks_mut(buffer)) {
                burst.write_part(0, edit, offset, part);
            }
            prop_assert_eq!(&parts, &expected);
            prop_assert_eq!(burst.write(0, edit, &mut vec![0; len - 1]), 0);
        }
    }
}
