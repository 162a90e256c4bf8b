//! 802.1Q tags that travel beside the frame.

use super::*;
use crate::afxdp::testing::TagPusher;

/// A frame with a tag, protocol and TCI, behind its addresses.
fn tagged(frame: &[u8], tag: [u8; 4]) -> Vec<u8> {
    [&frame[..12], &tag, &frame[12..]].concat()
}

#[test]
fn an_offloaded_tag_is_put_back() {
    let pair = VethPair::new(1500, 1);
    let mut port = open(&pair, QUICK);
    assert!(port.info.vlan_tag_restored, "{:?}", port.info);
    assert!(port.info.warnings.is_empty(), "{:?}", port.info);
    let far = far_end(&pair);
    // Priority 5, drop eligible, VLAN 100.
    for (protocol, tag) in [
        (0x8100, [0x81, 0x00, 0xb0, 0x64]),
        (0x88a8, [0x88, 0xa8, 0xb0, 0x64]),
    ] {
        let pusher = pair
            .far
            .run(|| TagPusher::attach(VethPair::FAR, protocol, 0xb064));
        for len in [14, 60, 1514] {
            far.send(&frame(len, 7));
            assert_eq!(receive(&mut port.rx[0], 1), [tagged(&frame(len, 7), tag)]);
        }
        // A frame that has a tag already gets the offloaded one in front of it.
        let inner = tagged(&frame(60, 8), [0x81, 0x00, 0x00, 0x05]);
        far.send(&inner);
        assert_eq!(receive(&mut port.rx[0], 1), [tagged(&inner, tag)]);
        drop(pusher);
        far.send(&frame(60, 9));
        assert_eq!(receive(&mut port.rx[0], 1), [frame(60, 9)]);
    }
}

#[test]
fn an_offloaded_tag_is_put_back_in_front_of_several_buffers() {
    let pair = VethPair::new(9000, 1);
    let mut port = open(&pair, Options { mtu: 9000, ..QUICK });
    assert!(port.info.vlan_tag_restored, "{:?}", port.info);
    let far = far_end(&pair);
    let _pusher = pair
        .far
        .run(|| TagPusher::attach(VethPair::FAR, 0x8100, 4094));
    far.send(&frame(9014, 3));
    let expected = tagged(&frame(9014, 3), [0x81, 0x00, 0x0f, 0xfe]);
    assert_eq!(receive(&mut port.rx[0], 1), [expected]);
}

#[test]
fn transmitted_tags_reach_the_peer() {
    let pair = VethPair::new(1500, 1);
    let mut port = open(&pair, QUICK);
    let mut far = far_end(&pair);
    let tagged = tagged(&frame(1514, 3), [0x81, 0x00, 0x20, 0x0a]);
    transmit(&mut port.tx[0], &tagged).unwrap();
    assert_eq!(port.tx[0].flush(), Flushed::Done);
    assert_eq!(far.receive(PATIENCE), Some(tagged));
}
