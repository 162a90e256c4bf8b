//! Whatever chains a frame is sent from and received into, wherever the indices of the rings are and whatever was negotiated:
//! what arrives is, octet for octet, what is to be expected, or the drop is counted.

use etherparse::{IpHeaders, IpNumber, Ipv4Header, PacketBuilder, TcpHeader};
use proptest::collection::vec;
use proptest::prelude::*;
use weft_vlan::Policy;

use super::host::{Host, PLAIN, VLAN, access, mac, unfinished};
use crate::DropReason;
use crate::testing::guest::wait;
use crate::testing::{Guest, GuestOptions};
use crate::vhost::features::{CSUM, EVENT_IDX, GUEST_CSUM, GUEST_TSO4, HOST_TSO4, MRG_RXBUF};

const SENDER: u16 = 0;
const RECEIVER: u16 = 1;

/// Most buffers that a frame takes of a guest.
const MOST_CHAINS: usize = 64;

/// What a sender leaves to its NIC.
#[derive(Clone, Copy, Debug)]
enum Request {
    Nothing,
    Checksum,
    /// Segments of so many octets.
    Segments(u16),
    /// What cannot be.
    Nonsense([u8; 12]),
}

#[derive(Clone, Debug)]
struct Sent {
    payload: Vec<u8>,
    request: Request,
    /// Octets of all buffers but the last, header included.
    lengths: Vec<u32>,
    is_indirect: bool,
    priority: u8,
}

#[derive(Clone, Debug)]
struct Case {
    sender: GuestOptions,
    receiver: GuestOptions,
    sender_tags: bool,
    receiver_sees_tags: bool,
}

fn request() -> impl Strategy<Value = Request> {
    // UFO, no size, no checksum, a sum from the addresses, from behind the frame, and a field beyond all.
    let nonsense = prop::sample::select(vec![
        [1, 3, 0, 0, 200, 0, 34, 0, 16, 0, 0, 0],
        [1, 1, 0, 0, 0, 0, 34, 0, 16, 0, 0, 0],
        [0, 1, 0, 0, 200, 0, 34, 0, 16, 0, 0, 0],
        [1, 0, 0, 0, 0, 0, 13, 0, 16, 0, 0, 0],
        [1, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0],
        [1, 0, 0, 0, 0, 0, 34, 0, 0xff, 0xff, 0, 0],
    ]);
    prop_oneof![
        4 => Just(Request::Nothing),
        2 => Just(Request::Checksum),
        2 => (500u16..1400).prop_map(Request::Segments),
        1 => nonsense.prop_map(Request::Nonsense),
    ]
}

fn sent() -> impl Strategy<Value = Sent> {
    let payload = prop_oneof![
        4 => vec(any::<u8>(), 0..200),
        2 => vec(any::<u8>(), 1300..1461),
        1 => vec(any::<u8>(), 1500..9000),
    ];
    let lengths = prop_oneof![
        2 => Just(vec![]),
        // A border at every octet of the header and the first ones of the frame.
        2 => vec(1u32..100, 1..3),
        1 => vec(1u32..20, 1..40),
    ];
    (payload, request(), lengths, any::<bool>(), 0u8..8).prop_map(
        |(payload, request, lengths, is_indirect, priority)| Sent {
            // What is to be cut is cut; all else fits into a frame.
            payload: match request {
                Request::Segments(_) => payload,
                _ => payload.into_iter().take(1460).collect(),
            },
            request,
            lengths,
            is_indirect,
            priority,
        },
    )
}

fn index() -> impl Strategy<Value = u16> {
    prop_oneof![Just(0u16), 65_500..=65_535u16, any::<u16>()]
}

