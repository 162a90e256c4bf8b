//! ARP for IPv4 over Ethernet (RFC 826), and reverse ARP (RFC 903), which has the same layout.

use std::net::Ipv4Addr;

use crate::{MacAddr, Malformed, ethertype, wire};

/// Octets of a packet.
pub const PACKET_LEN: usize = field::TARGET_IP.end;

/// Where the fields stand.
pub mod field {
    use std::ops::Range;

    /// Hardware type.
    pub const HARDWARE: Range<usize> = 0..2;
    /// Protocol type, an EtherType.
    pub const PROTOCOL: Range<usize> = 2..4;
    /// Octets of a hardware address.
    pub const HARDWARE_LEN: usize = 4;
    /// Octets of a protocol address.
    pub const PROTOCOL_LEN: usize = 5;
    /// Operation.
    pub const OPERATION: Range<usize> = 6..8;
    /// Hardware address of the sender.
    pub const SENDER_MAC: Range<usize> = 8..14;
    /// Protocol address of the sender.
    pub const SENDER_IP: Range<usize> = 14..18;
    /// Hardware address of the target.
    pub const TARGET_MAC: Range<usize> = 18..24;
    /// Protocol address of the target.
    pub const TARGET_IP: Range<usize> = 24..28;
}

/// Operations (RFC 826, RFC 903).
pub mod operation {
    /// Who has the target's IP address?
    pub const REQUEST: u16 = 1;
    /// The sender has it.
    pub const REPLY: u16 = 2;
    /// Which IP address has the target's hardware address?
    pub const REVERSE_REQUEST: u16 = 3;
    /// The answer to that.
    pub const REVERSE_REPLY: u16 = 4;
}

/// Hardware type of Ethernet (RFC 826).
const ETHERNET: u16 = 1;

/// A packet for IPv4 over Ethernet that is there in full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<T: AsRef<[u8]>> {
    buffer: T,
}

impl<T: AsRef<[u8]>> Packet<T> {
    /// Checks that `buffer`, what follows the EtherType, holds a packet for IPv4 over Ethernet.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if it is shorter than 28 octets or for other kinds of addresses.
    pub fn new_checked(buffer: T) -> Result<Self, Malformed> {
        let bytes = buffer.as_ref();
        let whole = bytes.len() >= PACKET_LEN
            && wire::u16_at(bytes, field::HARDWARE) == ETHERNET
            && wire::u16_at(bytes, field::PROTOCOL) == ethertype::IPV4
            && wire::u8_at(bytes, field::HARDWARE_LEN) == 6
            && wire::u8_at(bytes, field::PROTOCOL_LEN) == 4;
        if whole {
            Ok(Self { buffer })
        } else {
            Err(Malformed)
        }
    }

    /// One of [`operation`].
    pub fn operation(&self) -> u16 {
        wire::u16_at(self.buffer.as_ref(), field::OPERATION)
    }

    /// Hardware address of the sender.
    pub fn sender_mac(&self) -> MacAddr {
        MacAddr::new(wire::array(self.buffer.as_ref(), field::SENDER_MAC))
    }

    /// IP address of the sender.
    pub fn sender_ip(&self) -> Ipv4Addr {
        wire::array::<4>(self.buffer.as_ref(), field::SENDER_IP).into()
    }

    /// Hardware address of the target.
    pub fn target_mac(&self) -> MacAddr {
        MacAddr::new(wire::array(self.buffer.as_ref(), field::TARGET_MAC))
    }

    /// IP address of the target.
    pub fn target_ip(&self) -> Ipv4Addr {
        wire::array::<4>(self.buffer.as_ref(), field::TARGET_IP).into()
    }
}

/// What an ARP packet for IPv4 over Ethernet says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repr {
    /// One of [`operation`].
    pub operation: u16,
    /// Hardware address of the sender.
    pub sender_mac: MacAddr,
    /// IP address of the sender.
    pub sender_ip: Ipv4Addr,
    /// Hardware address of the target.
    pub target_mac: MacAddr,
    /// IP address of the target.
    pub target_ip: Ipv4Addr,
}

impl Repr {
    /// What `packet` says.
    pub fn of<T: AsRef<[u8]>>(packet: &Packet<T>) -> Self {
        Self {
            operation: packet.operation(),
            sender_mac: packet.sender_mac(),
            sender_ip: packet.sender_ip(),
            target_mac: packet.target_mac(),
            target_ip: packet.target_ip(),
        }
    }

    /// The packet, to follow the EtherType.
    pub fn octets(&self) -> [u8; PACKET_LEN] {
        let mut bytes = [0; PACKET_LEN];
        wire::put(&mut bytes, field::HARDWARE, &ETHERNET.to_be_bytes());
        wire::put(&mut bytes, field::PROTOCOL, &ethertype::IPV4.to_be_bytes());
        bytes[field::HARDWARE_LEN] = 6;
        bytes[field::PROTOCOL_LEN] = 4;
        wire::put(&mut bytes, field::OPERATION, &self.operation.to_be_bytes());
        wire::put(&mut bytes, field::SENDER_MAC, &self.sender_mac.octets());
        wire::put(&mut bytes, field::SENDER_IP, &self.sender_ip.octets());
        wire::put(&mut bytes, field::TARGET_MAC, &self.target_mac.octets());
        wire::put(&mut bytes, field::TARGET_IP, &self.target_ip.octets());
        bytes
    }
}
