//! How large frames must be for an MTU.

use super::tx::MOST_BUFFERS;

/// What the kernel leaves free in front of a received frame (`XDP_PACKET_HEADROOM`).
const HEADROOM: u32 = 256;
/// An Ethernet header and two 802.1Q tags.
const HEADERS: u32 = 14 + 2 * 4;
/// The longest MTU that drivers take with a program for single buffers: a page less headroom, headers and the
/// kernel's bookkeeping. On veth the limit is the peer's, 3506.
pub(super) const SINGLE_BUFFER_MTU: u32 = 3498;

/// How a port lays out its UMEM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// Bytes in a frame of the UMEM.
    pub(super) frame_size: u32,
    /// A frame on the wire may take several frames of the UMEM.
    pub(super) multi_buffer: bool,
}

impl Plan {
    /// For frames that spread over several buffers.
    pub(super) const MULTI_BUFFER: Self = Self {
        frame_size: 4096,
        multi_buffer: true,
    };

    /// A plan for a port that must carry `wanted` on `interface`, whose MTU is `actual`: it receives what the
    /// interface lets in, which may be more than is wanted.
    ///
    /// # Errors
    /// What limits the MTU, and the remedy, as the end of a sentence.
    pub(super) fn new(interface: &str, wanted: u16, actual: u32) -> Result<Self, String> {
        if actual < u32::from(wanted) {
            return Err(format!(
                "the interface's own MTU is {actual}; raise it with `ip link set dev {interface} mtu {wanted}`"
            ));
        }
        let longest = MOST_BUFFERS as u32 * (Self::MULTI_BUFFER.frame_size - HEADROOM) - HEADERS;
        let single = |frame_size| Self {
            frame_size,
            multi_buffer: false,
        };
        match actual {
            _ if actual + HEADERS + HEADROOM <= 2048 => Ok(single(2048)),
            ..=SINGLE_BUFFER_MTU => Ok(single(4096)),
            _ if actual <= longest => Ok(Self::MULTI_BUFFER),
            _ => Err(format!(
                "the interface's own MTU is {actual}, and {longest} is the most"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_fit_their_buffers() {
        let plan =
            |mtu| Plan::new("eth0", 1500, mtu).map(|plan| (plan.frame_size, plan.multi_buffer));
        assert_eq!(plan(1500), Ok((2048, false)));
        assert_eq!(plan(1770), Ok((2048, false)));
        assert_eq!(plan(1771), Ok((4096, false)));
        assert_eq!(plan(3498), Ok((4096, false)));
        assert_eq!(plan(3499), Ok((4096, true)));
        assert_eq!(plan(9000), Ok((4096, true)));
        assert!(plan(65536).is_err());
    }

    #[test]
    fn an_interface_with_a_smaller_mtu_is_refused() {
        let reason = Plan::new("eth0", 9000, 1500).unwrap_err();
        assert!(
            reason.contains("1500") && reason.contains("set dev eth0 mtu 9000"),
            "{reason}"
        );
    }
}
