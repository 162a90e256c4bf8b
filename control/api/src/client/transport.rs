//! One request, one connection, one answer.

use std::io::ErrorKind;
use std::ops::ControlFlow;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::SendRequest;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use super::permission::not_permitted;
use super::{Answer, Client};
use crate::apply::{ApplyOptions, ApplyResult};
use crate::connection::{CONNECTED_TO, connection_of};
use crate::object::{ChangeOptions, ChangeResult, Wait};
use crate::problem::{Problem, ProblemKind};

type Connection = hyper::client::conn::http1::Connection<TokioIo<UnixStream>, Full<Bytes>>;

/// An answer is read whole; the largest is the list of all ports.
const LARGEST_ANSWER: usize = 256 << 20;

/// The agent logs to standard error, which is the journal's where systemd starts it.
const WHERE_THE_LOG_IS: &str = "'journalctl -u weft-agent', or where the agent was started";

/// One value of many.
const LONGEST_LINE: usize = 1 << 20;

impl Client {
    /// Reads from a path.
    pub(super) async fn read<T: DeserializeOwned>(&self, path: &str) -> Answer<T> {
        self.request(Method::GET, path, Bytes::new()).await
    }

    /// Makes a change at a path.
    pub(super) async fn change<B: Serialize>(
        &self,
        method: Method,
        path: &str,
        body: Option<&B>,
        options: ChangeOptions,
    ) -> Answer<ChangeResult> {
        let path = path.to_owned() + &query(options);
        self.send(method, &path, body).await
    }

    /// Makes changes together at a path.
    pub(super) async fn transact<B: Serialize>(
        &self,
        method: Method,
        path: &str,
        body: &B,
        options: ApplyOptions,
    ) -> Answer<ApplyResult> {
        let path = path.to_owned() + &query_of_many(options);
        self.send(method, &path, Some(body)).await
    }

    /// Sends a value to a path.
    pub(super) async fn send<B: Serialize, T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&B>,
    ) -> Answer<T> {
        let body = body.map(|body| {
            serde_json::to_vec(body).expect("specs have text keys and no fallible serializer")
        });
        self.request(method, path, body.unwrap_or_default().into())
            .await
    }

    async fn request<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Answer<T> {
        let late = self.late(may_change(&method, path));
        let exchange = self.exchange(method, path, body);
        let (status, body) = tokio::time::timeout(self.timeout, exchange)
            .await
            .map_err(|_| late)??;
        let parsed = if status.is_success() {
            serde_json::from_slice(&body)
        } else {
            match serde_json::from_slice::<Problem>(&body) {
                Ok(problem) => return Err(problem),
                Err(error) => Err(error),
            }
        };
        parsed.map_err(|error| self.no_agent(status, &error))
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Answer<(StatusCode, Bytes)> {
        let (mut sender, connection) = self.connect().await?;
        let conversation = async {
            let request = request(method, path, body)?;
            let response = sender.send_request(request).await;
            let response = response.map_err(|error| self.lost(&error))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), LARGEST_ANSWER)
                .collect()
                .await;
            Ok((status, body.map_err(|error| self.lost(&error))?.to_bytes()))
        };
        during(connection, conversation).await
    }

    /// Reads values from a path for as long as there are some, one a line, and `each` wants more of them.
    pub(super) async fn follow<T: DeserializeOwned>(
        &self,
        path: &str,
        mut each: impl FnMut(T) -> ControlFlow<()>,
    ) -> Answer<()> {
        let (mut sender, connection) = self.connect().await?;
        let conversation = async {
            let request = request(Method::GET, path, Bytes::new())?;
            let response = sender.send_request(request).await;
            let response = response.map_err(|error| self.lost(&error))?;
            let status = response.status();
            let mut body = response.into_body();
            if !status.is_success() {
                let body = Limited::new(body, LARGEST_ANSWER).collect().await;
                let body = body.map_err(|error| self.lost(&error))?;
                let problem = serde_json::from_slice(&body.to_bytes());
                return Err(problem.unwrap_or_else(|error| self.no_agent(status, &error)));
            }
            let mut rest = Vec::new();
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|error| self.lost(&error))?;
                rest.extend_from_slice(&frame.into_data().unwrap_or_default());
                while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                    let value = serde_json::from_slice(&rest[..end]);
                    let value = value.map_err(|error| self.no_agent(status, &error))?;
                    rest.drain(..=end);
                    if each(value).is_break() {
                        return Ok(());
                    }
                }
                if rest.len() > LONGEST_LINE {
                    return Err(self.lost(&"it sends a line without end"));
                }
            }
            Ok(())
        };
        during(connection, conversation).await
    }

    async fn connect(&self) -> Answer<(SendRequest<Full<Bytes>>, Connection)> {
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|error| self.no_connection(&error))?;
        let shaken = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        shaken.map_err(|error| self.lost(&error))
    }

    /// No answer in time. To a change that says nothing: the agent makes it to the end, whoever listens.
    fn late(&self, may_change: bool) -> Problem {
        let mut message = format!(
            "the agent at {} did not answer within {:?}",
            self.socket.display(),
            self.timeout
        );
        let mut remedy = "see the agent's log".to_owned();
        if may_change {
            message += "; the change may still be made";
            remedy = format!(
                "see 'weft history' for what was made, and the agent's log for why it takes so long: {WHERE_THE_LOG_IS}"
            );
        }
        Problem::new(ProblemKind::TimedOut, message).with_remedy(remedy)
    }

    fn lost(&self, error: &dyn std::fmt::Display) -> Problem {
        let message = format!(
            "the connection to the agent at {} was lost: {error}",
            self.socket.display()
        );
        Problem::new(ProblemKind::Unreachable, message)
            .with_remedy("see whether the agent is still running")
    }

    fn no_agent(&self, status: StatusCode, error: &serde_json::Error) -> Problem {
        let message = format!(
            "{} does not speak the agent's API (HTTP {status}): {error}",
            self.socket.display()
        );
        Problem::new(ProblemKind::Failed, message)
            .with_remedy("use a weft of the same version as its agent")
    }

    fn no_connection(&self, error: &std::io::Error) -> Problem {
        let socket = self.socket.display();
        if error.kind() == ErrorKind::PermissionDenied {
            return not_permitted(&self.socket);
        }
        Problem::new(ProblemKind::Unreachable, format!("no agent answers at {socket}: {error}")).with_remedy(format!(
            "is the agent running? start it with 'weft agent --socket {socket}', or name its socket with --agent"
        ))
    }
}

