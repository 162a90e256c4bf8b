//! One packet in a hundred.

use weft_tests::{Collectors, until};

use crate::flows::{dissect, of_nfacctd, of_nfdump, told};
use crate::lab::Lab;
use crate::mix;

/// Packets that are sent, and one in how many is metered.
const SENT: u64 = 50_000;
const ONE_IN: u64 = 100;

/// How many are metered at least and at most, but for one run in more than 10⁹. They are binomially distributed, with a mean of 500 and
/// a standard deviation of 22.2. By Chernoff's bound seven of these, 155, more than the mean come with a probability below
/// exp(-500 (1.31 ln 1.31 - 0.31)) < 4 · 10⁻¹⁰, and 155 less with a smaller one.
const METERED: std::ops::RangeInclusive<u64> = 345..=655;

#[test]
fn one_in_a_hundred_is_counted_and_collectors_know_of_it() {
    const OCTETS: u64 = 20 + 8 + 100;
    let lab = Lab::new();
    let network = Collectors::new(&lab.host);
    let (nfcapd, nfacctd) = (network.nfcapd(2055), network.nfacctd(2056));
    let export = network.capture(2055);
    lab.tell(
        "--collector 10.8.0.9:2055 --collector 10.8.0.9:2056 --sampling 100 --active 60s --idle 1s",
    );
    let frame = mix::datagram(lab.one.mac, lab.two.mac, 40_000, 100);
    lab.send(&lab.one, &vec![frame; SENT as usize]);
    lab.over(1);
    lab.host.end();

    let records = dissect(export.all(&lab.host));
    let metered: u64 = records.iter().map(|record| told(record, "packets")).sum();
    println!("{metered} of {SENT} packets were metered");
    assert!(METERED.contains(&metered), "{metered} of {SENT}");
    let octets: u64 = records.iter().map(|record| told(record, "octets")).sum();
    assert_eq!(octets, metered * OCTETS);
    // tshark leaves it to its reader to multiply.
    let options = weft_tests::dissected(
        export.all(&lab.host),
        "-d udp.port==2055,cflow",
        "cflow.sampling_interval == 100",
    );
    assert!(!options.is_empty(), "no message tells of the sampling");

    let (records, log) = nfcapd.ends();
    assert!(
        log.contains("packet interval: 1, packet space: 99"),
        "{log}"
    );
    let totals: Vec<_> = of_nfdump(&records).into_values().collect();
    let [total] = totals[..] else {
        panic!("{records:#?}")
    };
    assert_eq!(
        (total.packets, total.octets),
        (metered * ONE_IN, metered * ONE_IN * OCTETS)
    );

    until("nfacctd tells of every packet", || {
        let told = of_nfacctd(&nfacctd.records());
        told.values().any(|total| {
            total.packets == metered * ONE_IN && total.octets == metered * ONE_IN * OCTETS
        })
    });
}
