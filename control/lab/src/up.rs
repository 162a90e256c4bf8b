//! Making a lab.

use std::path::Path;

use weft_api::{ChangeOptions, Client};
use weft_model::{Change, Manifest, VmEngine};

use crate::agent::StartedAgent;
use crate::command::{check_requirements, inside, ip, ip_batch};
use crate::name::LabName;
use crate::plan::{Host, Plan, Vm};
use crate::process::ProcessId;
use crate::record::Record;
use crate::signal::Interrupts;
use crate::{LabError, Wish, down, list};

/// The bridge in the fabric's namespace.
pub(crate) const BRIDGE: &str = "br0";

/// What [`up`] found to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpOutcome {
    /// The lab is new.
    Made,
    /// It was there already, made from the same file.
    Unchanged,
}

/// Makes the lab of a lab file. With `dry_run`, only checks that it could be made.
///
/// `weft` is the executable that runs as the hosts' agents.
///
/// # Errors
/// When the file is no lab, the lab exists, or something cannot be made; nothing of it remains then.
pub async fn up(wish: &Wish, weft: &Path, dry_run: bool) -> Result<UpOutcome, LabError> {
    let plan = Plan::new(&wish.lab, &wish.manifest)?;
    if let Some(present) = Record::load(&wish.lab)? {
        return check_same(&present, &wish.manifest);
    }
    if dry_run {
        return Ok(UpOutcome::Made);
    }
    check_requirements(&format!("lab {}", wish.lab), &["ip", "ethtool"])?;
    let mut interrupts = Interrupts::catch()?;
    let mut record = claim(plan, wish, false)?;
    let made = tokio::select! {
        made = make(&record.plan, weft) => made,
        signal = interrupts.next() => Err(signal),
    };
    let made = made.and_then(|()| record.finish());
    if let Err(error) = made {
        return Err(match down::remove(&record).await {
            Ok(()) => error,
            Err(also) => LabError {
                problem: format!("{}; and then {also}", error.problem),
                ..error
            },
        });
    }
    Ok(UpOutcome::Made)
}

fn check_same(present: &Record, wanted: &Manifest) -> Result<UpOutcome, LabError> {
    let lab = &present.plan.lab;
    let exists = |problem: &str| {
        let error = LabError::conflict(format!("lab {lab}"), problem);
        Err(error.hint(format!(
            "run 'weft lab down {lab}' first, or choose another --name"
        )))
    };
    if !present.complete {
        return exists(if present.maker.is_running() {
            "is being made"
        } else {
            "was left unfinished"
        });
    }
    if present.manifest != *wanted {
        return exists("exists already, made from another file");
    }
    let report = list::report(present);
    let broken = report
        .members
        .iter()
        .find_map(|member| Some((&member.name, member.problem?)));
    if let Some((member, problem)) = broken {
        return exists(&format!(
            "exists already, but {member} is broken: {problem}"
        ));
    }
    Ok(UpOutcome::Unchanged)
}

/// Takes the name of the lab, and writes down what is going to be made.
pub(crate) fn claim(plan: Plan, wish: &Wish, temporary: bool) -> Result<Record, LabError> {
    // A namespace of that name is somebody else's: taking the lab down must not remove it.
    if let Some(taken) = plan
        .namespaces()
        .find(|name| Path::new("/run/netns").join(name).exists())
    {
        return Err(LabError::conflict(
            format!("namespace {taken}"),
            "exists already, outside of any lab",
        )
        .hint(format!(
            "choose another --name, or run 'ip netns del {taken}' if nobody needs it"
        )));
    }
    let maker = ProcessId::of_self().ok_or_else(|| {
        LabError::failed("/proc", "does not show this process").hint("mount /proc")
    })?;
    let record = Record {
        maker,
        temporary,
        complete: false,
        manifest: wish.manifest.clone(),
        plan,
    };
    record.claim().map(|()| record)
}

/// Makes everything that a plan names.
pub(crate) async fn make(plan: &Plan, weft: &Path) -> Result<(), LabError> {
    for namespace in plan.namespaces() {
        ip(&["netns", "add", namespace]).await?;
    }
    if let Some(fabric) = &plan.fabric {
        make_fabric(fabric).await?;
    }
    let mut agents = Vec::new();
    for host in &plan.hosts {
        make_host(plan, host).await?;
        agents.push(StartedAgent::new(&plan.lab, host, weft)?);
    }
    for vm in plan.vms.iter().filter(|vm| vm.engine != VmEngine::Tap) {
        make_vm(plan, vm).await?;
    }
    for (host, agent) in plan.hosts.iter().zip(agents) {
        let client = agent.ready(host).await?;
        configure(&client, host).await?;
    }
    // TAP devices have come with their ports.
    for vm in plan.vms.iter().filter(|vm| vm.engine == VmEngine::Tap) {
        make_vm(plan, vm).await?;
    }
    Ok(())
}

/// A bridge that behaves as a plain wire with many ends: no spanning tree to wait for, no multicast snooping, and no VLAN
/// filtering, so that tagged frames pass as they are.
async fn make_fabric(namespace: &str) -> Result<(), LabError> {
    silence_ipv6(namespace).await?;
    let commands = [
        format!("link add {BRIDGE} type bridge stp_state 0 mcast_snooping 0"),
        format!("link set {BRIDGE} mtu 9000 up"),
    ];
    ip_batch(namespace, &commands).await
}