fn case() -> impl Strategy<Value = Case> {
    let size = || (1u32..=10).prop_map(|power| 1u16 << power);
    let buffers = prop_oneof![
        Just(vec![2048u32]),
        vec(20u32..400, 1..8),
        vec(600u32..3000, 1..4),
        Just(vec![12, 14, 2000]),
    ];
    let options = (size(), size(), index(), index(), buffers);
    let flags = any::<(bool, bool, bool, bool, bool, bool)>();
    (options, flags).prop_map(
        |((sender_size, receiver_size, sender_index, receiver_index, mut buffers), flags)| {
            // No chain is longer than its ring, in a table or not (virtio 1.2 §2.7.5.3.1).
            buffers.truncate(receiver_size.into());
            let (sender_tags, receiver_sees_tags, merges, takes, events, indirect) = flags;
            let with = |has, features| if has { features } else { 0 };
            let events = with(events, EVENT_IDX);
            Case {
                sender: GuestOptions {
                    features: PLAIN | CSUM | HOST_TSO4 | events,
                    size: sender_size,
                    index: sender_index,
                    ..GuestOptions::default()
                },
                receiver: GuestOptions {
                    features: PLAIN
                        | events
                        | with(merges, MRG_RXBUF)
                        | with(takes, GUEST_CSUM | GUEST_TSO4),
                    size: receiver_size,
                    index: receiver_index,
                    indirect,
                    buffers,
                    ..GuestOptions::default()
                },
                sender_tags,
                receiver_sees_tags,
            }
        },
    )
}

/// A TCP packet over IPv4, finished: number `n` of those that a larger one is cut into.
fn packet(payload: &[u8], n: u16, offset: u32) -> Vec<u8> {
    let len = payload.len() as u16 + 20;
    let mut ip = Ipv4Header::new(len, 64, IpNumber::TCP, [10, 0, 0, 1], [10, 0, 0, 2])
        .expect("a length that fits");
    ip.identification = 700 + n;
    let mut tcp = TcpHeader::new(1000, 2000, 0xffff_f000u32.wrapping_add(offset), 60_000);
    tcp.ack = true;
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(mac(SENDER), mac(RECEIVER))
        .ip(IpHeaders::Ipv4(ip, Default::default()))
        .tcp_header(tcp)
        .write(&mut frame, payload)
        .expect("a packet");
    frame
}

fn tagged(mut frame: Vec<u8>, priority: u8) -> Vec<u8> {
    frame.splice(12..12, [0x81, 0, priority << 5, VLAN as u8]);
    frame
}

/// The header that asks for it, of a frame with `shift` octets of tags.
fn asked(request: Request, shift: u16) -> [u8; 12] {
    let mut header = match request {
        Request::Nothing => [0; 12],
        Request::Nonsense(header) => return header,
        Request::Checksum => [1, 0, 0, 0, 0, 0, 34, 0, 16, 0, 0, 0],
        Request::Segments(size) => {
            let [low, high] = size.to_le_bytes();
            [1, 1, 54, 0, low, high, 34, 0, 16, 0, 0, 0]
        }
    };
    if header[0] == 1 {
        header[6] += shift as u8;
        header[2] += if header[1] == 1 { shift as u8 } else { 0 };
    }
    header
}

/// Chains that a receiver's ring has room for.
fn in_ring(receiver: &GuestOptions) -> usize {
    if receiver.indirect {
        receiver.size.into()
    } else {
        usize::from(receiver.size) / receiver.buffers.len()
    }
}

/// How many chains a frame takes of the receiver, or why it gets none.
fn chains(receiver: &GuestOptions, len: usize) -> Result<usize, DropReason> {
    let per_chain: u32 = receiver.buffers.iter().sum();
    let needed = (len + 12).div_ceil(per_chain as usize);
    let in_ring = in_ring(receiver);
    let most = if receiver.features & MRG_RXBUF != 0 {
        MOST_CHAINS
    } else {
        1
    };
    if needed <= most.min(in_ring) {
        Ok(needed)
    } else if most <= in_ring {
        Err(DropReason::TooLong)
    } else {
        Err(DropReason::RingFull)
    }
}

