//! Who reaches whom in each VLAN mode, and which frames go nowhere, and why.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use weft_packet::MacAddr;
use weft_tests::{Frame, Host, Vm, Wire};

const CTAG: u16 = 0x8100;
const STAG: u16 = 0x88a8;
/// Priority 5, drop eligible.
const PRIORITY: u16 = 0xb000;

/// Two VMs without a VLAN, two in VLAN 10 in different port groups, one in VLAN 20, and two that tag for themselves.
struct Switch {
    host: Host,
    vms: BTreeMap<String, Vm>,
}

impl Switch {
    fn new() -> Self {
        let host = Host::with_switch();
        for (group, vlan) in [
            ("None", 0),
            ("Ten", 10),
            ("AlsoTen", 10),
            ("Twenty", 20),
            ("Guest", 4095),
        ] {
            host.does(&format!(
                "portgroup add {group} --vswitch vSwitch1 --vlan {vlan}"
            ));
        }
        let members = [
            ("none1", "None"),
            ("none2", "None"),
            ("ten1", "Ten"),
            ("ten2", "AlsoTen"),
            ("twenty", "Twenty"),
            ("guest1", "Guest"),
            ("guest2", "Guest"),
        ];
        let vms = members.map(|(name, group)| (name.to_owned(), host.vm(name, group)));
        let vms = BTreeMap::from(vms);
        Self { host, vms }
    }

    fn wire(&self) -> Wire<'_> {
        Wire::new(&self.host, self.vms.values())
    }

    fn mac(&self, vm: &str) -> MacAddr {
        self.vms[vm].mac
    }

    /// Broadcasts a frame with these tags and compares who receives it with which tags.
    #[track_caller]
    fn floods(
        &self,
        wire: &mut Wire<'_>,
        from: &str,
        tags: &[(u16, u16)],
        to: &[(&str, &[(u16, u16)])],
    ) {
        self.sends(wire, from, MacAddr::BROADCAST, tags, to);
    }

    #[track_caller]
    fn sends(
        &self,
        wire: &mut Wire<'_>,
        from: &str,
        dst: MacAddr,
        tags: &[(u16, u16)],
        to: &[(&str, &[(u16, u16)])],
    ) {
        let frame = Frame::new(self.mac(from), dst);
        let received = wire.send(from, &frame.tagged(tags).octets());
        let expected = to
            .iter()
            .map(|(vm, tags)| ((*vm).to_owned(), vec![frame.tagged(tags).octets()]))
            .collect();
        assert_eq!(received, expected, "from {from} to {dst} with {tags:x?}");
    }

    /// Sends a frame with these tags, which is dropped for this reason.
    #[track_caller]
    fn refuses(
        &self,
        wire: &mut Wire<'_>,
        from: &str,
        dst: MacAddr,
        tags: &[(u16, u16)],
        reason: &str,
    ) {
        let at_port = || self.host.stats()[from].rx_drops(reason);
        let before = (at_port(), self.host.drops(reason));
        self.sends(wire, from, dst, tags, &[]);
        let after = (at_port(), self.host.drops(reason));
        assert_eq!(
            after,
            (before.0 + 1, before.1 + 1),
            "{reason} of {from} with {tags:x?}"
        );
    }
}

#[test]
fn untagged_frames_stay_in_the_vlan_of_their_port() {
    let switch = Switch::new();
    let wire = &mut switch.wire();
    let untagged: &[_] = &[];
    // Who tags for itself sees the tags that the switch adds.
    switch.floods(
        wire,
        "none1",
        &[],
        &[
            ("none2", untagged),
            ("guest1", untagged),
            ("guest2", untagged),
        ],
    );
    switch.floods(
        wire,
        "ten1",
        &[],
        &[
            ("ten2", untagged),
            ("guest1", &[(CTAG, 10)]),
            ("guest2", &[(CTAG, 10)]),
        ],
    );
    switch.floods(
        wire,
        "twenty",
        &[],
        &[("guest1", &[(CTAG, 20)]), ("guest2", &[(CTAG, 20)])],
    );
    switch.floods(
        wire,
        "guest1",
        &[],
        &[
            ("none1", untagged),
            ("none2", untagged),
            ("guest2", untagged),
        ],
    );
    switch.sends(wire, "ten1", switch.mac("ten2"), &[], &[("ten2", untagged)]);
    switch.sends(
        wire,
        "ten1",
        switch.mac("guest1"),
        &[],
        &[("guest1", &[(CTAG, 10)])],
    );
    switch.sends(
        wire,
        "none1",
        switch.mac("guest1"),
        &[],
        &[("guest1", untagged)],
    );
    for other in ["none1", "twenty"] {
        switch.refuses(wire, "ten1", switch.mac(other), &[], "UnknownUnicast");
    }
    wire.silent();
}

#[test]
fn priority_tags_count_as_untagged() {
    let switch = Switch::new();
    let wire = &mut switch.wire();
    let untagged: &[_] = &[];
    for tpid in [CTAG, STAG] {
        let tag: &[_] = &[(tpid, PRIORITY)];
        switch.floods(
            wire,
            "none1",
            tag,
            &[
                ("none2", untagged),
                ("guest1", untagged),
                ("guest2", untagged),
            ],
        );
        // The priority stays where a tag does.
        let with_vlan: &[_] = &[(CTAG, PRIORITY | 10)];
        switch.floods(
            wire,
            "ten1",
            tag,
            &[
                ("ten2", untagged),
                ("guest1", with_vlan),
                ("guest2", with_vlan),
            ],
        );
        switch.floods(
            wire,
            "guest1",
            tag,
            &[("none1", untagged), ("none2", untagged), ("guest2", tag)],
        );
    }
    wire.silent();
}

