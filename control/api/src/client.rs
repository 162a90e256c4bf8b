//! A client for one agent.

mod permission;
mod transport;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper::Method;
use weft_model::{
    InterfaceName, Manifest, NetflowPatch, NetflowSpec, PortName, PortPatch, PortSpec,
    PortgroupName, PortgroupPatch, PortgroupSpec, VmkName, VmkPatch, VmkSpec, VswitchName,
    VswitchPatch, VswitchSpec,
};

use crate::activity::Activity;
use crate::apply::{ApplyOptions, ApplyResult, Confirmed, Generation, RollbackRequest};
use crate::event::Event;
use crate::netflow::{FlowEntry, Netflow};
use crate::object::{
    ChangeOptions, ChangeResult, Port, Portgroup, PortgroupsRequest, Uplink, UplinkRequest, Vmk,
    Vswitch,
};
use crate::problem::Problem;
use crate::report::{DropsReport, FdbEntry, PolicyReport, PortStats, Status};
use crate::trace::{TraceReport, TraceRequest};
use transport::encoded;

/// How long a manifest of thousands of ports may take.
const LONGEST_APPLY: Duration = Duration::from_secs(600);

/// A client for the agent behind one socket. Each request is a connection of its own.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
    timeout: Duration,
}

type Answer<T> = Result<T, Problem>;

impl Client {
    /// A client for the agent at this socket. It waits 30 s for an answer.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self {
            socket: socket.into(),
            timeout: Duration::from_secs(30),
        }
    }

    /// The same, with another time to wait for an answer.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// The socket that it talks to.
    pub fn socket(&self) -> &Path {
        &self.socket
    }
}

/// One method per path; all fail with the agent's [`Problem`], `unreachable` or `timedOut`.
#[allow(missing_docs)]
impl Client {
    pub async fn status(&self) -> Answer<Status> {
        self.read("/v1/status").await
    }

    pub async fn vswitches(&self) -> Answer<Vec<Vswitch>> {
        self.read("/v1/vswitches").await
    }

    pub async fn vswitch(&self, name: &VswitchName) -> Answer<Vswitch> {
        self.read(&format!("/v1/vswitches/{}", encoded(name.as_str())))
            .await
    }

    pub async fn add_vswitch(
        &self,
        spec: &VswitchSpec,
        options: ChangeOptions,
    ) -> Answer<ChangeResult> {
        self.change(Method::POST, "/v1/vswitches", Some(spec), options)
            .await
    }

    pub async fn set_vswitch(
        &self,
        name: &VswitchName,
        patch: &VswitchPatch,
        options: ChangeOptions,
    ) -> Answer<ChangeResult> {
        let path = format!("/v1/vswitches/{}", encoded(name.as_str()));
        self.change(Method::PATCH, &path, Some(patch), options)
            .await
    }

    pub async fn del_vswitch(
        &self,
        name: &VswitchName,
        options: ChangeOptions,
    ) -> Answer<ChangeResult> {
        let path = format!("/v1/vswitches/{}", encoded(name.as_str()));
        self.change(Method::DELETE, &path, NOTHING, options).await
    }

    pub async fn portgroups(&self) -> Answer<Vec<Portgroup>> {
        self.read("/v1/portgroups").await
    }

    pub async fn portgroup(&self, name: &PortgroupName) -> Answer<Portgroup> {
        self.read(&format!("/v1/portgroups/{}", encoded(name.as_str())))
            .await
    }

    pub async fn add_portgroup(
        &self,
        spec: &PortgroupSpec,
        options: ChangeOptions,
    ) -> Answer<ChangeResult> {
        self.change(Method::POST, "/v1/portgroups", Some(spec), options)
            .await
    }

    pub async fn set_portgroup(
        &self,
        name: &PortgroupName,
        patch: &PortgroupPatch,
        options: ChangeOptions,
    ) -> Answer<ChangeResult> {
        let path = format!("/v1/portgroups/{}", encoded(name.as_str()));
        self.change(Method::PATCH, &path, Some(patch), options)
            .await
    }

    /// Changes settings of several port groups together.
    pub async fn set_portgroups(
        &self,
        request: &PortgroupsRequest,
        options: ApplyOptions,
    ) -> Answer<ApplyResult> {
        self.transact(Method::PATCH, "/v1/portgroups", request, options)
            .await
    }

