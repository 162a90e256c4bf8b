//! Which path leads where. The table in [`table`] is all there is to add to for a route: the OpenAPI document follows.

use std::sync::{Arc, LazyLock};

use axum::extract::{DefaultBodyLimit, State};
use axum::routing::get;
use axum::{Json, Router};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use weft_api::{
    ApplyOptions, ApplyResult, Caller, ChangeOptions, ChangeResult, Confirmed, Event, EventKind,
    LARGEST_BODY, PortgroupsRequest, Problem, ProblemKind, RollbackRequest, TraceReport,
    TraceRequest, UplinkRequest, Wait,
};
use weft_model::{
    Change, InterfaceName, Manifest, NetflowPatch, NetflowSpec, Number, ObjectRef, PortName,
    PortPatch, PortSpec, PortgroupName, PortgroupPatch, PortgroupSpec, VmkName, VmkPatch, VmkSpec,
    VswitchName, VswitchPatch, VswitchSpec,
};

use super::caller::CalledBy;
use super::extract::{Asked, Body, Named, Refusal, SEE_THE_DOCUMENT, invalid};
use super::metrics::{livez, metrics, readyz};
use super::stream::EventsAnswer;
use super::table::Table;
use crate::host::Host;

/// The whole API.
pub(crate) fn router(host: Arc<Host>) -> Router {
    let routes = table().into_router();
    routes
        .route("/metrics", get(metrics))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .with_state(host)
}

/// The OpenAPI document of the whole API.
pub(super) static DOCUMENT: LazyLock<Value> = LazyLock::new(|| table().into_document());

fn table() -> Table {
    Table::new()
        .get(
            "/v1/openapi.json",
            "This document",
            async |_: Shared| Ok(Json(DOCUMENT.clone())),
        )
        .get(
            "/v1/status",
            "The health of the agent: threads, counts, and what is wrong",
            async |host: Shared| answer(host, |host| Ok(host.status())).await,
        )
        .get(
            "/v1/vswitches",
            "All standard switches",
            async |host: Shared| answer(host, |host| Ok(host.vswitches())).await,
        )
        .post("/v1/vswitches", "Adds a standard switch", add_vswitch)
        .get("/v1/vswitches/{name}", "One standard switch", vswitch)
        .patch(
            "/v1/vswitches/{name}",
            "Changes settings of a standard switch",
            set_vswitch,
        )
        .delete(
            "/v1/vswitches/{name}",
            "Deletes a standard switch without port groups",
            del_vswitch,
        )
        .delete(
            "/v1/vswitches/{name}/uplinks/{interface}",
            "Takes an uplink from a standard switch and releases the interface",
            del_uplink,
        )
        .get(
            "/v1/portgroups",
            "All port groups",
            async |host: Shared| answer(host, |host| Ok(host.portgroups())).await,
        )
        .post("/v1/portgroups", "Adds a port group", add_portgroup)
        .patch(
            "/v1/portgroups",
            "Changes settings of several port groups, in one change",
            set_portgroups,
        )
        .get("/v1/portgroups/{name}", "One port group", portgroup)
        .patch(
            "/v1/portgroups/{name}",
            "Changes settings of a port group",
            set_portgroup,
        )
        .delete(
            "/v1/portgroups/{name}",
            "Deletes a port group without ports",
            del_portgroup,
        )
        .get(
            "/v1/ports",
            "All ports with their state",
            async |host: Shared| answer(host, |host| Ok(host.ports())).await,
        )
        .post("/v1/ports", "Adds a port", add_port)
        .get("/v1/ports/{name}", "One port", port)
        .patch("/v1/ports/{name}", "Changes settings of a port", set_port)
        .delete(
            "/v1/ports/{name}",
            "Deletes a port and releases what it is attached to",
            del_port,
        )
        .get(
            "/v1/ports/{name}/policy",
            "What applies to a port after inheritance, each setting with the object that decides it",
            policy,
        )
        .get(
            "/v1/vmks",
            "The host's own interfaces with their state",
            async |host: Shared| answer(host, |host| Ok(host.vmks())).await,
        )
        .post("/v1/vmks", "Adds one of the host's own interfaces", add_vmk)
        .get("/v1/vmks/{name}", "One of the host's own interfaces", vmk)
        .patch(
            "/v1/vmks/{name}",
            "Changes settings of one of the host's own interfaces",
            set_vmk,
        )
        .delete(
            "/v1/vmks/{name}",
            "Deletes one of the host's own interfaces with its device",
            del_vmk,
        )
        .get(
            "/v1/uplinks",
            "All uplinks",
            async |host: Shared| answer(host, |host| Ok(host.uplinks())).await,
        )
        .post("/v1/uplinks", "Makes an interface an uplink of a standard switch", add_uplink)
        .get(
            "/v1/netflow",
            "Who is told of the flows of switches",
            async |host: Shared| answer(host, |host| Ok(host.netflows())).await,
        )
        .get(
            "/v1/netflow/{vswitch}",
            "Who is told of the flows of one standard switch",
            netflow,
        )
        .put(
            "/v1/netflow/{vswitch}",
            "Makes the NetFlow of a standard switch so, with defaults for what is absent",
            put_netflow,
        )
        .patch(
            "/v1/netflow/{vswitch}",
            "Changes settings of the NetFlow of a standard switch; with collectors, makes it where there is none",
            set_netflow,
        )
        .delete(
            "/v1/netflow/{vswitch}",
            "Deletes the NetFlow of a standard switch none of whose port groups has it enabled",
            del_netflow,
        )
        .get("/v1/flows", "The flows that go on, with the most octets first", flows)
        .get("/v1/fdb", "The addresses that switches deliver, with their ports", fdb)
        .get("/v1/stats", "Counters of ports and uplinks", stats)
        .get(
            "/v1/drops",
            "Every drop reason with its count",
            async |host: Shared| answer(host, |host| Ok(host.drops())).await,
        )
        .get(
            "/v1/activity",
            "Counters of everything that moves, at one instant; two of them make rates",
            async |host: Shared| answer(host, |host| Ok(host.activity())).await,
        )
        .get(
            "/v1/export",
            "The configuration as a manifest, sorted: equal configurations give equal manifests",
            async |host: Shared| answer(host, |host| Ok(host.export())).await,
        )
        .post(
            "/v1/trace",
            "What would happen to a frame, which object decides, and what would let it pass; changes nothing",
            trace,
        )
        .post("/v1/apply", "Makes the host as a manifest says, in one change", apply)
        .get(
            "/v1/history",
            "The generations of the configuration, newest first",
            async |host: Shared| answer(host, Host::history).await,
        )
        .get(
            "/v1/history/{generation}",
            "The configuration of one generation",
            generation,
        )
        .post("/v1/rollback", "Makes the host as it was in an earlier generation", rollback)
        .get(
            "/v1/events",
            "What happened, oldest first; with `watch` what happens from now on, as a stream",
            events,
        )
        .post("/v1/confirm", "Keeps a change that would go back by itself", confirm)
}

