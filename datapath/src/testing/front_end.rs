//! The front-end's side of a vhost-user socket, message by message, right or wrong (vhost-user protocol of QEMU).

use std::fs::File;
use std::io::{Error, ErrorKind, IoSlice, Read, Result};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

/// Requests by their numbers.
#[expect(missing_docs, reason = "the names are those of the protocol")]
pub mod request {
    pub const GET_FEATURES: u32 = 1;
    pub const SET_FEATURES: u32 = 2;
    pub const SET_OWNER: u32 = 3;
    pub const RESET_OWNER: u32 = 4;
    pub const SET_MEM_TABLE: u32 = 5;
    pub const SET_LOG_BASE: u32 = 6;
    pub const SET_LOG_FD: u32 = 7;
    pub const SET_VRING_NUM: u32 = 8;
    pub const SET_VRING_ADDR: u32 = 9;
    pub const SET_VRING_BASE: u32 = 10;
    pub const GET_VRING_BASE: u32 = 11;
    pub const SET_VRING_KICK: u32 = 12;
    pub const SET_VRING_CALL: u32 = 13;
    pub const SET_VRING_ERR: u32 = 14;
    pub const GET_PROTOCOL_FEATURES: u32 = 15;
    pub const SET_PROTOCOL_FEATURES: u32 = 16;
    pub const GET_QUEUE_NUM: u32 = 17;
    pub const SET_VRING_ENABLE: u32 = 18;
    pub const GET_MAX_MEM_SLOTS: u32 = 36;
    pub const ADD_MEM_REG: u32 = 37;
    pub const REM_MEM_REG: u32 = 38;
    /// One more than the last that the protocol has.
    pub const END: u32 = 45;
}

/// Flags of a message: its version, and that an answer is wanted whatever it is.
const VERSION: u32 = 1;
const NEED_REPLY: u32 = 1 << 3;

/// A descriptor field that says: there is none.
const NO_DESCRIPTOR: u64 = 1 << 8;

/// Most descriptors that the kernel passes with one message (SCM_MAX_FD).
const MOST_DESCRIPTORS: usize = 253;

/// A region of memory as it is told to a back-end.
#[derive(Clone, Copy, Debug)]
pub struct Region {
    /// Its first address in the guest.
    pub guest: u64,
    /// Octets.
    pub len: u64,
    /// Its first address in the front-end.
    pub user: u64,
    /// Where in its file it starts.
    pub offset: u64,
}

impl Region {
    fn octets(self) -> Vec<u8> {
        words(&[self.guest, self.len, self.user, self.offset])
    }
}

/// Where the parts of a ring are, in addresses of the front-end.
#[derive(Clone, Copy, Debug)]
pub struct RingAddresses {
    /// Descriptors.
    pub descriptors: u64,
    /// The device's ring.
    pub used: u64,
    /// The driver's ring.
    pub available: u64,
}

/// One end of a socket, whose other end the switch has.
#[derive(Debug)]
pub struct FrontEnd(UnixStream);

impl FrontEnd {
    /// Speaks over this stream. A switch that does not answer within 10 s is an error.
    ///
    /// # Panics
    /// The kernel refuses the time limit.
    pub fn new(stream: UnixStream) -> Self {
        let limit = std::time::Duration::from_secs(10);
        stream.set_read_timeout(Some(limit)).expect("a socket");
        stream.set_write_timeout(Some(limit)).expect("a socket");
        Self(stream)
    }

