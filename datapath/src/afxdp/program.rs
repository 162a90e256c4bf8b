//! The XDP program that hands frames to the AF_XDP sockets, assembled by hand: no compiler, no binary in the tree.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::OnceLock;

use super::insn::{
    Insn, R0, R1, R2, R3, R4, R5, R6, R10, Width, add_value, call, call_kernel, exit, load,
    load_map, mov, mov_value, skip_if_greater, skip_if_not, store, store_value, to_be16,
};
use super::{bpf, btf};

const XDP_ABORTED: i32 = 0;
const XDP_PASS: i32 = 2;

// struct xdp_md, linux/bpf.h
const DATA: i16 = 0;
const DATA_END: i16 = 4;
const RX_QUEUE_INDEX: i16 = 16;

// linux/bpf.h, __BPF_FUNC_MAPPER
const REDIRECT_MAP: i32 = 51;
const XDP_ADJUST_HEAD: i32 = 44;

/// What a program is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Variant {
    /// Put 802.1Q tags that arrive beside the frame back into it. Native mode only.
    pub(super) restore_tags: bool,
    /// Take frames whose tail lies in further buffers.
    pub(super) multi_buffer: bool,
}

/// Loads a program that redirects each frame to the socket that `sockets` holds for its queue.
///
/// # Errors
/// Those of bpf(2); of kind `Unsupported` where the kernel has no function that reveals tags.
pub(super) fn load_program(
    sockets: BorrowedFd<'_>,
    variant: Variant,
    interface: u32,
) -> io::Result<OwnedFd> {
    let frags = if variant.multi_buffer {
        bpf::HAS_FRAGS
    } else {
        0
    };
    if !variant.restore_tags {
        return bpf::load(bpf::XDP, &redirect(sockets), frags, 0);
    }
    let function = tag_function().ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::Unsupported,
            "the kernel has no bpf_xdp_metadata_rx_vlan_tag",
        )
    })?;
    let program = restore_tags(sockets, function);
    bpf::load(bpf::XDP, &program, frags | bpf::DEVICE_BOUND, interface)
}

/// The BTF id of the function that reveals a frame's offloaded tag (Linux 6.8), if the kernel has it.
fn tag_function() -> Option<i32> {
    static ID: OnceLock<Option<i32>> = OnceLock::new();
    *ID.get_or_init(|| {
        let kernel = std::fs::read("/sys/kernel/btf/vmlinux").ok()?;
        let id = btf::function_id(&kernel, "bpf_xdp_metadata_rx_vlan_tag").ok()?;
        id.try_into().ok()
    })
}

/// `return bpf_redirect_map(sockets, ctx->rx_queue_index, XDP_PASS)`: a queue without a socket keeps its frames in the
/// kernel.
fn redirect(sockets: BorrowedFd<'_>) -> Vec<Insn> {
    let mut program = vec![mov(R6, R1)];
    program.extend(redirect_from_r6(sockets));
    program
}

