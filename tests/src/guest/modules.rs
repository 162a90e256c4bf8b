//! Kernel modules, in an order in which they can be loaded.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A module: its name and the object file.
pub(super) type Module = (String, Vec<u8>);

/// These modules and all that they need, each behind those it needs.
///
/// # Panics
/// If one is not below the directory.
pub(super) fn in_order(directory: &Path, wanted: &[&str]) -> Vec<Module> {
    let mut files = BTreeMap::new();
    collect(directory, &mut files);
    let mut order = Vec::new();
    for name in wanted {
        add(name, &files, &mut order);
    }
    order
}

/// Modules by their names, which have no dashes although the files may.
fn collect(directory: &Path, files: &mut BTreeMap<String, PathBuf>) {
    let entries = std::fs::read_dir(directory);
    let entries = entries.unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            collect(&path, files);
        } else if let Some(name) = path.file_name().and_then(|name| name.to_str())
            && let Some((name, _)) = name.split_once(".ko")
        {
            files.insert(name.replace('-', "_"), path);
        }
    }
}

fn add(name: &str, files: &BTreeMap<String, PathBuf>, order: &mut Vec<Module>) {
    if order.iter().any(|(known, _)| known == name) {
        return;
    }
    let file = files.get(name);
    let file = file.unwrap_or_else(|| panic!("the guests' kernel has no module {name}"));
    let object = read(file);
    for needed in needs(&object) {
        add(&needed, files, order);
    }
    order.push((name.to_owned(), object));
}

/// The object file, uncompressed.
fn read(file: &Path) -> Vec<u8> {
    if file.extension().is_none_or(|extension| extension == "ko") {
        return std::fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }
    let output = Command::new("busybox").arg("xzcat").arg(file).output();
    let output = output.expect("running busybox (install busybox-static)");
    assert!(output.status.success(), "{}: {output:?}", file.display());
    output.stdout
}

/// What a module says that it needs: the package has no `modules.dep`, so it is read from where depmod reads it, the
/// section `.modinfo` of strings `KEY=VALUE` that end with a NUL.
fn needs(object: &[u8]) -> Vec<String> {
    let key = b"\0depends=";
    let start = object.windows(key.len()).position(|part| part == key);
    let start = start.expect("a module says what it needs") + key.len();
    let value = object[start..].split(|octet| *octet == 0).next();
    let value = String::from_utf8_lossy(value.unwrap_or_default());
    let names = value.split(',').filter(|name| !name.is_empty());
    names.map(|name| name.replace('-', "_")).collect()
}
