//! Admission and tagging against the obvious: take a frame apart into its tags, decide on the list, and put it together
//! again, with etherparse doing both.

use etherparse::{
    EtherType, Ethernet2Header, Ethernet2HeaderSlice, SingleVlanHeader, SingleVlanSlice,
    VlanId as Vid, VlanPcp,
};
use proptest::prelude::*;
use weft_packet::{Head, MAX_TAGS, TPID_CTAG, TPID_STAG, Tag, TagEdit};
use weft_vlan::{Policy, Refusal, VlanId, VlanSet, admit, deliver};

/// A frame as a list of what it is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Frame {
    addresses: ([u8; 6], [u8; 6]),
    tags: Vec<Tag>,
    ethertype: u16,
    payload: Vec<u8>,
}

impl Frame {
    fn octets(&self) -> Vec<u8> {
        let mut kinds: Vec<u16> = self.tags.iter().map(|tag| tag.tpid).collect();
        kinds.push(self.ethertype);
        let (destination, source) = self.addresses;
        let ethernet = Ethernet2Header {
            source,
            destination,
            ether_type: EtherType(kinds[0]),
        };
        let mut octets = ethernet.to_bytes().to_vec();
        for (tag, &next) in self.tags.iter().zip(&kinds[1..]) {
            let vlan = SingleVlanHeader {
                pcp: VlanPcp::try_new(tag.pcp()).expect("three bits"),
                drop_eligible_indicator: tag.dei(),
                vlan_id: Vid::try_new(tag.vid()).expect("twelve bits"),
                ether_type: EtherType(next),
            };
            octets.extend(vlan.to_bytes());
        }
        octets.extend(&self.payload);
        octets
    }

    fn parse(octets: &[u8]) -> Self {
        let ethernet = Ethernet2HeaderSlice::from_slice(octets).expect("an Ethernet header");
        let mut frame = Self {
            addresses: (ethernet.destination(), ethernet.source()),
            tags: vec![],
            ethertype: ethernet.ether_type().0,
            payload: octets[14..].to_vec(),
        };
        while [TPID_CTAG, TPID_STAG].contains(&frame.ethertype) {
            let vlan = SingleVlanSlice::from_slice(&frame.payload).expect("a tag");
            let priority = u16::from(vlan.priority_code_point().value()) << 13
                | u16::from(vlan.drop_eligible_indicator()) << 12;
            frame.tags.push(Tag::new(
                frame.ethertype,
                vlan.vlan_identifier().value(),
                priority,
            ));
            frame.ethertype = vlan.ether_type().0;
            frame.payload = vlan.payload_slice().to_vec();
        }
        frame
    }

    fn with_tags(&self, tags: &[Tag]) -> Self {
        Self {
            tags: tags.to_vec(),
            ..self.clone()
        }
    }
}

/// The VLAN that a frame enters.
fn oracle_enter(policy: &Policy, frame: &Frame) -> Result<u16, Refusal> {
    let vids: Vec<u16> = frame.tags.iter().map(|tag| tag.vid()).collect();
    if vids.first() == Some(&4095) {
        return Err(Refusal::Reserved);
    }
    match (policy, &vids[..]) {
        (Policy::External, [] | [0]) => Ok(0),
        (Policy::Access(vlan), [] | [0]) => Ok(vlan.id()),
        (Policy::External | Policy::Access(_), _) => Err(Refusal::TagNotAllowed),
        (Policy::Trunk(set), vids) => {
            let vlan = vids.first().copied().unwrap_or(0);
            if set.iter().any(|member| member == vlan) {
                Ok(vlan)
            } else {
                Err(Refusal::NotMember)
            }
        }
    }
}

/// What leaves by a port of a frame that entered by another.
fn oracle_leave(from: &Policy, to: &Policy, frame: &Frame) -> Option<Frame> {
    let vlan = oracle_enter(from, frame).ok()?;
    let member = match to {
        Policy::External => vlan == 0,
        Policy::Access(id) => vlan == id.id(),
        Policy::Trunk(set) => set.iter().any(|member| member == vlan),
    };
    let inside = frame.tags.get(1..).unwrap_or_default();
    let tags = match (from, to) {
        (_, Policy::External | Policy::Access(_)) => inside.to_vec(),
        (Policy::Trunk(_), Policy::Trunk(_)) => frame.tags.clone(),
        (Policy::Access(id), Policy::Trunk(_)) => {
            vec![Tag::new(
                0x8100,
                id.id(),
                frame.tags.first().map_or(0, |tag| tag.tci & 0xf000),
            )]
        }
        (Policy::External, Policy::Trunk(_)) => vec![],
    };
    member.then(|| frame.with_tags(&tags))
}

/// What leaves according to the crate, the edit being made on the first `seen` octets of the frame.
fn leave(from: &Policy, to: &Policy, octets: &[u8], seen: usize) -> Option<Vec<u8>> {
    let head = Head::parse(octets, octets.len()).expect("not a runt");
    let edit = deliver(to, &admit(from, &head).ok()?)?;
    let (first, rest) = octets.split_at(seen.clamp(head.header_len.into(), octets.len()));
    let mut out = vec![0; first.len() + Tag::LEN];
    let written = edit.apply(first, &mut out);
    out.truncate(written);
    out.extend(rest);
    assert_eq!(out.len(), edit.edited_len(octets.len()));
    Some(out)
}

