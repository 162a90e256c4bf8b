//! Filters take what tcpdump takes.

use std::process::Command;

use proptest::prelude::*;
use proptest::sample::select;
use weft_mirror::Filter;

const MACS: [&str; 3] = [
    "02:00:00:00:00:01",
    "02:00:00:00:00:02",
    "33:33:00:00:00:01",
];
const V4: [&str; 5] = [
    "10.0.0.1",
    "10.0.0.2",
    "10.1.2.3",
    "192.168.1.7",
    "224.0.0.5",
];
const V6: [&str; 4] = ["fd00::1", "fd00::2", "fe80::5", "ff02::1"];
const PORTS: [u16; 5] = [22, 53, 80, 443, 1000];
const PROTOCOLS: [u8; 6] = [1, 6, 17, 47, 58, 132];

fn mac(text: &str) -> Vec<u8> {
    let octets = text.split(':');
    octets
        .map(|octet| u8::from_str_radix(octet, 16).unwrap())
        .collect()
}

fn v4(text: &str) -> [u8; 4] {
    text.parse::<std::net::Ipv4Addr>().unwrap().octets()
}

fn v6(text: &str) -> [u8; 16] {
    text.parse::<std::net::Ipv6Addr>().unwrap().octets()
}

/// A packet with its EtherType.
fn packet() -> impl Strategy<Value = (u16, Vec<u8>)> {
    let ports = (select(&PORTS[..]), select(&PORTS[..])).prop_map(|(source, destination)| {
        [source.to_be_bytes(), destination.to_be_bytes()].concat()
    });
    let four = (
        select(&V4[..]),
        select(&V4[..]),
        select(&PROTOCOLS[..]),
        select(vec![0u16, 0, 0, 0x2000, 0x0010]),
        ports.clone(),
        any::<bool>(),
    );
    let four = four.prop_map(|(src, dst, protocol, fragment, ports, has_options)| {
        let words = if has_options { 6 } else { 5 };
        let mut packet = vec![0x40 | words, 0, 0, 4 * words + 24, 0, 1];
        packet.extend(fragment.to_be_bytes());
        packet.extend([64, protocol, 0, 0]);
        packet.extend(v4(src));
        packet.extend(v4(dst));
        packet.resize(4 * usize::from(words), 1);
        packet.extend(ports);
        packet.extend([0; 20]);
        (0x0800, packet)
    });
    let six = (
        select(&V6[..]),
        select(&V6[..]),
        select(&PROTOCOLS[..]),
        ports,
    );
    let six = six.prop_map(|(src, dst, protocol, ports)| {
        let mut packet = vec![0x60, 0, 0, 0, 0, 24, protocol, 64];
        packet.extend(v6(src));
        packet.extend(v6(dst));
        packet.extend(ports);
        packet.extend([0; 20]);
        (0x86dd, packet)
    });
    let arp = (select(&V4[..]), select(&V4[..]), any::<bool>());
    let arp = arp.prop_map(|(sender, target, is_rarp)| {
        let mut packet = vec![0, 1, 8, 0, 6, 4, 0, 1];
        packet.extend(mac(MACS[0]));
        packet.extend(v4(sender));
        packet.extend(mac(MACS[1]));
        packet.extend(v4(target));
        (if is_rarp { 0x8035 } else { 0x0806 }, packet)
    });
    let other = Just((0x88b5, vec![0; 46]));
    prop_oneof![4 => four, 3 => six, 2 => arp, 1 => other]
}

fn frame() -> impl Strategy<Value = Vec<u8>> {
    let to = prop_oneof![4 => select(&MACS[..]), 1 => Just("ff:ff:ff:ff:ff:ff")];
    let frame = (to, select(&MACS[..2]), packet(), 0..60usize);
    frame.prop_map(|(to, from, (ethertype, packet), more)| {
        let mut frame = mac(to);
        frame.extend(mac(from));
        frame.extend(ethertype.to_be_bytes());
        frame.extend(&packet);
        frame.resize(frame.len() + more, 0);
        frame
    })
}

