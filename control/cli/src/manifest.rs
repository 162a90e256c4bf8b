//! Manifests as files, or from standard input.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use weft_api::{LARGEST_BODY, ProblemKind};
use weft_model::Manifest;

use crate::failure::Failure;

/// Which manifest.
#[derive(Args)]
pub(crate) struct ManifestFile {
    /// The manifest, YAML or JSON; - is standard input
    #[arg(short = 'f', long = "file", value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    file: PathBuf,
}

impl ManifestFile {
    /// Reads it.
    ///
    /// # Errors
    /// Exit code 3 for a file that does not exist, 2 for one that is no manifest of a host, with line and column.
    pub(crate) fn read(&self) -> Result<Manifest, Failure> {
        read(&self.file)
    }
}

fn read(path: &Path) -> Result<Manifest, Failure> {
    let name = if path == Path::new("-") {
        "standard input".to_owned()
    } else {
        path.display().to_string()
    };
    let text = text_of(path).map_err(|error| {
        let kind = match error.kind() {
            io::ErrorKind::NotFound => ProblemKind::NotFound,
            io::ErrorKind::PermissionDenied => ProblemKind::NotPermitted,
            io::ErrorKind::InvalidData => ProblemKind::Invalid,
            _ => ProblemKind::Failed,
        };
        Failure::of_kind(kind, format!("{name}: {error}"))
    })?;
    let invalid = |problem: String| Failure::of_kind(ProblemKind::Invalid, problem);
    if text.trim().is_empty() {
        return Err(invalid(format!("{name}: the manifest is empty"))
            .with_hint("see examples/, or 'weft export' for the manifest of a host"));
    }
    let manifest = Manifest::parse(&text).map_err(|mut error| {
        let suggestion = error.suggestion.take();
        let failure = invalid(format!("{name}: {error}"));
        match suggestion {
            Some(near) => failure.with_hint(format!("did you mean {near}?")),
            None => failure,
        }
    })?;
    if !manifest.hosts.is_empty() || !manifest.vms.is_empty() {
        return Err(invalid(format!(
            "{name}: it is a lab's: only labs have hosts and VMs"
        ))
        .with_hint(format!("make it with 'weft lab up {}'", path.display())));
    }
    Ok(manifest)
}

/// The text of a file. One that is longer than the agent takes is refused: of 4,000 ports, it has less than 1 MB.
fn text_of(path: &Path) -> io::Result<String> {
    const LONGEST: u64 = LARGEST_BODY as u64;
    let mut text = String::new();
    let read = if path == Path::new("-") {
        io::stdin()
            .lock()
            .take(LONGEST + 1)
            .read_to_string(&mut text)?
    } else {
        let file = std::fs::File::open(path)?;
        file.take(LONGEST + 1).read_to_string(&mut text)?
    };
    if read as u64 > LONGEST {
        let message = format!("longer than {} MiB", LONGEST >> 20);
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> (u8, String, String) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("host.yaml");
        std::fs::write(&path, text).unwrap();
        match read(&path).unwrap_err() {
            Failure::Wrong { code, text, hint } => (code, text, hint.unwrap_or_default()),
            Failure::NoReader => panic!("not an error"),
        }
    }

    #[test]
    fn an_unknown_field_has_its_place_and_the_nearest_name() {
        let (code, text, hint) = refused("vswitches:\n  - name: vSwitch1\n    portgruops: []\n");
        assert_eq!(code, 2);
        assert!(
            text.ends_with("host.yaml: line 3, column 5: unknown field \"portgruops\""),
            "{text}"
        );
        assert_eq!(hint, "did you mean portgroups?");
    }

    #[test]
    fn what_is_no_manifest_of_a_host_says_so() {
        assert!(refused("").1.ends_with("the manifest is empty"));
        let (code, _, hint) = refused("vms: [{name: MyVM1, portgroup: Lab}]");
        assert_eq!(code, 2);
        assert!(hint.contains("weft lab up"), "{hint}");
        let long = refused(&" ".repeat(LARGEST_BODY + 1));
        assert_eq!(long.0, 2);
        assert!(long.1.ends_with("longer than 16 MiB"), "{}", long.1);
        let Failure::Wrong { code, .. } = read(Path::new("/nowhere")).unwrap_err() else {
            panic!("not an error")
        };
        assert_eq!(code, 3);
    }
}
