//! Meters, and what those who export their records need to know.

use weft_datapath::{MeterConfig, SwitchId};

use super::Realisation;
use crate::intent::Intent;
use crate::name::{HostName, VswitchName};
use crate::spec::NetflowSpec;

/// What the exporter of a switch's flows needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetflowExport {
    /// The switch.
    pub vswitch: VswitchName,
    /// Its number.
    pub id: SwitchId,
    /// Who is told, and how.
    pub spec: NetflowSpec,
    /// The observation domain: the one that is set, or else one that is the same whenever this host has a switch of this name.
    pub domain: u32,
}

/// The switches with a number whose flows are told to somebody, by name.
pub fn netflow_exports(
    host: &HostName,
    intent: &Intent,
    realisation: &Realisation,
) -> Vec<NetflowExport> {
    let exports = intent.netflow.values().map(|object| &object.spec);
    let exports = exports.filter_map(|spec| {
        let vswitch = spec.vswitch.clone();
        Some(NetflowExport {
            id: *realisation.switches.get(&vswitch)?,
            domain: domain(host, spec),
            spec: spec.clone(),
            vswitch,
        })
    });
    exports.collect()
}

/// The domain of a switch: the one that is set, or one that follows from its names. Collectors tell exporters with one address apart by
/// it.
pub(crate) fn domain(host: &HostName, spec: &NetflowSpec) -> u32 {
    let names = || format!("{host}\0{}", spec.vswitch);
    // 0 says that there is no domain (RFC 7011 §3.1).
    let of_names = || crc32fast::hash(names().as_bytes()).max(1);
    spec.domain.unwrap_or_else(of_names)
}

/// How the flows of a switch are counted.
pub(super) fn meter(spec: &NetflowSpec) -> MeterConfig {
    MeterConfig {
        flows: spec.flows.count(),
        active: spec.active.duration(),
        idle: spec.idle.duration(),
        sampling: spec.sampling.number(),
        ingress: spec.direction.is_in(),
        egress: spec.direction.is_out(),
        internal_only: spec.internal_only.0,
    }
}
