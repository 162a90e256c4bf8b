//! Which path leads where.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use serde::Serialize;
use weft_api::{
    ApplyOptions, Caller, ChangeOptions, Problem, ProblemKind, RollbackRequest, UplinkRequest, Wait,
};
use weft_model::{
    Change, Manifest, NameError, PortPatch, PortSpec, PortgroupPatch, PortgroupSpec, VswitchPatch,
    VswitchSpec,
};

use super::caller::CalledBy;
use super::extract::{Asked, Body, Named, Refusal, invalid};
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
        .route("/v1/apply", post(apply))
        .route(
            "/v1/history",
            get(async |host: Shared| answer(host, Host::history).await),
        )
        .route("/v1/history/{generation}", get(generation))
        .route("/v1/rollback", post(rollback))
        .route("/v1/confirm", post(confirm))
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .with_state(host)
}

type Shared = State<Arc<Host>>;
type Answer = Result<Response, Refusal>;

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

/// Makes one change, and answers as soon as the request wants it.
async fn change(host: Arc<Host>, change: Change, options: ChangeOptions, caller: Caller) -> Answer {
    made(options.wait, move |durable| {
        host.change(&change, options, &caller.to_string(), durable)
    })
    .await
}

/// Answers with what a change did: when it is in force, or as soon as it is durable.
async fn made<T: Clone + Serialize + Send + 'static>(
    wait: Wait,
    work: impl FnOnce(&mut dyn FnMut(&T)) -> Result<T, Problem> + Send + 'static,
) -> Answer {
    let (durable, became_durable) = tokio::sync::oneshot::channel::<T>();
    let mut durable = Some(durable);
    let mut work = tokio::task::spawn_blocking(move || {
        work(&mut |result: &T| {
            if let Some(durable) = durable.take() {
                // Nobody listens where the request waits for more.
                let _ = durable.send(result.clone());
            }
        })
    });
    if wait == Wait::None
        && let Ok(result) = became_durable.await
    {
        return Ok(Json(result).into_response());
    }
    let result = (&mut work).await.map_err(|error| broken(&error))??;
    Ok(Json(result).into_response())
}

fn broken(error: &tokio::task::JoinError) -> Problem {
    tracing::error!(%error, "a request ended without an answer");
    Problem::new(ProblemKind::Failed, "the agent failed on this request")
        .with_remedy("see the agent's log")
}

fn name<N: std::str::FromStr<Err = NameError>>(text: &str) -> Result<N, Problem> {
    text.parse()
        .map_err(|error: NameError| invalid(error.to_string()))
}

type Options = Asked<ChangeOptions>;

macro_rules! object_routes {
    ($($show:ident $add:ident $set:ident $del:ident: $Add:ident($Spec:ty) $Set:ident($Patch:ty) $Del:ident;)*) => {
        $(
            async fn $show(host: Shared, Named(named): Named<String>) -> Answer {
                let named = name(&named)?;
                answer(host, move |host| host.$show(&named)).await
            }

            async fn $add(
                State(host): Shared,
                CalledBy(caller): CalledBy,
                Asked(options): Options,
                Body(spec): Body<$Spec>,
            ) -> Answer {
                change(host, Change::$Add(spec), options, caller).await
            }

            async fn $set(
                State(host): Shared,
                CalledBy(caller): CalledBy,
                Named(named): Named<String>,
                Asked(options): Options,
                Body(patch): Body<$Patch>,
            ) -> Answer {
                change(host, Change::$Set(name(&named)?, patch), options, caller).await
            }

            async fn $del(
                State(host): Shared,
                CalledBy(caller): CalledBy,
                Named(named): Named<String>,
                Asked(options): Options,
            ) -> Answer {
                change(host, Change::$Del(name(&named)?), options, caller).await
            }
        )*
    };
}

object_routes! {
    vswitch add_vswitch set_vswitch del_vswitch: AddVswitch(VswitchSpec) SetVswitch(VswitchPatch) DelVswitch;
    portgroup add_portgroup set_portgroup del_portgroup: AddPortgroup(PortgroupSpec) SetPortgroup(PortgroupPatch) DelPortgroup;
    port add_port set_port del_port: AddPort(PortSpec) SetPort(PortPatch) DelPort;
}

async fn policy(host: Shared, Named(named): Named<String>) -> Answer {
    let named = name(&named)?;
    answer(host, move |host| host.policy(&named)).await
}

async fn add_uplink(
    State(host): Shared,
    CalledBy(caller): CalledBy,
    Asked(options): Options,
    Body(request): Body<UplinkRequest>,
) -> Answer {
    let UplinkRequest { vswitch, interface } = request;
    change(host, Change::AddUplink(vswitch, interface), options, caller).await
}

async fn del_uplink(
    State(host): Shared,
    CalledBy(caller): CalledBy,
    Named((vswitch, interface)): Named<(String, String)>,
    Asked(options): Options,
) -> Answer {
    let del = Change::DelUplink(name(&vswitch)?, name(&interface)?);
    change(host, del, options, caller).await
}

async fn apply(
    State(host): Shared,
    CalledBy(caller): CalledBy,
    Asked(options): Asked<ApplyOptions>,
    Body(manifest): Body<Manifest>,
) -> Answer {
    made(options.wait, move |durable| {
        host.apply(&manifest, options, &caller.to_string(), durable)
    })
    .await
}

async fn rollback(
    State(host): Shared,
    CalledBy(caller): CalledBy,
    Asked(options): Asked<ApplyOptions>,
    Body(RollbackRequest { to }): Body<RollbackRequest>,
) -> Answer {
    made(options.wait, move |durable| {
        host.rollback(to, options, &caller.to_string(), durable)
    })
    .await
}

async fn confirm(host: Shared, CalledBy(caller): CalledBy) -> Answer {
    answer(host, move |host| host.confirm(&caller.to_string())).await
}

async fn generation(host: Shared, Named(number): Named<u64>) -> Answer {
    answer(host, move |host| host.generation(number)).await
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

async fn fdb(host: Shared, Asked(query): Asked<Vec<(String, String)>>) -> Answer {
    let vswitch = values(&query, "vswitch")?
        .last()
        .map(|text| name(text))
        .transpose()?;
    answer(host, move |host| host.fdb(vswitch.as_ref())).await
}

async fn stats(host: Shared, Asked(query): Asked<Vec<(String, String)>>) -> Answer {
    let names: Vec<_> = values(&query, "port")?
        .into_iter()
        .map(str::to_owned)
        .collect();
    answer(host, move |host| host.stats(&names)).await
}
