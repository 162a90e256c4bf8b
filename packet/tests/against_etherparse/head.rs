//! The fast parse against etherparse, one layer at a time.

use etherparse::{Ethernet2HeaderSlice, SingleVlanSlice};
use proptest::prelude::*;
use weft_packet::{Head, MAX_TAGS, MacAddr, Runt, Tag, ethernet};

/// etherparse takes 0x9100 for a tag too, so the walk decides itself what is one.
fn oracle(frame: &[u8]) -> Result<Head, Runt> {
    let ethernet = Ethernet2HeaderSlice::from_slice(frame).map_err(|_| Runt)?;
    let mut head = Head {
        dst: MacAddr::new(ethernet.destination()),
        src: MacAddr::new(ethernet.source()),
        outer: None,
        ethertype: ethernet.ether_type().0,
        header_len: 14,
        tags: 0,
    };
    let mut rest = &frame[14..];
    while [0x8100, 0x88a8].contains(&head.ethertype) && usize::from(head.tags) < MAX_TAGS {
        let vlan = SingleVlanSlice::from_slice(rest).map_err(|_| Runt)?;
        head.outer = head.outer.or_else(|| {
            let dei = u16::from(vlan.drop_eligible_indicator()) << 12;
            let priority = u16::from(vlan.priority_code_point().value()) << 13 | dei;
            Some(Tag::new(
                head.ethertype,
                vlan.vlan_identifier().value(),
                priority,
            ))
        });
        head.ethertype = vlan.ether_type().0;
        head.header_len += 4;
        head.tags += 1;
        rest = vlan.payload_slice();
    }
    Ok(head)
}

/// Octets in which every word is likely to be a TPID.
fn likely_tagged() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        4 => prop::sample::select(vec![0x8100u16, 0x88a8, 0x9100, 0x0800]),
        1 => any::<u16>(),
    ];
    let words = prop::collection::vec(word, 0..32);
    (any::<[u8; 12]>(), words, 0usize..80).prop_map(|(addresses, words, len)| {
        let mut bytes = addresses.to_vec();
        bytes.extend(words.iter().flat_map(|word| word.to_be_bytes()));
        bytes.truncate(len);
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn agrees_with_etherparse(
        frame in prop_oneof![likely_tagged(), prop::collection::vec(any::<u8>(), 0..80)],
    ) {
        let parsed = Head::parse(&frame, frame.len());
        prop_assert_eq!(parsed, oracle(&frame));
        if let Ok(head) = parsed {
            prop_assert_eq!(head.is_double_tagged(), head.tags >= 2);
            prop_assert_eq!(usize::from(head.header_len), 14 + 4 * usize::from(head.tags));
        }
    }

    #[test]
    fn the_first_46_octets_decide(frame in likely_tagged(), more in 0usize..100_000) {
        let whole = [frame, vec![0; 46]].concat();
        prop_assert_eq!(Head::parse(&whole[..46], whole.len() + more), Head::parse(&whole, whole.len()));
    }

    #[test]
    fn agrees_with_the_view(frame in likely_tagged()) {
        if let (Ok(head), Ok(view)) = (Head::parse(&frame, frame.len()), ethernet::Frame::new_checked(&frame[..])) {
            prop_assert_eq!((head.dst, head.src), (view.dst(), view.src()));
            prop_assert_eq!(head.outer.map_or(head.ethertype, |tag| tag.tpid), view.ethertype());
        }
    }
}
