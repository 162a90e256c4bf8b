//! Plain packets, as most are: TCP or UDP in IPv4 without options, whole, in a frame with at most one tag. They are read in a few
//! loads, and those that follow one another in a flow are counted together.

use weft_packet::{TPID_CTAG, Tag, ethernet, ip_protocol, ipv4, tcp};

use crate::BATCH;
use crate::key::{self, Place, SHORT};

/// Octets that are looked at of a plain packet in a frame without a tag: up to the TCP flags.
const PLAIN: usize = ethernet::HEADER_LEN + ipv4::HEADER_LEN + tcp::field::FLAGS + 1;

/// The same where the frame has a tag.
const PLAIN_TAGGED: usize = PLAIN + Tag::LEN;

/// A frame that may have a plain packet.
#[derive(Clone, Copy)]
pub struct Plain {
    /// The octets of the frame without its tag, the first one lowest.
    words: [u64; SHORT],
    /// Octets of the frame, and of what is in it.
    len: usize,
    payload: usize,
    /// The octet that has the flags if it is of TCP.
    tcp_flags: u8,
}

/// What two plain packets have to have in common, so that they are of one flow and of one time to live.
const COMMON: [u64; SHORT] = {
    const TTL: u64 = 0xff << 48;
    let mut common = key::OF_FRAME;
    common[2] |= TTL;
    common
};

impl Plain {
    /// Reads a frame of `len` octets that begins with these.
    #[inline(always)]
    pub fn read(frame: &[u8], len: usize) -> Option<Self> {
        let first = frame.first_chunk()?;
        if first[ethernet::field::ETHERTYPE] == TPID_CTAG.to_be_bytes() {
            return Some(Self::tagged(frame.first_chunk()?, len));
        }
        Some(Self::untagged(first, len))
    }

    #[inline(always)]
    fn untagged(frame: &[u8; PLAIN], len: usize) -> Self {
        let word = |at| word(frame, at);
        Self {
            words: [word(0), word(8), word(16), word(24), word(32)],
            len,
            payload: len - ethernet::HEADER_LEN,
            tcp_flags: frame[PLAIN - 1],
        }
    }

    #[inline(always)]
    fn tagged(frame: &[u8; PLAIN_TAGGED], len: usize) -> Self {
        const LOW: u64 = u32::MAX as u64;
        let word = |at| word(frame, at);
        // The tag stands behind the addresses.
        let second = word(8) & LOW | word(8 + Tag::LEN) & !LOW;
        let behind = |at| word(at + Tag::LEN);
        Self {
            words: [word(0), second, behind(16), behind(24), behind(32)],
            len,
            payload: len - ethernet::HEADER_LEN - Tag::LEN,
            tcp_flags: frame[PLAIN_TAGGED - 1],
        }
    }

    #[inline(always)]
    const fn total_len(&self) -> usize {
        (self.words[2] as u16).swap_bytes() as usize
    }

    /// Octets of the packet and of the frame, flags and time to live.
    #[inline(always)]
    pub(crate) const fn counts(&self) -> (u32, u32, u8, u8) {
        (
            self.total_len() as u32,
            self.len as u32,
            flags(&self.words, self.tcp_flags),
            (self.words[2] >> 48) as u8,
        )
    }

    /// Whether the packet is as long as it says, and has what is looked at.
    #[inline(always)]
    const fn is_whole(&self) -> bool {
        const LEAST: usize = PLAIN - ethernet::HEADER_LEN;
        let total = self.total_len();
        LEAST <= total && total <= self.payload
    }

    /// What of its key every flow has, if the packet is plain.
    #[inline(always)]
    pub(crate) fn key(&self, place: Place) -> Option<[u64; SHORT]> {
        let short = key::short(place, &self.words);
        (key::is_plain(&short) && self.is_whole()).then_some(short)
    }
}

#[inline(always)]
fn word(frame: &[u8], at: usize) -> u64 {
    let octets = frame[at..].first_chunk().copied();
    u64::from_le_bytes(octets.unwrap_or_default())
}

/// These flags, if the words are of TCP.
#[inline(always)]
const fn flags(words: &[u64; SHORT], tcp_flags: u8) -> u8 {
    let is_tcp = (words[2] >> 56) as u8 == ip_protocol::TCP;
    if is_tcp { tcp_flags } else { 0 }
}

/// Plain packets of one flow that follow one another, behind the first of them.
#[derive(Clone, Copy)]
pub(crate) struct Run {
    /// What the first one says, and where it passes.
    words: [u64; SHORT],
    place: Place,
    /// Octets of packets, octets of frames and packets, of as many as a burst has.
    sums: u64,
    tcp_flags: u8,
}

/// Where the sums of a run stand.
const LAYER2: u32 = 24;
const PACKETS: u32 = 48;

const _: () = assert!(BATCH * (u16::MAX as usize + 64) < 1 << LAYER2);

impl Run {
    /// Behind none.
    pub(crate) const NONE: Self = Self {
        words: [0; SHORT],
        place: Place::NOWHERE,
        sums: 0,
        tcp_flags: 0,
    };

    /// Goes on behind another one. What it counted is taken.
    #[inline(always)]
    pub(crate) const fn restart(&mut self, plain: &Plain, place: Place) {
        (self.words, self.place) = (plain.words, place);
    }

    /// Counts a packet, if it follows. Returns whether it does.
    #[inline(always)]
    pub(crate) fn add(&mut self, plain: &Plain, place: Place) -> bool {
        let differs = |word: usize| (self.words[word] ^ plain.words[word]) & COMMON[word];
        // Flows that differ do so in ports or in addresses of the link, more often than not.
        if differs(4) != 0 || differs(0) != 0 || differs(1) | differs(2) | differs(3) != 0 {
            return false;
        }
        if place != self.place || !plain.is_whole() {
            return false;
        }
        self.sums += 1 << PACKETS | (plain.len as u64) << LAYER2 | plain.total_len() as u64;
        self.tcp_flags |= plain.tcp_flags;
        true
    }

    /// Takes what it counted, if it did: packets, octets of packets and of frames, and flags.
    #[inline(always)]
    pub(crate) fn take(&mut self) -> Option<(u32, u32, u32, u8)> {
        const OCTETS: u64 = (1 << LAYER2) - 1;
        if self.sums == 0 {
            return None;
        }
        let (sums, tcp_flags) = (self.sums, self.tcp_flags);
        (self.sums, self.tcp_flags) = (0, 0);
        Some((
            (sums >> PACKETS) as u32,
            (sums & OCTETS) as u32,
            (sums >> LAYER2 & OCTETS) as u32,
            flags(&self.words, tcp_flags),
        ))
    }
}
