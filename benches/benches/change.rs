//! How long a change takes from the request to being in force on the poll thread: checked, durable (fsync included), compiled,
//! published. One port group of a hundred gets another VLAN.

use std::fmt::Write;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use weft_agent::testing::MemoryHost;
use weft_api::TraceRequest;
use weft_model::{Change, Manifest, PortgroupPatch};

const PORTGROUPS: usize = 100;

fn manifest(ports: usize) -> Manifest {
    let mut text = "vswitches:\n  - name: vSwitch1\n    portgroups:\n".to_owned();
    for number in 1..=PORTGROUPS {
        writeln!(text, "      - {{name: PG{number}, vlan: {number}}}").unwrap();
    }
    text += "ports:\n";
    for number in 0..ports {
        let group = number % PORTGROUPS + 1;
        let (high, low) = (number >> 8, number & 0xff);
        writeln!(
            text,
            "  - {{name: vm{number}, portgroup: PG{group}, mac: '02:00:00:00:{high:02x}:{low:02x}', veth: p{number}}}"
        )
        .unwrap();
    }
    Manifest::parse(&text).expect("a manifest")
}

fn change(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("one VLAN of");
    group.sample_size(20);
    for ports in [10, 400, 4000] {
        let directory = tempfile::tempdir().expect("a directory");
        let names: Vec<_> = (0..ports).map(|number| format!("p{number}")).collect();
        let names = names.iter().map(String::as_str);
        let host = MemoryHost::new(directory.path(), names).expect("a host");
        let mut wished = manifest(ports);
        host.apply(&wished).expect("the manifest is applied");
        let mut vlans = [1000, 100].into_iter().cycle();
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
        let directory = tempfile::tempdir().expect("a directory");
        let names: Vec<_> = (0..ports).map(|number| format!("p{number}")).collect();
        let names = names.iter().map(String::as_str);
        let host = MemoryHost::new(directory.path(), names).expect("a host");
        host.apply(&manifest(ports))
            .expect("the manifest is applied");
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

criterion_group!(benches, change, ask);
criterion_main!(benches);
