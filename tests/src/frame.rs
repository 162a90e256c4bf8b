//! Crafted frames.

use weft_packet::MacAddr;

/// The EtherType of frames that no protocol stack answers (IEEE 802.1Q-2018 table 9-1: local experimental).
const PROBE: u16 = 0x88b5;

/// A frame to be built: addresses, tags, and a payload that no stack answers.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// Its destination.
    pub to: MacAddr,
    /// Its source.
    pub from: MacAddr,
    /// Its tags, the outer one first: TPID and TCI.
    pub tags: &'a [(u16, u16)],
    /// Octets behind its EtherType.
    pub payload: &'a [u8],
}

impl Frame<'_> {
    /// A small untagged frame.
    pub fn new(from: MacAddr, to: MacAddr) -> Self {
        Self {
            to,
            from,
            tags: &[],
            payload: b"the payload of a probe, long enough for 60 octets",
        }
    }

    /// The frame as it is on the wire.
    pub fn octets(&self) -> Vec<u8> {
        let addresses = [self.to.octets(), self.from.octets()].concat();
        let tags = self.tags.iter().flat_map(|(tpid, tci)| [*tpid, *tci]);
        let words = tags.chain([PROBE]).flat_map(u16::to_be_bytes);
        addresses
            .into_iter()
            .chain(words)
            .chain(self.payload.iter().copied())
            .collect()
    }
}

impl<'a> Frame<'a> {
    /// The same with these tags.
    #[must_use]
    pub fn tagged(self, tags: &'a [(u16, u16)]) -> Self {
        Self { tags, ..self }
    }

    /// The same with this payload.
    #[must_use]
    pub fn carrying(self, payload: &'a [u8]) -> Self {
        Self { payload, ..self }
    }
}
