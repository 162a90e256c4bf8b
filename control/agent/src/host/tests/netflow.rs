//! NetFlow as it is set, shown, kept and gone back from; and port groups that change together.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use weft_api::{
    ApplyOptions, ApplyResult, Cause, EventKind, PortgroupsRequest, Problem, ProblemKind,
};
use weft_model::{Change, Manifest, ObjectKind, ObjectRef, Outcome, VswitchName};

use super::{Bench, LAB, eventually};
use crate::host::netflow::exporter;

fn switch() -> VswitchName {
    "vSwitch1".parse().unwrap()
}

impl Bench {
    fn set_netflow(&self, patch: &str) -> Result<Outcome, Problem> {
        let patch = weft_model::from_text(patch).unwrap();
        let result = self.change(&Change::SetNetflow(switch(), patch))?;
        Ok(result.outcome)
    }

    fn set_collector(&self, collector: SocketAddr) {
        let patch = format!("collectors: ['{collector}']");
        self.set_netflow(&patch).unwrap();
    }

    /// Has collectors told.
    fn export(&self) {
        exporter::export(self.host.as_ref().unwrap()).unwrap();
    }

    /// What is wrong with NetFlow: the reason, and what to run next.
    fn faults(&self) -> Vec<(String, String)> {
        let problems = self.host().status().problems.into_iter();
        let of_netflow = problems.filter(|finding| finding.cause == Cause::Netflow);
        of_netflow
            .map(|finding| (finding.reason, finding.next))
            .collect()
    }

    fn count(&self, kind: EventKind) -> usize {
        let events = self.host().events().after(0, usize::MAX);
        events.iter().filter(|event| event.kind == kind).count()
    }

    /// Changes port groups together, as a request in YAML says.
    fn set_together(&self, request: &str, options: ApplyOptions) -> Result<ApplyResult, Problem> {
        let request: PortgroupsRequest = weft_model::from_text(request).unwrap();
        self.host()
            .set_portgroups(&request, options, "root", |_| {})
    }
}

#[test]
fn netflow_is_made_shown_and_survives_a_restart() {
    let mut bench = Bench::new(&["p-MyVM1", "p-MyVM2"]);
    bench.add(LAB);
    assert_eq!(bench.host().netflows(), []);
    let made = bench.set_netflow("{collectors: ['10.8.0.9:2055', '10.8.0.8:2055'], version: 9}");
    assert_eq!(made.unwrap(), Outcome::Created);
    let shown = bench.host().netflow(&switch()).unwrap();
    assert_eq!(shown.name, "vSwitch1");
    assert_eq!(shown.status.ports, 0, "nobody has it enabled");
    let collectors = shown.status.collectors.iter();
    let collectors: Vec<_> = collectors.map(|one| one.collector.to_string()).collect();
    assert_eq!(collectors, ["10.8.0.9:2055", "10.8.0.8:2055"]);
    assert_ne!(shown.status.domain, 0);

    let enabled = bench
        .set_together(
            "{portgroups: [Lab], set: {netflow: enabled}}",
            ApplyOptions::default(),
        )
        .unwrap();
    assert_eq!(enabled.ports.len(), 2, "new settings are in force on both");
    assert_eq!(enabled.interrupted, []);
    let shown = bench.host().netflow(&switch()).unwrap();
    assert_eq!(shown.status.ports, 2);

    bench.kill();
    bench.start();
    assert_eq!(bench.host().netflows(), [shown]);
    assert_eq!(bench.host().flows(Some("MyVM1"), 10).unwrap(), []);
    let unknown = bench.host().flows(Some("MyVM"), 10).unwrap_err();
    assert_eq!(unknown.kind, ProblemKind::NotFound);
    assert_eq!(unknown.suggestion.as_deref(), Some("MyVM1"));
}

