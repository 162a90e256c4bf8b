//! Ports on real interfaces: what one end of a veth pair sends, the other receives.

mod adversity;
mod ownership;
mod tags;
mod traffic;

use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::testing::{Namespace, RawSocket, VethPair};
use super::*;

/// Long enough for a loaded machine; every wait ends as soon as what it waits for is there.
const PATIENCE: Duration = Duration::from_secs(10);
/// Long enough to believe that nothing comes.
const SILENCE: Duration = Duration::from_millis(50);
const QUICK: Options = Options {
    mtu: 1500,
    uplink: false,
    ring_size: 2048,
    frames: 4096,
    busy_wait: Duration::from_millis(100),
};

fn open(pair: &VethPair, options: Options) -> AfXdpPort {
    pair.near
        .run(|| AfXdpPort::open(VethPair::NEAR, options))
        .unwrap()
}

fn far_end(pair: &VethPair) -> RawSocket {
    pair.far.run(|| RawSocket::open(VethPair::FAR))
}

/// A frame of `len` bytes that differs from others in every byte: addresses, a local experimental EtherType, noise.
fn frame(len: usize, seed: u8) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, seed, 0x88, 0xb5];
    let noise = |at: usize| (at as u8).wrapping_mul(31) ^ (at >> 8) as u8 ^ seed;
    frame.extend((14..len).map(noise));
    frame
}

/// Waits until something can be received. `false` when patience ends.
fn wait(rx: &RxQueue, patience: Duration) -> bool {
    let timeout = Timespec {
        tv_sec: patience.as_secs() as i64,
        tv_nsec: patience.subsec_nanos().into(),
    };
    let mut ready = [PollFd::from_borrowed_fd(rx.fd(), PollFlags::IN)];
    poll(&mut ready, Some(&timeout)).unwrap() > 0
}

/// Receives frames until there are `count`, and recycles them.
fn receive(rx: &mut RxQueue, count: usize) -> Vec<Vec<u8>> {
    let (mut frames, mut descs, mut continues) =
        (Vec::<Vec<u8>>::new(), [Desc::default(); 64], false);
    while frames.len() < count {
        assert!(
            wait(rx, PATIENCE),
            "{} of {count} frames arrived",
            frames.len()
        );
        let received = rx.receive(&mut descs);
        assert!(!continues, "the queue hands out whole frames");
        for desc in &descs[..received] {
            match frames.last_mut().filter(|_| continues) {
                Some(frame) => frame.extend(rx.data(desc)),
                None => frames.push(rx.data(desc).to_vec()),
            }
            continues = desc.continues();
        }
        rx.recycle(&descs[..received]);
    }
    frames
}

fn transmit(tx: &mut TxQueue, frame: &[u8]) -> Result<(), Refused> {
    tx.transmit(frame.len(), |offset, bytes| {
        bytes.copy_from_slice(&frame[offset..offset + bytes.len()]);
    })
}

/// Everything transmitted comes back.
fn drain(tx: &mut TxQueue) {
    let deadline = Instant::now() + PATIENCE;
    while tx.outstanding() > 0 {
        assert!(
            Instant::now() < deadline,
            "{} frames never completed",
            tx.outstanding()
        );
        tx.flush();
        std::thread::yield_now();
    }
}

/// Checks both directions with frames of these lengths, all under way at once.
fn exchange(port: &mut AfXdpPort, far: &mut RawSocket, frames: &[Vec<u8>]) {
    for frame in frames {
        far.send(frame);
    }
    assert_eq!(receive(&mut port.rx[0], frames.len()), frames);
    for frame in frames {
        transmit(&mut port.tx[0], frame).unwrap();
    }
    assert_eq!(port.tx[0].flush(), Flushed::Done);
    for frame in frames {
        assert_eq!(far.receive(PATIENCE).as_ref(), Some(frame));
    }
    drain(&mut port.tx[0]);
    assert_eq!(
        port.rx[0]
            .faults()
            .load(std::sync::atomic::Ordering::Relaxed),
        0
    );
}
