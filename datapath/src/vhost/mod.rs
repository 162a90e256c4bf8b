//! vhost-user: a guest's network adapter, through rings in memory that its hypervisor shares (vhost-user protocol of QEMU;
//! virtio 1.2 §2.7, §5.1).
//!
//! * `service`, `stop`: a thread for each port, which connects or listens, and serves one front-end at a time.
//! * `backend`, `early`: what the front-end asks for, message by message; it starts and stops queues.
//! * `pace`: how often it may do so.
//! * `memory`, `sigbus`: the guest's memory, and what happens when somebody takes it away.
//! * `ring`, `queue`, `call`: a virtqueue, and what belongs to it.
//! * `handshake`: how two sides wake each other, which tests model.
//! * `flow`: which frames stay in order where a guest has several queues.
//! * `rx`, `tx`: bursts from and to guests, on poll threads.

mod backend;
mod call;
mod early;
pub(crate) mod features;
mod flow;
mod handshake;
mod memory;
mod pace;
mod queue;
mod ring;
mod rx;
mod service;
mod sigbus;
mod status;
mod stop;
#[cfg(test)]
mod tests;
mod tx;

pub(crate) use call::prepare as prepare_calls;
pub(crate) use queue::Faults;
pub(crate) use rx::Rx;
pub(crate) use service::Service;
pub(crate) use status::Shared;
pub use status::{SocketRole, VhostQueue, VhostState, VhostStatus};
pub(crate) use tx::Tx;

/// Queue pairs that a guest may use.
pub(crate) const PAIRS: usize = 8;

/// Queues of a port: even ones carry frames to the guest, odd ones from it.
const QUEUES: usize = 2 * PAIRS;
