//! Which path leads where.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get};
use axum::{Json, Router};
use serde::Serialize;
use serde::de::DeserializeOwned;
use weft_api::{ChangeOptions, ChangeResult, Problem, ProblemKind, UplinkRequest, Wait};
use weft_model::{Change, NameError};

use crate::host::Host;

/// The whole API.
pub(crate) fn router(host: Arc<Host>) -> Router {
    Router::new()
        .route(
            "/v1/status",
            get(async |host: Shared| answer(host, |host| Ok(host.status())).await),
        )
        .route(
            "/v1/vswitches",
            get(async |host: Shared| answer(host, |host| Ok(host.vswitches())).await)
                .post(add_vswitch),
        )
        .route(
            "/v1/vswitches/{name}",
            get(vswitch).patch(set_vswitch).delete(del_vswitch),
        )
        .route(
            "/v1/vswitches/{name}/uplinks/{interface}",
            delete(del_uplink),
        )
        .route(
            "/v1/portgroups",
            get(async |host: Shared| answer(host, |host| Ok(host.portgroups())).await)
                .post(add_portgroup),
        )
        .route(
            "/v1/portgroups/{name}",
            get(portgroup).patch(set_portgroup).delete(del_portgroup),
        )
        .route(
            "/v1/ports",
            get(async |host: Shared| answer(host, |host| Ok(host.ports())).await).post(add_port),
        )
        .route(
            "/v1/ports/{name}",
            get(port).patch(set_port).delete(del_port),
        )
        .route("/v1/ports/{name}/policy", get(policy))
        .route(
            "/v1/uplinks",
            get(async |host: Shared| answer(host, |host| Ok(host.uplinks())).await)
                .post(add_uplink),
        )
        .route("/v1/fdb", get(fdb))
        .route("/v1/stats", get(stats))
        .route(
            "/v1/drops",
            get(async |host: Shared| answer(host, |host| Ok(host.drops())).await),
        )
        .route(
            "/v1/export",
            get(async |host: Shared| answer(host, |host| Ok(host.export())).await),
        )
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .with_state(host)
}

type Shared = State<Arc<Host>>;
type Answer = Result<Response, Refusal>;

/// A problem as an answer.
struct Refusal(Problem);

impl<P: Into<Problem>> From<P> for Refusal {
    fn from(problem: P) -> Self {
        Self(problem.into())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.kind.http_status())
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, Json(self.0)).into_response()
    }
}

fn invalid(message: impl Into<String>) -> Problem {
    Problem::new(ProblemKind::Invalid, message)
}

async fn no_such_path(path: axum::http::Uri) -> Refusal {
    let message = format!("the API has no path {}", path.path());
    Problem::new(ProblemKind::NotFound, message)
        .with_remedy("use a weft of the same version as its agent")
        .into()
}

async fn no_such_method(method: axum::http::Method, path: axum::http::Uri) -> Refusal {
    invalid(format!("the API has no {method} on {}", path.path())).into()
}

/// Answers from what the host knows, off the threads that serve connections.
async fn answer<T: Serialize + Send + 'static>(
    State(host): Shared,
    read: impl FnOnce(&Host) -> Result<T, Problem> + Send + 'static,
) -> Answer {
    let value = tokio::task::spawn_blocking(move || read(&host))
        .await
        .map_err(|error| broken(&error))??;
    Ok(Json(value).into_response())
}

/// Makes a change, and answers as soon as the request wants it.
async fn change(host: Arc<Host>, change: Change, options: ChangeOptions) -> Answer {
    let (durable, became_durable) = tokio::sync::oneshot::channel::<ChangeResult>();
    let mut work = tokio::task::spawn_blocking(move || {
        host.change(&change, options, |result| {
            // Nobody listens where the request waits for more.
            let _ = durable.send(result.clone());
        })
    });
    if options.wait == Wait::None {
        if let Ok(result) = became_durable.await {
            return Ok(Json(result).into_response());
        }
    }
    let result = (&mut work).await.map_err(|error| broken(&error))??;
    Ok(Json(result).into_response())
}

