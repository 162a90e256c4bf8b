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

#[cfg(test)]
mod tests {
    use weft_packet::{MacAddr, TPID_STAG, ethertype};

    use super::*;

    fn head(tags: &[Tag]) -> Head {
        Head {
            dst: MacAddr::BROADCAST,
            src: MacAddr::new([2, 0, 0, 0, 0, 1]),
            outer: tags.first().copied(),
            ethertype: ethertype::IPV4,
            header_len: 14 + 4 * tags.len() as u8,
            tags: tags.len() as u8,
        }
    }

    fn access(id: u16) -> Policy {
        Policy::Access(VlanId::new(id).expect("a VLAN"))
    }

    fn trunk(vlans: &str) -> Policy {
        Policy::trunk(vlans.parse().expect("a set"))
    }

    const fn tag(vid: u16) -> Tag {
        Tag::new(TPID_CTAG, vid, 0)
    }

    /// PCP 5 with DEI.
    const PRIORITY: u16 = 0xb000;
    const PRIORITY_TAG: Tag = Tag::new(TPID_CTAG, 0, PRIORITY);

    #[test]
    fn untagged_frames_enter_the_vlan_of_their_port() {
        for (policy, vlan, to_tagged) in [
            (Policy::External, 0, TagEdit::Keep),
            (access(10), 10, TagEdit::Push(tag(10))),
            (Policy::trunk_all(), 0, TagEdit::Keep),
        ] {
            let admitted = Admitted {
                vlan,
                to_untagged: TagEdit::Keep,
                to_tagged,
            };
            assert_eq!(admit(&policy, &head(&[])), Ok(admitted), "{policy:?}");
        }
    }

    #[test]
    fn a_priority_tag_counts_as_untagged_and_its_priority_stays_where_a_tag_does() {
        for tpid in [TPID_CTAG, TPID_STAG] {
            let head = head(&[Tag::new(tpid, 0, PRIORITY)]);
            for (policy, vlan, to_tagged) in [
                (Policy::External, 0, TagEdit::Strip),
                (
                    access(10),
                    10,
                    TagEdit::Replace(Tag::new(TPID_CTAG, 10, PRIORITY)),
                ),
                (Policy::trunk_all(), 0, TagEdit::Keep),
            ] {
                let admitted = Admitted {
                    vlan,
                    to_untagged: TagEdit::Strip,
                    to_tagged,
                };
                assert_eq!(admit(&policy, &head), Ok(admitted), "{policy:?}");
            }
        }
    }

    #[test]
    fn guests_that_do_not_trunk_may_not_tag() {
        for policy in [Policy::External, access(10)] {
            for tags in [
                &[tag(10)][..],
                &[tag(20)],
                &[tag(20), tag(10)],
                &[tag(10), PRIORITY_TAG],
            ] {
                assert_eq!(
                    admit(&policy, &head(tags)),
                    Err(Refusal::TagNotAllowed),
                    "{policy:?} {tags:?}"
                );
            }
        }
    }

    #[test]
    fn a_priority_tag_hides_no_other_tag() {
        for policy in [Policy::External, access(10)] {
            for inner in [tag(20), tag(10), PRIORITY_TAG, tag(4095)] {
                assert_eq!(
                    admit(&policy, &head(&[PRIORITY_TAG, inner])),
                    Err(Refusal::TagNotAllowed),
                    "{policy:?}"
                );
            }
        }
    }

    #[test]
    fn a_trunk_carries_its_vlans_only() {
        let policy = trunk("10-20");
        assert_eq!(
            admit(&policy, &head(&[tag(20)])).map(|admitted| admitted.vlan),
            Ok(20)
        );
        assert_eq!(admit(&policy, &head(&[tag(21)])), Err(Refusal::NotMember));
        assert_eq!(admit(&policy, &head(&[])), Err(Refusal::NotMember));
        assert_eq!(
            admit(&policy, &head(&[PRIORITY_TAG])),
            Err(Refusal::NotMember)
        );
        assert_eq!(
            admit(&trunk("0"), &head(&[])).map(|admitted| admitted.vlan),
            Ok(0)
        );
    }

    #[test]
    fn the_outer_tag_decides_on_a_trunk() {
        for outer in [tag(10), Tag::new(TPID_STAG, 10, PRIORITY)] {
            let admitted = Admitted {
                vlan: 10,
                to_untagged: TagEdit::Strip,
                to_tagged: TagEdit::Keep,
            };
            assert_eq!(admit(&trunk("10"), &head(&[outer, tag(20)])), Ok(admitted));
            assert_eq!(
                admit(&trunk("20"), &head(&[outer, tag(20)])),
                Err(Refusal::NotMember)
            );
        }
    }

    #[test]
    fn the_reserved_vid_passes_nowhere() {
        for policy in [
            Policy::External,
            access(10),
            trunk("10"),
            Policy::trunk_all(),
        ] {
            for tags in [&[tag(4095)][..], &[tag(4095), tag(10)]] {
                assert_eq!(
                    admit(&policy, &head(tags)),
                    Err(Refusal::Reserved),
                    "{policy:?}"
                );
            }
        }
    }

    #[test]
    fn delivery_needs_membership() {
        let admitted = admit(&access(10), &head(&[])).expect("untagged");
        assert_eq!(deliver(&access(10), &admitted), Some(TagEdit::Keep));
        assert_eq!(
            deliver(&trunk("10"), &admitted),
            Some(TagEdit::Push(tag(10)))
        );
        for policy in [Policy::External, access(11), trunk("0-9,11-4094")] {
            assert_eq!(deliver(&policy, &admitted), None, "{policy:?}");
        }
    }
}
