//! What a front-end shares, and what it takes away.

use std::process::Command;

use rustix::mm::{MapFlags, ProtFlags, mmap};

use super::driver::{Driver, GUEST, REGION, file};
use crate::vhost::memory::{Memory, MemoryError, RegionSpec};

#[test]
fn addresses_are_found_wholly_or_not_at_all() {
    let memory = Driver::new(8, 0).memory();
    for guest in GUEST {
        let view = memory.view(guest + 5).expect("in the region");
        let start = view.find(guest, REGION).expect("all of it");
        let end = view.find(guest + REGION - 1, 1).expect("the last octet");
        assert_eq!(end.as_ptr() as u64 - start.as_ptr() as u64, REGION - 1);
        for (address, len) in [
            (guest + REGION - 1, 2),
            (guest, REGION + 1),
            (guest - 1, 2),
            (guest + 1, u64::MAX),
            (u64::MAX, 1),
        ] {
            assert!(view.find(address, len).is_none(), "{address:#x} {len}");
        }
        assert!(memory.view(guest - 1).is_none());
        assert!(memory.view(guest + REGION).is_none());
    }
    assert!(memory.view(0).is_none());
    assert!(memory.view(u64::MAX).is_none());
}

#[test]
fn regions_come_and_go() {
    let driver = Driver::new(8, 0);
    let [(first, one), (second, two)] = <[_; 2]>::try_from(driver.specs()).expect("two regions");
    let memory = Memory::default().with(second, &two).expect("it fits");
    let both = memory.with(first, &one).expect("it fits");
    assert!(memory.view(first.guest).is_none() && both.view(first.guest).is_some());
    let rest = both.without(&second).expect("it is there");
    assert!(rest.view(second.guest).is_none() && rest.view(first.guest).is_some());
    // What is there is known by all that describes it, and by its file.
    assert!(both.has(&first, &one) && both.has(&second, &two));
    assert!(!rest.has(&second, &two) && !both.has(&first, &file(REGION)));
    let moved = RegionSpec {
        user: first.user + 1,
        ..first
    };
    assert!(!both.has(&moved, &one));
    let gone = rest.without(&second);
    assert!(matches!(gone, Err(MemoryError::NoRegion(_))), "{gone:?}");
}

#[test]
fn only_memory_is_memory_and_not_without_end() {
    let driver = Driver::new(8, 0);
    let (spec, memfd) = driver.specs().remove(1);
    let refused = |memory: &Memory, spec: RegionSpec, file: &std::fs::File| {
        let error = memory.with(spec, file).expect_err("refused");
        error.to_string()
    };
    // A file whose pages come from elsewhere, as they do from a disk or over a network.
    let elsewhere = std::fs::File::open("/proc/self/exe").expect("this program");
    let small = RegionSpec {
        len: 4096,
        offset: 0,
        ..spec
    };
    assert!(refused(&Memory::default(), small, &elsewhere).contains("is no memory"));
    // A sparse file costs its owner nothing.
    memfd.set_len(6 << 40).expect("a length");
    let region = |n: u64| RegionSpec {
        guest: n << 40,
        user: n << 40,
        len: 1 << 40,
        offset: n << 40,
    };
    let four = (0..4).try_fold(Memory::default(), |memory, n| {
        memory.with(region(n), &memfd)
    });
    let four = four.expect("regions of 1 TiB");
    assert!(refused(&four, region(4), &memfd).contains("more than 4 TiB"));
}

#[test]
fn impossible_regions_are_refused() {
    let driver = Driver::new(8, 0);
    let (spec, memfd) = driver.specs().remove(1);
    let memory = driver.memory();
    let fails = |spec: RegionSpec| {
        memory
            .with(spec, &memfd)
            .expect_err("impossible")
            .to_string()
    };
    let free = RegionSpec {
        guest: 0x4000_0000,
        ..spec
    };
    let cases = [
        (RegionSpec { len: 0, ..free }, "empty"),
        (
            RegionSpec {
                guest: u64::MAX - 10,
                ..free
            },
            "wraps",
        ),
        (
            RegionSpec {
                user: u64::MAX - 10,
                ..free
            },
            "wraps",
        ),
        (
            RegionSpec {
                offset: u64::MAX - 10,
                ..free
            },
            "wraps",
        ),
        (RegionSpec { offset: 1, ..free }, "ends at octet"),
        (
            RegionSpec {
                guest: GUEST[0] + 5,
                ..free
            },
            "two regions",
        ),
        (
            RegionSpec {
                guest: GUEST[0] - 5,
                ..free
            },
            "two regions",
        ),
    ];
    for (spec, expected) in cases {
        let text = fails(spec);
        assert!(text.contains(expected), "{spec:?}: {text}");
    }
    // A pipe, a directory: what cannot be mapped is no memory.
    let device = std::fs::File::open("/").expect("a directory");
    memory.with(free, &device).expect_err("not a file");
    assert!(memory.with(free, &file(REGION)).is_ok());
}

#[test]
fn a_truncated_file_loses_its_own_memory_only() {
    let (victim, other) = (Driver::new(8, 0), Driver::new(8, 0));
    let (lost, kept) = (victim.memory(), other.memory());
    let octet = |memory: &Memory, guest: u64| {
        let view = memory.view(guest).expect("in the region");
        let place = view.find(guest, 1).expect("in the region");
        // SAFETY: mapped for as long as the memory lives.
        unsafe { place.as_ptr().read_volatile() }
    };
    // The used index of a new ring with this base would be 0, so write something first.
    let (before, _) = (octet(&lost, GUEST[1]), octet(&kept, GUEST[1]));
    assert_eq!(before, 0);
    assert!(!lost.is_lost());
    victim.truncate(1);
    assert_eq!(octet(&lost, GUEST[1] + 70_000), 0);
    assert!(lost.is_lost() && !kept.is_lost());
    let is_there = |driver: &Driver, memory: &Memory| {
        let (spec, file) = driver.specs().remove(1);
        memory.has(&spec, &file)
    };
    assert!(is_there(&other, &kept) && !is_there(&victim, &lost));
    // What was mapped anonymously takes writes, and nobody else sees them.
    assert_eq!(octet(&lost, GUEST[1]), 0);
    assert_eq!(octet(&kept, GUEST[1]), 0);
    drop(lost);
    assert!(
        !Driver::new(8, 0).memory().is_lost(),
        "the mark goes with the memory"
    );
}

/// Runs in a process of its own, which it ends.
#[test]
fn a_fault_elsewhere_still_ends_the_process() {
    const CHILD: &str = "WEFT_TEST_FAULT";
    if std::env::var_os(CHILD).is_some() {
        let _memory = Driver::new(8, 0).memory();
        let memfd = file(4096);
        let (read, shared) = (ProtFlags::READ, MapFlags::SHARED);
        // SAFETY: a new mapping at an address that the kernel chooses, of which nobody else knows.
        let start = unsafe { mmap(std::ptr::null_mut(), 4096, read, shared, &memfd, 0) };
        memfd.set_len(0).expect("a length");
        // SAFETY: mapped, and a fault that the handler knows nothing of.
        unsafe { start.expect("a mapping").cast::<u8>().read_volatile() };
        std::process::exit(0);
    }
    let name = "vhost::tests::memory::a_fault_elsewhere_still_ends_the_process";
    let test = std::env::current_exe().expect("this program");
    let status = Command::new(test)
        .args(["--exact", name])
        .env(CHILD, "1")
        .output()
        .expect("it runs")
        .status;
    let signal = std::os::unix::process::ExitStatusExt::signal(&status);
    assert_eq!(signal, Some(libc::SIGBUS), "{status}");
}
