//! Receive offloads, which are switched off while a NIC is an uplink and restored afterwards.

use std::io;

use super::device::{Device, text};
use super::error::Failure;

// linux/ethtool.h
const GSTRINGS: u32 = 0x1b;
const GSSET_INFO: u32 = 0x37;
const GFEATURES: u32 = 0x3a;
const SFEATURES: u32 = 0x3b;
const STRINGS_OF_FEATURES: u32 = 4;
const STRING_WORDS: usize = 8;

/// The kernel's names of what a switch must not have: a NIC that takes tags out of frames, or joins several frames to
/// one that is longer than the MTU.
const UNWANTED: [&str; 4] = [
    "rx-vlan-hw-parse",
    "rx-vlan-stag-hw-parse",
    "rx-lro",
    "rx-gro-hw",
];

/// Whether a driver takes tags out of received frames.
pub(super) fn strips_tags(device: &Device) -> bool {
    let features = Features::read(device);
    features.is_ok_and(|features| features.is_active("rx-vlan-hw-parse"))
}

/// Switches the features on again that a port switched off (`Info::changed_features`): for an owner that died.
///
/// # Errors
/// If the interface does not exist or the driver refuses.
pub fn restore(interface: &str, features: &[String]) -> io::Result<()> {
    let device = Device::find(interface).map_err(|Failure { source, .. }| source)?;
    set(&device, features, true)
}

/// The receive offloads of an interface that opening it as an uplink switches off: what an owner notes that wants to be
/// able to [`restore`] them after it was killed.
///
/// # Errors
/// If the interface does not exist or the driver does not say.
pub fn unwanted(interface: &str) -> io::Result<Vec<String>> {
    let device = Device::find(interface).map_err(|Failure { source, .. }| source)?;
    unwanted_of(&device)
}

/// Offloads that are off for as long as this lives.
#[derive(Debug)]
pub(super) struct Offloads {
    device: Device,
    changed: Vec<String>,
}

impl Offloads {
    /// Switches off every unwanted feature that is on and can be changed.
    ///
    /// # Errors
    /// Those of the driver.
    pub(super) fn switch_off(device: Device) -> io::Result<Self> {
        let changed = unwanted_of(&device)?;
        let mut offloads = Self { device, changed };
        // From here on a failure restores, since `offloads` is dropped.
        if !offloads.changed.is_empty() {
            set(&offloads.device, &offloads.changed, false)?;
            let after = Features::read(&offloads.device)?;
            offloads.changed.retain(|name| !after.is_active(name));
        }
        Ok(offloads)
    }

    /// The features that were on before.
    pub(super) fn changed(&self) -> &[String] {
        &self.changed
    }
}

impl Drop for Offloads {
    fn drop(&mut self) {
        // The interface may be gone, and its features with it.
        if let Err(error) = set(&self.device, &self.changed, true) {
            tracing::debug!(%error, features = ?self.changed, "receive offloads were not restored");
        }
    }
}

/// Every unwanted feature that is on and can be changed.
fn unwanted_of(device: &Device) -> io::Result<Vec<String>> {
    let features = match Features::read(device) {
        Ok(features) => features,
        // A driver without features has none that is unwanted.
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Features::default(),
        Err(error) => return Err(error),
    };
    let unwanted = UNWANTED
        .iter()
        .filter(|name| features.is_active(name) && features.is_changeable(name));
    Ok(unwanted.map(|name| (*name).to_owned()).collect())
}

/// Requests features by name to be on or off; unknown names are ignored.
fn set(device: &Device, names: &[String], on: bool) -> io::Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    let features = Features::read(device)?;
    let blocks = features.names.len().div_ceil(32);
    // struct ethtool_sfeatures: command, blocks, then for each block of 32 features: valid, requested.
    let mut words = vec![0; 2 + 2 * blocks];
    (words[0], words[1]) = (SFEATURES, blocks as u32);
    for bit in names.iter().filter_map(|name| features.bit(name)) {
        words[2 + 2 * (bit / 32)] |= 1 << (bit % 32);
        words[3 + 2 * (bit / 32)] |= u32::from(on) << (bit % 32);
    }
    device.ethtool(&mut words)
}

/// The features of an interface.
#[derive(Debug, Default)]
struct Features {
    /// By bit number.
    names: Vec<String>,
    /// For each block of 32 bits: available, requested, active, never changed.
    blocks: Vec<u32>,
}

impl Features {
    fn read(device: &Device) -> io::Result<Self> {
        let count = Self::count(device)?;
        // struct ethtool_gstrings: command, set, count, then the strings.
        let mut strings = vec![0; 3 + count * STRING_WORDS];
        strings[..3].copy_from_slice(&[GSTRINGS, STRINGS_OF_FEATURES, count as u32]);
        device.ethtool(&mut strings)?;
        // struct ethtool_gfeatures: command, blocks, then the blocks.
        let blocks = count.div_ceil(32);
        let mut words = vec![0; 2 + 4 * blocks];
        (words[0], words[1]) = (GFEATURES, blocks as u32);
        device.ethtool(&mut words)?;
        let names = strings[3..].chunks_exact(STRING_WORDS).map(text).collect();
        Ok(Self {
            names,
            blocks: words.split_off(2),
        })
    }

    /// How many features the kernel knows.
    fn count(device: &Device) -> io::Result<usize> {
        // struct ethtool_sset_info: command, reserved, mask of sets (64 bits), then the length of each set asked for.
        let mut words = [GSSET_INFO, 0, 0, 0, 0];
        let mask = (1u64 << STRINGS_OF_FEATURES).to_ne_bytes();
        for (word, bytes) in words[2..4].iter_mut().zip(mask.chunks_exact(4)) {
            *word = u32::from_ne_bytes(bytes.try_into().expect("chunks of four"));
        }
        device.ethtool(&mut words)?;
        // Sixteen times what kernels have today: a bound, should one answer nonsense.
        Ok((words[4] as usize).min(1024))
    }

    fn bit(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|known| known == name)
    }

    fn is_active(&self, name: &str) -> bool {
        self.has(name, 2)
    }

    fn is_changeable(&self, name: &str) -> bool {
        self.has(name, 0) && !self.has(name, 3)
    }

    fn has(&self, name: &str, column: usize) -> bool {
        let has = |bit: usize| {
            let block = self.blocks.get(4 * (bit / 32) + column);
            block.is_some_and(|block| block & 1 << (bit % 32) != 0)
        };
        self.bit(name).is_some_and(has)
    }
}
