//! A strict reader of version 5 (Cisco, "NetFlow Export Datagram Format").

/// A message whose form is right.
#[derive(Debug)]
pub(crate) struct Decoded {
    pub(crate) uptime: u32,
    pub(crate) unix_ms: u64,
    pub(crate) engine: u8,
    /// Mode and interval.
    pub(crate) sampling: (u16, u16),
    pub(crate) records: Vec<Record>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) source: [u8; 4],
    pub(crate) destination: [u8; 4],
    pub(crate) input: u16,
    pub(crate) output: u16,
    pub(crate) packets: u32,
    pub(crate) octets: u32,
    pub(crate) first: u32,
    pub(crate) last: u32,
    pub(crate) src_port: u16,
    pub(crate) dst_port: u16,
    pub(crate) tcp_flags: u8,
    pub(crate) protocol: u8,
    pub(crate) tos: u8,
}

/// `sequence`: records so far, which it moves on.
pub(crate) fn decode(message: &[u8], sequence: &mut u32) -> Result<Decoded, String> {
    let (header, records) = message.split_at_checked(24).ok_or("no header")?;
    let u16_at = |bytes: &[u8], at| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
    let u32_at =
        |bytes: &[u8], at| u32::from(u16_at(bytes, at)) << 16 | u32::from(u16_at(bytes, at + 2));
    let count = u16_at(header, 2);
    let found = u32_at(header, 16);
    if u16_at(header, 0) != 5 {
        return Err(format!("version {}", u16_at(header, 0)));
    }
    if !(1..=30).contains(&count) || records.len() != 48 * usize::from(count) {
        return Err(format!("{count} records in {} octets", records.len()));
    }
    if found != *sequence {
        return Err(format!("sequence {found} in place of {sequence}"));
    }
    *sequence = sequence.wrapping_add(count.into());
    let nanoseconds = u32_at(header, 12);
    if nanoseconds >= 1_000_000_000 {
        return Err(format!("{nanoseconds} ns"));
    }
    let records = records.chunks(48).map(|record| {
        // Next hop, AS numbers, prefix lengths and padding, which a switch knows nothing of.
        let unknown = [&record[8..12], &record[36..37], &record[40..48]];
        if unknown.concat().iter().any(|&octet| octet != 0) {
            return Err(format!("octets that are no zeros: {unknown:?}"));
        }
        Ok(Record {
            source: [record[0], record[1], record[2], record[3]],
            destination: [record[4], record[5], record[6], record[7]],
            input: u16_at(record, 12),
            output: u16_at(record, 14),
            packets: u32_at(record, 16),
            octets: u32_at(record, 20),
            first: u32_at(record, 24),
            last: u32_at(record, 28),
            src_port: u16_at(record, 32),
            dst_port: u16_at(record, 34),
            tcp_flags: record[37],
            protocol: record[38],
            tos: record[39],
        })
    });
    Ok(Decoded {
        uptime: u32_at(header, 4),
        unix_ms: u64::from(u32_at(header, 8)) * 1_000 + u64::from(nanoseconds / 1_000_000),
        engine: header[21],
        sampling: (u16_at(header, 22) >> 14, u16_at(header, 22) & 0x3fff),
        records: records.collect::<Result<_, _>>()?,
    })
}