fn any_frame() -> impl Strategy<Value = Frame> {
    let tpid = prop::sample::select(vec![TPID_CTAG, TPID_STAG]);
    let tag = (tpid, any_vid(), any::<u16>())
        .prop_map(|(tpid, vid, priority)| Tag::new(tpid, vid, priority));
    let ethertype = any::<u16>().prop_filter("not a tag", |&ethertype| !Tag::is_tpid(ethertype));
    (
        any::<([u8; 6], [u8; 6])>(),
        prop::collection::vec(tag, 0..=3),
        ethertype,
        prop::collection::vec(any::<u8>(), 0..100),
    )
        .prop_map(|(addresses, tags, ethertype, payload)| Frame {
            addresses,
            tags,
            ethertype,
            payload,
        })
}

/// Few VLANs, so that frames and ports meet, and those at the edges.
fn any_vid() -> impl Strategy<Value = u16> {
    prop::sample::select(vec![0, 0, 1, 10, 10, 20, 4094, 4095])
}

fn any_policy() -> impl Strategy<Value = Policy> {
    let vlan = any_vid().prop_filter_map("1-4094", VlanId::new);
    let set = prop::collection::vec(any_vid().prop_filter("0-4094", |&vlan| vlan != 4095), 0..4)
        .prop_map(|vlans| {
            VlanSet::from_ranges(vlans.into_iter().map(|vlan| vlan..=vlan)).expect("0-4094")
        });
    prop_oneof![
        Just(Policy::External),
        vlan.prop_map(Policy::Access),
        set.prop_map(Policy::trunk),
        Just(Policy::trunk_all()),
    ]
}

fn access(id: u16) -> Policy {
    Policy::Access(VlanId::new(id).expect("a VLAN"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_builder_and_the_parser_agree(frame in any_frame()) {
        prop_assert_eq!(Frame::parse(&frame.octets()), frame);
    }

    #[test]
    fn frames_enter_as_the_obvious_would_have_them(policy in any_policy(), frame in any_frame()) {
        let octets = frame.octets();
        let head = Head::parse(&octets, octets.len()).expect("not a runt");
        let vlan = admit(&policy, &head).map(|admitted| admitted.vlan);
        prop_assert_eq!(vlan, oracle_enter(&policy, &frame));
        if let Ok(vlan) = vlan {
            prop_assert!(policy.admits(vlan), "a port is in the VLAN that its frames enter");
        }
    }

    #[test]
    fn frames_leave_as_the_obvious_would_have_them(
        from in any_policy(),
        to in any_policy(),
        frame in any_frame(),
        seen in 14usize..140,
    ) {
        let left = leave(&from, &to, &frame.octets(), seen).map(|octets| Frame::parse(&octets));
        prop_assert_eq!(left, oracle_leave(&from, &to, &frame));
    }

    #[test]
    fn a_frame_between_access_ports_across_a_trunk_is_the_same(frame in any_frame(), id in 1u16..=4094) {
        let sent = frame.with_tags(&[]).octets();
        let on_trunk = leave(&access(id), &Policy::trunk_all(), &sent, 64).expect("a trunk carries all");
        let tags = Frame::parse(&on_trunk).tags;
        prop_assert_eq!(tags, vec![Tag::new(TPID_CTAG, id, 0)]);
        prop_assert_eq!(leave(&Policy::trunk_all(), &access(id), &on_trunk, 64), Some(sent));
    }

    #[test]
    fn a_priority_crosses_a_trunk_but_no_access_port(frame in any_frame(), id in 1u16..=4094, priority: u16) {
        let sent = frame.with_tags(&[Tag::new(TPID_CTAG, 0, priority)]).octets();
        let on_trunk = leave(&access(id), &Policy::trunk_all(), &sent, 64).expect("a trunk carries all");
        prop_assert_eq!(Frame::parse(&on_trunk).tags, vec![Tag::new(TPID_CTAG, id, priority)]);
        let received = leave(&Policy::trunk_all(), &access(id), &on_trunk, 64).expect("the same VLAN");
        prop_assert_eq!(Frame::parse(&received), frame.with_tags(&[]));
    }

    #[test]
    fn nothing_crosses_from_one_vlan_to_another(frame in any_frame(), a in 1u16..=4094, b in 1u16..=4094) {
        prop_assume!(a != b);
        let sent = frame.octets();
        for to in [Policy::External, access(b)] {
            prop_assert_eq!(leave(&access(a), &to, &sent, 64), None);
        }
        prop_assert_eq!(leave(&Policy::External, &access(a), &sent, 64), None);
    }

    #[test]
    fn no_octets_panic_and_every_edit_can_be_made(
        bytes in prop::collection::vec(prop::sample::select(vec![0x81u8, 0x00, 0x88, 0xa8, 0x0f, 0xff]), 0..80),
        from in any_policy(),
        to in any_policy(),
    ) {
        if let Ok(head) = Head::parse(&bytes, bytes.len()) {
            prop_assert!(usize::from(head.tags) <= MAX_TAGS);
            if let Ok(admitted) = admit(&from, &head) {
                let edits = [Some(admitted.to_untagged), Some(admitted.to_tagged), deliver(&to, &admitted)];
                for edit in edits.into_iter().flatten() {
                    let written = edit.apply(&bytes[..head.header_len.into()], &mut [0; 64]);
                    prop_assert_eq!(written, edit.edited_len(head.header_len.into()));
                    let touches_a_tag = matches!(edit, TagEdit::Strip | TagEdit::Replace(_));
                    prop_assert!(!touches_a_tag || head.outer.is_some());
                }
            }
        }
    }
}
