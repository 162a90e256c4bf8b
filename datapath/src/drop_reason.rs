//! The one closed list of reasons for which a frame, or a copy of one, is not delivered.

use std::fmt;

macro_rules! drop_reasons {
    ($($(#[$doc:meta])* $name:ident: $help:literal,)*) => {
        /// Why a frame, or a copy of one, was not delivered.
        ///
        /// A reason is counted where the decision fell: at the port that the frame entered for a frame that went
        /// nowhere, at the destination for a copy that the destination could not take.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum DropReason {
            $($(#[$doc])* $name,)*
        }

        impl DropReason {
            /// Every reason, in the order in which they are listed to people.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// How many reasons there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The reason's name, the same in the CLI, JSON, metrics and captures.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }

            /// One line of help: what happened, and where to look.
            pub const fn help(self) -> &'static str {
                match self {
                    $(Self::$name => $help,)*
                }
            }
        }
    };
}

drop_reasons! {
    /// The source address is not the port's own, and forged transmits are rejected.
    ForgedTransmit: "the source MAC is none of the port's addresses and forged transmits are rejected; see 'weft policy show PORT'",
    /// The source is one more than the port may have learned, and such frames are dropped.
    LearningLimit: "the port has learned as many MACs as it may, or the table is full, and frames from further ones are dropped; see 'weft fdb list'",
    /// A tagged frame from a guest on an access or external port.
    VlanTagNotAllowed: "the guest sent an 802.1Q tag on a port whose port group does not trunk; VLAN 4095 lets guests tag",
    /// The frame's VLAN is not one that the port, or the destination, carries.
    VlanNotMember: "the frame's VLAN is not one that the port carries; see the VLAN of its port group",
    /// VID 4095, which IEEE 802.1Q reserves.
    VlanReserved: "the frame carries VID 4095, which IEEE 802.1Q reserves",
    /// No port has the destination address, and there is no uplink to ask.
    UnknownUnicast: "no port of the switch has the destination MAC on this VLAN; see 'weft fdb list'",
    /// Broadcast or multicast in a VLAN where no other port listens.
    NoReceiver: "broadcast or multicast in a VLAN where no other port of the switch listens",
    /// The destination is the port that the frame came from.
    SamePort: "the destination MAC is behind the port that sent the frame",
    /// The frame must leave by an uplink and none is usable.
    NoUplink: "the frame must leave the host and its port has no usable uplink; see 'weft uplink list'",
    /// The destination's ring has no room.
    RingFull: "the destination did not take frames fast enough, so its ring had no room",
    /// The port's egress limit is used up, and so is the room of its queue.
    ShaperFull: "more than the port's egress shaping lets pass: its queue is full; see 'weft policy show PORT'",
    /// Longer than the port's MTU.
    TooLong: "the frame is longer than the MTU of the switch",
    /// Shorter than its Ethernet header and tags.
    Runt: "the frame is shorter than its Ethernet header and tags",
    /// The virtio-net header before the frame asks for what is not offered, or contradicts the frame.
    BadVnetHeader: "the guest's virtio-net header asks for an offload that was not offered, or contradicts the frame",
    /// A guest's descriptors lead out of its memory, in circles, or are too many.
    BadDescriptor: "the guest's descriptors lead out of its memory, in circles or in the wrong direction; its driver is at fault",
    /// An administrator blocked the port.
    PortBlocked: "the port is blocked by 'weft port set PORT --block yes'",
    /// The port's link or engine is down.
    PortDown: "the port is down; 'weft port show PORT' says why",
    /// Came in by an uplink that its destination does not use.
    ReversePath: "the frame came in by an uplink that its destination does not use, or it is the host's own; a copy comes by the right one; see 'weft uplink list'",
    /// A spanning tree frame of a guest, and its port filters them.
    BpduFilter: "the guest sent a spanning tree BPDU, and the BPDU filter of its port group is enabled",
    /// A frame to a reserved group address, which is for the next bridge only.
    ControlFrame: "the frame is for the next bridge only (01:80:c2:00:00:0x); a guest may send such frames on a port that trunks, and pause frames never",
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