    /// Sends octets as they are, with descriptors.
    ///
    /// # Errors
    /// The other side closed the socket, or does not read what is sent.
    pub fn send(&self, octets: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(ErrorKind::InvalidInput.into());
        }
        let sent = sendmsg(
            &self.0,
            &[IoSlice::new(octets)],
            &mut control,
            SendFlags::NOSIGNAL,
        )?;
        if sent == octets.len() {
            Ok(())
        } else {
            Err(ErrorKind::WriteZero.into())
        }
    }

    /// A message as it goes over the socket, whose answer is wanted.
    pub fn message(request: u32, body: &[u8]) -> Vec<u8> {
        let header = [request, VERSION | NEED_REPLY, body.len() as u32];
        let mut message: Vec<u8> = header.iter().flat_map(|word| word.to_ne_bytes()).collect();
        message.extend(body);
        message
    }

    /// The same, and no answer is wanted.
    pub fn unanswered(request: u32, body: &[u8]) -> Vec<u8> {
        let mut message = Self::message(request, body);
        message[4] = VERSION as u8;
        message
    }

    /// The next answer: its request and its body.
    ///
    /// # Errors
    /// None came.
    pub fn answer(&self) -> Result<(u32, Vec<u8>)> {
        let mut header = [0; 12];
        (&self.0).read_exact(&mut header)?;
        let word = |at: usize| u32::from_ne_bytes(std::array::from_fn(|n| header[at + n]));
        let mut body = vec![0; word(8) as usize];
        (&self.0).read_exact(&mut body)?;
        Ok((word(0), body))
    }

    /// Asks for a number.
    ///
    /// # Errors
    /// No answer came.
    pub fn ask(&self, request: u32) -> Result<u64> {
        self.number(request, &[], &[])
    }

    /// Says something that is accepted or refused.
    ///
    /// # Errors
    /// It was refused ([`ErrorKind::InvalidInput`]), or no answer came.
    pub fn tell(&self, request: u32, body: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<()> {
        match self.number(request, body, descriptors)? {
            0 => Ok(()),
            _ => Err(ErrorKind::InvalidInput.into()),
        }
    }

    fn number(&self, request: u32, body: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<u64> {
        self.send(&Self::message(request, body), descriptors)?;
        let (answered, body) = self.answer()?;
        let number = <[u8; 8]>::try_from(body).map(u64::from_ne_bytes);
        match number {
            Ok(number) if answered == request => Ok(number),
            _ => Err(Error::other("an answer to something else")),
        }
    }

    /// Negotiates what comes before all else, and returns the virtio features that are offered.
    ///
    /// # Errors
    /// See [`Self::tell`].
    pub fn greet(&self) -> Result<u64> {
        let offered = self.ask(request::GET_FEATURES)?;
        let protocol = self.ask(request::GET_PROTOCOL_FEATURES)?;
        let protocol = words(&[protocol]);
        // Only once REPLY_ACK is accepted there is an answer to everything.
        self.send(&Self::unanswered(request::SET_OWNER, &[]), &[])?;
        self.send(
            &Self::unanswered(request::SET_PROTOCOL_FEATURES, &protocol),
            &[],
        )?;
        Ok(offered)
    }

    /// Accepts virtio features.
    ///
    /// # Errors
    /// See [`Self::tell`].
    pub fn set_features(&self, features: u64) -> Result<()> {
        self.tell(request::SET_FEATURES, &words(&[features]), &[])
    }

    /// Shares these regions, and no others.
    ///
    /// # Errors
    /// See [`Self::tell`].
    pub fn share(&self, regions: &[(Region, &File)]) -> Result<()> {
        let table: Vec<Region> = regions.iter().map(|(region, _)| *region).collect();
        let files: Vec<_> = regions.iter().map(|(_, file)| file.as_fd()).collect();
        self.tell(request::SET_MEM_TABLE, &Self::table(&table), &files)
    }

    /// What a message says that shares these regions.
    pub fn table(regions: &[Region]) -> Vec<u8> {
        let mut body = words(&[regions.len() as u64]);
        body.extend(regions.iter().flat_map(|region| region.octets()));
        body
    }

    /// Shares one more region.
    ///
    /// # Errors
    /// See [`Self::tell`].
    pub fn add_region(&self, region: Region, file: &File) -> Result<()> {
        let body = [words(&[0]), region.octets()].concat();
        self.tell(request::ADD_MEM_REG, &body, &[file.as_fd()])
    }

    /// Takes a region away.
    ///
    /// # Errors
    /// See [`Self::tell`].
    pub fn remove_region(&self, region: Region) -> Result<()> {
        let body = [words(&[0]), region.octets()].concat();
        self.tell(request::REM_MEM_REG, &body, &[])
    }

    /// Says something of a queue that is a number: its size, its base, whether it is enabled.
    ///
    /// # Errors
    /// See [`Self::tell`].
    pub fn set_queue(&self, request: u32, queue: u32, number: u32) -> Result<()> {
        self.tell(request, &state(queue, number), &[])
    }

    /// Says where a queue's ring is.
    ///
    /// # Errors
    /// See [`Self::tell`].
    pub fn set_addresses(&self, queue: u32, ring: RingAddresses) -> Result<()> {
        let mut body = state(queue, 0).to_vec();
        body.extend(words(&[ring.descriptors, ring.used, ring.available, 0]));
        self.tell(request::SET_VRING_ADDR, &body, &[])
    }

    /// Hands over a queue's kick or call descriptor, or says that there is none.
    ///
    /// # Errors
    /// See [`Self::tell`].
    pub fn set_event(&self, request: u32, queue: u8, event: Option<BorrowedFd<'_>>) -> Result<()> {
        let none = if event.is_none() { NO_DESCRIPTOR } else { 0 };
        let body = words(&[u64::from(queue) | none]);
        self.tell(request, &body, event.as_slice())
    }

    /// Stops a queue. Returns its next available index.
    ///
    /// # Errors
    /// No answer came.
    pub fn stop_queue(&self, queue: u32) -> Result<u32> {
        let number = self.number(request::GET_VRING_BASE, &state(queue, 0), &[])?;
        Ok((number >> 32) as u32)
    }
}

/// Numbers in the order of octets of a message, which is this machine's.
pub fn words(numbers: &[u64]) -> Vec<u8> {
    numbers
        .iter()
        .flat_map(|number| number.to_ne_bytes())
        .collect()
}

/// A queue and a number.
pub fn state(queue: u32, number: u32) -> [u8; 8] {
    let mut body = [0; 8];
    body[..4].copy_from_slice(&queue.to_ne_bytes());
    body[4..].copy_from_slice(&number.to_ne_bytes());
    body
}
