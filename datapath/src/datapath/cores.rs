//! The cores that poll threads are pinned to.

use rustix::thread::{CpuSet, sched_getaffinity};

/// Refuses cores that poll threads cannot be pinned to.
pub(super) fn check(cores: &[usize]) -> std::io::Result<()> {
    let usable = sched_getaffinity(None)?;
    let refuse = |text| Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, text));
    for (position, &core) in cores.iter().enumerate() {
        if core >= CpuSet::MAX_CPU || !usable.is_set(core) {
            let usable: Vec<String> = (0..CpuSet::MAX_CPU)
                .filter(|&core| usable.is_set(core))
                .map(|core| core.to_string())
                .collect();
            return refuse(format!(
                "core {core} is not one that this process may use: {}",
                usable.join(", ")
            ));
        }
        if cores[..position].contains(&core) {
            return refuse(format!("core {core} is named twice"));
        }
    }
    Ok(())
}
