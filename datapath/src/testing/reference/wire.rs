//! Frames taken apart byte by byte, and put together.

use weft_packet::MacAddr;

/// A frame taken apart.
pub(super) struct Parsed {
    pub(super) dst: MacAddr,
    pub(super) src: MacAddr,
    /// (TPID, TCI), outer first.
    pub(super) tags: Vec<(u16, u16)>,
    /// From the EtherType on.
    pub(super) rest: Vec<u8>,
}

pub(super) fn parse(frame: &[u8]) -> Option<Parsed> {
    let word = |at: usize| Some(u16::from_be_bytes([*frame.get(at)?, *frame.get(at + 1)?]));
    let dst: [u8; 6] = frame.get(0..6)?.try_into().ok()?;
    let src: [u8; 6] = frame.get(6..12)?.try_into().ok()?;
    let mut at = 12;
    let mut tags = Vec::new();
    while matches!(word(at)?, 0x8100 | 0x88a8) && tags.len() < weft_packet::MAX_TAGS {
        tags.push((word(at)?, word(at + 2)?));
        at += 4;
    }
    word(at)?;
    Some(Parsed {
        dst: MacAddr::new(dst),
        src: MacAddr::new(src),
        tags,
        rest: frame[at..].to_vec(),
    })
}

pub(super) fn build(parsed: &Parsed, tags: &[(u16, u16)]) -> Vec<u8> {
    let mut frame = [parsed.dst.octets(), parsed.src.octets()].concat();
    for (tpid, tci) in tags {
        frame.extend(tpid.to_be_bytes());
        frame.extend(tci.to_be_bytes());
    }
    frame.extend(&parsed.rest);
    frame
}

/// Exclusive or of the addresses of an IP packet, in pieces of four octets.
pub(super) fn ip_spread(parsed: &Parsed) -> Option<u32> {
    let packet = &parsed.rest[2..];
    let addresses = match (&parsed.rest[..2], packet.first()? >> 4) {
        ([0x08, 0x00], 4) => packet.get(12..20)?,
        ([0x86, 0xdd], 6) => packet.get(8..40)?,
        _ => return None,
    };
    let mut sum = [0; 4];
    for (at, octet) in addresses.iter().enumerate() {
        sum[at % 4] ^= octet;
    }
    Some(u32::from_be_bytes(sum))
}
