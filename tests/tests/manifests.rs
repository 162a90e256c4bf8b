//! Whole configurations from files: applied in one step, compared, gone back from.
#![forbid(unsafe_code)]

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use weft_tests::{Answer, Host, Machine, until, weft};

/// A file that goes with its directory.
struct Manifest {
    _directory: tempfile::TempDir,
    path: PathBuf,
}

impl Manifest {
    fn new(text: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("host.yaml");
        std::fs::write(&path, text).expect("the file can be written");
        Self {
            _directory: directory,
            path,
        }
    }

    fn weft(&self, host: &Host, verb: &str, flags: &str) -> Answer {
        let path = self.path.to_str().expect("a path of text");
        let words = [verb, "-f", path].into_iter();
        host.weft_words(words.chain(flags.split_ascii_whitespace()))
    }
}

/// Applies a manifest from standard input.
fn apply_stdin(host: &Host, text: &str) -> Answer {
    let manifest = Manifest::new(text);
    let mut command = Command::new(weft());
    command.env_remove("WEFT_AGENT");
    command.arg("--agent").arg(host.socket());
    command.args(["apply", "-f", "-"]);
    command.stdin(File::open(&manifest.path).expect("the file is there"));
    Answer::of(&mut command)
}

const BEFORE: &str = "
vswitches:
  - name: vSwitch1
    portgroups: [{name: Lab, vlan: 10}, {name: Prod, vlan: 20}]
ports:
  - {name: one, portgroup: Lab, veth: p-one}
  - {name: two, portgroup: Lab, veth: p-two}
";

/// `two` goes to another port group, `three` comes, and `one` goes.
const AFTER: &str = "
vswitches:
  - name: vSwitch1
    portgroups: [{name: Lab, vlan: 10}, {name: Prod, vlan: 20}]
ports:
  - {name: three, portgroup: Prod, veth: p-three}
  - {name: two, portgroup: Prod, veth: p-two}
";

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key]
        .as_str()
        .unwrap_or_else(|| panic!("no {key}: {value}"))
}

#[test]
fn a_manifest_is_planned_applied_and_gone_back_from() {
    let host = Host::new();
    let [one, two, three] = ["one", "two", "three"].map(|name| host.unplugged_vm(name));
    let (before, after) = (Manifest::new(BEFORE), Manifest::new(AFTER));
    before.weft(&host, "apply", "").succeeds();
    assert!(one.reaches(&two));
    let first = host.export();

    let diff = after.weft(&host, "diff", "").succeeds();
    let dry = after.weft(&host, "apply", "--dry-run").succeeds();
    assert_eq!(diff, dry);
    assert_eq!(
        diff,
        "\
ACTION  OBJECT      WHAT
add     port three  to Prod on p-three
change  port two    portgroup Lab -> Prod
remove  port one

1 to be added, 1 to be changed, 1 to be removed; new settings in force on 1 port (two); traffic is interrupted: port one, port two
"
    );
    assert_eq!(host.export(), first, "a plan changes nothing");

    let result = after.weft(&host, "apply", "-o json").json();
    assert_eq!(
        (result["generation"].as_u64(), &result["dryRun"]),
        (Some(2), &false.into())
    );
    let changes = result["changes"].as_array().expect("a list");
    let told: Vec<_> = changes
        .iter()
        .map(|change| (text(&change["object"], "name"), text(change, "outcome")))
        .collect();
    assert_eq!(
        told,
        [("three", "created"), ("two", "changed"), ("one", "deleted")]
    );
    assert!(two.reaches(&three));
    assert!(!one.reaches(&two), "its port is gone");

    let exported = host.export();
    let again = apply_stdin(&host, &exported).succeeds();
    assert!(again.starts_with("unchanged"), "{again}");

    let history = host.shows("history");
    assert_eq!(text(&history[0], "by"), "root");
    assert!(text(&history[0], "change").contains("port two changed: portgroup Lab -> Prod"));
    assert!(text(&history[0], "writtenAt").ends_with('Z'));
    assert_eq!(host.does("export --generation 1"), first);
    assert_eq!(host.export(), exported);

    host.does("rollback");
    assert_eq!(host.export(), first);
    assert!(one.reaches(&two));
    host.does("rollback 2");
    assert_eq!(host.export(), exported);
    host.weft("rollback 99")
        .refused(3, &["generation 99 does not exist", "weft history"]);
}