#[test]
fn guests_of_access_and_external_ports_may_not_tag() {
    let switch = Switch::new();
    let wire = &mut switch.wire();
    for from in ["none1", "ten1"] {
        for tags in [
            &[(CTAG, 10)][..],
            &[(CTAG, 20)],
            &[(STAG, 10)],
            &[(CTAG, 10), (CTAG, 20)],
            // A priority tag does not hide another one.
            &[(CTAG, PRIORITY), (CTAG, 10)],
        ] {
            switch.refuses(wire, from, MacAddr::BROADCAST, tags, "VlanTagNotAllowed");
        }
    }
    wire.silent();
}

#[test]
fn guests_of_vlan_4095_tag_for_themselves() {
    let switch = Switch::new();
    let wire = &mut switch.wire();
    let untagged: &[_] = &[];
    for tpid in [CTAG, STAG] {
        let (ten, twenty, thirty): (&[_], &[_], &[_]) =
            (&[(tpid, PRIORITY | 10)], &[(tpid, 20)], &[(tpid, 30)]);
        switch.floods(
            wire,
            "guest1",
            ten,
            &[("ten1", untagged), ("ten2", untagged), ("guest2", ten)],
        );
        switch.floods(
            wire,
            "guest1",
            twenty,
            &[("twenty", untagged), ("guest2", twenty)],
        );
        switch.floods(wire, "guest1", thirty, &[("guest2", thirty)]);
        // The outer tag decides; what is behind it is the guests' own business.
        let inner: &[_] = &[(CTAG, 20)];
        let both: &[_] = &[(tpid, 10), (CTAG, 20)];
        switch.floods(
            wire,
            "guest1",
            both,
            &[("ten1", inner), ("ten2", inner), ("guest2", both)],
        );
        switch.sends(
            wire,
            "guest1",
            switch.mac("ten1"),
            ten,
            &[("ten1", untagged)],
        );
        switch.sends(
            wire,
            "guest1",
            switch.mac("guest2"),
            thirty,
            &[("guest2", thirty)],
        );
        switch.refuses(wire, "guest1", switch.mac("ten1"), twenty, "UnknownUnicast");
        let reserved = &[(tpid, 4095)];
        switch.refuses(wire, "guest1", MacAddr::BROADCAST, reserved, "VlanReserved");
    }
    wire.silent();
}

#[test]
fn a_port_group_moves_to_another_vlan_while_it_runs() {
    let switch = Switch::new();
    let wire = &mut switch.wire();
    let untagged: &[_] = &[];
    for vlan in [1, 4094, 20] {
        let tag: &[_] = &[(CTAG, vlan)];
        for group in ["Ten", "Twenty"] {
            switch
                .host
                .does(&format!("portgroup set {group} --vlan {vlan}"));
        }
        switch.floods(
            wire,
            "ten1",
            &[],
            &[("twenty", untagged), ("guest1", tag), ("guest2", tag)],
        );
        switch.refuses(wire, "ten1", switch.mac("ten2"), &[], "UnknownUnicast");
    }
    switch.host.does("portgroup set Ten --vlan 4095");
    switch.floods(
        wire,
        "ten1",
        &[(CTAG, 20)],
        &[
            ("twenty", untagged),
            ("guest1", &[(CTAG, 20)]),
            ("guest2", &[(CTAG, 20)]),
        ],
    );
    wire.silent();
}

#[test]
fn a_frame_that_nobody_wants_is_counted_by_reason() {
    let host = Host::with_switch();
    host.does("portgroup add Lab --vswitch vSwitch1 --vlan 10");
    host.does("portgroup add Alone --vswitch vSwitch1 --vlan 20");
    let (one, two, alone) = (
        host.vm("one", "Lab"),
        host.vm("two", "Lab"),
        host.vm("alone", "Alone"),
    );
    let mut wire = Wire::new(&host, [&one, &two, &alone]);
    let mut refuses = |from: &Vm, to: MacAddr, reason: &str| {
        let before = host.drops(reason);
        let received = wire.send(&from.name, &Frame::new(from.mac, to).octets());
        assert_eq!(received, BTreeMap::new(), "{reason}");
        assert_eq!(host.drops(reason), before + 1, "{reason}");
    };
    refuses(&alone, MacAddr::BROADCAST, "NoReceiver");
    refuses(&one, one.mac, "SamePort");
    refuses(&one, MacAddr::new([2, 0, 0, 0, 0, 99]), "UnknownUnicast");
    host.does("port set two --block yes");
    refuses(&two, one.mac, "PortBlocked");
    refuses(&one, two.mac, "PortBlocked");
    assert_eq!(host.stats()["two"].tx_drops("PortBlocked"), 1);
    host.does("port set two --block no --link down");
    refuses(&two, one.mac, "PortDown");
    refuses(&one, two.mac, "PortDown");
    host.does("port set two --link up");
    wire.silent();
    assert!(one.reaches(&two));
}
