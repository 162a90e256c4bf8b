//! What a sender left to its NIC, carried out for destinations that take only finished frames.

use weft_packet::{Offload, PartialChecksum, Segmenter};

use super::{Burst, Frame, PIECES, Piece};

impl Burst {
    /// Carries out what the sender of frame `index` left to its NIC, in `room`, which is empty, and hands the finished frames
    /// to `take`, up to a burst of them at a time.
    pub(crate) fn finish(&self, index: usize, room: &mut Self, mut take: impl FnMut(&Self)) {
        let frame = &self.frames[index];
        match frame.offload.segmentation {
            None => {
                let head_len = usize::from(frame.head_len);
                let own = room.adopt(self, frame, head_len..frame.len());
                own.head[..head_len].copy_from_slice(frame.head());
                own.head_len = frame.head_len;
                own.len = frame.len;
                if let Some(partial) = frame.offload.checksum {
                    room.complete(partial);
                }
            }
            // What asks for segmentation was checked on arrival against the same private head.
            Some(cut) => {
                let segmenter = Segmenter::new(frame.head(), frame.len(), cut);
                debug_assert!(segmenter.is_some(), "{cut:?}");
                for (segmenter, n) in segmenter
                    .iter()
                    .flat_map(|s| (0..s.count()).map(move |n| (s, n)))
                {
                    if !room.has_room(usize::from(frame.pieces) + 1) {
                        take(room);
                        room.clear();
                    }
                    let own = room.adopt(self, frame, segmenter.payload(n));
                    if let Some((head_len, partial)) = segmenter.header(n, &mut own.head) {
                        own.head_len = head_len as u16;
                        own.len += head_len as u32;
                        room.complete(partial);
                    }
                }
            }
        }
        take(room);
        // The pieces point into the other burst's memory, which its owner may take back from here on.
        room.clear();
    }

    /// Adds a frame with the octets in `range` of a frame of `other`, and without a head. It lives until this burst is
    /// cleared, which the caller does before `other` changes.
    fn adopt(&mut self, other: &Self, frame: &Frame, range: std::ops::Range<usize>) -> &mut Frame {
        let first_piece = self.used_pieces;
        let mut at = 0;
        let bodies = other.body(frame).iter().map(Piece::as_slice);
        for part in std::iter::once(frame.head()).chain(bodies) {
            let from = range.start.saturating_sub(at).min(part.len());
            let to = range.end.saturating_sub(at).clamp(from, part.len());
            at += part.len();
            if from < to && self.used_pieces < PIECES {
                self.pieces[self.used_pieces] = Piece {
                    start: part[from..to].as_ptr(),
                    len: (to - from) as u32,
                };
                self.used_pieces += 1;
            }
        }
        let own = &mut self.frames[self.len];
        self.len += 1;
        own.offload = Offload::default();
        own.fault = None;
        own.head_len = 0;
        own.first_piece = first_piece as u16;
        own.pieces = (self.used_pieces - first_piece) as u16;
        own.len = range.len() as u32;
        own
    }

    /// Completes the checksum of the newest frame, whose field is in its head.
    fn complete(&mut self, partial: PartialChecksum) {
        let frame = &self.frames[self.len - 1];
        let bodies = self.body(frame).iter().map(Piece::as_slice);
        let sum = weft_packet::complete(partial, std::iter::once(frame.head()).chain(bodies));
        let field = usize::from(partial.field);
        if let Some(field) = self.frames[self.len - 1].head.get_mut(field..field + 2) {
            field.copy_from_slice(&sum.to_be_bytes());
        }
    }
}
