//! What Prometheus is told, read by somebody else's parser, and compared with what the operator is told.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use weft_tests::{Answer, Host, Vm, eventually, until};

/// Prints every sample that the official Python client finds in its input, as JSON: family, type, name, labels, value.
const PARSER: &str = "
import json, sys
if sys.argv[1] == 'openmetrics':
    from prometheus_client.openmetrics.parser import text_string_to_metric_families
else:
    from prometheus_client.parser import text_string_to_metric_families
families = text_string_to_metric_families(sys.stdin.read())
print(json.dumps([[f.name, f.type, s.name, s.labels, s.value] for f in families for s in f.samples]))
";

/// One sample.
#[derive(Debug)]
struct Sample {
    kind: String,
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

/// The samples of a text.
fn parsed(format: &str, text: &str) -> Vec<Sample> {
    let mut parser = Command::new("/usr/bin/python3")
        .args(["-c", PARSER, format])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("running Debian's python3 (install python3-prometheus-client)");
    let mut input = parser.stdin.take().expect("its input is a pipe");
    let text = text.to_owned();
    let writer = std::thread::spawn(move || input.write_all(text.as_bytes()));
    let output = parser.wait_with_output().expect("it was a child");
    assert!(output.status.success(), "the text does not parse");
    writer.join().expect("no panic").expect("it reads all");
    let samples: Value = serde_json::from_slice(&output.stdout).expect("it prints JSON");
    let samples = samples.as_array().expect("a list").iter().map(|sample| {
        let text = |value: &Value| value.as_str().expect("a string").to_owned();
        let labels = sample[3].as_object().expect("labels are an object");
        Sample {
            kind: text(&sample[1]),
            name: text(&sample[2]),
            labels: labels
                .iter()
                .map(|(name, value)| (name.clone(), text(value)))
                .collect(),
            value: sample[4].as_f64().expect("a number"),
        }
    });
    samples.collect()
}

/// Gets a path from a host's socket.
fn get(host: &Host, path: &str, accept: &str) -> Answer {
    let mut curl = Command::new("curl");
    curl.args(["-s", "--fail-with-body", "--max-time", "20", "-H"])
        .arg(format!("accept: {accept}"))
        .arg("--unix-socket")
        .arg(host.socket())
        .arg(format!("http://localhost{path}"));
    Answer::of(&mut curl)
}

fn scrape(host: &Host) -> Vec<Sample> {
    parsed("prometheus", &get(host, "/metrics", "*/*").succeeds())
}

/// The one sample of a name with these labels.
#[track_caller]
fn value(samples: &[Sample], name: &str, labels: &[(&str, &str)]) -> f64 {
    let has = |sample: &&Sample| {
        sample.name == name
            && labels
                .iter()
                .all(|(label, value)| sample.labels.get(*label).is_some_and(|is| is == value))
    };
    let mut found = samples.iter().filter(has);
    let sample = found.next();
    assert!(found.next().is_none(), "{name} {labels:?} is there twice");
    sample
        .unwrap_or_else(|| panic!("no {name} {labels:?}: {samples:#?}"))
        .value
}

/// A host with two VMs and an uplink, with traffic and drops behind it.
fn busy_host() -> (Host, Vm, Vm, Vm) {
    let host = Host::new();
    let world = host.world("eth1");
    host.does("vswitch add vSwitch1 --uplink eth1");
    host.does(
        "portgroup add Lab --vswitch vSwitch1 --forged-transmits reject --mac-changes reject",
    );
    let (one, two) = (host.vm("one", "Lab"), host.vm("two", "Lab"));
    assert!(one.reaches(&two));
    assert!(one.reaches(&world));
    one.does("ip link set eth0 address 02:00:00:00:00:99");
    assert!(!one.reaches(&two));
    host.does("port add gone --portgroup Lab --vhost-user /nowhere/gone.sock");
    (host, one, two, world)
}

#[test]
fn metrics_say_what_the_operator_is_told() {
    let (host, _one, _two, _world) = busy_host();
    // Interfaces that are up send of their own accord, so both are read until nothing came in between.
    let quiet = eventually(Duration::from_secs(20), || {
        let before = host.shows("stats");
        let samples = scrape(&host);
        (host.shows("stats") == before).then_some((before, samples))
    });
    let (stats, samples) = quiet.expect("the host is quiet for a moment");
    let mut drops = 0;
    for port in stats.as_array().expect("stats are a list") {
        let name = port["name"].as_str().expect("a name");
        let kind = if port["uplink"] == true {
            "uplink"
        } else {
            "port"
        };
        let labels = [("host", "esxi01"), ("switch", "vSwitch1"), (kind, name)];
        for (metric, field) in [
            ("receive_packets", "rxFrames"),
            ("receive_bytes", "rxBytes"),
            ("transmit_packets", "txFrames"),
            ("transmit_bytes", "txBytes"),
        ] {
            let metric = format!("weft_{kind}_{metric}_total");
            let count = port[field].as_f64().expect("a number");
            assert_eq!(value(&samples, &metric, &labels), count, "{name}: {field}");
        }
        for (direction, field) in [("in", "rxDrops"), ("out", "txDrops")] {
            for (reason, count) in port[field].as_object().expect("drops are an object") {
                let of_reason = [("reason", reason.as_str()), ("direction", direction)];
                let labels = [labels.as_slice(), &of_reason].concat();
                let metric = format!("weft_{kind}_drops_total");
                let count = count.as_f64().expect("a number");
                assert_eq!(value(&samples, &metric, &labels), count, "{name}: {reason}");
                drops += 1;
            }
        }
    }
    let dropped = |sample: &&Sample| sample.name.ends_with("_drops_total");
    assert_eq!(samples.iter().filter(dropped).count(), drops);
    assert!(
        value(
            &samples,
            "weft_port_drops_total",
            &[("reason", "ForgedTransmit")]
        ) > 0.0
    );
    for (port, up) in [("one", 1.0), ("two", 1.0), ("gone", 0.0)] {
        assert_eq!(value(&samples, "weft_port_up", &[("port", port)]), up);
    }
    assert_eq!(
        value(&samples, "weft_uplink_up", &[("uplink", "eth1")]),
        1.0
    );

    let status = host.shows("status");
    let thread = [("thread", "0")];
    assert!(value(&samples, "weft_poll_packets_total", &thread) > 0.0);
    assert!(value(&samples, "weft_poll_busy_seconds_total", &thread) > 0.0);
    assert!(value(&samples, "weft_poll_asleep_seconds_total", &thread) > 0.0);
    assert_eq!(value(&samples, "weft_poll_stalled", &thread), 0.0);
    assert_eq!(
        value(
            &samples,
            "weft_build_info",
            &[("version", status["version"].as_str().expect("a version"))]
        ),
        1.0
    );
    let desired = value(&samples, "weft_agent_generation", &[("kind", "desired")]);
    assert!(desired > 0.0);
    assert_eq!(
        value(&samples, "weft_agent_generation", &[("kind", "applied")]),
        desired
    );
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let age =
        now.expect("after 1970").as_secs_f64() - value(&samples, "process_start_time_seconds", &[]);
    assert!((0.0..600.0).contains(&age), "{age}");
}

#[test]
fn metrics_of_netflow_are_what_show_tells() {
    let host = Host::with_switch();
    host.does("portgroup add Lab --vswitch vSwitch1");
    let (one, two) = (host.vm("one", "Lab"), host.vm("two", "Lab"));
    host.does("netflow set vSwitch1 --collector 127.0.0.1:9 --version 5 --idle 1s --flows 1000");
    host.does("portgroup set Lab --netflow enabled");
    assert!(one.reaches(&two));
    // The host has no way there: what is told by IPv4 is lost, and of ARP version 5 knows nothing.
    let told = eventually(Duration::from_secs(20), || {
        let before = host.shows("netflow show vSwitch1")["status"].clone();
        let samples = scrape(&host);
        let first = &before["collectors"][0];
        let is_told = ["lostRecords", "unsaid"].map(|field| first[field].as_u64() > Some(0));
        let is_quiet = host.shows("netflow show vSwitch1")["status"] == before;
        (is_told == [true, true] && is_quiet).then_some((before, samples))
    });
    let (status, samples) = told.expect("records are lost, and others unsaid");
    let (switch, collector) = (("switch", "vSwitch1"), ("collector", "127.0.0.1:9"));
    for (metric, field) in [
        ("flows", "flows"),
        ("room_flows", "room"),
        ("evicted_flows_total", "evicted"),
        ("metered_packets_total", "packets"),
        ("lost_records_total", "lostRecords"),
    ] {
        let metric = format!("weft_netflow_{metric}");
        let count = status[field].as_f64().expect("a number");
        assert_eq!(value(&samples, &metric, &[switch]), count, "{metric}");
    }
    for (metric, field) in [
        ("messages_total", "messages"),
        ("records_total", "records"),
        ("lost_records_total", "lostRecords"),
        ("unsaid_records_total", "unsaid"),
    ] {
        let metric = format!("weft_netflow_collector_{metric}");
        let count = status["collectors"][0][field].as_f64().expect("a number");
        assert_eq!(
            value(&samples, &metric, &[switch, collector]),
            count,
            "{metric}"
        );
    }
    assert!(value(&samples, "weft_netflow_metered_packets_total", &[switch]) > 0.0);
    assert_eq!(
        value(&samples, "weft_netflow_room_flows", &[switch]),
        1_000.0
    );
    let failing = "weft_netflow_collector_failing";
    assert_eq!(value(&samples, failing, &[switch, collector]), 1.0);
    let said = host.does("status");
    assert!(
        said.contains("netflow vSwitch1: collector 127.0.0.1:9: there is no route to it\n    next: ip route get 127.0.0.1"),
        "{said}"
    );
    let shown = host.does("netflow show vSwitch1");
    assert!(shown.contains("there is no route to it"), "{shown}");
    host.does("portgroup set Lab --netflow disabled");
    host.does("netflow del vSwitch1");
    let samples = scrape(&host);
    assert!(
        samples
            .iter()
            .all(|sample| !sample.name.contains("netflow"))
    );
}

#[test]
fn both_formats_hold_the_same_with_bounded_labels() {
    let (host, _one, _two, _world) = busy_host();
    let text = get(
        &host,
        "/metrics",
        "application/openmetrics-text; version=1.0.0",
    )
    .succeeds();
    assert!(text.ends_with("# EOF\n"), "{text}");
    let names = |samples: &[Sample]| -> Vec<_> {
        let names = samples
            .iter()
            .map(|sample| (sample.name.clone(), sample.labels.clone()));
        names.collect()
    };
    let samples = scrape(&host);
    assert_eq!(names(&parsed("openmetrics", &text)), names(&samples));
    let bounded = [
        "host",
        "switch",
        "port",
        "uplink",
        "reason",
        "direction",
        "thread",
        "kind",
        "version",
        "collector",
    ];
    for Sample {
        kind, name, labels, ..
    } in &samples
    {
        assert!(
            name.starts_with("weft_") || name == "process_start_time_seconds",
            "{name}"
        );
        assert_eq!(
            kind == "counter",
            name.ends_with("_total"),
            "{name} is a {kind}"
        );
        assert!(
            labels.keys().all(|label| bounded.contains(&label.as_str())),
            "{name}: {labels:?}"
        );
        assert_eq!(
            labels.get("host").map(String::as_str),
            Some("esxi01"),
            "{name}"
        );
    }
    assert_eq!(get(&host, "/livez", "*/*").succeeds(), "ok\n");
    assert_eq!(get(&host, "/readyz", "*/*").succeeds(), "ok\n");
}

/// An agent that serves metrics on an address, killed when the test is over.
struct Exporting {
    host: Host,
    agent: Child,
    address: String,
}

impl Drop for Exporting {
    fn drop(&mut self) {
        let _ = self.agent.kill();
        let _ = self.agent.wait();
    }
}

impl Exporting {
    /// In this network namespace, where the test can reach it: it has no ports.
    fn start() -> Self {
        let host = Host::asleep(None);
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free address");
        let address = free.local_addr().expect("it is bound").to_string();
        drop(free);
        let agent = Self::command(&host, &address)
            .spawn()
            .expect("the agent starts");
        until("the agent answers", || host.weft("status").code == Some(0));
        Self {
            host,
            agent,
            address,
        }
    }

