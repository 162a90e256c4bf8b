//! The VLAN tag (IEEE 802.1Q-2018 §9).

/// TPID of a customer VLAN tag (IEEE 802.1Q-2018 table 9-1).
pub const TPID_CTAG: u16 = 0x8100;
/// TPID of a service VLAN tag (IEEE 802.1Q-2018 table 9-1).
pub const TPID_STAG: u16 = 0x88a8;

/// One VLAN tag: four octets between the source address and what they would otherwise be followed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tag {
    /// The tag protocol identifier, [`TPID_CTAG`] or [`TPID_STAG`].
    pub tpid: u16,
    /// The tag control information: three bits PCP, one bit DEI, twelve bits VID (IEEE 802.1Q-2018 §9.6).
    pub tci: u16,
}

impl Tag {
    /// Octets that a tag takes.
    pub const LEN: usize = 4;
    /// The bits of the TCI that hold PCP and DEI.
    pub const PRIORITY_BITS: u16 = 0xf000;
    /// The bits of the TCI that hold the VID.
    pub const VID_BITS: u16 = 0x0fff;

    /// A tag with the lower 12 bits of `vid` and the PCP and DEI of `priority_bits`, which stand where they stand in
    /// a TCI, so that they can come from [`priority_bits`](Self::priority_bits) of another tag.
    #[inline]
    pub const fn new(tpid: u16, vid: u16, priority_bits: u16) -> Self {
        Self {
            tpid,
            tci: priority_bits & Self::PRIORITY_BITS | vid & Self::VID_BITS,
        }
    }

    /// Whether an EtherType announces a tag. 0x9100 and other TPIDs from before IEEE 802.1ad do not.
    #[inline]
    pub const fn is_tpid(ethertype: u16) -> bool {
        ethertype == TPID_CTAG || ethertype == TPID_STAG
    }

    /// The VLAN identifier, 0-4095. 0 makes it a priority tag, which names no VLAN; 4095 is reserved.
    #[inline]
    pub const fn vid(self) -> u16 {
        self.tci & Self::VID_BITS
    }

    /// The priority code point, 0-7.
    #[inline]
    pub const fn pcp(self) -> u8 {
        (self.tci >> 13) as u8
    }

    /// The drop eligible indicator.
    #[inline]
    pub const fn dei(self) -> bool {
        self.tci & 0x1000 != 0
    }

    /// PCP and DEI where they stand in the TCI, everything else zero.
    #[inline]
    pub const fn priority_bits(self) -> u16 {
        self.tci & Self::PRIORITY_BITS
    }

    /// The tag as the wire carries it.
    #[inline]
    pub const fn octets(self) -> [u8; Self::LEN] {
        let [a, b] = self.tpid.to_be_bytes();
        let [c, d] = self.tci.to_be_bytes();
        [a, b, c, d]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_stand_where_802_1q_has_them() {
        let tag = Tag {
            tpid: TPID_CTAG,
            tci: 0b1011_0000_0000_1010,
        };
        assert_eq!((tag.pcp(), tag.dei(), tag.vid()), (5, true, 10));
        assert_eq!(tag.octets(), [0x81, 0x00, 0xb0, 0x0a]);
        assert_eq!(
            Tag::new(TPID_STAG, 10, tag.priority_bits()),
            Tag {
                tpid: TPID_STAG,
                ..tag
            }
        );
    }

    #[test]
    fn new_keeps_vid_and_priority_apart() {
        assert_eq!(Tag::new(TPID_CTAG, 0xffff, 0x0fff).tci, 0x0fff);
        assert_eq!(Tag::new(TPID_CTAG, 0xf000, 0xf00f).tci, 0xf000);
    }

    #[test]
    fn only_two_ethertypes_are_tags() {
        let tpids: Vec<u16> = (0..=u16::MAX)
            .filter(|&ethertype| Tag::is_tpid(ethertype))
            .collect();
        assert_eq!(tpids, [0x8100, 0x88a8]);
    }
}