    pub async fn del_portgroup(
        &self,
        name: &PortgroupName,
        options: ChangeOptions,
    ) -> Answer<ChangeResult> {
        let path = format!("/v1/portgroups/{}", encoded(name.as_str()));
        self.change(Method::DELETE, &path, NOTHING, options).await
    }

    pub async fn ports(&self) -> Answer<Vec<Port>> {
        self.read("/v1/ports").await
    }

    pub async fn port(&self, name: &PortName) -> Answer<Port> {
        self.read(&format!("/v1/ports/{}", encoded(name.as_str())))
            .await
    }

    pub async fn add_port(&self, spec: &PortSpec, options: ChangeOptions) -> Answer<ChangeResult> {
        self.change(Method::POST, "/v1/ports", Some(spec), options)
            .await
    }

    pub async fn set_port(
        &self,
        name: &PortName,
        patch: &PortPatch,
        options: ChangeOptions,
    ) -> Answer<ChangeResult> {
        let path = format!("/v1/ports/{}", encoded(name.as_str()));
        self.change(Method::PATCH, &path, Some(patch), options)
            .await
    }

    pub async fn del_port(&self, name: &PortName, options: ChangeOptions) -> Answer<ChangeResult> {
        let path = format!("/v1/ports/{}", encoded(name.as_str()));
        self.change(Method::DELETE, &path, NOTHING, options).await
    }

    pub async fn vmks(&self) -> Answer<Vec<Vmk>> {
        self.read("/v1/vmks").await
    }

    pub async fn vmk(&self, name: &VmkName) -> Answer<Vmk> {
        self.read(&format!("/v1/vmks/{}", encoded(name.as_str())))
            .await
    }

    pub async fn add_vmk(&self, spec: &VmkSpec, options: ChangeOptions) -> Answer<ChangeResult> {
        self.change(Method::POST, "/v1/vmks", Some(spec), options)
            .await
    }

    pub async fn set_vmk(
        &self,
        name: &VmkName,
        patch: &VmkPatch,
        options: ChangeOptions,
    ) -> Answer<ChangeResult> {
        let path = format!("/v1/vmks/{}", encoded(name.as_str()));
        self.change(Method::PATCH, &path, Some(patch), options)
            .await
    }

    pub async fn del_vmk(&self, name: &VmkName, options: ChangeOptions) -> Answer<ChangeResult> {
        let path = format!("/v1/vmks/{}", encoded(name.as_str()));
        self.change(Method::DELETE, &path, NOTHING, options).await
    }

    pub async fn netflows(&self) -> Answer<Vec<Netflow>> {
        self.read("/v1/netflow").await
    }

    pub async fn netflow(&self, vswitch: &VswitchName) -> Answer<Netflow> {
        self.read(&format!("/v1/netflow/{}", encoded(vswitch.as_str())))
            .await
    }

    pub async fn put_netflow(
        &self,
        spec: &NetflowSpec,
        options: ChangeOptions,
    ) -> Answer<ChangeResult> {
        let path = format!("/v1/netflow/{}", encoded(spec.vswitch.as_str()));
        self.change(Method::PUT, &path, Some(spec), options).await
    }

    pub async fn set_netflow(
        &self,
        vswitch: &VswitchName,
        patch: &NetflowPatch,
        options: ChangeOptions,
    ) -> Answer<ChangeResult> {
        let path = format!("/v1/netflow/{}", encoded(vswitch.as_str()));
        self.change(Method::PATCH, &path, Some(patch), options)
            .await
    }

    pub async fn del_netflow(
        &self,
        vswitch: &VswitchName,
        options: ChangeOptions,
    ) -> Answer<ChangeResult> {
        let path = format!("/v1/netflow/{}", encoded(vswitch.as_str()));
        self.change(Method::DELETE, &path, NOTHING, options).await
    }

    /// The flows that go on: of one port or uplink if one is named, and at most so many.
    pub async fn flows(&self, port: Option<&str>, limit: Option<u32>) -> Answer<Vec<FlowEntry>> {
        let port = port.map(|name| format!("port={}", encoded(name)));
        let limit = limit.map(|limit| format!("limit={limit}"));
        let query: Vec<_> = port.into_iter().chain(limit).collect();
        self.read(&format!("/v1/flows?{}", query.join("&"))).await
    }

    pub async fn policy(&self, port: &PortName) -> Answer<PolicyReport> {
        self.read(&format!("/v1/ports/{}/policy", encoded(port.as_str())))
            .await
    }