/// Whether a request asks for a change. A trace has a body and only asks.
fn may_change(method: &Method, path: &str) -> bool {
    *method != Method::GET && path != "/v1/trace" && !path.contains("dryRun=true")
}

fn request(method: Method, path: &str, body: Bytes) -> Answer<Request<Full<Bytes>>> {
    let mut request = Request::builder()
        .uri(path)
        .header(HOST, "weft")
        .header(CONTENT_TYPE, "application/json");
    if method != Method::GET
        && let Some(address) = connection_of(std::process::id())
    {
        request = request.header(CONNECTED_TO, address.to_string());
    }
    let request = request.method(method).body(Full::new(body));
    request.map_err(|error| {
        let message = format!("{path} is no request path: {error}");
        Problem::new(ProblemKind::Failed, message)
    })
}

/// The connection moves the bytes of the conversation; its own end says nothing that the conversation does not.
async fn during<T>(connection: impl Future, conversation: impl Future<Output = T>) -> T {
    let mut connection = std::pin::pin!(connection);
    let mut conversation = std::pin::pin!(conversation);
    tokio::select! {
        answer = &mut conversation => answer,
        _ = &mut connection => conversation.await,
    }
}

fn query(options: ChangeOptions) -> String {
    let mut parts = common(options.dry_run, options.wait, options.yes);
    if let Some(version) = options.resource_version {
        parts.push(format!("resourceVersion={}", version.0));
    }
    joined(&parts)
}

fn query_of_many(options: ApplyOptions) -> String {
    let mut parts = common(options.dry_run, options.wait, options.yes);
    if let Some(generation) = options.generation {
        parts.push(format!("generation={generation}"));
    }
    if let Some(seconds) = options.confirm {
        parts.push(format!("confirm={seconds}"));
    }
    joined(&parts)
}

fn common(dry_run: bool, wait: Wait, yes: bool) -> Vec<String> {
    let parts = [
        (dry_run, "dryRun=true"),
        (wait == Wait::None, "wait=none"),
        (yes, "yes=true"),
    ];
    let parts = parts.into_iter().filter(|(is_set, _)| *is_set);
    parts.map(|(_, part)| part.to_owned()).collect()
}

fn joined(parts: &[String]) -> String {
    if parts.is_empty() {
        String::new()
    } else {
        format!("?{}", parts.join("&"))
    }
}

/// A name as a segment of a path or a value of a query (RFC 3986 §2.3: what is not unreserved is escaped).
pub(super) fn encoded(name: &str) -> String {
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_change_without_an_answer_may_still_be_made() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("agent.sock");
        // It takes connections and never answers.
        let _silent = tokio::net::UnixListener::bind(&socket).unwrap();
        let client = Client::new(socket).with_timeout(Duration::from_millis(20));
        let name = "Lab".parse().unwrap();
        let options = ChangeOptions::default();
        let problem = client.del_portgroup(&name, options).await.unwrap_err();
        assert_eq!(problem.kind, ProblemKind::TimedOut);
        assert!(
            problem
                .message
                .ends_with("within 20ms; the change may still be made"),
            "{problem}"
        );
        let remedy = problem.remedy.unwrap();
        for part in ["weft history", "journalctl -u weft-agent"] {
            assert!(remedy.contains(part), "{remedy}");
        }
        let dry_run = ChangeOptions {
            dry_run: true,
            ..options
        };
        for problem in [
            client.del_portgroup(&name, dry_run).await.unwrap_err(),
            client.history().await.unwrap_err(),
        ] {
            assert_eq!(problem.kind, ProblemKind::TimedOut);
            assert!(!problem.message.contains("change"), "{problem}");
        }
        assert!(!may_change(&Method::POST, "/v1/trace"));
        assert!(may_change(&Method::POST, "/v1/confirm"));
    }
}