async fn make_host(plan: &Plan, host: &Host) -> Result<(), LabError> {
    silence_ipv6(&host.namespace).await?;
    let mut commands = vec!["link set lo up".to_owned()];
    for uplink in &host.uplinks {
        let fabric = plan.fabric.as_deref().unwrap_or_default();
        let (near, far, mtu) = (&uplink.interface, &uplink.fabric_end, uplink.mtu);
        commands.push(format!(
            "link add {near} mtu {mtu} type veth peer name {far} mtu {mtu} netns '{fabric}'"
        ));
        commands.push(format!("link set {near} up"));
    }
    ip_batch(&host.namespace, &commands).await?;
    for uplink in &host.uplinks {
        let fabric = plan.fabric.as_deref().unwrap_or_default();
        // The bridge takes tags out of frames; without the offload its port puts them back in.
        show_frames_as_they_are(fabric, &uplink.fabric_end).await?;
        ip_batch(
            fabric,
            &[format!("link set {} master {BRIDGE} up", uplink.fabric_end)],
        )
        .await?;
    }
    Ok(())
}

async fn make_vm(plan: &Plan, vm: &Vm) -> Result<(), LabError> {
    let host = plan
        .hosts
        .iter()
        .find(|host| host.name == vm.host)
        .expect("a VM is planned on a planned host");
    let ipv6 = vm.ip.as_ref().is_some_and(|ip| ip.contains(':'));
    if !ipv6 {
        silence_ipv6(&vm.namespace).await?;
    }
    let (end, mac, mtu, namespace) = (&vm.host_end, vm.mac, vm.mtu, &vm.namespace);
    let commands = match vm.engine {
        VmEngine::Veth | VmEngine::Packet => vec![
            format!(
                "link add {end} mtu {mtu} type veth peer name eth0 address {mac} mtu {mtu} netns '{namespace}'"
            ),
            format!("link set {end} up"),
        ],
        VmEngine::Tap => vec![
            format!("link set {end} address {mac} mtu {mtu}"),
            format!("link set {end} netns '{namespace}' name eth0"),
        ],
    };
    ip_batch(&host.namespace, &commands).await?;
    if vm.engine == VmEngine::Veth {
        show_frames_as_they_are(namespace, "eth0").await?;
    }
    let address = vm
        .ip
        .as_ref()
        .map(|ip| format!("addr add {ip} dev eth0{}", if ipv6 { " nodad" } else { "" }));
    let commands = ["link set lo up".to_owned()]
        .into_iter()
        .chain(address)
        .chain(["link set eth0 up".to_owned()]);
    ip_batch(namespace, &commands.collect::<Vec<_>>()).await
}

/// Offloads leave checksums and VLAN tags beside the frame, where an AF_XDP socket on the other end does not see them.
async fn show_frames_as_they_are(namespace: &str, interface: &str) -> Result<(), LabError> {
    let offloads = [
        "tx",
        "off",
        "txvlan",
        "off",
        "tx-vlan-stag-hw-insert",
        "off",
    ];
    inside(
        namespace,
        &[&["ethtool", "-K", interface], &offloads[..]].concat(),
        "",
    )
    .await
    .map(drop)
}

/// Keeps the kernel from sending router solicitations and multicast reports from every new interface.
async fn silence_ipv6(namespace: &str) -> Result<(), LabError> {
    const SETTINGS: [&str; 2] = [
        "/proc/sys/net/ipv6/conf/all/disable_ipv6",
        "/proc/sys/net/ipv6/conf/default/disable_ipv6",
    ];
    if !SETTINGS.iter().all(|setting| Path::new(setting).exists()) {
        return Ok(());
    }
    inside(namespace, &["tee", SETTINGS[0], SETTINGS[1]], "1\n")
        .await
        .map(drop)
}

/// Tells the host's agent what the lab file says.
async fn configure(client: &Client, host: &Host) -> Result<(), LabError> {
    let options = ChangeOptions::default();
    for change in host.manifest.changes() {
        let answer = match &change {
            Change::AddVswitch(spec) => client.add_vswitch(spec, options).await,
            Change::AddPortgroup(spec) => client.add_portgroup(spec, options).await,
            Change::AddPort(spec) => client.add_port(spec, options).await,
            Change::AddVmk(spec) => client.add_vmk(spec, options).await,
            Change::PutNetflow(spec) => client.put_netflow(spec, options).await,
            // A manifest only adds; another kind of change would be a field that labs do not know yet.
            other => {
                return Err(LabError::failed(
                    other.object().to_string(),
                    "is not supported in labs yet",
                ));
            }
        };
        answer.map_err(|problem| LabError::of_agent(&host.name, problem))?;
    }
    Ok(())
}

impl Wish {
    /// Reads a lab file. Without `name`, the lab is named after it.
    ///
    /// # Errors
    /// When the file cannot be read or is no manifest.
    pub fn read(file: &Path, name: Option<LabName>) -> Result<Self, LabError> {
        let shown = file.display().to_string();
        let text = std::fs::read_to_string(file).map_err(|error| {
            LabError::io(&shown, &error).hint("name a lab file, such as examples/mirror.yaml")
        })?;
        let manifest =
            Manifest::parse(&text).map_err(|error| LabError::invalid(shown, error.to_string()))?;
        Ok(Self {
            lab: name.map_or_else(|| LabName::of_file(file), Ok)?,
            manifest,
        })
    }
}
