//! Frames on their way out of a burst: into one buffer, into several, or as a list of slices.

use std::io::IoSlice;

use arrayvec::ArrayVec;
use weft_packet::TagEdit;

use super::{Burst, FRAME_PIECES, HEAD, Piece, SHORT_HEAD};

/// A frame as the kernel takes it: virtio-net header, head and pieces.
pub(crate) type Slices<'a> = ArrayVec<IoSlice<'a>, { FRAME_PIECES + 2 }>;

/// Room for a head after a tag edit.
pub(crate) type EditedHead = [u8; HEAD + 4];

impl Burst {
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
    }

    /// Adds frame `index` with `edit` to `out`, head first; `head` holds it for that long. Returns its length, or `None`
    /// where it has more pieces than `out` has room for.
    pub(crate) fn slices<'a>(
        &'a self,
        index: usize,
        edit: TagEdit,
        head: &'a mut EditedHead,
        out: &mut Slices<'a>,
    ) -> Option<usize> {
        let frame = &self.frames[index];
        let body = self.body(frame);
        if body.len() >= out.remaining_capacity() {
            return None;
        }
        let head_len = edit.apply(frame.head(), head);
        out.push(IoSlice::new(&head[..head_len]));
        out.extend(body.iter().map(|piece| IoSlice::new(piece.as_slice())));
        Some(self.edited_len(index, edit))
    }
}