#[test]
fn what_is_in_use_is_a_conflict_and_a_rollback_brings_it_back() {
    let bench = Bench::new(&["p-MyVM1", "p-MyVM2"]);
    bench.add(LAB);
    let request = "{portgroups: [Lab], set: {netflow: enabled}}";
    let early = bench.set_together(request, ApplyOptions::default());
    let early = early.unwrap_err();
    assert_eq!(early.kind, ProblemKind::Conflict);
    assert_eq!(
        early.remedy.unwrap(),
        "first run 'weft netflow set vSwitch1 --collector ADDR:PORT'"
    );
    bench.set_netflow("collectors: ['10.8.0.9:2055']").unwrap();
    bench
        .set_together(request, ApplyOptions::default())
        .unwrap();
    let del = Change::DelNetflow(switch());
    let used = bench.change(&del).unwrap_err();
    assert_eq!(used.kind, ProblemKind::Conflict);
    assert_eq!(
        *used.object.unwrap(),
        ObjectRef::new(ObjectKind::Netflow, "vSwitch1")
    );
    let invalid = bench
        .set_netflow("{version: 5, sampling: 16384}")
        .unwrap_err();
    assert_eq!(invalid.kind, ProblemKind::Invalid);

    let before = bench.host().export();
    let off = Manifest::parse("{vswitches: [], ports: [], netflow: []}").unwrap();
    let options = ApplyOptions::default();
    bench.host().apply(&off, options, "root", |_| {}).unwrap();
    assert_eq!(bench.host().netflows(), []);
    let back = bench
        .host()
        .rollback(None, options, "root", |_| {})
        .unwrap();
    let mut places = back
        .changes
        .iter()
        .filter_map(|change| change.place.as_deref());
    assert!(places.any(|place| place == "ipfix to 10.8.0.9:2055"));
    assert_eq!(bench.host().export(), before);
}

#[test]
fn port_groups_change_together_or_not_at_all() {
    let bench = Bench::new(&["p-MyVM1", "p-MyVM2"]);
    bench.add(LAB);
    bench.add("vswitches: [{name: vSwitch2, portgroups: [{name: Web}, {name: Mail}]}]");
    let before = bench.host().export();
    let refused = bench
        .set_together(
            "{portgroups: [Web, Nowhere], set: {vlan: 10}}",
            ApplyOptions::default(),
        )
        .unwrap_err();
    assert_eq!(refused.kind, ProblemKind::NotFound);
    assert_eq!(bench.host().export(), before);
    let all = "{portgroups: [Lab, Web, Mail], set: {vlan: 10, security: {promiscuous: accept}}}";
    let dry = ApplyOptions {
        dry_run: true,
        ..ApplyOptions::default()
    };
    let planned = bench.set_together(all, dry).unwrap();
    assert_eq!((planned.dry_run, planned.changes.len()), (true, 3));
    assert_eq!(bench.host().export(), before);
    let generation = bench.host().history().unwrap()[0].generation;
    let made = bench.set_together(all, ApplyOptions::default()).unwrap();
    assert_eq!(made.changes, planned.changes);
    assert_eq!(made.generation, generation + 1, "one change");
    let again = bench.set_together(all, ApplyOptions::default()).unwrap();
    assert_eq!(
        (again.changes.len(), again.generation),
        (0, made.generation)
    );
}

#[test]
fn a_manifest_of_a_lab_is_not_that_of_a_host() {
    let bench = Bench::new(&[]);
    let text = "{vswitches: [{name: vSwitch1}], netflow: [{vswitch: vSwitch1, host: a, collectors: ['10.8.0.9:2055']}]}";
    let manifest = Manifest::parse(text).unwrap();
    let refused = bench
        .host()
        .apply(&manifest, ApplyOptions::default(), "root", |_| {})
        .unwrap_err();
    assert_eq!(refused.kind, ProblemKind::Invalid);
    assert_eq!(
        refused.message,
        "netflow vSwitch1: host: a host has none, only a lab"
    );
}

