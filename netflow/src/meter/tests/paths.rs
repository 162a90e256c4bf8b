//! Frames are noted by short ways or by a longer one, and count the same.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::{Index, select};
use weft_packet::ethertype;

use super::frames::{Sent, WAYS, Way, frame, large_frame, usual_frame};
use super::seen::{Sum, seen, sums};
use super::*;

/// Has frames counted in one burst, each in a VLAN and by this way or one that is longer, and compares with what each is by itself.
fn assert_counted(frames: &[(Sent, u16, Way)], context: &str) {
    let mut bench = Bench::new(100, TIMING);
    let mut expected = BTreeMap::<_, Sum>::new();
    bench.meter.note_burst(|notes| {
        for (sent, vlan, way) in frames {
            sent.note(notes, PLACE.in_vlan(*vlan), *way);
        }
    });
    for (sent, vlan, _) in frames {
        let (mut flow, sum) = seen(sent);
        flow.vlan |= vlan;
        expected.entry(flow).or_default().add(&sum);
    }
    bench.count();
    bench.now += ROUND;
    bench.look(false);
    assert_eq!(sums(&bench.ended), expected, "{context}");
    assert_eq!(bench.ended.len(), expected.len(), "{context}");
}

/// The same with frames of one VLAN, by the shortest way that takes them.
pub(super) fn assert_counted_apart(frames: &[Vec<u8>], context: &str) {
    let frames = frames
        .iter()
        .map(|frame| (frame.clone().into(), 0, Way::Plain));
    assert_counted(&frames.collect::<Vec<_>>(), context);
}

/// What is usual is noted by a short way.
#[test]
fn usual_frames_go_by_a_short_way() {
    let tagged =
        |tag: [u8; 2], frame: Vec<u8>| [&frame[..12], &tag, &[0, 7], &frame[12..]].concat();
    let (udp, tcp) = ([0; 14], tcp(0x10, 0));
    let four = |transport: &[u8], kind| ethernet(ethertype::IPV4, &v4(kind, 0, transport));
    let six = |transport: &[u8], kind| ethernet(ethertype::IPV6, &v6(kind, transport));
    let fragment = ethernet(ethertype::IPV4, &v4(17, 0x2000, &udp));
    for (name, frame, way) in [
        ("UDP", four(&udp, 17), Way::Plain),
        ("TCP", four(&tcp, 6), Way::Plain),
        ("UDP, tagged", tagged([0x81, 0], four(&udp, 17)), Way::Plain),
        ("TCP, tagged", tagged([0x81, 0], four(&tcp, 6)), Way::Plain),
        ("short UDP", four(&udp[..8], 17), Way::Usual),
        ("UDP over IPv6", six(&udp[..8], 17), Way::Usual),
        ("TCP over IPv6", six(&tcp, 6), Way::Usual),
        (
            "TCP over IPv6, tagged",
            tagged([0x81, 0], six(&tcp, 6)),
            Way::Usual,
        ),
        (
            "UDP, service tag",
            tagged([0x88, 0xa8], four(&udp, 17)),
            Way::Any,
        ),
        ("ICMP", four(&udp, 1), Way::Any),
        ("a fragment", fragment, Way::Any),
        ("IPv6 with options", six(&[17; 48], 0), Way::Any),
    ] {
        let mut bench = Bench::new(10, TIMING);
        let sent = Sent::from(frame);
        let mut taken = None;
        bench
            .meter
            .note_burst(|notes| taken = Some(sent.note(notes, PLACE, Way::Plain)));
        assert_eq!(taken, Some(way), "{name}");
    }
}

/// Frames of one flow are counted to the packet before them by the octets that tell flows apart; whoever differs in one of these
/// is not.
#[test]
fn frames_that_are_alike_are_of_one_flow_and_no_others() {
    let plain = ethernet(ethertype::IPV4, &v4(6, 0, &tcp(0x02, 6)));
    for at in 0..plain.len() {
        let mut other = plain.clone();
        other[at] ^= 0x01;
        let frames = [plain.clone(), other, plain.clone(), plain.clone()];
        assert_counted_apart(&frames, &format!("octet {at}"));
    }
}

/// What is no plain packet may have where that has ports what the key of the packet before it has there.
#[test]
fn a_frame_is_not_taken_for_one_of_the_flow_before_by_what_it_carries() {
    // ICMP of the type 5, then an answer whose checksum is what stands for that type in a key.
    let icmp = |kind: u8, checksum: [u8; 2]| {
        let message = [
            kind,
            0,
            checksum[0],
            checksum[1],
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
        ];
        ethernet(ethertype::IPV4, &v4(1, 0, &message))
    };
    let frames = [icmp(5, [1, 2]), icmp(0, [5, 0]), icmp(5, [1, 2])];
    assert_counted_apart(&frames, "ICMP");
    // IPv6 packets that agree in what of their addresses stands where IPv4 has its own.
    let six = |last: u8| {
        let mut frame = ethernet(ethertype::IPV6, &v6(17, &[0; 16]));
        frame[14..54].fill(0);
        (frame[14], frame[18], frame[19], frame[20]) = (0x60, 0, 16, 17);
        frame[53] = last;
        frame
    };
    assert_counted_apart(&[six(1), six(2), six(1)], "IPv6");
}

/// A frame whose first octets are what the key of another one has there.
fn forged(sent: &Sent) -> Sent {
    let mut octets = read(&sent.octets).key.short.map(u64::to_le_bytes).concat();
    octets.resize(60, 0);
    let len = (octets.len() - 14) as u16;
    octets[16..18].copy_from_slice(&len.to_be_bytes());
    octets[18..20].fill(0);
    octets.into()
}

/// A burst of a few frames again and again, each in one of two VLANs. Some are otherwise in an octet, where a header often has its time to
/// live or its flags or anywhere, and some are followed by one that is forged.
fn burst() -> impl Strategy<Value = Vec<(Sent, u16, Way)>> {
    let one = prop_oneof![6 => usual_frame(), 6 => frame(), 1 => large_frame()];
    let frames = prop::collection::vec(one, 1..5);
    let at = prop_oneof![0..60usize, select(vec![22usize, 26, 47])];
    let octet = prop::option::weighted(0.2, (at, 1u8..));
    let vlan = prop_oneof![7 => Just(0), 1 => Just(4)];
    let pick = (
        any::<Index>(),
        octet,
        vlan,
        select(WAYS.to_vec()),
        prop::bool::weighted(0.1),
    );
    (frames, prop::collection::vec(pick, 1..=BATCH / 2)).prop_map(|(frames, picks)| {
        let picks = picks
            .into_iter()
            .flat_map(|(frame, octet, vlan, way, forge)| {
                let mut sent = frame.get(&frames).clone();
                if let Some((at, change)) = octet
                    && sent.cut.is_none()
                    && let Some(octet) = sent.octets.get_mut(at)
                {
                    *octet ^= change;
                }
                let forged = forge.then(|| (forged(&sent), vlan, Way::Plain));
                [(sent, vlan, way)].into_iter().chain(forged)
            });
        picks.collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn a_frame_counts_the_same_each_way(sent in prop_oneof![1 => usual_frame(), 9 => frame(), 1 => large_frame()]) {
        for way in WAYS {
            assert_counted(&[(sent.clone(), 0, way)], &format!("{way:?}"));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    /// Whichever frame comes before, and whichever way that was noted.
    #[test]
    fn a_burst_counts_as_its_frames_by_themselves(burst in burst()) {
        assert_counted(&burst, "");
    }
}
