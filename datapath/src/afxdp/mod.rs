//! AF_XDP: frames of a network interface, received and transmitted through rings that are shared with the kernel.
//!
//! [`AfXdpPort::open`] attaches an XDP program to an interface, opens one socket for each of its receive queues, and
//! returns the two sides of every queue ([`RxQueue`], [`TxQueue`]), which may live on different threads. All is
//! given back when they and the [`Guard`] are dropped, and also when the process dies.
//!
//! One file per concept of the kernel:
//!
//! | file | subject |
//! |---|---|
//! | `port`, `plan`, `attach`, `guard`, `error` | opening an interface, in order, what is held, and why it may fail |
//! | `socket` | one AF_XDP socket: registered, mapped, bound |
//! | `rx`, `tx`, `desc` | the two sides of a queue |
//! | `umem` | the frames, and who holds each of them |
//! | `ring`, `cursor`, `mapping` | rings in shared memory, their arithmetic, their memory |
//! | `program`, `insn`, `bpf`, `btf` | the XDP program, assembled by hand and loaded without tools |
//! | `device`, `offloads` | the interface: driver, queues, MTU, receive offloads |
//!
//! The kernel is trusted to follow its protocol, but nothing that it writes makes this module panic or reach outside
//! its memory: indices and descriptors are checked where they are read.

mod attach;
mod bpf;
mod btf;
mod cursor;
mod desc;
mod device;
mod error;
mod guard;
mod insn;
mod mapping;
mod offloads;
mod plan;
mod port;
mod program;
mod ring;
mod rx;
mod socket;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
mod tx;
mod umem;

pub use desc::Desc;
pub use error::OpenError;
pub use guard::Guard;
pub use offloads::{restore, unwanted};
pub use port::{AfXdpPort, Info, Options};
pub use rustix::net::xdp::XdpStatistics;
pub use rx::RxQueue;
pub use tx::{Flushed, Probe, Refused, TxQueue};
