//! The host's own interfaces.

use weft_model::{Change, VmkPatch};

use super::{add_port, host, refused};

fn add_vmk(text: &str) -> Change {
    Change::AddVmk(weft_model::from_text(text).unwrap())
}

#[test]
fn the_hosts_own_interfaces_keep_their_rules() {
    let (host, _) = host()
        .apply(&add_vmk("{name: vmk0, portgroup: Web, ip: 10.0.0.11/24}"))
        .unwrap();
    let error = refused(
        &host,
        &add_vmk("{name: vmk1, portgroup: Mail, ip: 10.0.0.11/16}"),
    );
    assert_eq!(
        error.to_string(),
        "vmk vmk1: vmk vmk0 has the address 10.0.0.11 already"
    );
    assert_eq!(error.field().as_deref(), Some("ip"));
    let error = refused(&host, &add_vmk("{name: vmk1, portgroup: Mail, mtu: 9000}"));
    assert_eq!(
        error.to_string(),
        "vmk vmk1: MTU 9000 is larger than that of standard switch vSwitch1, 1500"
    );
    assert_eq!(
        error.remedy(),
        "use at most 1500, or first run 'weft vswitch set vSwitch1 --mtu 9000'"
    );
    let (with_mtu, _) = host
        .apply(&add_vmk("{name: vmk1, portgroup: Mail, mtu: 1400}"))
        .unwrap();
    let smaller = weft_model::from_text("{mtu: 1300}").unwrap();
    let smaller = Change::SetVswitch("vSwitch1".parse().unwrap(), smaller);
    let error = refused(&with_mtu, &smaller);
    assert_eq!(
        error.to_string(),
        "standard switch vSwitch1: MTU 1300 is smaller than that of vmk vmk1, 1400"
    );
    assert_eq!(error.remedy(), "first run 'weft vmk set vmk1 --mtu 1300'");
    for (change, refusal, remedy) in [
        (
            add_vmk("{name: MyVM1, portgroup: Web}"),
            "vmk MyVM1: port MyVM1 has this name",
            "choose another name for the vmk",
        ),
        (
            add_port("{name: vmk0, portgroup: Web, veth: a}"),
            "port vmk0: vmk vmk0 has this name",
            "choose another name for the port",
        ),
    ] {
        let error = refused(&host, &change);
        assert_eq!(error.to_string(), refusal);
        assert_eq!(error.remedy(), remedy);
    }
    let error = refused(&host, &Change::DelPort("vmk0".parse().unwrap()));
    assert_eq!(error.remedy(), "run 'weft vmk del vmk0'");
    let error = refused(&host, &Change::DelVmk("vmk1".parse().unwrap()));
    assert_eq!(error.to_string(), "vmk vmk1 does not exist");
    let error = refused(&host, &Change::DelVmk("MyVM1".parse().unwrap()));
    assert_eq!(error.to_string(), "vmk MyVM1 does not exist");
    let error = refused(&host, &add_port("{name: A, portgroup: Web, veth: vmk0}"));
    assert_eq!(
        error.to_string(),
        "port A: interface vmk0 is used by vmk vmk0"
    );
    let error = refused(
        &host,
        &add_vmk("{name: vmk0, portgroup: Web, ip: 10.0.0.12/24}"),
    );
    assert_eq!(
        error.to_string(),
        "vmk vmk0 exists already with other settings: ip 10.0.0.11/24 -> 10.0.0.12/24"
    );
    assert!(
        error
            .remedy()
            .starts_with("change it with 'weft vmk set vmk0'")
    );
}

#[test]
fn settings_of_the_hosts_own_interface_change_one_by_one() {
    let (host, _) = host()
        .apply(&add_vmk(
            "{name: vmk0, portgroup: Web, ip: 10.0.0.11/24, mtu: 1400}",
        ))
        .unwrap();
    let patch: VmkPatch = weft_model::from_text("{ip: null, mtu: null, portgroup: Mail}").unwrap();
    let (host, outcome) = host
        .apply(&Change::SetVmk("vmk0".parse().unwrap(), patch))
        .unwrap();
    let fields: Vec<_> = outcome.fields().iter().map(ToString::to_string).collect();
    assert_eq!(
        fields,
        [
            "ip 10.0.0.11/24 -> none",
            "mtu 1400 -> as its switch",
            "portgroup Web -> Mail"
        ]
    );
    assert!(host.apply(&Change::DelVmk("vmk0".parse().unwrap())).is_ok());
}
