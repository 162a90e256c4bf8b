//! Two writers of one object.
#![forbid(unsafe_code)]

use weft_tests::Host;

#[test]
fn a_stale_write_is_refused_and_the_other_writer_is_not_overwritten() {
    let host = Host::with_switch();
    host.does("portgroup add Lab --vswitch vSwitch1 --vlan 10");
    let version = || {
        host.shows("vswitch show vSwitch1")["resourceVersion"]
            .as_u64()
            .expect("a version")
    };
    let read = version();
    assert!(
        host.does("vswitch show vSwitch1")
            .contains(&format!("version:           {read}\n"))
    );
    host.does(&format!(
        "vswitch set vSwitch1 --promiscuous accept --if-version {read}"
    ));
    let stale = host.weft(&format!(
        "vswitch set vSwitch1 --mtu 9000 --if-version {read}"
    ));
    let now = version();
    stale.refused(
        4,
        &[
            "standard switch vSwitch1 has changed since it was read",
            &format!("version {now}, not {read}"),
        ],
    );
    stale.refused(4, &["security.promiscuous reject -> accept", "by root"]);
    assert_eq!(host.shows("vswitch show vSwitch1")["spec"]["mtu"], 1500);
    host.weft(&format!("portgroup del Lab --if-version {}", read + 7))
        .refused(4, &["port group Lab"]);
    host.does(&format!(
        "vswitch set vSwitch1 --mtu 9000 --if-version {now}"
    ));
}