/// Asks the driver for the frame's tag. If there is one, moves both addresses four bytes forward and writes the tag
/// behind them (IEEE 802.1Q-2018 §9.5); then redirects as [`redirect`].
///
/// Where a tag exists but cannot be put in, the frame is dropped (`XDP_ABORTED`, which the tracepoint
/// `xdp:xdp_exception` shows): without its tag it would enter another VLAN. That takes a frame shorter than an Ethernet
/// header or a driver without headroom, neither of which native XDP allows.
fn restore_tags(sockets: BorrowedFd<'_>, function: i32) -> Vec<Insn> {
    const PROTOCOL: i16 = -8;
    const TCI: i16 = -6;
    // Instructions that a jump passes over.
    const INSERT: i16 = 20;
    const REDIRECT: i16 = 6;
    let ask = [
        mov(R6, R1),
        // r0 = bpf_xdp_metadata_rx_vlan_tag(ctx, &protocol, &tci), both on the stack
        store_value(Width::U64, R10, 0, PROTOCOL),
        mov(R2, R10),
        add_value(R2, PROTOCOL.into()),
        mov(R3, R10),
        add_value(R3, TCI.into()),
        call_kernel(function),
        // no tag: redirect
        skip_if_not(R0, 0, INSERT),
    ];
    let insert: [Insn; INSERT as usize] = [
        // r0 = bpf_xdp_adjust_head(ctx, -4); no headroom: abort
        mov(R1, R6),
        mov_value(R2, -4),
        call(XDP_ADJUST_HEAD),
        skip_if_not(R0, 0, INSERT - 4 + REDIRECT),
        // four new bytes and an Ethernet header, or abort
        load(Width::U32, R2, R6, DATA),
        load(Width::U32, R3, R6, DATA_END),
        mov(R4, R2),
        add_value(R4, 18),
        skip_if_greater(R4, R3, INSERT - 9 + REDIRECT),
        // both addresses, four bytes forward
        load(Width::U32, R5, R2, 4),
        store(Width::U32, R2, R5, 0),
        load(Width::U32, R5, R2, 8),
        store(Width::U32, R2, R5, 4),
        load(Width::U32, R5, R2, 12),
        store(Width::U32, R2, R5, 8),
        // the tag: the protocol is in network byte order already, the TCI is not
        load(Width::U16, R5, R10, PROTOCOL),
        store(Width::U16, R2, R5, 12),
        load(Width::U16, R5, R10, TCI),
        to_be16(R5),
        store(Width::U16, R2, R5, 14),
    ];
    let redirect: [Insn; REDIRECT as usize] = redirect_from_r6(sockets);
    let abort = [mov_value(R0, XDP_ABORTED), exit()];
    [&ask[..], &insert, &redirect, &abort].concat()
}

fn redirect_from_r6(sockets: BorrowedFd<'_>) -> [Insn; 6] {
    let [map, map_high] = load_map(R1, sockets);
    [
        map,
        map_high,
        load(Width::U32, R2, R6, RX_QUEUE_INDEX),
        mov_value(R3, XDP_PASS),
        call(REDIRECT_MAP),
        exit(),
    ]
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::time::Instant;

    use super::super::socket::{self, Setup};
    use super::super::testing::Namespace;
    use super::super::umem::Area;
    use super::*;

    const XDP_REDIRECT: u32 = 4;

    #[test]
    fn frames_go_to_the_queue_s_socket_and_to_the_kernel_without_one() {
        let sockets = bpf::create_socket_map(1).unwrap();
        let variant = Variant {
            restore_tags: false,
            multi_buffer: false,
        };
        let program = load_program(sockets.as_fd(), variant, 0).unwrap();
        let frames = [vec![0; 14], vec![0xff; 60], vec![0x81; 1514]];
        for frame in &frames {
            let (verdict, after) = bpf::test_run(program.as_fd(), frame).unwrap();
            assert_eq!((verdict, &after), (XDP_PASS as u32, frame));
        }

        let namespace = Namespace::new();
        namespace.ip(&["link", "set", "lo", "up"]);
        let deadline = Instant::now();
        // Index 1 is the loopback interface of every namespace.
        let setup = Setup {
            interface: 1,
            ring_size: 64,
            multi_buffer: false,
            copy: true,
            deadline,
        };
        let slice = Area::new(64 * 2048).unwrap().divide(1, 64, 2048).remove(0);
        let queue = namespace.run(|| socket::open(&setup, 0, slice)).unwrap();
        bpf::set_socket(sockets.as_fd(), 0, queue.receive.fd()).unwrap();
        for frame in &frames {
            let (verdict, after) = bpf::test_run(program.as_fd(), frame).unwrap();
            assert_eq!((verdict, &after), (XDP_REDIRECT, frame));
        }
    }

    #[test]
    fn what_the_verifier_says_is_part_of_the_error() {
        let program = [mov(R0, R2), exit()];
        let error = bpf::load(bpf::XDP, &program, 0, 0).unwrap_err();
        assert!(error.to_string().contains("R2 !read_ok"), "{error}");
    }
}
