//! Queues that a front-end enables before the features are negotiated. QEMU does so when it makes the guest's adapter, and need
//! not do it again when the guest's driver starts; the library that reads all other messages takes it for a mistake.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, PoisonError};

use rustix::net::{RecvFlags, recv};
use vhost::vhost_user::{Error, Result, VhostUserBackendReqHandlerMut};

use super::backend::Backend;
use super::stop::Stop;

/// Words of a message: request, flags, octets of the payload, and the payload, here a queue and whether it is enabled
/// (vhost-user, "Message Specification").
type Message = [u32; 5];

/// Octets of the first three.
const HEADER: usize = 12;

const SET_VRING_ENABLE: u32 = 18;
const VERSION: u32 = 1;
const IS_REPLY: u32 = 1 << 2;
const NEEDS_REPLY: u32 = 1 << 3;

/// Carries such messages out until another one comes, and leaves that in the stream.
///
/// # Errors
/// A message is not as it should be.
pub(super) fn enable(stream: &UnixStream, backend: &Mutex<Backend<'_>>, stop: &Stop) -> Result<()> {
    let mut header = [0; HEADER];
    loop {
        let seen = recv(stream, &mut header, RecvFlags::PEEK | RecvFlags::WAITALL);
        // Whatever is wrong with the stream, who reads from it next meets it too.
        let is_whole = matches!(seen, Ok((_, HEADER)));
        let mut backend = backend.lock().unwrap_or_else(PoisonError::into_inner);
        let is_other = header[..4] != SET_VRING_ENABLE.to_ne_bytes();
        if !is_whole || is_other || backend.has_negotiated() || !stop.is_served() {
            return Ok(());
        }
        let [_, flags, 8, index, enable @ (0 | 1)] = read(stream)? else {
            return Err(Error::InvalidMessage);
        };
        backend.set_vring_enable(index, enable == 1)?;
        if flags & NEEDS_REPLY != 0 {
            write(stream, [SET_VRING_ENABLE, VERSION | IS_REPLY, 8, 0, 0])?;
        }
    }
}

fn read(mut stream: &UnixStream) -> Result<Message> {
    let mut octets = [0; size_of::<Message>()];
    stream.read_exact(&mut octets).map_err(Error::SocketError)?;
    let word = |n: usize| octets[4 * n..].first_chunk().copied().unwrap_or_default();
    Ok(std::array::from_fn(|n| u32::from_ne_bytes(word(n))))
}

fn write(mut stream: &UnixStream, message: Message) -> Result<()> {
    let octets = message.map(u32::to_ne_bytes);
    let written = stream.write_all(octets.as_flattened());
    written.map_err(Error::SocketError)
}