/// A collector on this machine.
fn listener() -> (UdpSocket, SocketAddr) {
    let listener = UdpSocket::bind("127.0.0.1:0").unwrap();
    let patience = Some(Duration::from_secs(10));
    listener.set_read_timeout(patience).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

#[test]
fn the_end_is_told_however_much_else_there_is_to_say() {
    let bench = Bench::new(&[]);
    let host = bench.host.as_ref().unwrap();
    for _ in 0..10 {
        host.flows_are_news();
    }
    let ending = std::thread::spawn({
        let host = Arc::clone(host);
        move || host.flow_records.end()
    });
    // Whoever waits for room waits for a while; whoever gave up is done.
    bench.export();
    assert!(ending.join().unwrap());
}

#[test]
fn a_collector_that_comes_back_is_told_from_the_same_port() {
    let bench = Bench::new(&["p-MyVM1", "p-MyVM2"]);
    bench.add(LAB);
    bench.export();
    let (listener, address) = listener();
    bench.set_collector(address);
    let mut message = [0; 1_500];
    let (_, before) = listener.recv_from(&mut message).unwrap();
    bench.change(&Change::DelNetflow(switch())).unwrap();
    let told = || bench.host().flow_records.told();
    eventually("nobody is told", || told().is_empty());
    listener.set_nonblocking(true).unwrap();
    while listener.recv_from(&mut message).is_ok() {}
    listener.set_nonblocking(false).unwrap();
    bench.set_collector(address);
    let (_, after) = listener.recv_from(&mut message).unwrap();
    assert_eq!(after, before);
    // Others, more than are remembered, do not take it away while it is told.
    for port in 1..=100 {
        bench
            .set_netflow(&format!("collectors: ['{address}', '127.0.0.1:{port}']"))
            .unwrap();
    }
    listener.set_nonblocking(true).unwrap();
    while listener.recv_from(&mut message).is_ok() {}
    listener.set_nonblocking(false).unwrap();
    bench.set_netflow("active: 30s").unwrap();
    assert_eq!(listener.recv_from(&mut message).unwrap().1, before);
}

/// Counters that are read by address do not go back.
#[test]
fn a_collector_that_is_told_from_elsewhere_goes_on_counting() {
    let bench = Bench::new(&["p-MyVM1", "p-MyVM2"]);
    bench.add(LAB);
    bench.export();
    let (_listener, address) = listener();
    bench.set_collector(address);
    let messages = || {
        let told = bench.host().flow_records.told();
        let collectors = told.get(&switch()).map(|telling| &telling.collectors);
        collectors.map_or(0, |collectors| collectors[0].1.messages)
    };
    // More than are sent when one is told first.
    eventually("it is told twice", || messages() > 3);
    for source in ["127.0.0.2", "none", "127.0.0.2"] {
        let before = messages();
        let source = if source == "none" { "null" } else { source };
        bench.set_netflow(&format!("sourceIp: {source}")).unwrap();
        eventually("it is told from elsewhere", || {
            assert!(messages() >= before);
            messages() > before
        });
    }
}

#[test]
fn a_collector_that_refuses_is_a_finding_and_one_event_until_it_listens() {
    let bench = Bench::new(&["p-MyVM1", "p-MyVM2"]);
    bench.add(LAB);
    bench.export();
    let (gone, address) = listener();
    drop(gone);
    bench.set_collector(address);
    let expected = (
        format!("collector {address}: nobody listens there"),
        "weft netflow show vSwitch1".to_owned(),
    );
    eventually("it is found", || bench.faults() == [expected.clone()]);
    let shown = bench.host().netflow(&switch()).unwrap();
    assert_eq!(
        shown.status.collectors[0].last_error.as_deref(),
        Some("nobody listens there")
    );
    assert_eq!(bench.count(EventKind::CollectorLost), 1);
    assert_eq!(bench.count(EventKind::CollectorFound), 0);
    bench.change(&Change::DelNetflow(switch())).unwrap();
    eventually("nobody is told", || bench.faults().is_empty());
    assert_eq!(bench.count(EventKind::CollectorLost), 1);
}
