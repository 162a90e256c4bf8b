//! Receive offloads of uplinks that are off while the agent holds them, noted on disk, so that they are restored also
//! by the successor of an agent that was killed.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use weft_datapath::PortId;
use weft_datapath::afxdp;
use weft_model::InterfaceName;

use crate::store::write_durably;

/// The note's name in the state directory.
const FILE: &str = "offloads.json";

/// Features by interface, as they stand in the file.
type Note = BTreeMap<InterfaceName, Vec<String>>;

/// What is to be restored, and where it is noted.
pub(crate) struct Offloads {
    path: PathBuf,
    held: Mutex<BTreeMap<PortId, (InterfaceName, Vec<String>)>>,
}

impl Offloads {
    /// Restores what a killed agent left switched off, and starts with nothing held.
    pub(crate) fn recover(directory: &Path) -> Self {
        let path = directory.join(FILE);
        for (interface, features) in read(&path) {
            match afxdp::restore(interface.as_str(), &features) {
                Ok(()) => tracing::info!(%interface, ?features, "receive offloads are restored"),
                // The interface may be gone since, and its features with it.
                Err(error) => {
                    tracing::warn!(%interface, %error, "receive offloads are not restored");
                }
            }
        }
        let offloads = Self {
            path,
            held: Mutex::default(),
        };
        offloads.write(&BTreeMap::new());
        offloads
    }

    /// Notes what opening an uplink is about to switch off.
    pub(crate) fn hold(&self, id: PortId, interface: &InterfaceName) {
        // An interface that does not say cannot be opened either, which says why.
        let features = afxdp::unwanted(interface.as_str()).unwrap_or_default();
        if !features.is_empty() {
            let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            held.insert(id, (interface.clone(), features));
            self.write(&held);
        }
    }

    /// Forgets a port whose engine is closed and has restored them.
    pub(crate) fn release(&self, id: PortId) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.remove(&id).is_some() {
            self.write(&held);
        }
    }

    fn write(&self, held: &BTreeMap<PortId, (InterfaceName, Vec<String>)>) {
        let note: Note = held.values().cloned().collect();
        let written = if note.is_empty() {
            match fs::remove_file(&self.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            }
        } else {
            serde_json::to_vec(&note)
                .map_err(io::Error::from)
                .and_then(|text| write_durably(&self.path, &text))
        };
        if let Err(error) = written {
            tracing::warn!(path = %self.path.display(), %error, "receive offloads are not noted: should the agent be killed, they stay off");
        }
    }
}

impl Drop for Offloads {
    /// The engines are closed and have restored everything.
    fn drop(&mut self) {
        self.write(&BTreeMap::new());
    }
}

/// What the file holds; a damaged one holds nothing.
fn read(path: &Path) -> Note {
    match fs::read(path).and_then(|text| serde_json::from_slice(&text).map_err(io::Error::from)) {
        Ok(note) => note,
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::warn!(path = %path.display(), %error, "the note of receive offloads is not readable");
            }
            Note::new()
        }
    }
}
