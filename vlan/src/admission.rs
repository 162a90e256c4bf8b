//! Whether a frame may enter, in which VLAN, and how it leaves.

use weft_packet::{Head, TPID_CTAG, Tag, TagEdit};

use crate::{Policy, VlanId};

/// Decides on a frame that a port sends.
///
/// | policy | untagged | priority tag (VID 0) alone | other tags |
/// |---|---|---|---|
/// | [`External`](Policy::External) | VLAN 0 | VLAN 0 | refused |
/// | [`Access`](Policy::Access) | its VLAN | its VLAN, keeps its priority | refused |
/// | [`Trunk`](Policy::Trunk) | VLAN 0 | VLAN 0 | VLAN of the outer tag |
///
/// A customer tag and a service tag with the same VID are in the same VLAN.
///
/// # Errors
///
/// A [`Refusal`] that says why the frame is dropped.
#[inline]
pub fn admit(policy: &Policy, head: &Head) -> Result<Admitted, Refusal> {
    let vid = head.outer.map_or(0, Tag::vid);
    if vid == VlanId::RESERVED {
        return Err(Refusal::Reserved);
    }
    match policy {
        Policy::External => priority_tag_at_most(head, vid).map(Admitted::external),
        Policy::Access(vlan) => {
            priority_tag_at_most(head, vid).map(|tag| Admitted::access(*vlan, tag))
        }
        Policy::Trunk(set) if set.contains(vid) => Ok(Admitted::trunk(vid, head.outer)),
        Policy::Trunk(_) => Err(Refusal::NotMember),
    }
}

/// How an admitted frame leaves through a port with this policy; `None` if the port is not in the frame's VLAN.
#[inline]
pub fn deliver(policy: &Policy, admitted: &Admitted) -> Option<TagEdit> {
    policy.admits(admitted.vlan).then_some(match policy {
        Policy::External | Policy::Access(_) => admitted.to_untagged,
        Policy::Trunk(_) => admitted.to_tagged,
    })
}

/// A frame that may enter: its forwarding domain, and the change of its tag for either kind of destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// The VLAN in which it is forwarded; 0 is untagged.
    pub vlan: u16,
    /// For external and access ports, which do not see the VLAN's tag.
    pub to_untagged: TagEdit,
    /// For trunks and uplinks, which see it.
    pub to_tagged: TagEdit,
}

impl Admitted {
    #[inline]
    fn external(priority_tag: Option<Tag>) -> Self {
        let edit = strip_if(priority_tag);
        Self {
            vlan: 0,
            to_untagged: edit,
            to_tagged: edit,
        }
    }

    #[inline]
    fn access(vlan: VlanId, priority_tag: Option<Tag>) -> Self {
        let priority_bits = priority_tag.map_or(0, Tag::priority_bits);
        let tag = Tag::new(TPID_CTAG, vlan.id(), priority_bits);
        Self {
            vlan: vlan.id(),
            to_untagged: strip_if(priority_tag),
            to_tagged: if priority_tag.is_some() {
                TagEdit::Replace(tag)
            } else {
                TagEdit::Push(tag)
            },
        }
    }

    #[inline]
    fn trunk(vlan: u16, outer: Option<Tag>) -> Self {
        Self {
            vlan,
            to_untagged: strip_if(outer),
            to_tagged: TagEdit::Keep,
        }
    }
}

/// Why a port may not send a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// The frame has a tag, and the port does not trunk.
    #[error("the frame carries a VLAN tag on a port that does not trunk")]
    TagNotAllowed,
    /// The trunk does not carry the frame's VLAN.
    #[error("the frame's VLAN is not one that the trunk carries")]
    NotMember,
    /// The outer tag has VID 4095, which IEEE 802.1Q-2018 table 9-2 reserves.
    #[error("the frame carries VID 4095, which IEEE 802.1Q reserves")]
    Reserved,
}

/// The priority tag of a frame that has no other tag. A tag behind a priority tag would come to light as the outer one
/// once the priority tag is taken off, and would carry the frame into a VLAN that is not the port's.
#[inline]
fn priority_tag_at_most(head: &Head, vid: u16) -> Result<Option<Tag>, Refusal> {
    if vid != 0 || head.is_double_tagged() {
        Err(Refusal::TagNotAllowed)
    } else {
        Ok(head.outer)
    }
}

#[inline]
fn strip_if(in_band: Option<Tag>) -> TagEdit {
    if in_band.is_some() {
        TagEdit::Strip
    } else {
        TagEdit::Keep
    }
}
