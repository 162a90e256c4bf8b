use weft_model::Toggle;

use super::*;

fn plan(yaml: &str) -> Result<Plan, LabError> {
    Plan::new(&"test".parse().unwrap(), &Manifest::parse(yaml).unwrap())
}

const ONE_SWITCH: &str =
    "vswitches: [{name: vSwitch1, mtu: 3000, portgroups: [{name: Lab, vlan: 4095}]}]";

#[test]
fn the_examples_are_labs() {
    let mirror = plan(include_str!("../../../../examples/mirror.yaml")).unwrap();
    assert_eq!(mirror.fabric, None);
    assert_eq!(mirror.vms[0].namespace, "weft-test-MyVM1");
    assert_eq!(mirror.vms[0].host_end, "p-MyVM1");
    assert_eq!(mirror.hosts[0].manifest.ports().len(), 3);

    let uplink = plan(include_str!("../../../../examples/uplink.yaml")).unwrap();
    assert_eq!(uplink.fabric.as_deref(), Some("weft-test-fabric"));
    assert_eq!(uplink.hosts[1].uplinks[0].fabric_end, "esxi02-eth1");
    assert_eq!(
        uplink.hosts[1].manifest.ports()[0].name.as_str(),
        "database"
    );
}

#[test]
fn a_lab_without_hosts_has_one() {
    let lab = plan(&format!("{ONE_SWITCH}\nvms: [{{name: a, portgroup: Lab}}]")).unwrap();
    assert_eq!(lab.hosts.len(), 1);
    assert_eq!(lab.vms[0].host, IMPLIED_HOST);
    assert_eq!(lab.vms[0].mtu, 3000);
}

#[test]
fn every_member_is_found_by_name() {
    let lab = plan(&format!(
        "{ONE_SWITCH}\nhosts: [{{name: h, uplinks: [eth1]}}]\nvms: [{{name: a, portgroup: Lab}}]"
    ));
    let lab = lab.unwrap();
    assert_eq!(lab.members().collect::<Vec<_>>(), ["h", "a", "fabric"]);
    assert!(lab.members().all(|name| lab.member(name).is_some()));
    assert!(lab.member("h").unwrap().1.is_some());
    assert!(lab.member("b").is_none());
    assert_eq!(lab.namespaces().count(), 3);
}

#[test]
fn a_vmk_belongs_to_the_host_that_has_its_port_group() {
    let lab = |group: &str| {
        plan(&format!(
            "
hosts: [{{name: h1}}, {{name: h2}}]
vswitches:
  - {{name: s, host: h1, portgroups: [{{name: Lab}}, {{name: Both}}]}}
  - {{name: s, host: h2, portgroups: [{{name: Mgmt}}, {{name: Both}}]}}
vmks: [{{name: vmk0, portgroup: {group}, ip: 10.0.0.1/24}}]
"
        ))
    };
    let having = |group: &str| {
        let lab = lab(group).unwrap();
        let hosts = lab.hosts.iter();
        hosts
            .map(|host| host.manifest.vmks().len())
            .collect::<Vec<_>>()
    };
    assert_eq!(having("Lab"), [1, 0]);
    assert_eq!(having("Mgmt"), [0, 1]);
    for (group, problem) in [("Both", "several hosts"), ("None", "does not exist")] {
        let refused = lab(group).err().unwrap().to_string();
        assert!(
            refused.contains("vmk vmk0") && refused.contains(problem),
            "{refused}"
        );
    }
}

#[test]
fn vmks_of_several_hosts_may_have_one_name() {
    let lab = |first: &str, second: &str| {
        plan(&format!(
            "
hosts: [{{name: h1}}, {{name: h2}}]
vswitches:
  - {{name: s, host: h1, portgroups: [{{name: Mgmt}}]}}
  - {{name: s, host: h2, portgroups: [{{name: Mgmt}}]}}
vmks:
  - {{name: vmk0, host: {first}, portgroup: Mgmt, ip: 10.0.0.1/24}}
  - {{name: vmk0, host: {second}, portgroup: Mgmt, ip: 10.0.0.2/24}}
"
        ))
    };
    let both = lab("h1", "h2").unwrap();
    let addresses: Vec<_> = (both.hosts.iter())
        .map(|host| host.manifest.vmks()[0].ip.unwrap().to_string())
        .collect();
    assert_eq!(addresses, ["10.0.0.1/24", "10.0.0.2/24"]);
    for (second, problem) in [
        ("h1", "vmk vmk0: stands twice on host h1"),
        ("h3", "vmk vmk0: host: h3 does not exist"),
    ] {
        let refused = lab("h1", second).unwrap_err().to_string();
        assert!(refused.contains(problem), "{refused}");
    }
}