    pub async fn uplinks(&self) -> Answer<Vec<Uplink>> {
        self.read("/v1/uplinks").await
    }

    pub async fn add_uplink(
        &self,
        vswitch: &VswitchName,
        interface: &InterfaceName,
        options: ChangeOptions,
    ) -> Answer<ChangeResult> {
        let request = UplinkRequest {
            vswitch: vswitch.clone(),
            interface: interface.clone(),
        };
        self.change(Method::POST, "/v1/uplinks", Some(&request), options)
            .await
    }

    pub async fn del_uplink(
        &self,
        vswitch: &VswitchName,
        interface: &InterfaceName,
        options: ChangeOptions,
    ) -> Answer<ChangeResult> {
        let (vswitch, interface) = (encoded(vswitch.as_str()), encoded(interface.as_str()));
        let path = format!("/v1/vswitches/{vswitch}/uplinks/{interface}");
        self.change(Method::DELETE, &path, NOTHING, options).await
    }

    /// The addresses that switches deliver; those of one switch only, if one is named.
    pub async fn fdb(&self, vswitch: Option<&VswitchName>) -> Answer<Vec<FdbEntry>> {
        let query = vswitch
            .map(|name| format!("?vswitch={}", encoded(name.as_str())))
            .unwrap_or_default();
        self.read(&format!("/v1/fdb{query}")).await
    }

    /// The counters of these ports; of all ports and uplinks, if none is named.
    pub async fn stats(&self, ports: &[String]) -> Answer<Vec<PortStats>> {
        let query: Vec<_> = ports
            .iter()
            .map(|name| format!("port={}", encoded(name)))
            .collect();
        self.read(&format!("/v1/stats?{}", query.join("&"))).await
    }

    pub async fn drops(&self) -> Answer<DropsReport> {
        self.read("/v1/drops").await
    }

    /// Everything that moves, at one instant.
    pub async fn activity(&self) -> Answer<Activity> {
        self.read("/v1/activity").await
    }

    /// What happened after the event of this number; all that is kept, if none is named.
    pub async fn events(&self, since: Option<u64>) -> Answer<Vec<Event>> {
        let query = since.map(|since| format!("?since={since}"));
        self.read(&format!("/v1/events{}", query.unwrap_or_default()))
            .await
    }

    /// What happens after the event of this number, or from now on, until the agent ends or `each` wants no more.
    pub async fn watch_events(
        &self,
        since: Option<u64>,
        each: impl FnMut(Event) -> ControlFlow<()>,
    ) -> Answer<()> {
        let since = since.map(|since| format!("&since={since}"));
        let path = format!("/v1/events?watch=true{}", since.unwrap_or_default());
        self.follow(&path, each).await
    }

    pub async fn export(&self) -> Answer<Manifest> {
        self.read("/v1/export").await
    }

    /// Makes the configuration that of a manifest. Opening thousands of ports takes its time, so it waits as long as that may take.
    pub async fn apply(&self, manifest: &Manifest, options: ApplyOptions) -> Answer<ApplyResult> {
        let patient = self.clone().with_timeout(LONGEST_APPLY.max(self.timeout));
        patient
            .transact(Method::POST, "/v1/apply", manifest, options)
            .await
    }

    pub async fn history(&self) -> Answer<Vec<Generation>> {
        self.read("/v1/history").await
    }

    /// The configuration of an earlier generation.
    pub async fn generation(&self, number: u64) -> Answer<Manifest> {
        self.read(&format!("/v1/history/{number}")).await
    }

    /// Goes back to an earlier generation; to the one before the current one if none is named.
    pub async fn rollback(&self, to: Option<u64>, options: ApplyOptions) -> Answer<ApplyResult> {
        let patient = self.clone().with_timeout(LONGEST_APPLY.max(self.timeout));
        let request = RollbackRequest { to };
        patient
            .transact(Method::POST, "/v1/rollback", &request, options)
            .await
    }

    pub async fn confirm(&self) -> Answer<Confirmed> {
        self.send(Method::POST, "/v1/confirm", NOTHING).await
    }

    /// What would happen to a frame.
    pub async fn trace(&self, request: &TraceRequest) -> Answer<TraceReport> {
        self.send(Method::POST, "/v1/trace", Some(request)).await
    }
}

/// The body of a request that has none.
const NOTHING: Option<&()> = None;
