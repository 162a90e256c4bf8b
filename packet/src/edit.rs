//! Changes of the outer VLAN tag, made while a frame is copied.

use crate::ethernet;
use crate::vlan_tag::Tag;

/// What happens to the outer tag of a frame on its way to one destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TagEdit {
    /// The frame stays as it is.
    Keep,
    /// The outer tag is taken off.
    Strip,
    /// A tag is put in front of all others.
    Push(Tag),
    /// The outer tag gives way to this one.
    Replace(Tag),
}

/// Where a tag starts: after destination and source address.
const TAG_AT: usize = ethernet::field::SOURCE.end;

impl TagEdit {
    /// Copies the first octets of a frame, `head`, to the start of `out` with the edit made, and returns how many octets
    /// were written: `head.len()` + [`length_change`](Self::length_change). What follows `head` in the frame follows
    /// the written octets unchanged.
    ///
    /// `head` holds at least the Ethernet header, and for `Strip` and `Replace` the outer tag too (14 and 18 octets);
    /// `out` has room for what is to be written, at most `head.len() + 4` octets. Otherwise nothing is written, and
    /// the answer is 0.
    #[inline]
    pub fn apply(self, head: &[u8], out: &mut [u8]) -> usize {
        let written = self.try_apply(head, out);
        debug_assert!(
            written.is_some(),
            "{self:?} of {} octets into room for {}",
            head.len(),
            out.len()
        );
        written.unwrap_or(0)
    }

    /// By how many octets the edit makes a frame longer: -4, 0 or 4.
    #[inline]
    pub const fn length_change(self) -> isize {
        match self {
            Self::Keep | Self::Replace(_) => 0,
            Self::Strip => -(Tag::LEN as isize),
            Self::Push(_) => Tag::LEN as isize,
        }
    }

    /// The length of a frame of `frame_len` octets after the edit.
    #[inline]
    pub const fn edited_len(self, frame_len: usize) -> usize {
        frame_len.saturating_add_signed(self.length_change())
    }

    #[inline]
    fn try_apply(self, head: &[u8], out: &mut [u8]) -> Option<usize> {
        match self {
            Self::Keep if head.len() < ethernet::HEADER_LEN => None,
            Self::Keep => {
                out.get_mut(..head.len())?.copy_from_slice(head);
                Some(head.len())
            }
            Self::Strip => {
                let (addresses, _, rest) = split_tagged(head)?;
                join(addresses, &[], rest, out)
            }
            Self::Push(tag) => {
                let (addresses, rest) = split_untagged(head)?;
                join(addresses, &tag.octets(), rest, out)
            }
            Self::Replace(tag) => {
                let (addresses, _, rest) = split_tagged(head)?;
                join(addresses, &tag.octets(), rest, out)
            }
        }
    }
}

/// The two addresses and what follows them, in which the EtherType is whole.
#[inline]
fn split_untagged(head: &[u8]) -> Option<(&[u8; TAG_AT], &[u8])> {
    let (addresses, rest) = head.split_first_chunk()?;
    (rest.len() >= 2).then_some((addresses, rest))
}

/// The two addresses, the outer tag, and what follows it, in which the EtherType is whole.
#[inline]
fn split_tagged(head: &[u8]) -> Option<(&[u8; TAG_AT], &[u8; Tag::LEN], &[u8])> {
    let (addresses, rest) = head.split_first_chunk()?;
    let (tag, rest) = rest.split_first_chunk()?;
    (rest.len() >= 2).then_some((addresses, tag, rest))
}

#[inline]
fn join(addresses: &[u8; TAG_AT], tag: &[u8], rest: &[u8], out: &mut [u8]) -> Option<usize> {
    let written = TAG_AT + tag.len() + rest.len();
    let out = out.get_mut(..written)?;
    out[..TAG_AT].copy_from_slice(addresses);
    out[TAG_AT..TAG_AT + tag.len()].copy_from_slice(tag);
    out[TAG_AT + tag.len()..].copy_from_slice(rest);
    Some(written)
}
