//! The API over a real Unix socket, through the client.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use serde_json::Value;
use weft_api::{ChangeOptions, Client, LARGEST_BODY, Problem, ProblemKind, TraceRequest, Wait};
use weft_model::{
    Change, Manifest, Outcome, PortgroupSpec, ResourceVersion, VswitchPatch, VswitchSpec,
};

use super::{Socket, service};
use crate::error::AgentError;
use crate::events::Events;
use crate::host::Host;
use crate::plane::testing::Memory;
use crate::store::Store;

mod document;

/// An agent with made-up interfaces, and a client for it.
pub(super) struct Served {
    directory: tempfile::TempDir,
    pub(super) client: Client,
    pub(super) events: Arc<Events>,
    _socket: Socket,
}

pub(super) fn serve() -> Served {
    let directory = tempfile::tempdir().unwrap();
    let memory = Memory::default();
    memory.add("p-MyVM1");
    memory.add("eth1");
    let (sender, _) = crossbeam_channel::bounded(64);
    let (store, loaded) = Store::open(&directory.path().join("state")).unwrap();
    let (changed, _) = std::sync::mpsc::sync_channel(1);
    let host = Host::restore(
        "esxi01".parse().unwrap(),
        store,
        loaded,
        memory.plane(&sender),
        changed,
    )
    .unwrap();
    let events = Arc::clone(host.events());
    let path = directory.path().join("agent.sock");
    let mut socket = Socket::bind(&path, None).unwrap();
    let listener = socket.listener().unwrap();
    tokio::spawn(async move { axum::serve(listener, service(Arc::new(host))).await });
    Served {
        directory,
        client: Client::new(path),
        events,
        _socket: socket,
    }
}