/// What is to arrive of one frame: headers without the number of buffers, and frames.
fn expected(case: &Case, sent: &Sent) -> Vec<([u8; 10], Vec<u8>)> {
    let see = |frame: Vec<u8>| match (case.receiver_sees_tags, case.sender_tags) {
        (false, _) => frame,
        (true, true) => tagged(frame, sent.priority),
        (true, false) => tagged(frame, 0),
    };
    let takes = case.receiver.features & GUEST_CSUM != 0;
    let whole = packet(&sent.payload, 0, 0);
    let finished = |frame| ([0; 10], see(frame));
    // Of the two zeros that a sum can be, whoever completes a checksum writes the one that UDP needs (RFC 768), as Linux does.
    let completed = |mut frame: Vec<u8>| {
        if frame[50..52] == [0, 0] {
            frame[50..52].fill(0xff);
        }
        finished(frame)
    };
    match sent.request {
        Request::Nonsense(_) => Vec::new(),
        Request::Nothing => vec![finished(whole)],
        Request::Segments(size) if !takes && sent.payload.len() > size.into() => {
            let parts = sent.payload.chunks(size.into());
            (0u16..)
                .zip(parts)
                .map(|(n, part)| completed(packet(part, n, u32::from(n) * u32::from(size))))
                .collect()
        }
        _ if !takes => vec![completed(whole)],
        mut request => {
            if let Request::Segments(size) = request
                && sent.payload.len() <= size.into()
            {
                request = Request::Checksum;
            }
            let shift = if case.receiver_sees_tags { 4 } else { 0 };
            let header = asked(request, shift);
            let header = std::array::from_fn(|n| header[n]);
            vec![(header, see(unfinished(whole)))]
        }
    }
}

fn send(guest: &mut Guest, case: &Case, sent: &Sent) {
    let plain = packet(&sent.payload, 0, 0);
    let frame = match sent.request {
        Request::Nothing => plain,
        _ => unfinished(plain),
    };
    let (frame, shift) = if case.sender_tags {
        (tagged(frame, sent.priority), 4)
    } else {
        (frame, 0)
    };
    let pieces = sent.lengths.len().min(usize::from(case.sender.size) - 1);
    let header = asked(sent.request, shift);
    guest.send_split(0, header, &frame, &sent.lengths[..pieces], sent.is_indirect);
}

fn check(case: &Case, frames: &[Sent]) {
    let policy = |tags| if tags { Policy::trunk_all() } else { access() };
    let host = Host::with(vec![
        policy(case.sender_tags),
        policy(case.receiver_sees_tags),
    ]);
    let mut sender = host.guest(SENDER, case.sender.clone());
    let mut receiver = host.guest(RECEIVER, case.receiver.clone());
    for sent in frames {
        let expected = expected(case, sent);
        let fits: Vec<_> = expected
            .iter()
            .map(|(_, frame)| chains(&case.receiver, frame.len()))
            .collect();
        let in_all: usize = fits.iter().flatten().sum();
        let fit = fits.iter().all(Result::is_ok) && in_all <= in_ring(&case.receiver);
        if expected.len() > 1 && !fit {
            // More than the ring takes at once: how many are lost depends on how fast the receiver is.
            continue;
        }
        let drops = |reason| match sent.request {
            Request::Nonsense(_) => host.rx_drops(SENDER, reason),
            _ => host.tx_drops(RECEIVER, reason),
        };
        let before = DropReason::ALL.iter().map(|reason| drops(*reason));
        let mut lost: Vec<u64> = before.collect();
        send(&mut sender, case, sent);
        for ((header, frame), fits) in expected.into_iter().zip(fits) {
            match fits {
                Ok(count) => {
                    let [low, high] = if case.receiver.features & MRG_RXBUF != 0 {
                        (count as u16).to_le_bytes()
                    } else {
                        [1, 0]
                    };
                    let got = receiver.expect_frame();
                    assert_eq!(got.0, *[&header[..], &[low, high]].concat());
                    assert!(got.1 == frame, "{:?} is not {frame:?}", got.1);
                }
                Err(reason) => lost[reason as usize] += 1,
            }
        }
        if let Request::Nonsense(_) = sent.request {
            lost[DropReason::BadVnetHeader as usize] += 1;
        }
        wait("the drops", || {
            let mut all = DropReason::ALL.iter().zip(&lost);
            all.all(|(reason, lost)| drops(*reason) == *lost)
        });
    }
    host.audit();
    assert!(receiver.receive().is_none(), "nothing else came");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, max_shrink_iters: 20, ..ProptestConfig::default() })]

    #[test]
    fn what_arrives_is_what_is_to_be_expected(case in case(), frames in vec(sent(), 1..12)) {
        check(&case, &frames);
    }
}
