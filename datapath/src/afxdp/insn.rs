//! BPF instructions (kernel documentation, "BPF Instruction Set Architecture", RFC 9669).

use std::os::fd::{AsRawFd, BorrowedFd};

/// One instruction as the kernel takes it: opcode, registers, offset, immediate value.
pub(super) type Insn = u64;

pub(super) const R0: u8 = 0;
pub(super) const R1: u8 = 1;
pub(super) const R2: u8 = 2;
pub(super) const R3: u8 = 3;
pub(super) const R4: u8 = 4;
pub(super) const R5: u8 = 5;
/// Survives calls, as R7 to R9 do.
pub(super) const R6: u8 = 6;
/// The frame pointer: the stack is below it.
pub(super) const R10: u8 = 10;

/// Width of a load or store.
#[derive(Clone, Copy)]
pub(super) enum Width {
    U16 = 0x08,
    U32 = 0x00,
    U64 = 0x18,
}

fn insn(opcode: u8, dst: u8, src: u8, offset: i16, immediate: i32) -> Insn {
    let registers = if cfg!(target_endian = "little") {
        src << 4 | dst
    } else {
        dst << 4 | src
    };
    let mut bytes = [0; 8];
    bytes[0] = opcode;
    bytes[1] = registers;
    bytes[2..4].copy_from_slice(&offset.to_ne_bytes());
    bytes[4..].copy_from_slice(&immediate.to_ne_bytes());
    Insn::from_ne_bytes(bytes)
}

/// `dst = src`
pub(super) fn mov(dst: u8, src: u8) -> Insn {
    insn(0xbf, dst, src, 0, 0)
}

/// `dst = value`
pub(super) fn mov_value(dst: u8, value: i32) -> Insn {
    insn(0xb7, dst, 0, 0, value)
}

/// `dst += value`
pub(super) fn add_value(dst: u8, value: i32) -> Insn {
    insn(0x07, dst, 0, 0, value)
}

/// `dst = dst` as 16 bits in network byte order
pub(super) fn to_be16(dst: u8) -> Insn {
    insn(0xdc, dst, 0, 0, 16)
}

/// `dst = *(width *)(src + offset)`
pub(super) fn load(width: Width, dst: u8, src: u8, offset: i16) -> Insn {
    insn(0x61 | width as u8, dst, src, offset, 0)
}

/// `*(width *)(dst + offset) = src`
pub(super) fn store(width: Width, dst: u8, src: u8, offset: i16) -> Insn {
    insn(0x63 | width as u8, dst, src, offset, 0)
}

/// `*(width *)(dst + offset) = value`
pub(super) fn store_value(width: Width, dst: u8, value: i32, offset: i16) -> Insn {
    insn(0x62 | width as u8, dst, 0, offset, value)
}

/// `dst = map`, which takes two slots
pub(super) fn load_map(dst: u8, map: BorrowedFd<'_>) -> [Insn; 2] {
    const PSEUDO_MAP_FD: u8 = 1;
    [insn(0x18, dst, PSEUDO_MAP_FD, 0, map.as_raw_fd()), 0]
}

/// `if left != value, skip the next` instructions
pub(super) fn skip_if_not(left: u8, value: i32, next: i16) -> Insn {
    insn(0x55, left, 0, next, value)
}

/// `if left > right, skip the next` instructions
pub(super) fn skip_if_greater(left: u8, right: u8, next: i16) -> Insn {
    insn(0x2d, left, right, next, 0)
}

/// `r0 = helper(r1, r2, ...)`
pub(super) fn call(helper: i32) -> Insn {
    insn(0x85, 0, 0, 0, helper)
}

/// `r0 = function(r1, r2, ...)` of the kernel, by the function's id in the kernel's BTF
pub(super) fn call_kernel(btf_id: i32) -> Insn {
    const PSEUDO_KFUNC_CALL: u8 = 2;
    insn(0x85, 0, PSEUDO_KFUNC_CALL, 0, btf_id)
}

/// `return r0`
pub(super) fn exit() -> Insn {
    insn(0x95, 0, 0, 0, 0)
}
