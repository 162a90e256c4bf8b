//! Who is at the other end of a connection, as the kernel knows it.

use axum::extract::FromRequestParts;
use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::http::request::Parts;
use axum::serve::IncomingStream;
use nix::unistd::{Uid, User};
use weft_api::{CONNECTED_TO, Caller, Problem, ProblemKind};

use super::extract::Refusal;
use super::listener::Listener;

/// The process that connected, when it did (`SO_PEERCRED`, unix(7)).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(Option<(u32, Option<u32>)>);

impl Connected<IncomingStream<'_, Listener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Listener>) -> Self {
        let credentials = stream.io().peer_cred().ok();
        Self(credentials.map(|peer| {
            // Zero is a process that this agent's namespace does not see.
            let pid = peer.pid().and_then(|pid| u32::try_from(pid).ok());
            (peer.uid(), pid.filter(|pid| *pid > 0))
        }))
    }
}

/// Who calls.
pub(super) struct CalledBy(pub(super) Caller);

impl<S: Send + Sync> FromRequestParts<S> for CalledBy {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Refusal> {
        let peer = parts.extensions.get::<ConnectInfo<Peer>>();
        let Some((uid, pid)) = peer.and_then(|ConnectInfo(Peer(peer))| *peer) else {
            let message = "the kernel does not say who calls";
            return Err(Problem::new(ProblemKind::NotPermitted, message)
                .with_remedy("connect to the agent's socket again")
                .into());
        };
        // Names may come from a directory service, which takes its time.
        let user = tokio::task::spawn_blocking(move || name_of(uid)).await;
        let user = user.ok().flatten();
        let told = parts.headers.get(CONNECTED_TO);
        let connected_to = told.and_then(|told| told.to_str().ok()?.parse().ok());
        Ok(Self(Caller {
            uid,
            user,
            pid,
            connected_to,
        }))
    }
}

/// The name of a user, where the host knows one.
fn name_of(uid: u32) -> Option<String> {
    let user = User::from_uid(Uid::from_raw(uid)).ok()??;
    Some(user.name)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixListener;

    use super::*;
    use crate::descriptors::Reserve;

    #[tokio::test]
    async fn a_connection_says_whose_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let listener = Listener::new(UnixListener::bind(&path).unwrap(), Reserve::new());
        let who = axum::routing::get(async |CalledBy(caller)| axum::Json(caller));
        let service = axum::Router::new().route("/", who);
        let service = service.into_make_service_with_connect_info::<Peer>();
        tokio::spawn(async move { axum::serve(listener, service).await });
        let mut stream = tokio::net::UnixStream::connect(&path).await.unwrap();
        let request = b"GET / HTTP/1.1\r\nhost: weft\r\nconnection: close\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let uid = Uid::current().as_raw();
        let caller = Caller {
            uid,
            user: name_of(uid),
            pid: Some(std::process::id()),
            connected_to: None,
        };
        assert_eq!(serde_json::from_str::<Caller>(body).unwrap(), caller);
    }

    #[test]
    fn a_user_without_a_name_has_none() {
        assert_eq!(name_of(0).as_deref(), Some("root"));
        assert_eq!(name_of(4_000_000_000), None);
    }
}