type Shared = State<Arc<Host>>;
type Answer<T> = Result<Json<T>, Refusal>;

async fn no_such_path(path: axum::http::Uri) -> Refusal {
    let message = format!("the API has no path {}", path.path());
    Problem::new(ProblemKind::NotFound, message)
        .with_remedy(format!(
            "{SEE_THE_DOCUMENT}; where weft itself asked, use one of the same version as its agent"
        ))
        .into()
}

async fn no_such_method(method: axum::http::Method, path: axum::http::Uri) -> Refusal {
    invalid(format!("the API has no {method} on {}", path.path()))
        .with_remedy(SEE_THE_DOCUMENT)
        .into()
}

/// Answers from what the host knows, off the threads that serve connections.
async fn answer<T: Serialize + Send + 'static>(
    State(host): Shared,
    read: impl FnOnce(&Host) -> Result<T, Problem> + Send + 'static,
) -> Answer<T> {
    let value = tokio::task::spawn_blocking(move || read(&host))
        .await
        .map_err(|error| broken(&error))??;
    Ok(Json(value))
}

/// Makes one change, and answers as soon as the request wants it.
async fn change(
    host: Arc<Host>,
    change: Change,
    options: ChangeOptions,
    caller: Caller,
) -> Answer<ChangeResult> {
    made(options.wait, move |durable| {
        host.change(&change, options, &caller, durable)
    })
    .await
}