#[test]
fn a_vm_is_attached_by_any_of_three_engines() {
    let attached = |engine: &str| {
        let vms = format!("vms: [{{name: a, portgroup: Lab, engine: {engine}}}]");
        let lab = plan(&format!("{ONE_SWITCH}\n{vms}")).unwrap();
        serde_json::to_value(&lab.hosts[0].manifest.ports()[0]).unwrap()
    };
    assert_eq!(attached("veth")["veth"], "p-a");
    assert_eq!(attached("packet")["engine"], "packet");
    assert_eq!(attached("tap")["tap"], "p-a");
}

#[test]
fn an_engine_that_labs_do_not_have_is_refused_where_it_stands() {
    let error = Manifest::parse("vms:\n  - name: a\n    portgroup: Lab\n    engine: vhost-user\n")
        .unwrap_err();
    assert_eq!(error.place.map(|(line, _)| line), Some(4), "{error}");
    assert!(
        error
            .to_string()
            .contains("expected one of veth, packet, tap"),
        "{error}"
    );
}

#[test]
fn a_hint_is_about_the_lab_file() {
    let hint = |yaml: &str| plan(yaml).expect_err(yaml).hint.unwrap();
    assert_eq!(
        hint(&format!(
            "{ONE_SWITCH}\nvms: [{{name: a, portgroup: Storage}}]"
        )),
        "the port groups of host1 in the lab file are: Lab"
    );
    assert_eq!(
        hint("vswitches: [{name: s}]\nvms: [{name: a, portgroup: Storage}]"),
        "add it under 'portgroups:' of a switch of host1"
    );
    let twice = "vswitches: [{name: s, portgroups: [{name: Lab}, {name: Lab, vlan: 10}]}]\nhosts: [{name: h}]";
    assert_eq!(hint(twice), "keep one of them, or give each its own name");
}

#[test]
fn what_cannot_work_is_refused_with_a_remedy() {
    let two_hosts = "hosts: [{name: h1}, {name: h2}]";
    let cases = [
        ("vswitches: []", "lists neither hosts nor VMs"),
        (
            "vms: [{name: a, portgroup: Labb}]\nvswitches: [{name: s, portgroups: [{name: Lab}]}]",
            "Labb does not exist",
        ),
        (
            "hosts: [{name: a}]\nvms: [{name: a, portgroup: Lab}]",
            "is also that of a host",
        ),
        ("hosts: [{name: fabric}]", "where uplinks meet"),
        (
            &format!("{two_hosts}\n{ONE_SWITCH}"),
            "is missing in a lab of several hosts",
        ),
        (
            &format!("{two_hosts}\nvswitches: [{{name: s, host: h3}}]"),
            "h3 does not exist",
        ),
        (
            "hosts: [{name: h}]\nvswitches: [{name: s, uplinks: [eth1]}]",
            "has no interface eth1",
        ),
        (
            &format!("{ONE_SWITCH}\nvms: [{{name: a, portgroup: Lab, ip: 10.0.0.1}}]"),
            "is not an address with a prefix",
        ),
        (
            &format!(
                "hosts: [{{name: h}}]\n{ONE_SWITCH}\nports: [{{name: a, portgroup: Lab, veth: x}}]"
            ),
            "makes its ports from 'vms:'",
        ),
    ];
    for (yaml, problem) in cases {
        let error = plan(yaml).expect_err(yaml);
        assert!(error.to_string().contains(problem), "{error}");
        assert!(error.hint.is_some(), "{error}");
    }
}

