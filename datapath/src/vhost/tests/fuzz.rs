//! Streams of messages, right, nearly right and wrong, over memory full of anything. Whatever comes of them, the port serves
//! the next front-end that is right.

use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use rustix::event::{EventfdFlags, eventfd};

use super::host::{Host, PLAIN, exchange};
use crate::testing::front_end::{request, state, words};
use crate::testing::guest::{USER, memory_file};
use crate::testing::{FrontEnd, Guest, GuestOptions};
use crate::vhost::features::OFFERED;

/// Octets of the memory that is shared, and of a file that is too short.
const MEMORY: u64 = 1 << 20;
const SHORT: u64 = 4096;

/// A message, and which descriptors go with it.
#[derive(Clone, Debug)]
struct Message {
    number: u32,
    body: Vec<u8>,
    descriptors: Vec<Descriptor>,
    wants_answer: bool,
    /// Only so many octets of it are sent.
    cut: Option<usize>,
}

#[derive(Clone, Copy, Debug)]
enum Descriptor {
    Event,
    Memory,
    Short,
}

fn region() -> impl Strategy<Value = Vec<u8>> {
    let address = prop_oneof![4 => Just(0u64), 1 => Just(MEMORY), 1 => any::<u64>()];
    let len = prop_oneof![4 => Just(MEMORY), 1 => 0..MEMORY, 1 => any::<u64>()];
    let offset = prop_oneof![6 => Just(0u64), 1 => any::<u64>()];
    (address, len, offset).prop_map(|(address, len, offset)| {
        words(&[address, len, USER.wrapping_add(address), offset])
    })
}

/// A message that makes sense, more or less.
fn sensible() -> impl Strategy<Value = (u32, Vec<u8>, Vec<Descriptor>)> {
    let queue = || prop_oneof![8 => 0u32..4, 1 => 0u32..20, 1 => any::<u32>()];
    let asks = prop::sample::select(vec![
        request::GET_FEATURES,
        request::GET_PROTOCOL_FEATURES,
        request::GET_QUEUE_NUM,
        request::GET_MAX_MEM_SLOTS,
        request::SET_OWNER,
        request::RESET_OWNER,
    ]);
    let features = prop::sample::select(vec![PLAIN, OFFERED, OFFERED & !PLAIN, 0, u64::MAX]);
    let numbers = prop_oneof![
        (queue(), prop_oneof![Just(256u32), 0u32..70_000]).prop_map(|(queue, size)| (
            request::SET_VRING_NUM,
            queue,
            size
        )),
        (queue(), any::<u32>()).prop_map(|(queue, base)| (request::SET_VRING_BASE, queue, base)),
        queue().prop_map(|queue| (request::GET_VRING_BASE, queue, 0)),
        (queue(), 0u32..3).prop_map(|(queue, on)| (request::SET_VRING_ENABLE, queue, on)),
    ];
    let place = || prop_oneof![8 => (0..0x4000u64).prop_map(|at| at * 16), 1 => any::<u64>()];
    let addresses = (queue(), [place(), place(), place()]).prop_map(|(queue, parts)| {
        let mut body = state(queue, 0).to_vec();
        body.extend(words(&parts.map(|part| USER.wrapping_add(part))));
        body.extend([0; 8]);
        (request::SET_VRING_ADDR, body, vec![])
    });
    let event = prop::sample::select(vec![
        request::SET_VRING_KICK,
        request::SET_VRING_CALL,
        request::SET_VRING_ERR,
    ]);
    let events = (event, queue(), any::<bool>()).prop_map(|(number, queue, is_none)| {
        let none = if is_none { 1 << 8 } else { 0 };
        let descriptors = if is_none {
            vec![]
        } else {
            vec![Descriptor::Event]
        };
        (number, words(&[u64::from(queue) | none]), descriptors)
    });
    let table = vec(region(), 1..3).prop_map(|regions| {
        let body = [words(&[regions.len() as u64]), regions.concat()].concat();
        (
            request::SET_MEM_TABLE,
            body,
            vec![Descriptor::Memory; regions.len()],
        )
    });
    let added = region().prop_map(|region| {
        let body = [words(&[0]), region].concat();
        (request::ADD_MEM_REG, body, vec![Descriptor::Memory])
    });
    let removed =
        region().prop_map(|region| (request::REM_MEM_REG, [words(&[0]), region].concat(), vec![]));
    prop_oneof![
        1 => asks.prop_map(|number| (number, vec![], vec![])),
        1 => features.prop_map(|features| (request::SET_FEATURES, words(&[features]), vec![])),
        4 => numbers.prop_map(|(number, queue, value)| (number, state(queue, value).to_vec(), vec![])),
        3 => addresses,
        4 => events,
        3 => table,
        1 => added,
        1 => removed,
    ]
}

