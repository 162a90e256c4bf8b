//! Checksums and tags that a VM leaves to its NIC.
#![forbid(unsafe_code)]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use weft_datapath::afxdp::testing::TagPusher;
use weft_packet::MacAddr;
use weft_tests::{Frame, Host, Vm, Wire};

/// Two VMs that leave their checksums to the other end.
fn lab() -> (Host, Vm, Vm) {
    let host = Host::with_switch();
    host.does("portgroup add Lab --vswitch vSwitch1");
    let (one, two) = (host.vm("one", "Lab"), host.vm("two", "Lab"));
    for vm in [&one, &two] {
        vm.does("ethtool -K eth0 tx on");
        let features = vm.does("ethtool -k eth0");
        assert!(features.contains("tx-checksumming: on"), "{features}");
    }
    (host, one, two)
}

fn completed(host: &Host, vm: &Vm) -> u64 {
    host.stats()[&vm.name].count("checksumsCompleted")
}

#[test]
fn tcp_works_with_offloaded_checksums() {
    let (host, one, two) = lab();
    let content: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
    let address = (two.ip.as_str(), 7000);
    let listener = two.namespace().run(|| TcpListener::bind(address).unwrap());
    let echo = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut received = Vec::new();
        stream.read_to_end(&mut received).unwrap();
        stream.write_all(&received).unwrap();
    });
    let mut stream = one.namespace().run(|| TcpStream::connect(address).unwrap());
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream.write_all(&content).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(answer == content, "{} octets came back", answer.len());
    echo.join().unwrap();
    for vm in [&one, &two] {
        // A segment holds 1460 octets.
        assert!(completed(&host, vm) > 1_000_000 / 1460, "{}", vm.name);
    }
}

#[test]
fn udp_works_with_offloaded_checksums() {
    let (host, one, two) = lab();
    let open = |vm: &Vm| {
        vm.namespace()
            .run(|| UdpSocket::bind((vm.ip.as_str(), 7000)).unwrap())
    };
    let (near, far) = (open(&one), open(&two));
    near.connect(far.local_addr().unwrap()).unwrap();
    far.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let before = completed(&host, &two);
    let mut buffer = [0; 2000];
    let lengths = [0, 1, 2, 17, 100, 1471, 1472];
    for length in lengths {
        let datagram: Vec<u8> = (0..length).map(|n| n as u8).collect();
        near.send(&datagram).unwrap();
        let received = far.recv(&mut buffer).unwrap();
        assert_eq!(buffer[..received], datagram);
    }
    assert_eq!(completed(&host, &two), before + lengths.len() as u64);
}

#[test]
fn an_offloaded_tag_counts_like_one_in_the_frame() {
    let host = Host::with_switch();
    for (group, vlan) in [("Ten", 10), ("Twenty", 20), ("Guest", 4095)] {
        host.does(&format!(
            "portgroup add {group} --vswitch vSwitch1 --vlan {vlan}"
        ));
    }
    let vms = [
        host.vm("guest", "Guest"),
        host.vm("other", "Guest"),
        host.vm("ten", "Ten"),
        host.vm("twenty", "Twenty"),
    ];
    let [guest, _, ten, _] = &vms;
    let port = host.shows("port show guest");
    assert_eq!(
        port["status"]["engine"]["warnings"],
        serde_json::Value::Null
    );
    let mut wire = Wire::new(&host, &vms);
    for protocol in [0x8100, 0x88a8] {
        let push = |vm: &Vm, tci| {
            vm.namespace()
                .run(|| TagPusher::attach("eth0", protocol, tci))
        };
        let frame = Frame::new(guest.mac, MacAddr::BROADCAST);
        for (vid, access) in [(10, "ten"), (20, "twenty")] {
            let _pusher = push(guest, vid);
            let received = wire.send("guest", &frame.octets());
            assert_eq!(received.len(), 2, "{received:02x?}");
            assert_eq!(received[access], [frame.octets()]);
            assert_eq!(
                received["other"],
                [frame.tagged(&[(protocol, vid)]).octets()]
            );
        }
        // The guest of an access port may not tag, in whichever way.
        let _pusher = push(ten, 20);
        let before = host.stats()["ten"].rx_drops("VlanTagNotAllowed");
        let frame = Frame::new(ten.mac, MacAddr::BROADCAST).octets();
        assert!(wire.send("ten", &frame).is_empty());
        assert_eq!(
            host.stats()["ten"].rx_drops("VlanTagNotAllowed"),
            before + 1
        );
    }
    wire.silent();
}