const TEAM: &str = "
hosts: [{name: h, uplinks: [eth1, eth2, eth3]}]
vswitches:
  - name: s
    uplinks: [eth1, eth2]
    teaming: {policy: explicit, active: [eth1], standby: [eth2]}
    shaping: {out: {average: 10mbit}}
    portgroups:
      - {name: Lab, teaming: {active: [eth2]}, macLearning: {enabled: true}, bpduFilter: enabled}
";

#[test]
fn a_host_has_several_uplinks_and_the_policies_of_the_file() {
    let lab = plan(TEAM).unwrap();
    let host = &lab.hosts[0];
    let ends: Vec<_> = host
        .uplinks
        .iter()
        .map(|uplink| uplink.fabric_end.as_str())
        .collect();
    assert_eq!(ends, ["h-eth1", "h-eth2", "h-eth3"]);
    let written = Manifest::parse(TEAM).unwrap();
    assert_eq!(host.manifest.vswitches(), written.vswitches());
    let again: Plan = serde_json::from_str(&serde_json::to_string(&lab).unwrap()).unwrap();
    assert_eq!(again, lab, "its record has them, too");
}

#[test]
fn a_team_that_cannot_be_is_refused_in_words_of_the_file() {
    for (from, to, problem, hint) in [
        (
            "active: [eth2]",
            "active: [wan0]",
            "wan0 is not an uplink of standard switch s",
            "add it under 'uplinks:' of s",
        ),
        (
            "policy: explicit",
            "policy: iphash",
            "iphash takes no standby uplinks",
            "choose another policy, or have none standby",
        ),
    ] {
        let error = plan(&TEAM.replace(from, to)).expect_err(to);
        assert!(error.to_string().contains(problem), "{error}");
        assert_eq!(error.hint.as_deref(), Some(hint));
    }
}

/// Two hosts with a switch of the same name, and another one on the first.
fn told(netflow: &str) -> Result<Plan, LabError> {
    plan(&format!(
        "
hosts: [{{name: a}}, {{name: b}}]
vswitches:
  - {{name: s, host: a, netflow: enabled, portgroups: [{{name: Lab}}]}}
  - {{name: t, host: a}}
  - {{name: s, host: b}}
netflow: [{netflow}]
"
    ))
}

#[test]
fn netflow_belongs_to_the_host_of_its_switch() {
    let of_a = "{vswitch: s, host: a, collectors: ['10.8.0.9:1'], version: 9, idle: 30s}";
    let lab = told(of_a).unwrap();
    let written = Manifest::parse(&format!("netflow: [{of_a}]")).unwrap();
    let [a, b] = &lab.hosts[..] else {
        panic!("two hosts");
    };
    assert_eq!(a.manifest.netflow()[0].spec(), written.netflow()[0].spec());
    assert_eq!(
        a.manifest.netflow()[0].host,
        None,
        "an agent knows no other"
    );
    assert_eq!(b.manifest.netflow(), []);
    assert_eq!(a.manifest.vswitches()[0].netflow, Toggle::Enabled);
    for (netflow, problem, hint) in [
        (
            "",
            "no collector",
            "name its collectors: netflow: [{vswitch: s,",
        ),
        (
            "{vswitch: s, collectors: ['10.8.0.9:1']}",
            "netflow s: host is missing in a lab of several hosts",
            "add 'host: a'",
        ),
        (
            "{vswitch: ss, host: b, collectors: ['10.8.0.9:1']}",
            "host b: netflow ss: standard switch ss does not exist",
            "did you mean s?",
        ),
        (
            "{vswitch: s, host: c, collectors: ['10.8.0.9:1']}",
            "c does not exist",
            "did you mean a?",
        ),
    ] {
        let error = told(netflow).expect_err(netflow);
        assert!(
            error.to_string().replace(": is", " is").contains(problem),
            "{error}"
        );
        assert!(error.hint.as_ref().unwrap().starts_with(hint), "{error:?}");
    }
    let twice = told(&format!("{of_a}, {of_a}")).unwrap();
    assert_eq!(
        twice.hosts[0].manifest.netflow().len(),
        2,
        "the second is the same"
    );
}