fn message() -> impl Strategy<Value = Message> {
    let anything = (
        0..request::END + 3,
        vec(any::<u8>(), 0..100),
        vec(
            prop::sample::select(vec![
                Descriptor::Event,
                Descriptor::Memory,
                Descriptor::Short,
            ]),
            0..4,
        ),
    );
    let content = prop_oneof![30 => sensible(), 1 => anything];
    let garbled = option::weighted(0.03, (any::<prop::sample::Index>(), any::<u8>()));
    let cut = option::weighted(0.01, 0usize..60);
    (content, garbled, cut, any::<bool>()).prop_map(
        |((number, mut body, descriptors), garbled, cut, wants_answer)| {
            if let Some((at, octet)) = garbled
                && !body.is_empty()
            {
                let at = at.index(body.len());
                body[at] = octet;
            }
            Message {
                number,
                body,
                descriptors,
                wants_answer,
                cut,
            }
        },
    )
}

fn play(socket: &std::path::Path, messages: &[Message], octets: &[u8]) {
    let stream = UnixStream::connect(socket).expect("it listens");
    let ours = stream.try_clone().expect("a descriptor");
    let front_end = FrontEnd::new(stream);
    // Many streams begin as those of a front-end that is right.
    if !messages.len().is_multiple_of(4) {
        front_end.greet().expect("an answer");
    }
    let (memory, short) = (memory_file(MEMORY), memory_file(SHORT));
    // Rings that make sense now and then: much of the memory is zero.
    for (at, part) in (0..).step_by(4096).zip(octets.chunks(64)) {
        memory.write_all_at(part, at).expect("in the file");
    }
    let event = eventfd(0, EventfdFlags::CLOEXEC).expect("an event");
    for message in messages {
        let mut octets = FrontEnd::message(message.number, &message.body);
        octets[4] = if message.wants_answer { 9 } else { 1 };
        octets.truncate(message.cut.unwrap_or(octets.len()));
        let descriptors: Vec<BorrowedFd<'_>> = message
            .descriptors
            .iter()
            .map(|descriptor| match descriptor {
                Descriptor::Event => event.as_fd(),
                Descriptor::Memory => memory.as_fd(),
                Descriptor::Short => short.as_fd(),
            })
            .collect();
        if !octets.is_empty() && front_end.send(&octets, &descriptors).is_err() {
            break;
        }
    }
    // All is read before the end is seen, by either side.
    let _ = ours.shutdown(Shutdown::Write);
    while front_end.answer().is_ok() {}
}

#[test]
fn no_stream_of_messages_breaks_a_port() {
    let soak = std::env::var("WEFT_SOAK").ok();
    let soak: u32 = soak.map_or(1, |times| times.parse().expect("WEFT_SOAK is a number"));
    let host = Host::new(2);
    let mut neighbour = host.plain_guest(0);
    host.detach(1);
    let socket = host.attach_server(1);
    let config = ProptestConfig {
        cases: 300 * soak,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let streams = (vec(message(), 1..40), vec(any::<u8>(), 0..4096));
    let neighbour = std::cell::RefCell::new(&mut neighbour);
    let result = TestRunner::new(config).run(&streams, |(messages, octets)| {
        play(&socket, &messages, &octets);
        let stream = UnixStream::connect(&socket).expect("it listens");
        let mut guest = Guest::new(stream, GuestOptions::default());
        exchange(&mut neighbour.borrow_mut(), &mut guest, (0, 1), 60..62);
        exchange(&mut guest, &mut neighbour.borrow_mut(), (1, 0), 60..62);
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
    host.audit();
}