fn one_test() -> impl Strategy<Value = String> {
    let side = || select(vec!["", "", "src ", "dst ", "src or dst ", "src and dst "]);
    let host = (
        select(vec!["", "ip ", "arp ", "rarp "]),
        side(),
        select(&V4[..]),
    );
    let host = host.prop_map(|(protocol, side, host)| format!("{protocol}{side}host {host}"));
    let six = (select(vec!["", "ip6 "]), side(), select(&V6[..]));
    let six = six.prop_map(|(protocol, side, host)| format!("{protocol}{side}host {host}"));
    let nets = vec![
        "10.0.0.0/8",
        "10.0.0.0/30",
        "10",
        "10.1",
        "192.168.1",
        "192.168.0.0 mask 255.255.0.0",
        "0.0.0.0/0",
        "10.0.0.1/32",
        "fd00::/8",
        "fe80::/10",
        "fd00::1/128",
    ];
    let net = (side(), select(nets)).prop_map(|(side, net)| format!("{side}net {net}"));
    let port = (
        select(vec!["", "tcp ", "udp ", "sctp "]),
        side(),
        select(&PORTS[..]),
    );
    let port = port.prop_map(|(protocol, side, port)| format!("{protocol}{side}port {port}"));
    let range = (
        select(vec!["", "tcp ", "udp "]),
        side(),
        0..600u16,
        0..600u16,
    );
    let range = range.prop_map(|(protocol, side, one, other)| {
        format!(
            "{protocol}{side}portrange {}-{}",
            one.min(other),
            one.max(other)
        )
    });
    let link = (side(), select(&MACS[..]));
    let link = link.prop_map(|(side, mac)| format!("ether {side}host {mac}"));
    let words = vec![
        "ip",
        "ip6",
        "arp",
        "rarp",
        "tcp",
        "udp",
        "sctp",
        "icmp",
        "icmp6",
        "ether broadcast",
        "ether multicast",
        "broadcast",
        "multicast",
        "ip multicast",
        "ip6 multicast",
        "ip proto 47",
        "ip6 proto 47",
        "proto 17",
        "ip proto \\tcp",
        "ether proto 0x88b5",
        "ether proto \\arp",
    ];
    let word = select(words).prop_map(str::to_owned);
    let len = (select(vec!["less", "greater"]), 40..120u16);
    let len = len.prop_map(|(word, len)| format!("{word} {len}"));
    let same = select(vec![
        "host 10.0.0.1 or 10.0.0.2",
        "not host 10.0.0.1 and 10.0.0.2",
        "tcp port 80 or 443 or 1000",
        "src net 10 or 192.168.1",
        "dst port domain or https",
        "src 10.0.0.1",
        "dst fd00::1",
        "ether src 02:00:00:00:00:01 or 02:00:00:00:00:02",
    ]);
    let same = same.prop_map(str::to_owned);
    prop_oneof![2 => host, 2 => six, 2 => net, 3 => port, 1 => range, 2 => link, 4 => word, 1 => len, 1 => same]
}

fn filter() -> impl Strategy<Value = String> {
    one_test().prop_recursive(4, 12, 3, |inner| {
        let joint = select(vec![" and ", " or ", " && ", " || "]);
        prop_oneof![
            3 => (inner.clone(), joint, inner.clone()).prop_map(|(one, joint, other)| format!("{one}{joint}{other}")),
            1 => inner.clone().prop_map(|one| format!("({one})")),
            1 => inner.prop_map(|one| format!("not ({one})")),
            1 => one_test().prop_map(|one| format!("! ({one})")),
        ]
    })
}

