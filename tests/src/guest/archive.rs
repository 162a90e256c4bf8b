//! The format of initial RAM disks: cpio, "new" ASCII variant without checksums (Linux,
//! Documentation/driver-api/early-userspace/buffer-format.rst).

use std::collections::BTreeSet;
use std::path::Path;

const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;

/// An archive that is being written.
#[derive(Default)]
pub(super) struct Archive {
    octets: Vec<u8>,
    entries: u32,
    directories: BTreeSet<String>,
}

impl Archive {
    /// Adds a directory and those above it.
    pub(super) fn directory(&mut self, path: &str) {
        let path = path.trim_start_matches('/');
        if path.is_empty() || self.directories.contains(path) {
            return;
        }
        self.directory(parent(path));
        self.directories.insert(path.to_owned());
        self.entry(path, DIRECTORY, &[]);
    }

    /// Adds a file, which may be executed, and the directories above it.
    pub(super) fn file(&mut self, path: &str, content: &[u8]) {
        let path = path.trim_start_matches('/');
        self.directory(parent(path));
        self.entry(path, PROGRAM, content);
    }

    /// The whole archive.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[]);
        self.octets
    }

    fn entry(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.entries += 1;
        let size = |octets: usize| u32::try_from(octets).expect("less than 4 GiB");
        // Inode, mode, owner, group, links, time, size, four numbers of devices, length of the name with its NUL, checksum.
        let numbers = [
            self.entries,
            mode,
            0,
            0,
            1,
            0,
            size(content.len()),
            0,
            0,
            0,
            0,
            size(path.len() + 1),
            0,
        ];
        self.octets.extend(b"070701");
        for number in numbers {
            self.octets.extend(format!("{number:08x}").bytes());
        }
        self.octets.extend(path.bytes().chain([0]));
        self.align();
        self.octets.extend(content);
        self.align();
    }

    /// Names and contents begin at multiples of four.
    fn align(&mut self) {
        self.octets.resize(self.octets.len().next_multiple_of(4), 0);
    }
}

fn parent(path: &str) -> &str {
    let parent = Path::new(path).parent().and_then(Path::to_str);
    parent.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_comes_once_and_before_what_is_in_it() {
        let mut archive = Archive::default();
        archive.file("/usr/bin/one", b"abcde");
        archive.file("/usr/bin/two", b"");
        let octets = archive.finish();
        let text = String::from_utf8(octets.clone()).unwrap();
        let names: Vec<_> = text
            .split("070701")
            .skip(1)
            .map(|entry| entry[104..].split('\0').next().unwrap())
            .collect();
        assert_eq!(
            names,
            ["usr", "usr/bin", "usr/bin/one", "usr/bin/two", "TRAILER!!!"]
        );
        assert_eq!(octets.len() % 4, 0);
        let next = ["one\0\0\0abcde\0\0\0", "070701"].concat();
        assert!(text.contains(&next), "{text:?}");
    }
}
