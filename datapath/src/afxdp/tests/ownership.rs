//! Who holds an interface, who is refused, and what is given back.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};

use super::*;
use crate::afxdp::{device, offloads};

#[test]
fn an_interface_has_one_owner() {
    let pair = VethPair::new(1500, 1);
    let first = open(&pair, QUICK);
    let started = Instant::now();
    let second = pair.near.run(|| AfXdpPort::open(VethPair::NEAR, QUICK));
    let error = second.unwrap_err();
    assert!(
        matches!(&error, OpenError::Busy { interface, .. } if interface == VethPair::NEAR),
        "{error}"
    );
    assert!(started.elapsed() >= QUICK.busy_wait);
    // The failed attempt has not disturbed the owner, and who waits gets the interface when the owner lets go.
    let waiting = Options {
        busy_wait: PATIENCE,
        ..QUICK
    };
    let mut third = std::thread::scope(|scope| {
        let third = scope.spawn(|| open(&pair, waiting));
        drop(first);
        third.join().unwrap()
    });
    exchange(&mut third, &mut far_end(&pair), &[frame(60, 1)]);
}

#[test]
fn an_interface_can_be_opened_again_at_once() {
    let pair = VethPair::new(1500, 1);
    let mut far = far_end(&pair);
    for seed in 0..5 {
        let mut port = open(
            &pair,
            Options {
                busy_wait: PATIENCE,
                ..QUICK
            },
        );
        exchange(&mut port, &mut far, &[frame(60, seed)]);
    }
}

/// The test starts itself a second time inside the namespace, to have a process that it can kill.
#[test]
fn an_interface_is_free_when_its_owner_was_killed() {
    const ROLE: &str = "WEFT_TEST_HOLDS_AN_INTERFACE";
    if std::env::var_os(ROLE).is_some() {
        let _port = AfXdpPort::open(VethPair::NEAR, QUICK).unwrap();
        println!("\nholding");
        let _ = std::io::stdin().read_line(&mut String::new());
        return;
    }
    let pair = VethPair::new(1500, 1);
    let mut owner = Command::new("ip")
        .args(["netns", "exec", pair.near.name()])
        .arg(std::env::current_exe().unwrap())
        .args([
            "an_interface_is_free_when_its_owner_was_killed",
            "--nocapture",
        ])
        .env(ROLE, "")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(owner.stdout.take().unwrap()).lines();
    assert!(
        lines.any(|line| line.unwrap() == "holding"),
        "the owner opened the interface"
    );
    let error = pair
        .near
        .run(|| AfXdpPort::open(VethPair::NEAR, QUICK))
        .unwrap_err();
    assert!(matches!(error, OpenError::Busy { .. }), "{error}");
    owner.kill().unwrap();
    // Not waited for: the kernel is still taking the process apart.
    let mut port = open(&pair, Options::default());
    exchange(&mut port, &mut far_end(&pair), &[frame(60, 1)]);
    owner.wait().unwrap();
}

#[test]
fn refusals_name_the_interface_and_the_remedy() {
    let pair = VethPair::new(1500, 1);
    let refused = |interface: &str, options: Options| {
        pair.near
            .run(|| AfXdpPort::open(interface, options))
            .unwrap_err()
    };
    for name in ["absent0", "", "a-name-of-sixteen", "a\0b"] {
        assert!(
            matches!(refused(name, QUICK), OpenError::NoInterface { .. }),
            "{name:?}"
        );
    }
    let error = refused(VethPair::NEAR, Options { mtu: 9000, ..QUICK });
    assert!(matches!(error, OpenError::Mtu { mtu: 9000, .. }));
    assert!(error.to_string().contains("mtu 9000"), "{error}");
    for options in [
        Options {
            ring_size: 100,
            ..QUICK
        },
        Options { frames: 0, ..QUICK },
    ] {
        assert!(matches!(
            refused(VethPair::NEAR, options),
            OpenError::System { .. }
        ));
    }
    // Nothing of all that is left behind.
    open(&pair, QUICK);
}

#[test]
fn an_uplink_is_promiscuous_and_gets_its_offloads_back() {
    let pair = VethPair::new(1500, 1);
    let promiscuous = || {
        let output = Command::new("ip")
            .args([
                "-n",
                pair.near.name(),
                "-details",
                "link",
                "show",
                VethPair::NEAR,
            ])
            .output()
            .unwrap();
        String::from_utf8(output.stdout)
            .unwrap()
            .contains("promiscuity 1")
    };
    let strips = || {
        let device = pair
            .near
            .run(|| device::Device::find(VethPair::NEAR))
            .unwrap();
        offloads::strips_tags(&device)
    };
    assert!(strips() && !promiscuous());
    let port = open(
        &pair,
        Options {
            uplink: true,
            ..QUICK
        },
    );
    assert!(!strips() && promiscuous());
    let changed = port.info.changed_features.clone();
    assert!(
        changed.contains(&"rx-vlan-hw-parse".to_owned()),
        "{changed:?}"
    );
    drop(port);
    assert!(strips() && !promiscuous());

    // After a crash nobody is left to restore: the list is enough.
    let port = open(
        &pair,
        Options {
            uplink: true,
            ..QUICK
        },
    );
    std::mem::forget(port.guard);
    assert!(!strips());
    pair.near.run(|| restore(VethPair::NEAR, &changed)).unwrap();
    assert!(strips());
}

#[test]
fn an_owner_without_privileges_is_told_which_it_needs() {
    let pair = VethPair::new(1500, 1);
    let error = pair.near.run(|| {
        // Of this thread only.
        let nothing = CapabilitySet::empty();
        let sets = CapabilitySets {
            effective: nothing,
            permitted: nothing,
            inheritable: nothing,
        };
        set_capabilities(None, sets).unwrap();
        AfXdpPort::open(VethPair::NEAR, QUICK).unwrap_err()
    });
    assert!(matches!(error, OpenError::NotPermitted { .. }), "{error}");
    assert!(
        error.to_string().contains("near0") && error.to_string().contains("CAP_NET_ADMIN"),
        "{error}"
    );
}
