//! How long a change takes from the request to being in force on the poll thread: checked, durable (fsync included), compiled,
//! published. One port group of a hundred gets another VLAN. And how long a link that fails takes to move ports.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use tempfile::TempDir;
use weft_agent::testing::{MemoryHost, PORTGROUPS, UPLINKS, manifest};
use weft_api::TraceRequest;
use weft_model::{Change, PortgroupPatch, VswitchName};

/// The VLANs that the last port group has in turn.
const VLANS: [usize; 2] = [100, 1000];

/// A host of so many ports, and where it keeps its state.
fn host_of(ports: usize) -> (TempDir, MemoryHost) {
    let directory = tempfile::tempdir().expect("a directory");
    let host = MemoryHost::new(directory.path(), ports).expect("a host");
    host.apply(&manifest(ports, VLANS[0]))
        .expect("the manifest is applied");
    (directory, host)
}

fn change(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("one VLAN of");
    group.sample_size(20);
    for ports in [10, 400, 4000] {
        let (_directory, host) = host_of(ports);
        let mut wished = manifest(ports, VLANS[0]);
        let mut vlans = VLANS.into_iter().rev().cycle();
        let mut next = || weft_model::from_text(&vlans.next().unwrap_or_default().to_string());
        group.bench_function(BenchmarkId::new("set", ports), |bencher| {
            bencher.iter(|| {
                let patch = PortgroupPatch {
                    vlan: Some(next().expect("a VLAN")),
                    ..PortgroupPatch::default()
                };
                let name = format!("PG{PORTGROUPS}").parse().expect("a name");
                host.change(&Change::SetPortgroup(name, patch))
                    .expect("it is made")
            });
        });
        group.bench_function(BenchmarkId::new("apply", ports), |bencher| {
            bencher.iter(|| {
                let switches = wished.vswitches.as_mut().expect("switches");
                switches[0].portgroups[PORTGROUPS - 1].vlan = next().expect("a VLAN");
                host.apply(&wished).expect("it is made")
            });
        });
    }
}

/// What an operator or a monitor asks for again and again. The frame that is traced is dropped, so that changes are tried.
fn ask(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("asked of");
    group.sample_size(20);
    for ports in [10, 400, 4000] {
        let (_directory, host) = host_of(ports);
        group.bench_function(BenchmarkId::new("status", ports), |bencher| {
            bencher.iter(|| host.status());
        });
        group.bench_function(BenchmarkId::new("activity", ports), |bencher| {
            bencher.iter(|| host.activity());
        });
        let dst = "02:00:00:00:00:01".parse().expect("an address");
        let request = TraceRequest::new("vm0", dst);
        group.bench_function(BenchmarkId::new("trace", ports), |bencher| {
            bencher.iter(|| host.trace(&request).expect("a port"));
        });
    }
}

/// How long it takes from a link event until every port goes by the other uplink, and the first of them are announced there.
/// Half of the ports fail over and back in turn.
fn fail_over(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("failover of half of");
    group.sample_size(20);
    for ports in [10, 400, 4000] {
        let (_directory, host) = host_of(ports);
        let switch: VswitchName = "vSwitch1".parse().expect("a name");
        for uplink in UPLINKS {
            let uplink = uplink.parse().expect("a name");
            host.change(&Change::AddUplink(switch.clone(), uplink))
                .expect("it is made");
        }
        let teaming = r#"{"teaming": {"upDelay": "0ms"}}"#;
        let patch = weft_model::from_text(teaming).expect("a patch");
        host.change(&Change::SetVswitch(switch, patch))
            .expect("it is made");
        for uplink in UPLINKS {
            host.set_link(uplink, true);
        }
        assert_eq!(host.uplinks().iter().sum::<usize>(), ports);
        host.set_link(UPLINKS[0], false);
        assert_eq!(host.uplinks(), [0, ports]);
        let mut up = true;
        group.bench_function(BenchmarkId::from_parameter(ports), |bencher| {
            bencher.iter(|| {
                host.set_link(UPLINKS[0], up);
                up = !up;
            });
        });
    }
}

criterion_group!(benches, change, ask, fail_over);
criterion_main!(benches);