/// A file as tcpdump writes it (pcap-savefile(5)), with these frames of Ethernet, one each second.
fn savefile(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut file = Vec::new();
    file.extend(0xa1b2_c3d4_u32.to_le_bytes());
    file.extend([2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    file.extend(65_535_u32.to_le_bytes());
    file.extend(1_u32.to_le_bytes());
    for (second, frame) in (0_u32..).zip(frames) {
        let len = (frame.len() as u32).to_le_bytes();
        file.extend([second.to_le_bytes(), [0; 4], len, len].concat());
        file.extend(frame);
    }
    file
}

/// Which of the frames tcpdump takes, by number.
fn taken_by_tcpdump(frames: &[Vec<u8>], filter: &str) -> Vec<usize> {
    let directory = tempfile::tempdir().unwrap();
    let (from, to) = (directory.path().join("from"), directory.path().join("to"));
    std::fs::write(&from, savefile(frames)).unwrap();
    let mut tcpdump = Command::new("tcpdump");
    tcpdump
        .args(["-Z", "root", "-O", "-r"])
        .arg(&from)
        .arg("-w")
        .arg(&to)
        .arg(filter);
    let output = tcpdump.output().expect("tcpdump is installed");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{filter}: {said}");
    let file = std::fs::read(&to).unwrap();
    let mut rest = &file[24..];
    let mut taken = Vec::new();
    while let Some((header, behind)) = rest.split_first_chunk::<16>() {
        let word = |at: usize| u32::from_le_bytes(*header[at..].first_chunk().unwrap()) as usize;
        taken.push(word(0));
        rest = &behind[word(8)..];
    }
    taken
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn it_takes_what_tcpdump_takes(
        frames in prop::collection::vec(frame(), 1..60),
        text in filter(),
    ) {
        let filter: Filter = text.parse().unwrap();
        let taken = (0..frames.len()).filter(|&number| {
            let frame = &frames[number];
            // What is behind the ports is not looked at.
            filter.takes(&frame[..frame.len().min(64)], frame.len())
        });
        let taken: Vec<_> = taken.collect();
        prop_assert_eq!(taken, taken_by_tcpdump(&frames, &text), "{}", text);
    }

    #[test]
    fn a_tag_hides_nothing(frame in frame(), text in filter()) {
        prop_assume!(!text.contains("less") && !text.contains("greater"));
        let filter: Filter = text.parse().unwrap();
        let tagged = [&frame[..12], &[0x81, 0, 0x60, 7], &frame[12..]].concat();
        prop_assert_eq!(filter.takes(&frame, frame.len()), filter.takes(&tagged, tagged.len()));
    }

    /// Whatever is written: an answer, and no more than that.
    #[test]
    fn any_text_is_a_filter_or_is_not(
        words in prop::collection::vec(prop_oneof![
            select(vec!["host", "net", "port", "portrange", "proto", "src", "dst", "and", "or", "not",
                "(", ")", "!", "ether", "ip", "ip6", "tcp", "vlan", "less", "mask", "broadcast", "10.0.0.1",
                "fd00::/8", "80", "1-2", "02:00:00:00:00:01", "\\tcp", "é"]).prop_map(str::to_owned),
            ".{0,6}",
        ], 0..12),
        frame in frame(),
    ) {
        let text = words.join(" ");
        match text.parse::<Filter>() {
            Ok(filter) => _ = filter.takes(&frame, frame.len()),
            Err(error) => prop_assert!(error.to_string().starts_with("filter")),
        }
    }
}

#[test]
fn vlans_are_those_of_the_outer_tag() {
    let frame = [0; 60];
    let tagged = |tags: &[[u8; 4]]| [&frame[..12], &tags.concat(), &[8, 0], &frame[14..]].concat();
    let (none, seven) = (tagged(&[]), tagged(&[[0x81, 0, 0x20, 7]]));
    let double = tagged(&[[0x88, 0xa8, 0, 9], [0x81, 0, 0, 7]]);
    for (text, expected) in [
        ("vlan", [false, true, true]),
        ("vlan 7", [false, true, false]),
        ("vlan 9", [false, false, true]),
        ("not vlan", [true, false, false]),
        ("vlan 7 or vlan 9", [false, true, true]),
        ("vlan and ip", [false, true, true]),
        ("", [true, true, true]),
    ] {
        let filter: Filter = text.parse().unwrap();
        let taken = [&none, &seven, &double].map(|frame| filter.takes(frame, frame.len()));
        assert_eq!(taken, expected, "{text}");
    }
}

#[test]
fn errors_say_where_and_what_to_do() {
    let deep = "(".repeat(100);
    let long = "a".repeat(5_000);
    for (text, expected) in [
        ("host", "filter: an address is missing at the end"),
        (
            "host web1",
            "filter, at \"web1\" (column 6): it is neither a word of a filter nor an address, as 10.0.0.1 or fd00::1",
        ),
        (
            "tcp port 80 port 81",
            "filter, at \"port\" (column 13): 'and' or 'or' is needed before it, or it does not belong here",
        ),
        (
            "host 02:00:00:00:00:01",
            "filter, at \"02:00:00:00:00:01\" (column 6): write 'ether host' before an address of the link",
        ),
        (
            "tcp[13] & 2 != 0",
            "filter, at \"tcp[13]\" (column 1): it is not known here; capture more, and have tcpdump or Wireshark filter the file",
        ),
        (
            "vlan 4096",
            "filter, at \"4096\" (column 6): a number of 0-4095 is needed",
        ),
        (
            "port 65536",
            "filter, at \"65536\" (column 6): a port is needed, 0-65535 or the name of a usual one",
        ),
        (
            "icmp port 1",
            "filter, at \"icmp\" (column 1): ports are those of tcp, udp and sctp",
        ),
        (
            "ip6 host 10.0.0.1",
            "filter, at \"10.0.0.1\" (column 10): it is an address of the other version of IP",
        ),
        (
            "net 10.0.0.1/8",
            "filter, at \"10.0.0.1/8\" (column 5): bits beyond those of the network are set; clear them",
        ),
        ("(arp or ip", "filter: ')' is missing at the end"),
        ("arp and", "filter: an address is missing at the end"),
        (&deep, "filter: its parts lie in one another too deep"),
        (&long, "filter: it is longer than 4096 octets"),
    ] {
        let refused = text.parse::<Filter>().unwrap_err();
        assert_eq!(refused.to_string(), expected);
    }
}