/// Answers with what a change did: when it is in force, or as soon as it is durable.
async fn made<T: Clone + Serialize + Send + 'static>(
    wait: Wait,
    work: impl FnOnce(&mut dyn FnMut(&T)) -> Result<T, Problem> + Send + 'static,
) -> Answer<T> {
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
        return Ok(Json(result));
    }
    let result = (&mut work).await.map_err(|error| broken(&error))??;
    Ok(Json(result))
}

fn broken(error: &tokio::task::JoinError) -> Problem {
    tracing::error!(%error, "a request ended without an answer");
    Problem::new(ProblemKind::Failed, "the agent failed on this request")
        .with_remedy("see the agent's log")
}

type Options = Asked<ChangeOptions>;

macro_rules! object_routes {
    ($($show:ident $add:ident $set:ident $del:ident: $Name:ty => $Object:ty;
        $Add:ident($Spec:ty) $Set:ident($Patch:ty) $Del:ident;)*) => {
        $(
            async fn $show(host: Shared, Named(name): Named<$Name>) -> Answer<$Object> {
                answer(host, move |host| host.$show(&name)).await
            }

            async fn $add(
                State(host): Shared,
                CalledBy(caller): CalledBy,
                Asked(options): Options,
                Body(spec): Body<$Spec>,
            ) -> Answer<ChangeResult> {
                change(host, Change::$Add(spec), options, caller).await
            }

            async fn $set(
                State(host): Shared,
                CalledBy(caller): CalledBy,
                Named(name): Named<$Name>,
                Asked(options): Options,
                Body(patch): Body<$Patch>,
            ) -> Answer<ChangeResult> {
                change(host, Change::$Set(name, patch), options, caller).await
            }

            async fn $del(
                State(host): Shared,
                CalledBy(caller): CalledBy,
                Named(name): Named<$Name>,
                Asked(options): Options,
            ) -> Answer<ChangeResult> {
                change(host, Change::$Del(name), options, caller).await
            }
        )*
    };
}

object_routes! {
    vswitch add_vswitch set_vswitch del_vswitch: VswitchName => weft_api::Vswitch;
        AddVswitch(VswitchSpec) SetVswitch(VswitchPatch) DelVswitch;
    portgroup add_portgroup set_portgroup del_portgroup: PortgroupName => weft_api::Portgroup;
        AddPortgroup(PortgroupSpec) SetPortgroup(PortgroupPatch) DelPortgroup;
    port add_port set_port del_port: PortName => weft_api::Port;
        AddPort(PortSpec) SetPort(PortPatch) DelPort;
    vmk add_vmk set_vmk del_vmk: VmkName => weft_api::Vmk;
        AddVmk(VmkSpec) SetVmk(VmkPatch) DelVmk;
}

async fn set_portgroups(
    State(host): Shared,
    CalledBy(caller): CalledBy,
    Asked(options): Asked<ApplyOptions>,
    Body(request): Body<PortgroupsRequest>,
) -> Answer<ApplyResult> {
    made(options.wait, move |durable| {
        host.set_portgroups(&request, options, &caller, durable)
    })
    .await
}

async fn netflow(host: Shared, Named(vswitch): Named<VswitchName>) -> Answer<weft_api::Netflow> {
    answer(host, move |host| host.netflow(&vswitch)).await
}

async fn put_netflow(
    State(host): Shared,
    CalledBy(caller): CalledBy,
    Named(vswitch): Named<VswitchName>,
    Asked(options): Options,
    Body(spec): Body<NetflowSpec>,
) -> Answer<ChangeResult> {
    if spec.vswitch != vswitch {
        let object = ObjectRef::netflow_of(&vswitch);
        let message = format!("{object}: vswitch is {}", spec.vswitch);
        let problem = invalid(message).about(object).in_field("vswitch");
        return Err(problem
            .with_remedy("name the same switch in path and body")
            .into());
    }
    change(host, Change::PutNetflow(spec), options, caller).await
}

async fn set_netflow(
    State(host): Shared,
    CalledBy(caller): CalledBy,
    Named(vswitch): Named<VswitchName>,
    Asked(options): Options,
    Body(patch): Body<NetflowPatch>,
) -> Answer<ChangeResult> {
    change(host, Change::SetNetflow(vswitch, patch), options, caller).await
}

async fn del_netflow(
    State(host): Shared,
    CalledBy(caller): CalledBy,
    Named(vswitch): Named<VswitchName>,
    Asked(options): Options,
) -> Answer<ChangeResult> {
    change(host, Change::DelNetflow(vswitch), options, caller).await
}