#[test]
fn a_manifest_that_cannot_be_meant_changes_nothing() {
    let host = Host::with_switch();
    let before = host.export();
    for (manifest, code, words) in [
        (
            "vswitches:\n  - name: vSwitch1\n    portgruops: []\n",
            2,
            &[
                "host.yaml: line 3, column 5",
                "portgruops",
                "did you mean portgroups?",
            ][..],
        ),
        (
            "vswitches: [{name: vSwitch1, portgroups: [{name: Lab, vlan: 4096}]}]",
            2,
            &["line 1, column", "4096"],
        ),
        ("vswitches: [{name: vSwitch1", 2, &["line 1"]),
        ("- vswitches", 2, &["line 1"]),
        ("", 2, &["empty", "weft export"]),
        ("vms: [{name: MyVM1, portgroup: Lab}]", 2, &["weft lab up"]),
        (
            "vswitches: [{name: vSwitch1, host: esxi01}]",
            2,
            &["vSwitch1", "host", "weft lab up"],
        ),
        (
            "ports: [{name: a, portgroup: Lab, veth: p-a}]",
            3,
            &["port a", "port group Lab does not exist"],
        ),
        (
            "vswitches: [{name: vSwitch1, portgroups: [{name: Lab}]}]\nports: [{name: a, portgroup: Lab, veth: p-a}]",
            3,
            &["port a", "interface p-a does not exist"],
        ),
        (
            "vswitches: [{name: vSwitch1}, {name: vSwitch1}]",
            2,
            &["vSwitch1", "twice"],
        ),
    ] {
        Manifest::new(manifest)
            .weft(&host, "apply", "")
            .refused(code, words);
        assert_eq!(host.export(), before, "{manifest}");
    }
    let nowhere = host.weft("apply -f /nowhere.yaml");
    nowhere.refused(3, &["/nowhere.yaml"]);
    host.weft("apply").refused(2, &["--file"]);
    // Text that is no manifest in any way, and one that would take a gigabyte.
    apply_stdin(&host, "\u{0}\u{1}").refused(2, &["standard input"]);
    let bomb = (1..30).fold("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned(), |text, n| {
        let before = format!("*a{},", n - 1).repeat(10);
        text + &format!("a{n}: &a{n} [{before}]\n")
    });
    apply_stdin(&host, &bomb).refused(2, &["standard input"]);
    assert_eq!(host.export(), before);
}

#[test]
fn what_is_not_confirmed_is_taken_back_also_after_kill_9() {
    let host = Host::new();
    let [one, two, _three] = ["one", "two", "three"].map(|name| host.unplugged_vm(name));
    let (before, after) = (Manifest::new(BEFORE), Manifest::new(AFTER));
    before.weft(&host, "apply", "").succeeds();
    let first = host.export();
    let said = after.weft(&host, "apply", "--confirm 2s").succeeds();
    assert!(said.contains("keep it with 'weft confirm'"), "{said}");
    let status = host.does("status");
    assert!(status.contains("waits for its confirmation"), "{status}");
    host.weft("portgroup set Lab --vlan 11")
        .refused(4, &["generation 2", "weft confirm"]);
    host.kill();
    host.start();
    until("it is taken back", || host.export() == first);
    assert!(one.reaches(&two));
    let history = host.shows("history");
    assert_eq!(text(&history[0], "by"), "weft");
    assert!(text(&history[0], "change").contains("generation 2 was not confirmed in time"));

    after.weft(&host, "apply", "--confirm 1h").succeeds();
    host.kill();
    host.start();
    assert_eq!(host.does("confirm"), "generation 4 is confirmed\n");
    assert!(host.does("confirm").contains("nothing waits"));
    assert_ne!(host.export(), first);
    host.does("portgroup set Lab --vlan 11");
}

/// Every file of `examples/`: a lab is made, a host's configuration applied to a host that has its interfaces.
#[test]
fn every_example_can_be_applied() {
    let directory = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples"));
    let files = std::fs::read_dir(directory).expect("the examples");
    let mut files: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    files.retain(|file| {
        file.extension()
            .is_some_and(|extension| extension == "yaml")
    });
    assert!(files.len() >= 3, "{files:?}");
    for file in files {
        let text = std::fs::read_to_string(&file).expect("an example");
        let path = file.to_str().expect("a path of text");
        if text.contains("\nvms:") {
            let machine = Machine::new();
            machine.weft(&format!("lab up {path}")).succeeds();
            machine.weft("lab down").succeeds();
            machine.is_clean(path);
        } else {
            apply_example(path, &text);
        }
    }
}

#[test]
fn what_runs_in_a_lab_is_asked_to_end() {
    let machine = Machine::new();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/mirror.yaml");
    machine.weft(&format!("lab up {path}")).succeeds();
    let tidies = "trap 'echo tidied; exit 0' TERM; echo ready; while :; do sleep .1; done";
    let mut polite = machine.starts(&format!("lab exec MyVM1 -- sh -c \"{tidies}\""));
    polite.reaches("ready");
    let mut deaf =
        machine.starts("lab exec MyVM2 -- sh -c \"trap '' TERM; echo ready; sleep 1000\"");
    deaf.reaches("ready");
    machine.weft("lab down").succeeds();
    let (code, said) = polite.ends();
    assert!(
        code == Some(0) && said.contains("tidied"),
        "{code:?}: {said}"
    );
    assert_eq!(deaf.ends().0, None, "it is killed");
    machine.is_clean("after the lab");
}

fn apply_example(path: &str, text: &str) {
    let host = Host::new();
    // What follows `veth:` and `uplinks:`.
    let interfaces = text.lines().filter_map(|line| {
        let (_, rest) = line
            .split_once("veth: ")
            .or_else(|| line.split_once("uplinks: ["))?;
        rest.split([',', '}', ']'])
            .next()
            .filter(|name| !name.is_empty())
    });
    let worlds: Vec<_> = interfaces.map(|name| host.world(name)).collect();
    assert!(!worlds.is_empty(), "{path}");
    host.does(&format!("diff -f {path}"));
    host.does(&format!("apply -f {path}"));
    let again = host.does(&format!("apply -f {path}"));
    assert!(again.starts_with("unchanged"), "{path}: {again}");
    let exported = host.export();
    assert!(
        apply_stdin(&host, &exported)
            .succeeds()
            .starts_with("unchanged")
    );
    host.does("rollback 0");
}