    fn command(host: &Host, address: &str) -> Command {
        let mut command = Command::new(weft_tests::weft());
        command
            .args(["agent", "--config", "/dev/null", "--host-name", "esxi01"])
            .args(["--metrics", address, "--state"])
            .arg(host.state())
            .arg("--socket")
            .arg(host.socket());
        command
    }

    /// The whole answer to a request.
    fn asked(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        let head = format!("{request} HTTP/1.1\r\nhost: weft\r\n\r\n");
        stream.write_all(head.as_bytes()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        answer
    }
}

#[test]
fn the_address_serves_metrics_and_nothing_else() {
    let exporting = Exporting::start();
    let answer = exporting.asked("GET /metrics");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(head.contains("text/plain; version=0.0.4"), "{head}");
    assert!(value(&parsed("prometheus", body), "weft_build_info", &[]) > 0.0);
    for (request, code) in [
        ("GET /v1/status", "404"),
        ("GET /v1/export", "404"),
        ("POST /v1/vswitches", "404"),
        ("GET /livez", "404"),
        ("GET /", "404"),
        ("POST /metrics", "405"),
        ("nonsense", "400"),
    ] {
        let answer = exporting.asked(request);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {code}")),
            "{request}: {answer}"
        );
    }
    let other = Host::asleep(None);
    let answer = Answer::of(&mut Exporting::command(&other, &exporting.address));
    answer.refused(
        4,
        &["cannot serve metrics on", &exporting.address, "--metrics"],
    );
}

#[test]
fn clients_that_say_nothing_do_not_keep_others_out() {
    let exporting = Exporting::start();
    let connect = || TcpStream::connect(&exporting.address).expect("it listens");
    let mut end = [0; 1];
    // A few are waited for while others are served.
    let mut few: Vec<_> = (0..8).map(|_| connect()).collect();
    assert!(exporting.asked("GET /metrics").starts_with("HTTP/1.1 200"));
    for one in &mut few {
        one.set_nonblocking(true).expect("a socket");
        let read = one.read(&mut end).expect_err("nothing was asked for");
        assert_eq!(read.kind(), ErrorKind::WouldBlock, "it is still held");
    }
    drop(few);
    // Of many, the time is bounded.
    let silent: Vec<_> = (0..100).map(|_| connect()).collect();
    // A slow one sends a part of its request, and takes nothing of its answer.
    let mut slow = connect();
    slow.write_all(b"GET /metrics HTTP/1.1\r\nhost: weft\r\n")
        .expect("it reads");
    let since = Instant::now();
    drop(silent);
    assert!(exporting.asked("GET /metrics").starts_with("HTTP/1.1 200"));
    // Each of those that stay is hung up on.
    let hung_up = matches!(slow.read(&mut end), Ok(0) | Err(_));
    assert!(hung_up && since.elapsed() < Duration::from_secs(60));
    assert_eq!(exporting.host.weft("status").code, Some(0));
}
