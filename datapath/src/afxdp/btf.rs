//! The kernel's own type information (BTF), read for one purpose: the number of a kernel function.
//!
//! Format: kernel documentation, "BPF Type Format (BTF)". The parser is bounded by the length of its input and takes
//! nothing in it on trust.

const MAGIC: u16 = 0xeb9f;
const KIND_FUNC: u32 = 12;

/// Why a function's number could not be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BtfError {
    #[error("not BTF of this machine's byte order")]
    Header,
    #[error("a section reaches beyond the end")]
    Truncated,
    #[error("unknown kind of type {0}")]
    Kind(u32),
    #[error("no function of that name")]
    NotFound,
}

/// The BTF id of the function `name`, which is what a call to it names.
///
/// # Errors
/// [`BtfError`], if `btf` is malformed or has no such function.
pub(super) fn function_id(btf: &[u8], name: &str) -> Result<u32, BtfError> {
    let (mut types, strings) = sections(btf)?;
    // Ids count from 1: 0 is void, which is not listed.
    for id in 1.. {
        if types.is_empty() {
            break;
        }
        let (name_offset, info) = (word(types, 0)?, word(types, 4)?);
        let kind = info >> 24 & 0x1f;
        if kind == KIND_FUNC && string(strings, name_offset) == Some(name.as_bytes()) {
            return Ok(id);
        }
        let len = 12 + details(kind, info & 0xffff)?;
        types = types.get(len..).ok_or(BtfError::Truncated)?;
    }
    Err(BtfError::NotFound)
}

/// Bytes that follow the common 12 of a type of this kind with `count` members.
fn details(kind: u32, count: u32) -> Result<usize, BtfError> {
    let count = count as usize;
    Ok(match kind {
        // pointer, forward, typedef, volatile, const, restrict, function, float, type tag
        2 | 7..=12 | 16 | 18 => 0,
        // integer, variable, declaration tag
        1 | 14 | 17 => 4,
        // array
        3 => 12,
        // structure, union, data section, 64-bit enumeration
        4 | 5 | 15 | 19 => 12 * count,
        // enumeration, function prototype
        6 | 13 => 8 * count,
        _ => return Err(BtfError::Kind(kind)),
    })
}

/// The sections of types and of strings.
fn sections(btf: &[u8]) -> Result<(&[u8], &[u8]), BtfError> {
    let magic = btf.first_chunk().map(|bytes| u16::from_ne_bytes(*bytes));
    if magic != Some(MAGIC) {
        return Err(BtfError::Header);
    }
    let body = btf
        .get(word(btf, 4)? as usize..)
        .ok_or(BtfError::Truncated)?;
    let section = |at| {
        let (offset, len) = (word(btf, at)? as usize, word(btf, at + 4)? as usize);
        let end = offset.checked_add(len).ok_or(BtfError::Truncated)?;
        body.get(offset..end).ok_or(BtfError::Truncated)
    };
    Ok((section(8)?, section(16)?))
}

/// The string at `offset`, without its terminating zero.
fn string(strings: &[u8], offset: u32) -> Option<&[u8]> {
    strings
        .get(offset as usize..)?
        .split(|byte| *byte == 0)
        .next()
}

fn word(bytes: &[u8], at: usize) -> Result<u32, BtfError> {
    let bytes = bytes
        .get(at..)
        .and_then(|rest| rest.first_chunk())
        .ok_or(BtfError::Truncated)?;
    Ok(u32::from_ne_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STRINGS: &[u8] = b"\0int\0pair\0target\0other\0";

    /// An integer, a structure of two members, a prototype of one parameter and two functions: ids 1 to 5.
    fn sample() -> Vec<u8> {
        let info = |kind: u32, count: u32| kind << 24 | count;
        let types: Vec<u32> = [
            vec![1, info(1, 0), 4, 32],
            vec![5, info(4, 2), 8, 0, 1, 0, 0, 1, 32],
            vec![0, info(13, 1), 1, 0, 1],
            vec![17, info(12, 1), 3],
            vec![10, info(12, 1), 3],
        ]
        .concat();
        let types_len = types.len() as u32 * 4;
        let mut btf = Vec::new();
        btf.extend(MAGIC.to_ne_bytes());
        btf.extend([1, 0]);
        for word in [24, 0, types_len, types_len, STRINGS.len() as u32]
            .into_iter()
            .chain(types)
        {
            btf.extend(word.to_ne_bytes());
        }
        btf.extend(STRINGS);
        btf
    }

    #[test]
    fn finds_functions_by_name() {
        assert_eq!(function_id(&sample(), "other"), Ok(4));
        assert_eq!(function_id(&sample(), "target"), Ok(5));
        assert_eq!(
            function_id(&sample(), "int"),
            Err(BtfError::NotFound),
            "not a function"
        );
        assert_eq!(function_id(&sample(), "targe"), Err(BtfError::NotFound));
    }

    #[test]
    fn refuses_what_is_not_btf() {
        assert_eq!(function_id(&[], "other"), Err(BtfError::Header));
        assert_eq!(function_id(b"\x7fELF", "other"), Err(BtfError::Header));
        let mut unknown = sample();
        unknown[24 + 7] = 31;
        assert_eq!(function_id(&unknown, "other"), Err(BtfError::Kind(31)));
    }

    #[test]
    fn every_truncation_is_an_error() {
        let btf = sample();
        for len in 0..btf.len() {
            assert!(function_id(&btf[..len], "other").is_err(), "{len} bytes");
        }
    }

    #[test]
    fn reads_the_running_kernel() {
        let btf = std::fs::read("/sys/kernel/btf/vmlinux").unwrap();
        assert!(function_id(&btf, "bpf_xdp_metadata_rx_timestamp").is_ok());
        assert_eq!(
            function_id(&btf, "weft_no_such_function"),
            Err(BtfError::NotFound)
        );
    }

    proptest! {
        #[test]
        fn survives_any_damage(damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
            let mut btf = sample();
            for (at, value) in damage {
                let at = at.index(btf.len());
                btf[at] = value;
            }
            let _ = function_id(&btf, "other");
        }
    }
}