/// Which flows.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct FlowsQuery {
    /// Only those that this port, or uplink by its interface, sends or receives.
    port: Option<String>,
    /// At most so many: 1-10000, 1000 unless it is said.
    limit: Option<Number<1, 10_000, 1_000>>,
}

async fn flows(host: Shared, Asked(query): Asked<FlowsQuery>) -> Answer<Vec<weft_api::FlowEntry>> {
    let limit = query.limit.unwrap_or_default().count();
    answer(host, move |host| host.flows(query.port.as_deref(), limit)).await
}

async fn policy(host: Shared, Named(port): Named<PortName>) -> Answer<weft_api::PolicyReport> {
    answer(host, move |host| host.policy(&port)).await
}

async fn add_uplink(
    State(host): Shared,
    CalledBy(caller): CalledBy,
    Asked(options): Options,
    Body(request): Body<UplinkRequest>,
) -> Answer<ChangeResult> {
    let UplinkRequest { vswitch, interface } = request;
    let add = Change::AddUplink(vswitch, interface);
    change(host, add, options, caller).await
}

async fn del_uplink(
    State(host): Shared,
    CalledBy(caller): CalledBy,
    Named((vswitch, interface)): Named<(VswitchName, InterfaceName)>,
    Asked(options): Options,
) -> Answer<ChangeResult> {
    let del = Change::DelUplink(vswitch, interface);
    change(host, del, options, caller).await
}

async fn apply(
    State(host): Shared,
    CalledBy(caller): CalledBy,
    Asked(options): Asked<ApplyOptions>,
    Body(manifest): Body<Manifest>,
) -> Answer<ApplyResult> {
    made(options.wait, move |durable| {
        host.apply(&manifest, options, &caller, durable)
    })
    .await
}

async fn rollback(
    State(host): Shared,
    CalledBy(caller): CalledBy,
    Asked(options): Asked<ApplyOptions>,
    Body(RollbackRequest { to }): Body<RollbackRequest>,
) -> Answer<ApplyResult> {
    made(options.wait, move |durable| {
        host.rollback(to, options, &caller, durable)
    })
    .await
}

async fn confirm(host: Shared, CalledBy(caller): CalledBy) -> Answer<Confirmed> {
    answer(host, move |host| host.confirm(&caller.to_string())).await
}

async fn generation(host: Shared, Named(number): Named<u64>) -> Answer<Manifest> {
    answer(host, move |host| host.generation(number)).await
}

/// Which events.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct EventsQuery {
    /// Only those after the one of this number. Absent: all that are kept, or with `watch` none.
    since: Option<u64>,
    /// Answer with a stream that goes on with what happens, one JSON object a line.
    #[serde(default)]
    watch: bool,
}

async fn events(
    State(host): Shared,
    Asked(query): Asked<EventsQuery>,
) -> Result<EventsAnswer, Refusal> {
    let events = host.events();
    if query.watch {
        let after = query.since.unwrap_or_else(|| events.newest());
        return Ok(EventsAnswer::Stream(Arc::clone(events), after));
    }
    let kept = events.after(query.since.unwrap_or_default(), usize::MAX);
    let is_missed = |event: &Event| event.kind == EventKind::EventsMissed;
    // Who asks for all that are kept has missed none.
    let asked = kept
        .into_iter()
        .skip_while(|event| query.since.is_none() && is_missed(event));
    Ok(EventsAnswer::List(asked.collect()))
}

/// Which addresses.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct FdbQuery {
    /// Only those of this switch.
    vswitch: Option<VswitchName>,
}

async fn fdb(host: Shared, Asked(query): Asked<FdbQuery>) -> Answer<Vec<weft_api::FdbEntry>> {
    answer(host, move |host| host.fdb(query.vswitch.as_ref())).await
}

/// Whose counters.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct StatsQuery {
    /// Only those of these ports, and of uplinks by their interface.
    #[serde(default)]
    port: Vec<String>,
}

async fn stats(host: Shared, Asked(query): Asked<StatsQuery>) -> Answer<Vec<weft_api::PortStats>> {
    answer(host, move |host| host.stats(&query.port)).await
}

async fn trace(host: Shared, Body(request): Body<TraceRequest>) -> Answer<TraceReport> {
    answer(host, move |host| host.trace(&request)).await
}
