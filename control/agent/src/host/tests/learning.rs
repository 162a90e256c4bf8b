//! Ports that learn: what is shown of it, what ends it, and what is wrong with it.

use weft_api::{AddressSource, Cause, PortLearning};
use weft_model::{Change, PortgroupPatch};
use weft_packet::MacAddr;

use super::{Bench, LAB, eventually, frame};
use crate::metrics::Format;

impl Bench {
    /// Changes the port group of [`LAB`].
    fn set_lab(&self, patch: &str) {
        let patch: PortgroupPatch = weft_model::from_text(patch).unwrap();
        let change = Change::SetPortgroup("Lab".parse().unwrap(), patch);
        self.change(&change).unwrap();
    }

    /// The port sends from these addresses until that is how many it has learned.
    fn learns(&self, port: &str, sources: &[u8], count: usize) {
        eventually("the addresses are learned", || {
            for &source in sources {
                self.memory.send(&format!("p-{port}"), &frame(0xff, source));
            }
            self.learning(port)
                .is_some_and(|learning| learning.addresses == count)
        });
    }

    fn learning(&self, port: &str) -> Option<PortLearning> {
        self.port(port).status.learning
    }

    fn learned_sample(&self, port: &str) -> Option<String> {
        let text = self.host().scrape().text(Format::Prometheus);
        let mut samples = text
            .lines()
            .filter(|line| line.starts_with("weft_port_learned_addresses{"));
        let sample = samples.find(|line| line.contains(&format!("port=\"{port}\"")))?;
        Some(sample.rsplit(' ').next()?.to_owned())
    }
}

#[test]
fn what_a_port_learns_is_shown_and_nothing_is_adopted() {
    let bench = Bench::new(&["p-MyVM1", "p-MyVM2"]);
    bench.add(LAB);
    assert_eq!(bench.learning("MyVM1"), None);
    assert_eq!(bench.learned_sample("MyVM1"), None);
    bench.set_lab("macLearning: {enabled: true, limit: 100}");
    bench.learns("MyVM1", &[7, 8, 1], 2);
    let limit = 100;
    assert_eq!(
        bench.learning("MyVM1"),
        Some(PortLearning {
            addresses: 2,
            limit
        })
    );
    assert_eq!(
        bench.learning("MyVM2"),
        Some(PortLearning {
            addresses: 0,
            limit
        })
    );
    assert_eq!(bench.learned_sample("MyVM1").as_deref(), Some("2.0"));
    let entries = bench.host().fdb(None).unwrap();
    let learned = entries
        .iter()
        .filter(|entry| entry.source == AddressSource::Learned);
    let learned: Vec<_> = learned
        .map(|entry| (entry.mac, entry.port.to_string()))
        .collect();
    let mac = |last| MacAddr::new([2, 0, 0, 0, 0, last]);
    let behind = "MyVM1".to_owned();
    assert_eq!(learned, [(mac(7), behind.clone()), (mac(8), behind)]);
    // As it would be where MAC changes are accepted and the port did not learn.
    let name = "MyVM1".parse().unwrap();
    let port = bench.host().state().engines[&weft_model::PortKey::Port(name)].id;
    let (mac, vlan) = (mac(9), 0);
    bench
        .host()
        .event(&weft_datapath::Event::SourceSeen { port, mac, vlan });
    assert_eq!(bench.port("MyVM1").status.addresses.len(), 1);
    assert_eq!(bench.host().status().problems, []);
    bench.set_lab("macLearning: {limit: 1}");
    let at_limit = PortLearning {
        addresses: 1,
        limit: 1,
    };
    assert_eq!(bench.learning("MyVM1"), Some(at_limit));
    bench.set_lab("macLearning: {enabled: false}");
    assert_eq!(bench.learning("MyVM1"), None);
    let entries = bench.host().fdb(None).unwrap();
    assert!(
        entries
            .iter()
            .all(|entry| entry.source != AddressSource::Learned)
    );
}

#[test]
fn a_port_that_is_to_learn_and_cannot_is_found() {
    let bench = Bench::new(&["p-MyVM1", "p-MyVM2"]);
    bench.add(LAB);
    bench.set_lab("macLearning: {enabled: true, limit: 2, beyond: drop}");
    let found = || {
        let findings = bench.host().status().problems;
        let findings = findings
            .into_iter()
            .filter(|finding| finding.cause == Cause::Warning);
        findings
            .map(|finding| (finding.object.to_string(), finding.reason, finding.next))
            .collect::<Vec<_>>()
    };
    bench.learns("MyVM1", &[7], 1);
    assert_eq!(found(), []);
    bench.learns("MyVM1", &[7, 8, 9], 2);
    let [(object, reason, next)] = &found()[..] else {
        panic!("not one: {:?}", found())
    };
    assert_eq!(object, "port MyVM1");
    assert!(
        reason.contains("2 addresses, as many as it may"),
        "{reason}"
    );
    assert!(next.contains("weft fdb list"), "{next}");
    bench.set_lab("security: {forgedTransmits: reject}");
    let [(object, reason, next)] = &found()[..] else {
        panic!("not one: {:?}", found())
    };
    assert_eq!(object, "port group Lab");
    assert!(reason.contains("nothing is learned"), "{reason}");
    assert_eq!(next, "weft portgroup set Lab --forged-transmits accept");
    assert_eq!(bench.learning("MyVM1"), None);
    assert_eq!(bench.learned_sample("MyVM1"), None);
}