fn broken(error: &tokio::task::JoinError) -> Problem {
    tracing::error!(%error, "a request ended without an answer");
    Problem::new(ProblemKind::Failed, "the agent failed on this request")
        .with_remedy("see the agent's log")
}

/// Reads a body with the same rules, and the same errors, as a manifest.
fn body<T: DeserializeOwned>(bytes: &Bytes) -> Result<T, Problem> {
    let text = std::str::from_utf8(bytes).map_err(|_| invalid("the body is not UTF-8"))?;
    weft_model::from_text(text).map_err(|error| {
        let suggestion = error.suggestion.clone();
        Problem {
            suggestion,
            ..invalid(error.to_string())
        }
    })
}

fn name<N: std::str::FromStr<Err = NameError>>(text: &str) -> Result<N, Problem> {
    text.parse()
        .map_err(|error: NameError| invalid(error.to_string()))
}

type Options = Query<ChangeOptions>;

macro_rules! object_routes {
    ($($show:ident $add:ident $set:ident $del:ident: $Add:ident $Set:ident $Del:ident;)*) => {
        $(
            async fn $show(host: Shared, Path(named): Path<String>) -> Answer {
                let named = name(&named)?;
                answer(host, move |host| host.$show(&named)).await
            }

            async fn $add(State(host): Shared, Query(options): Options, bytes: Bytes) -> Answer {
                change(host, Change::$Add(body(&bytes)?), options).await
            }

            async fn $set(
                State(host): Shared,
                Path(named): Path<String>,
                Query(options): Options,
                bytes: Bytes,
            ) -> Answer {
                change(host, Change::$Set(name(&named)?, body(&bytes)?), options).await
            }

            async fn $del(State(host): Shared, Path(named): Path<String>, Query(options): Options) -> Answer {
                change(host, Change::$Del(name(&named)?), options).await
            }
        )*
    };
}

object_routes! {
    vswitch add_vswitch set_vswitch del_vswitch: AddVswitch SetVswitch DelVswitch;
    portgroup add_portgroup set_portgroup del_portgroup: AddPortgroup SetPortgroup DelPortgroup;
    port add_port set_port del_port: AddPort SetPort DelPort;
}

async fn policy(host: Shared, Path(named): Path<String>) -> Answer {
    let named = name(&named)?;
    answer(host, move |host| host.policy(&named)).await
}

async fn add_uplink(State(host): Shared, Query(options): Options, bytes: Bytes) -> Answer {
    let UplinkRequest { vswitch, interface } = body(&bytes)?;
    change(host, Change::AddUplink(vswitch, interface), options).await
}

async fn del_uplink(
    State(host): Shared,
    Path((vswitch, interface)): Path<(String, String)>,
    Query(options): Options,
) -> Answer {
    change(
        host,
        Change::DelUplink(name(&vswitch)?, name(&interface)?),
        options,
    )
    .await
}

/// The parameters of a query by name; any other name is refused.
fn values<'a>(query: &'a [(String, String)], key: &str) -> Result<Vec<&'a str>, Problem> {
    let other = query.iter().find(|(name, _)| name != key);
    match other {
        Some((name, _)) => Err(invalid(format!(
            "the path has no parameter {name:?}; it has {key:?}"
        ))),
        None => Ok(query.iter().map(|(_, value)| value.as_str()).collect()),
    }
}

async fn fdb(host: Shared, Query(query): Query<Vec<(String, String)>>) -> Answer {
    let vswitch = values(&query, "vswitch")?
        .last()
        .map(|text| name(text))
        .transpose()?;
    answer(host, move |host| host.fdb(vswitch.as_ref())).await
}

async fn stats(host: Shared, Query(query): Query<Vec<(String, String)>>) -> Answer {
    let names: Vec<_> = values(&query, "port")?
        .into_iter()
        .map(str::to_owned)
        .collect();
    answer(host, move |host| host.stats(&names)).await
}
