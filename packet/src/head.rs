//! What forwarding needs to know of a frame, parsed in one step.

use crate::vlan_tag::Tag;
use crate::{MacAddr, ethernet};

/// Most stacked tags that are walked; a further one is taken for the EtherType. It keeps the whole header, at most
/// 46 octets, within the 64 that the data path reads.
pub const MAX_TAGS: usize = 8;

/// The Ethernet header of a frame with all its VLAN tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Destination address.
    pub dst: MacAddr,
    /// Source address.
    pub src: MacAddr,
    /// The outer tag, the one next to the source address.
    pub outer: Option<Tag>,
    /// What follows all tags: an EtherType, or below 1536 the length of an IEEE 802.3 frame.
    pub ethertype: u16,
    /// Octets of the Ethernet header and all its tags, 14-46: where the payload starts.
    pub header_len: u8,
    /// Stacked tags, at most [`MAX_TAGS`].
    pub tags: u8,
}

impl Head {
    /// Parses the first octets of a frame that is `frame_len` octets long. `bytes` holds the whole frame or at least
    /// its first 46 octets; what it holds beyond `frame_len` is not looked at.
    ///
    /// # Errors
    ///
    /// [`Runt`] if the frame is shorter than its Ethernet header and all its tags.
    #[inline(always)]
    pub fn parse(bytes: &[u8], frame_len: usize) -> Result<Self, Runt> {
        let bytes = &bytes[..bytes.len().min(frame_len)];
        let head = Self::untagged(bytes).ok_or(Runt)?;
        if Tag::is_tpid(head.ethertype) {
            Self::parse_tagged(bytes)
        } else {
            Ok(head)
        }
    }

    /// The Ethernet header by itself, whatever its EtherType.
    #[inline(always)]
    fn untagged(bytes: &[u8]) -> Option<Self> {
        let &[d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, t0, t1] = bytes.first_chunk()?;
        Some(Self {
            dst: MacAddr::new([d0, d1, d2, d3, d4, d5]),
            src: MacAddr::new([s0, s1, s2, s3, s4, s5]),
            outer: None,
            ethertype: u16::from_be_bytes([t0, t1]),
            header_len: ethernet::HEADER_LEN as u8,
            tags: 0,
        })
    }

    /// Parses a frame whose EtherType is a TPID. Out of line and from the start, so that an untagged frame's head stays in
    /// registers.
    #[inline(never)]
    fn parse_tagged(bytes: &[u8]) -> Result<Self, Runt> {
        let mut head = Self::untagged(bytes).ok_or(Runt)?;
        head.walk_tags(&bytes[ethernet::HEADER_LEN..])?;
        Ok(head)
    }

    /// Whether one tag stands inside another.
    #[inline]
    pub const fn is_double_tagged(&self) -> bool {
        self.tags >= 2
    }

    /// Walks the tags, of which the first TPID is in `ethertype` and what follows it in `rest`.
    fn walk_tags(&mut self, mut rest: &[u8]) -> Result<(), Runt> {
        while Tag::is_tpid(self.ethertype) && usize::from(self.tags) < MAX_TAGS {
            let Some((&[c0, c1, t0, t1], inner)) = rest.split_first_chunk() else {
                return Err(Runt);
            };
            if self.tags == 0 {
                self.outer = Some(Tag {
                    tpid: self.ethertype,
                    tci: u16::from_be_bytes([c0, c1]),
                });
            }
            self.ethertype = u16::from_be_bytes([t0, t1]);
            self.header_len += Tag::LEN as u8;
            self.tags += 1;
            rest = inner;
        }
        Ok(())
    }
}

/// A frame is shorter than its Ethernet header and tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("the frame is shorter than its Ethernet header and tags")]
pub struct Runt;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ethertype;

    /// Two addresses, these words, and a payload of `payload` octets.
    fn frame(words: &[u16], payload: usize) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 1];
        frame.extend(words.iter().flat_map(|word| word.to_be_bytes()));
        frame.resize(frame.len() + payload, 0);
        frame
    }

    #[test]
    fn is_small() {
        assert!(size_of::<Head>() <= 32);
    }

    #[test]
    fn untagged() {
        let frame = frame(&[ethertype::IPV4], 46);
        let head = Head {
            dst: MacAddr::new([2, 0, 0, 0, 0, 9]),
            src: MacAddr::new([2, 0, 0, 0, 0, 1]),
            outer: None,
            ethertype: ethertype::IPV4,
            header_len: 14,
            tags: 0,
        };
        assert_eq!(Head::parse(&frame, 60), Ok(head));
        assert_eq!(Head::parse(&frame[..14], 14), Ok(head));
    }

    #[test]
    fn stacked_tags_with_the_outer_one_told() {
        let frame = frame(
            &[
                ethertype::TPID_STAG,
                0x2014,
                ethertype::TPID_CTAG,
                0x000a,
                ethertype::ARP,
            ],
            0,
        );
        let head = Head::parse(&frame, frame.len()).expect("the header is whole");
        assert_eq!(head.outer, Some(Tag::new(ethertype::TPID_STAG, 20, 0x2000)));
        assert_eq!(
            (head.ethertype, head.header_len, head.tags),
            (ethertype::ARP, 22, 2)
        );
        assert!(head.is_double_tagged());
    }

    #[test]
    fn a_tag_of_old_is_an_ethertype() {
        let head = Head::parse(&frame(&[0x9100, 10, ethertype::IPV4], 0), 18)
            .expect("the header is whole");
        assert_eq!(
            (head.outer, head.ethertype, head.header_len),
            (None, 0x9100, 14)
        );
    }

    #[test]
    fn every_cut_within_the_header_is_a_runt() {
        for tags in 0..=MAX_TAGS {
            let mut words = [ethertype::TPID_CTAG, 10].repeat(tags);
            words.push(ethertype::IPV6);
            let frame = frame(&words, 20);
            for len in 0..=frame.len() {
                let parsed = Head::parse(&frame[..len], len);
                assert_eq!(
                    parsed.is_ok(),
                    len >= 14 + 4 * tags,
                    "{tags} tags, {len} octets"
                );
                assert_eq!(
                    Head::parse(&frame, len),
                    parsed,
                    "what is beyond the frame does not count"
                );
                assert_eq!(
                    Head::parse(&frame[..len], 1514),
                    parsed,
                    "nor what is not there to see"
                );
            }
        }
    }

    #[test]
    fn a_ninth_tag_is_an_ethertype() {
        let frame = frame(&[ethertype::TPID_CTAG, 10].repeat(9), 0);
        let head = Head::parse(&frame, frame.len()).expect("eight tags are whole");
        assert_eq!(
            (head.tags, head.header_len, head.ethertype),
            (8, 46, ethertype::TPID_CTAG)
        );
    }
}
