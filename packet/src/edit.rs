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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::vlan_tag::{TPID_CTAG, TPID_STAG};

    const TAG: Tag = Tag {
        tpid: TPID_CTAG,
        tci: 0xa00a,
    };

    fn edited(edit: TagEdit, head: &[u8]) -> Vec<u8> {
        let mut out = [0xee; 256];
        let written = edit.apply(head, &mut out);
        assert!(
            out[written..].iter().all(|&byte| byte == 0xee),
            "nothing beyond what was written"
        );
        out[..written].to_vec()
    }

    #[test]
    fn heads_of_the_least_length() {
        let untagged: Vec<u8> = (1..=14).collect();
        let tagged = [&untagged[..12], &[0x81, 0x00, 0xa0, 0x0a], &untagged[12..]].concat();
        assert_eq!(edited(TagEdit::Keep, &untagged), untagged);
        assert_eq!(edited(TagEdit::Push(TAG), &untagged), tagged);
        assert_eq!(edited(TagEdit::Strip, &tagged), untagged);
        let other = Tag::new(TPID_STAG, 20, 0);
        assert_eq!(
            edited(TagEdit::Replace(other), &tagged)[12..],
            [0x88, 0xa8, 0, 20, 13, 14]
        );
    }

    #[test]
    fn too_little_of_head_or_room_writes_nothing() {
        for (edit, head, room) in [
            (TagEdit::Keep, 13, 64),
            (TagEdit::Push(TAG), 13, 64),
            (TagEdit::Strip, 17, 64),
            (TagEdit::Replace(TAG), 17, 64),
            (TagEdit::Keep, 64, 63),
            (TagEdit::Push(TAG), 64, 67),
            (TagEdit::Strip, 64, 59),
        ] {
            let mut out = vec![0xee; room];
            assert_eq!(
                edit.try_apply(&[1; 64][..head], &mut out),
                None,
                "{edit:?} of {head} into {room}"
            );
            assert!(out.iter().all(|&byte| byte == 0xee));
        }
    }

    fn any_edit() -> impl Strategy<Value = TagEdit> {
        let tag = any::<(u16, u16)>().prop_map(|(tpid, tci)| Tag { tpid, tci });
        prop_oneof![
            Just(TagEdit::Keep),
            Just(TagEdit::Strip),
            tag.clone().prop_map(TagEdit::Push),
            tag.prop_map(TagEdit::Replace),
        ]
    }

    proptest! {
        #[test]
        fn agrees_with_edits_of_a_vector(edit in any_edit(), head in prop::collection::vec(any::<u8>(), 18..=128)) {
            let mut expected = head.clone();
            match edit {
                TagEdit::Keep => {}
                TagEdit::Strip => drop(expected.drain(12..16)),
                TagEdit::Push(tag) => drop(expected.splice(12..12, tag.octets())),
                TagEdit::Replace(tag) => drop(expected.splice(12..16, tag.octets())),
            }
            prop_assert_eq!(edit.edited_len(head.len()), expected.len());
            prop_assert_eq!(edited(edit, &head), expected);
        }

        #[test]
        fn strip_undoes_push(tci: u16, head in prop::collection::vec(any::<u8>(), 14..=128)) {
            let pushed = edited(TagEdit::Push(Tag { tpid: TPID_CTAG, tci }), &head);
            prop_assert_eq!(edited(TagEdit::Strip, &pushed), head);
        }

        #[test]
        fn no_head_and_no_room_panic(
            edit in any_edit(),
            head in prop::collection::vec(any::<u8>(), 0..80),
            room in 0usize..90,
        ) {
            let written = edit.try_apply(&head, &mut vec![0; room]);
            prop_assert!(written.is_none_or(|written| written == edit.edited_len(head.len())));
        }
    }
}