const NOW: ChangeOptions = ChangeOptions {
    dry_run: false,
    wait: Wait::Applied,
    yes: false,
    resource_version: None,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_switch_with_a_port_is_made_shown_and_removed() {
    let served = serve();
    let client = &served.client;
    let switch = VswitchSpec::new("vSwitch1".parse().unwrap());
    assert_eq!(
        client.add_vswitch(&switch, NOW).await.unwrap().outcome,
        Outcome::Created
    );
    assert_eq!(
        client.add_vswitch(&switch, NOW).await.unwrap().outcome,
        Outcome::Unchanged
    );
    let group = PortgroupSpec::new("VM Network".parse().unwrap(), switch.name.clone());
    client.add_portgroup(&group, NOW).await.unwrap();
    let port =
        weft_model::from_text("{name: MyVM1, portgroup: VM Network, veth: p-MyVM1}").unwrap();
    let without_waiting = ChangeOptions {
        wait: Wait::None,
        ..NOW
    };
    assert_eq!(
        client
            .add_port(&port, without_waiting)
            .await
            .unwrap()
            .outcome,
        Outcome::Created
    );
    let uplink = "eth1".parse().unwrap();
    client.add_uplink(&switch.name, &uplink, NOW).await.unwrap();

    assert_eq!(
        client.portgroup(&group.name).await.unwrap().spec,
        group,
        "a name with a space is a path"
    );
    assert_eq!(client.vswitch(&switch.name).await.unwrap().status.ports, 1);
    assert_eq!(
        client.port(&port.name).await.unwrap().status.vswitch,
        switch.name
    );
    assert_eq!(client.uplinks().await.unwrap()[0].interface, uplink);
    assert_eq!(client.policy(&port.name).await.unwrap().leaves.len(), 22);
    assert_eq!(client.stats(&[]).await.unwrap().len(), 2);
    assert!(client.fdb(Some(&switch.name)).await.unwrap().is_empty());
    assert!(!client.drops().await.unwrap().reasons.is_empty());
    let status = client.status().await.unwrap();
    assert_eq!(
        (
            status.host.as_str(),
            status.counts.ports,
            status.counts.uplinks
        ),
        ("esxi01", 1, 1)
    );
    let exported = client.export().await.unwrap();
    assert_eq!(Manifest::parse(&exported.to_yaml()).unwrap(), exported);

    client.del_port(&port.name, NOW).await.unwrap();
    client.del_portgroup(&group.name, NOW).await.unwrap();
    client.del_uplink(&switch.name, &uplink, NOW).await.unwrap();
    assert_eq!(
        client.del_vswitch(&switch.name, NOW).await.unwrap().outcome,
        Outcome::Deleted
    );
    assert!(client.vswitches().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_arrives_whole() {
    let served = serve();
    let client = &served.client;
    let switch = VswitchSpec::new("vSwitch1".parse().unwrap());
    client.add_vswitch(&switch, NOW).await.unwrap();
    let group = PortgroupSpec::new("Lab".parse().unwrap(), "vSwitch".parse().unwrap());
    let problem = client.add_portgroup(&group, NOW).await.unwrap_err();
    assert_eq!(
        (problem.kind, problem.kind.exit_code()),
        (ProblemKind::NotFound, 3)
    );
    assert_eq!(
        (problem.field.as_deref(), problem.suggestion.as_deref()),
        (Some("vswitch"), Some("vSwitch1"))
    );
    let stale = ChangeOptions {
        resource_version: Some(ResourceVersion(99)),
        ..NOW
    };
    let problem = client
        .set_vswitch(&switch.name, &VswitchPatch::default(), stale)
        .await
        .unwrap_err();
    assert_eq!(problem.kind, ProblemKind::Conflict);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there_is_unreachable_with_a_remedy() {
    let directory = tempfile::tempdir().unwrap();
    let problem = Client::new(directory.path().join("none.sock"))
        .status()
        .await
        .unwrap_err();
    assert_eq!(problem.kind.exit_code(), 5);
    assert!(problem.remedy.unwrap().contains("weft agent --socket"));
}

/// The status and the answer to a request that no client of ours sends.
async fn exchange(served: &Served, request: &str, body: impl AsRef<[u8]>) -> (u16, Value) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let socket = served.client.socket();
    let mut stream = tokio::net::UnixStream::connect(socket).await.unwrap();
    let body = body.as_ref();
    let head = format!(
        "{request} HTTP/1.1\r\nhost: weft\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let sent = [head.as_bytes(), body].concat();
    // One that sends too much is told so before all of it is read.
    let _ = stream.write_all(&sent).await;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let body = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"));
    (status, body)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_is_a_problem_with_a_remedy() {
    use ProblemKind::{Conflict, Invalid, NotFound};
    let served = serve();
    let switch = VswitchSpec::new("vSwitch1".parse().unwrap());
    served.client.add_vswitch(&switch, NOW).await.unwrap();
    let large = vec![b' '; LARGEST_BODY + 1];
    let refusals: &[(&str, &[u8], ProblemKind, &str)] = &[
        ("GET /", b"", NotFound, "no path /"),
        ("GET /v2/status", b"", NotFound, "/v2/status"),
        ("GET /v1/port", b"", NotFound, "GET /v1/openapi.json"),
        ("GET /v1/status/", b"", NotFound, "/v1/status/"),
        ("PUT /v1/status", b"", Invalid, "PUT"),
        ("POST /v1/export", b"{}", Invalid, "POST"),
        (
            "POST /v1/vswitches",
            b"{name: a, mtuu: 1500}",
            Invalid,
            "did you mean mtu?",
        ),
        (
            "POST /v1/vswitches",
            b"{name: a, mtu: 70000}",
            Invalid,
            "1280-9000",
        ),
        ("POST /v1/vswitches", b"{\"name\": ", Invalid, "line 1"),
        ("POST /v1/vswitches", b"", Invalid, ""),
        ("POST /v1/vswitches", b"[]", Invalid, ""),
        ("POST /v1/vswitches", b"<vswitch/>", Invalid, ""),
        ("POST /v1/vswitches", b"{name: \xff}", Invalid, "UTF-8"),
        ("POST /v1/vswitches", &large, Invalid, "larger than 16 MiB"),
        (
            "POST /v1/vswitches?dryrun=true",
            b"{name: a}",
            Invalid,
            "dryrun",
        ),
        (
            "POST /v1/vswitches?dryRun=perhaps",
            b"{name: a}",
            Invalid,
            "dryRun",
        ),
        (
            "POST /v1/vswitches?wait=forever",
            b"{name: a}",
            Invalid,
            "parameter wait",
        ),
        (
            "POST /v1/vswitches?yes=true&yes=true",
            b"{name: a}",
            Invalid,
            "yes",
        ),
        (
            "POST /v1/vswitches?resourceVersion=-1",
            b"{name: a}",
            Invalid,
            "resourceVersion",
        ),
        (
            "POST /v1/vswitches",
            b"{name: vSwitch1, mtu: 9000}",
            Conflict,
            "exists already",
        ),
        (
            "PATCH /v1/vswitches/vSwitch1",
            b"{name: b}",
            Invalid,
            "name",
        ),
        (
            "PATCH /v1/vswitches/vSwitch1?resourceVersion=9",
            b"{mtu: 9000}",
            Conflict,
            "version",
        ),
        (
            "POST /v1/portgroups",
            b"{name: a, vswitch: b, vlan: 4096}",
            Invalid,
            "4096",
        ),
        (
            "POST /v1/portgroups",
            b"{name: a, vswitch: b}",
            NotFound,
            "standard switch b",
        ),
        (
            "POST /v1/ports",
            b"{name: a, portgroup: b, veth: c, tap: d}",
            Invalid,
            "one of",
        ),
        (
            "POST /v1/uplinks",
            b"{vswitch: vSwitch1, interface: eth9}",
            NotFound,
            "eth9",
        ),
        ("GET /v1/ports/a%2Fb", b"", Invalid, "port name"),
        ("GET /v1/ports/%FF", b"", Invalid, "UTF-8"),
        ("GET /v1/ports/a", b"", NotFound, "port a does not exist"),
        ("GET /v1/ports/a/policy", b"", NotFound, "port a"),
        ("GET /v1/fdb?vswitch=a", b"", NotFound, "standard switch a"),
        ("GET /v1/fdb?vswitch=a/b", b"", Invalid, "switch name"),
        ("GET /v1/stats?prt=a", b"", Invalid, "prt"),
        ("GET /v1/stats?port=a", b"", NotFound, "a"),
        ("DELETE /v1/ports/a", b"", NotFound, "port a does not exist"),
        (
            "GET /v1/netflow/a",
            b"",
            NotFound,
            "standard switch a does not exist",
        ),
        (
            "GET /v1/netflow/vSwitch1",
            b"",
            NotFound,
            "netflow vSwitch1 does not exist",
        ),
        (
            "DELETE /v1/netflow/vSwitch1",
            b"",
            NotFound,
            "netflow vSwitch1 does not exist",
        ),
        (
            "PATCH /v1/netflow/vSwitch1",
            b"{active: 0s}",
            Invalid,
            "1s-1h",
        ),
        (
            "PATCH /v1/netflow/vSwitch1",
            b"{active: 30s}",
            NotFound,
            "netflow vSwitch1",
        ),
        (
            "PUT /v1/netflow/vSwitch1",
            b"{vswitch: vSwitch2, collectors: ['10.8.0.9:2055']}",
            Invalid,
            "vswitch is vSwitch2",
        ),
        (
            "PUT /v1/netflow/vSwitch1",
            b"{vswitch: vSwitch1, collectors: ['10.8.0.9:2055'], version: 5, sampling: 16384}",
            Invalid,
            "use 0-16383",
        ),
        (
            "PATCH /v1/portgroups",
            b"{portgroups: [], set: {netflow: enabled}}",
            Invalid,
            "none is named",
        ),
        (
            "PATCH /v1/portgroups",
            b"{portgroups: [a], set: {netflow: enabled}}",
            NotFound,
            "port group a",
        ),
        (
            "POST /v1/portgroups",
            b"{name: a, vswitch: vSwitch1, netflow: enabled}",
            Conflict,
            "weft netflow set vSwitch1 --collector",
        ),
        ("GET /v1/flows?port=a", b"", NotFound, "a"),
        ("GET /v1/flows?limit=0", b"", Invalid, "use 1-10000"),
        ("GET /v1/flows?vswitch=a", b"", Invalid, "vswitch"),
        (
            "DELETE /v1/vswitches/vSwitch1/uplinks/eth1",
            b"",
            NotFound,
            "eth1",
        ),
    ];
    for (request, body, kind, part) in refusals {
        let (status, answer) = exchange(&served, request, body).await;
        let problem: Problem = serde_json::from_value(answer.clone()).unwrap();
        assert_eq!(problem.kind, *kind, "{request}: {problem}");
        assert_eq!(status, kind.http_status(), "{request}: {problem}");
        assert!(problem.to_string().contains(part), "{request}: {problem}");
        assert!(
            problem.remedy.is_some_and(|remedy| !remedy.is_empty()),
            "{request}: {answer}"
        );
        let (method, path) = request.split_once(' ').unwrap();
        let is_known = document::answer_schema(method, path, 200).is_some();
        if let Some(schema) = document::answer_schema(method, path, status) {
            document::conforms(&schema, &answer, request);
        } else {
            assert!(
                !is_known,
                "{request}: the document says nothing of {status}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_without_end_harms_nobody() {
    use tokio::io::AsyncWriteExt;
    let served = serve();
    let mut stream = tokio::net::UnixStream::connect(served.client.socket())
        .await
        .unwrap();
    let head = "POST /v1/vswitches HTTP/1.1\r\nhost: weft\r\ncontent-length: 99999999999\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let ended = async { while stream.write_all(&[b' '; 1 << 16]).await.is_ok() {} };
    tokio::time::timeout(std::time::Duration::from_secs(10), ended)
        .await
        .expect("the agent hangs up");
    served.client.status().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_belongs_to_one_agent_and_goes_with_it() {
    let served = serve();
    let path = served.directory.path().join("agent.sock");
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o660
    );
    let error = Socket::bind(&path, None).err().unwrap();
    assert!(
        matches!(error, AgentError::SocketInUse { .. }) && error.to_string().contains("agent.sock"),
        "{error}"
    );

    let stale = served.directory.path().join("stale.sock");
    drop(std::os::unix::net::UnixListener::bind(&stale).unwrap());
    drop(Socket::bind(&stale, None).unwrap());
    assert!(!stale.exists());

    let file = served.directory.path().join("file");
    std::fs::write(&file, "precious").unwrap();
    assert!(Socket::bind(&file, None).is_err());
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_is_traced() {
    let served = serve();
    let client = &served.client;
    let manifest = "
vswitches: [{name: vSwitch1, portgroups: [{name: Lab, vlan: 10}]}]
ports: [{name: MyVM1, portgroup: Lab, mac: '02:00:00:00:00:01', veth: p-MyVM1}]";
    for change in Manifest::parse(manifest).unwrap().changes() {
        match change {
            Change::AddVswitch(spec) | Change::PutVswitch(spec) => {
                client.add_vswitch(&spec, NOW).await
            }
            Change::AddPortgroup(spec) | Change::PutPortgroup(spec) => {
                client.add_portgroup(&spec, NOW).await
            }
            Change::AddPort(spec) | Change::PutPort(spec) => client.add_port(&spec, NOW).await,
            other => panic!("{other:?}"),
        }
        .unwrap();
    }
    let mut request = TraceRequest::new("MyVM1", "02:00:00:00:00:02".parse().unwrap());
    let report = client.trace(&request).await.unwrap();
    assert_eq!(report.reason.as_deref(), Some("UnknownUnicast"));
    assert_eq!(
        report.next.unwrap().commands,
        ["weft uplink add vSwitch1 eth1"]
    );
    request.port = "MyVM2".to_owned();
    let problem = client.trace(&request).await.unwrap_err();
    assert_eq!(problem.kind, ProblemKind::NotFound);
    assert_eq!(problem.suggestion.as_deref(), Some("MyVM1"));
}
