//! The driver's side of a ring, written for the tests: it reads and writes the guest's memory as a file.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

use crate::vhost::memory::{Memory, RegionSpec};
use crate::vhost::ring::Layout;

/// Octets of each of the two regions.
pub(super) const REGION: u64 = 1 << 20;

/// Where the regions are in the guest; between them is nothing.
pub(super) const GUEST: [u64; 2] = [0x10_0000, 0x8000_0000];

/// Where they are in the front-end.
const USER: [u64; 2] = [0x7f00_0000_0000, 0x7f80_0000_0000];

/// Where the parts of the ring are in the first region.
const DESCRIPTORS: u64 = 0;
const AVAILABLE: u64 = 0x8_0000;
const USED: u64 = 0xa_0000;

/// Where indirect tables are in the second region.
pub(super) const TABLES: u64 = 0x8_0000;

/// A descriptor.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Desc {
    pub(super) address: u64,
    pub(super) len: u32,
    pub(super) flags: u16,
    pub(super) next: u16,
}

impl Desc {
    fn octets(self) -> Vec<u8> {
        [
            &self.address.to_le_bytes()[..],
            &self.len.to_le_bytes(),
            &self.flags.to_le_bytes(),
            &self.next.to_le_bytes(),
        ]
        .concat()
    }
}

pub(super) struct Driver {
    files: [File; 2],
    pub(super) size: u16,
    /// The next entry of the available ring, and of the used ring.
    available: u16,
    used: u16,
}

pub(super) fn file(len: u64) -> File {
    let file = memfd_create("weft-test", MemfdFlags::CLOEXEC).expect("a memfd");
    ftruncate(&file, len).expect("a length");
    File::from(file)
}

impl Driver {
    /// A driver whose indices start at `base`, where an earlier back-end left them.
    pub(super) fn new(size: u16, base: u16) -> Self {
        let driver = Self {
            files: [file(2 * REGION), file(REGION)],
            size,
            available: base,
            used: base,
        };
        driver.write(AVAILABLE + 2, &base.to_le_bytes());
        driver.write(USED + 2, &base.to_le_bytes());
        driver
    }

    pub(super) fn specs(&self) -> Vec<(RegionSpec, File)> {
        // The first region is in the second half of its file.
        let offsets = [REGION, 0];
        (0..2)
            .map(|n| {
                let spec = RegionSpec {
                    guest: GUEST[n],
                    len: REGION,
                    user: USER[n],
                    offset: offsets[n],
                };
                (spec, self.files[n].try_clone().expect("a descriptor"))
            })
            .collect()
    }

    pub(super) fn memory(&self) -> Arc<Memory> {
        Arc::new(Memory::new(self.specs()).expect("regions that fit"))
    }

    pub(super) fn layout(&self) -> Layout {
        Layout {
            size: self.size,
            descriptors: USER[0] + DESCRIPTORS,
            available: USER[0] + AVAILABLE,
            used: USER[0] + USED,
        }
    }

    pub(super) fn truncate(&self, region: usize) {
        ftruncate(&self.files[region], 0).expect("a length");
    }

    /// Writes into the first region.
    fn write(&self, at: u64, octets: &[u8]) {
        self.files[0]
            .write_all_at(octets, REGION + at)
            .expect("in the file");
    }

    fn read<const N: usize>(&self, at: u64) -> [u8; N] {
        let mut octets = [0; N];
        self.files[0]
            .read_exact_at(&mut octets, REGION + at)
            .expect("in the file");
        octets
    }

    pub(super) fn write_descriptor(&self, index: u16, desc: Desc) {
        self.write(DESCRIPTORS + 16 * u64::from(index), &desc.octets());
    }

    /// Writes an indirect table of the second region; `at` is its place there.
    pub(super) fn write_table(&self, at: u64, table: &[Desc]) {
        let octets: Vec<u8> = table.iter().flat_map(|desc| desc.octets()).collect();
        self.files[1]
            .write_all_at(&octets, at)
            .expect("in the file");
    }

    /// Makes a chain available.
    pub(super) fn offer(&mut self, head: u16) {
        let slot = u64::from(self.available & (self.size - 1));
        self.write(AVAILABLE + 4 + 2 * slot, &head.to_le_bytes());
        self.available = self.available.wrapping_add(1);
        self.write_available(self.available);
    }

    pub(super) fn write_available(&self, index: u16) {
        self.write(AVAILABLE + 2, &index.to_le_bytes());
    }

    /// What the device gave back and told of: heads and lengths.
    pub(super) fn take_used(&mut self) -> Vec<(u32, u32)> {
        let index = u16::from_le_bytes(self.read(USED + 2));
        let mut all = Vec::new();
        while self.used != index {
            let slot = u64::from(self.used & (self.size - 1));
            let entry: [u8; 8] = self.read(USED + 4 + 8 * slot);
            let [a, b, c, d, e, f, g, h] = entry;
            all.push((
                u32::from_le_bytes([a, b, c, d]),
                u32::from_le_bytes([e, f, g, h]),
            ));
            self.used = self.used.wrapping_add(1);
        }
        all
    }

    /// The driver's flags (1: no interrupts), or the used index at which it wants one.
    pub(super) fn write_flags(&self, flags: u16) {
        self.write(AVAILABLE, &flags.to_le_bytes());
    }

    pub(super) fn write_used_event(&self, index: u16) {
        let at = AVAILABLE + 4 + 2 * u64::from(self.size);
        self.write(at, &index.to_le_bytes());
    }

    /// The device's flags (1: no kicks).
    pub(super) fn device_flags(&self) -> u16 {
        u16::from_le_bytes(self.read(USED))
    }

    /// The available index at which the device wants a kick.
    pub(super) fn available_event(&self) -> u16 {
        u16::from_le_bytes(self.read(USED + 4 + 8 * u64::from(self.size)))
    }

    pub(super) fn available(&self) -> u16 {
        self.available
    }
}
