//! A client for one agent.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use weft_model::{
    InterfaceName, Manifest, PortName, PortPatch, PortSpec, PortgroupName, PortgroupPatch,
    PortgroupSpec, VswitchName, VswitchPatch, VswitchSpec,
};

use crate::object::{
    ChangeOptions, ChangeResult, Port, Portgroup, Uplink, UplinkRequest, Vswitch, Wait,
};
use crate::problem::{Problem, ProblemKind};
use crate::report::{DropsReport, FdbEntry, PolicyReport, PortStats, Status};

/// A client for the agent behind one socket. Each request is a connection of its own.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
    timeout: Duration,
}

type Answer<T> = Result<T, Problem>;

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

    pub async fn export(&self) -> Answer<Manifest> {
        self.read("/v1/export").await
    }
}

/// The body of a request that has none.
const NOTHING: Option<&()> = None;

/// An answer is read whole; the largest is the list of all ports.
const LARGEST_ANSWER: usize = 256 << 20;

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

    async fn read<T: DeserializeOwned>(&self, path: &str) -> Answer<T> {
        self.request(Method::GET, path, Bytes::new()).await
    }

    async fn change<B: Serialize>(
        &self,
        method: Method,
        path: &str,
        body: Option<&B>,
        options: ChangeOptions,
    ) -> Answer<ChangeResult> {
        let body = body.map(|body| {
            serde_json::to_vec(body).expect("specs have text keys and no fallible serializer")
        });
        self.request(
            method,
            &(path.to_owned() + &query(options)),
            body.unwrap_or_default().into(),
        )
        .await
    }

    async fn request<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Answer<T> {
        let exchange = self.exchange(method, path, body);
        let (status, body) = tokio::time::timeout(self.timeout, exchange)
            .await
            .map_err(|_| {
                let message = format!(
                    "the agent at {} did not answer within {:?}",
                    self.socket.display(),
                    self.timeout
                );
                Problem::new(ProblemKind::TimedOut, message).with_remedy("see the agent's log")
            })??;
        let parsed = if status.is_success() {
            serde_json::from_slice(&body)
        } else {
            match serde_json::from_slice::<Problem>(&body) {
                Ok(problem) => return Err(problem),
                Err(error) => Err(error),
            }
        };
        parsed.map_err(|error| {
            let message = format!(
                "{} does not speak the agent's API (HTTP {status}): {error}",
                self.socket.display()
            );
            Problem::new(ProblemKind::Failed, message)
                .with_remedy("use a weft of the same version as its agent")
        })
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Answer<(StatusCode, Bytes)> {
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|error| self.no_connection(&error))?;
        let lost = |error: &dyn std::fmt::Display| {
            let message = format!(
                "the connection to the agent at {} was lost: {error}",
                self.socket.display()
            );
            Problem::new(ProblemKind::Unreachable, message)
                .with_remedy("see whether the agent is still running")
        };
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| lost(&error))?;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, "weft")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|error| {
                Problem::new(
                    ProblemKind::Failed,
                    format!("{path} is no request path: {error}"),
                )
            })?;
        let conversation = async {
            let response = sender
                .send_request(request)
                .await
                .map_err(|error| lost(&error))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), LARGEST_ANSWER)
                .collect()
                .await;
            Ok((status, body.map_err(|error| lost(&error))?.to_bytes()))
        };
        // The connection moves the bytes of the conversation; its own end says nothing that the conversation does not.
        let mut connection = std::pin::pin!(connection);
        let mut conversation = std::pin::pin!(conversation);
        tokio::select! {
            answer = &mut conversation => answer,
            _ = &mut connection => conversation.await,
        }
    }

    fn no_connection(&self, error: &std::io::Error) -> Problem {
        let socket = self.socket.display();
        if error.kind() == ErrorKind::PermissionDenied {
            return Problem::new(
                ProblemKind::NotPermitted,
                format!("no permission to talk to the agent at {socket}"),
            )
            .with_remedy("run as root, or as a member of the socket's group");
        }
        Problem::new(ProblemKind::Unreachable, format!("no agent answers at {socket}: {error}")).with_remedy(format!(
            "is the agent running? start it with 'weft agent --socket {socket}', or name its socket with --agent"
        ))
    }
}

fn query(options: ChangeOptions) -> String {
    let mut parts = Vec::new();
    if options.dry_run {
        parts.push("dryRun=true".to_owned());
    }
    if options.wait == Wait::None {
        parts.push("wait=none".to_owned());
    }
    if options.yes {
        parts.push("yes=true".to_owned());
    }
    if let Some(version) = options.resource_version {
        parts.push(format!("resourceVersion={}", version.0));
    }
    if parts.is_empty() {
        String::new()
    } else {
        format!("?{}", parts.join("&"))
    }
}

/// A name as a segment of a path or a value of a query (RFC 3986 §2.3: what is not unreserved is escaped).
fn encoded(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            text.push(char::from(byte));
        } else {
            text += &format!("%{byte:02X}");
        }
    }
    text
}
