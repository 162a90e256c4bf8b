use weft_model::{Change, VswitchSpec};

use super::generation::{undamaged, understand};
use super::*;

/// A configuration with `switches` switches.
fn intent(switches: usize) -> Intent {
    (0..switches).fold(Intent::default(), |intent, number| {
        let spec = VswitchSpec::new(format!("vSwitch{number}").parse().unwrap());
        intent.apply(&Change::AddVswitch(spec)).unwrap().0
    })
}

impl Store {
    fn save(&mut self, intent: &Intent, note: Note) -> Result<(), AgentError> {
        let staged = self.stage(intent, note)?;
        self.commit(staged)
    }
}

fn note(change: &str) -> Note {
    Note {
        by: "root".to_owned(),
        change: change.to_owned(),
        confirm: None,
    }
}

fn open(directory: &Path) -> (Store, Loaded) {
    Store::open(directory).unwrap()
}

#[test]
fn a_state_keeps_its_identity_and_no_other_has_it() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (mut store, _) = open(one.path());
    store.save(&intent(1), note("test")).unwrap();
    let identity = store.identity().clone();
    assert_ne!(*open(other.path()).0.identity(), identity);
    drop(store);
    assert_eq!(*open(one.path()).0.identity(), identity);
    // A damaged one is another, which stays.
    fs::write(one.path().join("id"), "").unwrap();
    let (mut store, _) = open(one.path());
    let another = store.identity().clone();
    assert_ne!(another, identity);
    store.save(&intent(2), note("test")).unwrap();
    drop(store);
    assert_eq!(*open(one.path()).0.identity(), another);
}

#[test]
fn what_was_saved_is_loaded() {
    let directory = tempfile::tempdir().unwrap();
    let (mut store, loaded) = open(directory.path());
    assert_eq!(loaded.intent, Intent::default());
    for switches in 1..=60 {
        store.save(&intent(switches), note("test")).unwrap();
    }
    drop(store);
    let (_store, loaded) = open(directory.path());
    assert_eq!(loaded.intent, intent(60));
    assert!(loaded.damaged.is_empty());
    assert_eq!(
        generations(directory.path()).unwrap(),
        (11..=60).collect::<Vec<_>>()
    );
}

#[test]
fn a_newest_generation_truncated_anywhere_falls_back_to_the_one_before() {
    let directory = tempfile::tempdir().unwrap();
    let (mut store, _) = open(directory.path());
    store.save(&intent(1), note("first")).unwrap();
    store.save(&intent(2), note("second")).unwrap();
    let newest = store.path(2);
    drop(store);
    let whole = fs::read(&newest).unwrap();
    for length in 0..whole.len() {
        fs::write(&newest, &whole[..length]).unwrap();
        let (_store, loaded) = open(directory.path());
        assert_eq!(loaded.intent, intent(1), "truncated to {length}");
        assert_eq!(loaded.damaged.len(), 1);
        assert!(
            loaded.damaged[0].contains("generation-0000000002.json"),
            "{:?}",
            loaded.damaged
        );
    }
}

#[test]
fn a_flipped_bit_anywhere_is_noticed() {
    let generation = Generation::new(0, "root".to_owned(), String::new(), intent(2));
    let whole = encode(&generation);
    assert!(understand(undamaged(&whole).unwrap()).is_ok());
    for position in 0..whole.len() {
        for bit in 0..8 {
            let mut damaged = whole.clone();
            damaged[position] ^= 1 << bit;
            assert!(
                undamaged(&damaged).is_err(),
                "bit {bit} of octet {position}"
            );
        }
    }
}

#[test]
fn a_generation_after_a_damaged_one_does_not_overwrite_it() {
    let directory = tempfile::tempdir().unwrap();
    let (mut store, _) = open(directory.path());
    store.save(&intent(1), note("first")).unwrap();
    store.save(&intent(2), note("second")).unwrap();
    fs::write(store.path(2), "").unwrap();
    drop(store);
    let (mut store, _) = open(directory.path());
    store.save(&intent(3), note("third")).unwrap();
    assert_eq!(generations(directory.path()).unwrap(), [1, 2, 3]);
}

#[test]
fn a_state_of_which_nothing_is_readable_is_never_taken_for_an_empty_one() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(
        directory.path().join("generation-0000000007.json"),
        "garbage",
    )
    .unwrap();
    let error = Store::open(directory.path()).err().unwrap();
    assert!(matches!(error, AgentError::StateLost { .. }), "{error}");
    assert!(error.to_string().contains("backup"), "{error}");
}

