//! A stack that offloads its VLAN tags, without the kernel's 8021q module.

use std::os::fd::AsFd;

use rustix::net::{AddressFamily, SocketType, netdevice, socket};

use crate::afxdp::bpf::{self, Link, ProgramType};
use crate::afxdp::insn::{Insn, R0, R2, R3, call, exit, mov_value};

/// Tags every frame that leaves an interface, beside the frame and not in it, for as long as it lives: a program at
/// the interface's egress (TCX, Linux 6.6).
#[derive(Debug)]
pub struct TagPusher {
    _link: Link,
}

impl TagPusher {
    /// Starts tagging with `protocol` (0x8100 or 0x88a8) and `tci` (priority, drop eligible, VLAN) on an interface of
    /// the calling thread's namespace.
    ///
    /// # Panics
    /// If that is not possible.
    pub fn attach(interface: &str, protocol: u16, tci: u16) -> Self {
        const SKB_VLAN_PUSH: i32 = 18;
        const TC_ACT_OK: i32 = 0;
        let program = [
            // bpf_skb_vlan_push(skb, htons(protocol), tci), where r1 is the frame already
            mov_value(R2, protocol.to_be().into()),
            mov_value(R3, tci.into()),
            call(SKB_VLAN_PUSH),
            mov_value(R0, TC_ACT_OK),
            exit(),
        ];
        Self {
            _link: attach(bpf::TCX_EGRESS, &program, interface),
        }
    }
}

/// Takes the outer tag from every frame that enters an interface, for as long as it lives: a program at the interface's
/// ingress (TCX, Linux 6.6), where sockets for whole frames have seen them.
#[derive(Debug)]
pub struct TagPopper {
    _link: Link,
}

impl TagPopper {
    /// Starts on an interface of the calling thread's namespace.
    ///
    /// # Panics
    /// If that is not possible.
    pub fn attach(interface: &str) -> Self {
        const SKB_VLAN_POP: i32 = 19;
        const TCX_NEXT: i32 = -1;
        let program = [
            // bpf_skb_vlan_pop(skb), where r1 is the frame already
            call(SKB_VLAN_POP),
            mov_value(R0, TCX_NEXT),
            exit(),
        ];
        Self {
            _link: attach(bpf::TCX_INGRESS, &program, interface),
        }
    }
}

fn attach(program_type: ProgramType, program: &[Insn], interface: &str) -> Link {
    let control = socket(AddressFamily::INET, SocketType::DGRAM, None).expect("opening a socket");
    let index = netdevice::name_to_index(&control, interface).expect("the interface exists");
    let program = bpf::load(program_type, program, 0, 0).expect("loading a program for tags");
    bpf::attach(program_type, program.as_fd(), index, 0).expect("attaching a program for tags")
}
