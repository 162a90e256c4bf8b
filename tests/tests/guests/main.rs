//! Real guests: Linux under QEMU, with its own virtio driver, on vhost-user sockets.
#![forbid(unsafe_code)]

mod lab;
mod pings;
mod restart;
mod traffic;