#[test]
fn a_whole_generation_of_another_version_is_never_passed_over() {
    let directory = tempfile::tempdir().unwrap();
    let (mut store, _) = open(directory.path());
    store.save(&intent(1), note("first")).unwrap();
    store.save(&intent(2), note("second")).unwrap();
    let newest = store.path(2);
    drop(store);
    let body = fs::read_to_string(&newest).unwrap();
    let body = body.lines().next().unwrap();
    for (text, unknown) in [
        (
            body.replace("\"format\":1", "\"format\":2"),
            "format 2, not 1",
        ),
        (
            body.replace("\"writtenAt\"", "\"quota\":1,\"writtenAt\""),
            "unknown field `quota`",
        ),
    ] {
        let sum = crc32fast::hash(text.as_bytes());
        fs::write(&newest, format!("{text}\n{{\"crc32\":\"{sum:08x}\"}}\n")).unwrap();
        let error = Store::open(directory.path()).err().unwrap().to_string();
        assert!(
            error.contains("generation-0000000002.json") && error.contains(unknown),
            "{error}"
        );
    }
}

#[test]
fn a_refused_generation_is_not_loaded_at_the_next_start() {
    let directory = tempfile::tempdir().unwrap();
    let (mut store, _) = open(directory.path());
    store.save(&intent(1), note("first")).unwrap();
    store.sync_directory = |_| Err(io::Error::from(io::ErrorKind::StorageFull));
    store.save(&intent(2), note("second")).unwrap_err();
    drop(store);
    let (mut store, loaded) = open(directory.path());
    assert_eq!(loaded.intent, intent(1));
    assert!(loaded.damaged.is_empty());
    store.save(&intent(3), note("third")).unwrap();
    drop(store);
    assert_eq!(open(directory.path()).1.intent, intent(3));
}

#[test]
fn a_second_agent_is_refused_with_the_process_of_the_first() {
    let directory = tempfile::tempdir().unwrap();
    let (_store, _) = open(directory.path());
    let error = Store::open(directory.path()).err().unwrap().to_string();
    assert!(
        error.contains(&format!("process {}", std::process::id())),
        "{error}"
    );
}

#[test]
fn a_full_disk_leaves_the_state_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let mounted = Tmpfs::mount(directory.path(), 64 * 1024);
    let (mut store, _) = open(directory.path());
    store.save(&intent(1), note("first")).unwrap();
    fs::write(directory.path().join("filler"), vec![0; 1 << 20]).unwrap_err();
    let error = store.save(&intent(500), note("second")).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("generation-0000000002.json") && text.contains("make room"),
        "{text}"
    );
    assert!(!store.path(2).with_extension("tmp").exists());
    fs::remove_file(directory.path().join("filler")).unwrap();
    store.save(&intent(3), note("third")).unwrap();
    drop(store);
    assert_eq!(open(directory.path()).1.intent, intent(3));
    drop(mounted);
}

/// A file system of a few pages, which needs root as the packet path does.
struct Tmpfs<'a>(&'a Path);

impl<'a> Tmpfs<'a> {
    fn mount(path: &'a Path, octets: usize) -> Self {
        let done = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={octets}"), "tmpfs"])
            .arg(path)
            .status();
        assert!(done.unwrap().success(), "mounting a tmpfs needs root");
        Self(path)
    }
}

impl Drop for Tmpfs<'_> {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount")
            .arg("-l")
            .arg(self.0)
            .status();
    }
}

#[test]
fn what_is_staged_and_not_committed_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (mut store, _) = open(directory.path());
    store.save(&intent(1), note("first")).unwrap();
    let staged = store.stage(&intent(2), note("second")).unwrap();
    drop(staged);
    assert!(!store.path(2).with_extension("tmp").exists());
    drop(store);
    assert_eq!(open(directory.path()).1.intent, intent(1));
}

#[test]
fn what_follows_an_unconfirmed_generation_goes_back_behind_it() {
    let directory = tempfile::tempdir().unwrap();
    let (mut store, _) = open(directory.path());
    store.save(&intent(1), note("first")).unwrap();
    let waits = |change: &str| Note {
        confirm: Some(Duration::from_secs(60)),
        ..note(change)
    };
    store.save(&intent(2), waits("second")).unwrap();
    store.save(&intent(3), waits("third")).unwrap();
    assert_eq!(store.unconfirmed().unwrap().revert_to, 1);
}
