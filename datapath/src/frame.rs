//! A received frame between receiving and transmitting: its private head, and where the rest of it lies.
//!
//! The head is read once; every decision is made on this copy, and it is what destinations get. Bytes behind the head stay
//! in the source's memory (UMEM, guest buffer) until each destination has copied them: one copy per destination.

use weft_packet::PartialChecksum;
use weft_packet::{Head, TagEdit};

/// Most frames that are received at once.
pub(crate) const BURST: usize = 32;

/// Octets of a frame that are read into private memory: enough for Ethernet, two tags, IPv6 with an extension header
/// and the checksum field of TCP.
pub(crate) const HEAD: usize = 128;

/// Octets that are read from a frame of a port where nothing needs to look deeper.
pub(crate) const SHORT_HEAD: usize = 64;

/// Most pieces behind the head that a burst can hold in all (a jumbo frame takes three 4 KiB chunks).
const PIECES: usize = BURST * 4;

/// A piece of a frame in the source's memory.
#[derive(Clone, Copy, Debug)]
struct Piece {
    start: *const u8,
    len: u32,
}

/// One received frame.
pub(crate) struct Frame {
    head: [u8; HEAD],
    head_len: u16,
    pieces: u16,
    first_piece: u16,
    /// Octets of the whole frame.
    len: u32,
    /// A checksum that the sender left to its (virtual) NIC.
    pub(crate) checksum: Option<PartialChecksum>,
    /// What belongs into the field that `checksum` names; valid once completed.
    completed: u16,
}

impl Frame {
    const EMPTY: Self = Self {
        head: [0; HEAD],
        head_len: 0,
        pieces: 0,
        first_piece: 0,
        len: 0,
        checksum: None,
        completed: 0,
    };

    /// Octets of the whole frame.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len as usize
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

    /// Whether another frame, of up to `pieces` pieces, fits.
    #[inline]
    pub(crate) fn has_room(&self, pieces: usize) -> bool {
        self.len < BURST && self.used_pieces + pieces <= PIECES
    }

    /// Forgets all frames, and with them every pointer into the source's memory.
    #[inline]
    pub(crate) fn clear(&mut self) {
        self.len = 0;
        self.used_pieces = 0;
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
        if !self.has_room(pieces.len()) {
            return;
        }
        let frame = &mut self.frames[self.len];
        frame.checksum = None;
        frame.first_piece = self.used_pieces as u16;
        if let [only] = pieces {
            // One piece is the rule; a fixed size lets the compiler copy without a call.
            let taken = if only.len() >= SHORT_HEAD && head_size == SHORT_HEAD {
                frame.head[..SHORT_HEAD].copy_from_slice(&only[..SHORT_HEAD]);
                SHORT_HEAD
            } else {
                let taken = only.len().min(head_size);
                frame.head[..taken].copy_from_slice(&only[..taken]);
                taken
            };
            frame.head_len = taken as u16;
            frame.len = only.len() as u32;
            frame.pieces = 0;
            if only.len() > taken {
                self.pieces[self.used_pieces] = Piece {
                    start: only[taken..].as_ptr(),
                    len: (only.len() - taken) as u32,
                };
                self.used_pieces += 1;
                frame.pieces = 1;
            }
        } else {
            let (mut taken, mut total, mut count) = (0, 0, 0);
            for piece in pieces {
                total += piece.len();
                let into_head = piece.len().min(head_size - taken);
                frame.head[taken..taken + into_head].copy_from_slice(&piece[..into_head]);
                taken += into_head;
                let rest = &piece[into_head..];
                if !rest.is_empty() {
                    self.pieces[self.used_pieces + count] = Piece {
                        start: rest.as_ptr(),
                        len: rest.len() as u32,
                    };
                    count += 1;
                }
            }
            self.used_pieces += count;
            frame.head_len = taken as u16;
            frame.len = total as u32;
            frame.pieces = count as u16;
        }
        self.len += 1;
    }

    /// Marks the newest frame's checksum as one that the sender left to its NIC, if it is (Linux CHECKSUM_PARTIAL).
    #[inline]
    pub(crate) fn recognise_checksum(&mut self) {
        if let Some(frame) = self.len.checked_sub(1).map(|last| &mut self.frames[last]) {
            frame.checksum = weft_packet::recognise(
                &frame.head[..usize::from(frame.head_len)],
                frame.len as usize,
            );
        }
    }

    /// Computes the checksum that frame `index` lacks; copies get it from then on.
    pub(crate) fn complete_checksum(&mut self, index: usize) {
        let Some(partial) = self.frames[index].checksum else {
            return;
        };
        let frame = &self.frames[index];
        let sum = weft_packet::complete(
            partial,
            std::iter::once(frame.head()).chain(self.body(frame).iter().map(Piece::as_slice)),
        );
        self.frames[index].completed = sum;
    }

    /// Length that frame `index` has at a destination which gets it with `edit`.
    #[inline]
    pub(crate) fn edited_len(&self, index: usize, edit: TagEdit) -> usize {
        self.frames[index]
            .len()
            .wrapping_add_signed(edit.length_change())
    }

    /// Writes frame `index` with `edit` into `out`, which must hold [`Self::edited_len`] octets. Returns the length.
    ///
    /// Returns 0, and leaves `out` undefined, where the frame does not fit.
    #[inline]
    pub(crate) fn write(&self, index: usize, edit: TagEdit, out: &mut [u8]) -> usize {
        let frame = &self.frames[index];
        let total = self.edited_len(index, edit);
        if total > out.len() {
            return 0;
        }
        let mut at = match edit {
            TagEdit::Keep if frame.head_len == SHORT_HEAD as u16 => {
                out[..SHORT_HEAD].copy_from_slice(&frame.head[..SHORT_HEAD]);
                SHORT_HEAD
            }
            TagEdit::Keep => {
                let head = frame.head();
                out[..head.len()].copy_from_slice(head);
                head.len()
            }
            edit => edit.apply(frame.head(), out),
        };
        for piece in self.body(frame) {
            let len = piece.len as usize;
            out[at..at + len].copy_from_slice(piece.as_slice());
            at += len;
        }
        if let Some(partial) = frame.checksum {
            let field = usize::from(partial.field).wrapping_add_signed(edit.length_change());
            if let Some(field) = out[..at].get_mut(field..field + 2) {
                field.copy_from_slice(&frame.completed.to_be_bytes());
            }
        }
        debug_assert_eq!(at, total);
        at
    }

    /// Writes the octets of frame `index`, with `edit`, from `offset` on into `out`: for destinations that take a frame in
    /// several buffers.
    pub(crate) fn write_part(&self, index: usize, edit: TagEdit, offset: usize, out: &mut [u8]) {
        let frame = &self.frames[index];
        let mut head = [0; HEAD + 4];
        let head_len = edit.apply(frame.head(), &mut head);
        let bodies = self.body(frame).iter().map(Piece::as_slice);
        let (mut at, mut written) = (0, 0);
        for part in std::iter::once(&head[..head_len]).chain(bodies) {
            let from = (offset + written).saturating_sub(at).min(part.len());
            let taken = (part.len() - from).min(out.len() - written);
            out[written..written + taken].copy_from_slice(&part[from..from + taken]);
            written += taken;
            at += part.len();
        }
        if let Some(partial) = frame.checksum {
            let field = usize::from(partial.field).wrapping_add_signed(edit.length_change());
            for (position, octet) in (field..).zip(frame.completed.to_be_bytes()) {
                if let Some(out) = position
                    .checked_sub(offset)
                    .and_then(|position| out.get_mut(position))
                {
                    *out = octet;
                }
            }
        }
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
