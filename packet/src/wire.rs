//! Reading and writing the fixed fields of a checked header.
//!
//! Every view has proved in `new_checked` that its fixed header is there. Where the bytes behind a view shrink
//! afterwards all the same, a field reads as zero and a write is lost: no accessor panics.

use std::ops::Range;

#[inline]
pub(crate) fn array<const N: usize>(bytes: &[u8], field: Range<usize>) -> [u8; N] {
    bytes
        .get(field)
        .and_then(|bytes| bytes.try_into().ok())
        .unwrap_or([0; N])
}

#[inline]
pub(crate) fn u8_at(bytes: &[u8], at: usize) -> u8 {
    bytes.get(at).copied().unwrap_or(0)
}

#[inline]
pub(crate) fn u16_at(bytes: &[u8], field: Range<usize>) -> u16 {
    u16::from_be_bytes(array(bytes, field))
}

#[inline]
pub(crate) fn u32_at(bytes: &[u8], field: Range<usize>) -> u32 {
    u32::from_be_bytes(array(bytes, field))
}

#[inline]
pub(crate) fn put(bytes: &mut [u8], field: Range<usize>, value: &[u8]) {
    if let Some(bytes) = bytes.get_mut(field)
        && bytes.len() == value.len()
    {
        bytes.copy_from_slice(value);
    }
}
