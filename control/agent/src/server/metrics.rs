//! Metrics and health, for whoever watches the agent rather than operates it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::header::{ACCEPT, ALLOW, CONTENT_TYPE};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::error::AgentError;
use crate::host::Host;
use crate::metrics::Format;

/// Connections that are served at a time. Others wait for their turn in the kernel's queue.
const MOST_CONNECTIONS: usize = 16;

/// How long one scrape may take, from the connection to the last octet. Prometheus itself gives up after 10 s.
const LONGEST_SCRAPE: Duration = Duration::from_secs(10);

/// How long after an error of the listener, such as a lack of descriptors, it is asked again.
const LISTEN_AGAIN: Duration = Duration::from_millis(200);

/// `/metrics` on the agent's socket.
pub(super) async fn metrics(State(host): State<Arc<Host>>, headers: HeaderMap) -> Response {
    scrape(host, &headers).await
}

async fn scrape(host: Arc<Host>, headers: &HeaderMap) -> Response {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
    let format = Format::accepted(accept);
    match tokio::task::spawn_blocking(move || host.scrape().text(format)).await {
        Ok(text) => ([(CONTENT_TYPE, format.content_type())], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "the metrics could not be gathered");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// `/livez`: whether everything moves.
pub(super) async fn livez(State(host): State<Arc<Host>>) -> Response {
    verdict(&host.ailments())
}

/// `/readyz`: whether it also forwards by the newest configuration.
pub(super) async fn readyz(State(host): State<Arc<Host>>) -> Response {
    verdict(&host.arrears())
}

fn verdict(wrong: &[String]) -> Response {
    if wrong.is_empty() {
        return "ok\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, wrong.join("\n") + "\n").into_response()
}

/// A TCP address that serves `/metrics` and nothing else, to anybody who can reach it.
pub(crate) struct Exporter {
    listener: TcpListener,
}

impl Exporter {
    /// Binds the address.
    ///
    /// # Errors
    /// [`AgentError::Metrics`].
    pub(crate) async fn bind(address: SocketAddr) -> Result<Self, AgentError> {
        let listener = TcpListener::bind(address).await;
        let listener = listener.map_err(|source| AgentError::Metrics { address, source })?;
        Ok(Self { listener })
    }

    /// Serves until its task is aborted. A client is given a bounded time and no second request, so that none holds a
    /// connection for long.
    pub(crate) async fn serve(self, host: Arc<Host>) {
        let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        loop {
            let place = Arc::clone(&places).acquire_owned().await;
            let place = place.expect("the semaphore is never closed");
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::debug!(%error, "a scrape was not accepted");
                    tokio::time::sleep(LISTEN_AGAIN).await;
                    continue;
                }
            };
            let host = Arc::clone(&host);
            tokio::spawn(async move {
                let _place = place;
                let answer = service_fn(move |request| answer(Arc::clone(&host), request));
                let connection = hyper::server::conn::http1::Builder::new()
                    .keep_alive(false)
                    .serve_connection(TokioIo::new(stream), answer);
                // What a client does wrong is its own affair.
                let _ = tokio::time::timeout(LONGEST_SCRAPE, connection).await;
            });
        }
    }
}

async fn answer(
    host: Arc<Host>,
    request: Request<Incoming>,
) -> Result<Response, std::convert::Infallible> {
    Ok(match (request.uri().path(), request.method()) {
        ("/metrics", &Method::GET) => scrape(host, request.headers()).await,
        ("/metrics", _) => (StatusCode::METHOD_NOT_ALLOWED, [(ALLOW, "GET")]).into_response(),
        _ => (StatusCode::NOT_FOUND, "only /metrics is served here\n").into_response(),
    })
}
