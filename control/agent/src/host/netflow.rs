//! Who is told of the flows of switches, and the flows that go on.

mod collector;
pub(crate) mod exporter;
mod findings;
mod health;
mod live;
mod socket;
mod switch;

use weft_api::{CollectorStatus, Netflow, NetflowStatus, Problem};
use weft_model::{NetflowExport, VswitchName};

use super::Host;
use crate::state::State;

impl Host {
    /// Who is told of the flows of every switch that has somebody.
    pub(crate) fn netflows(&self) -> Vec<Netflow> {
        let state = self.view();
        let exports = state.netflow_exports();
        let shown = exports
            .iter()
            .map(|export| self.describe_netflow(&state, export));
        shown.flatten().collect()
    }

    /// Who is told of the flows of one switch.
    ///
    /// # Errors
    /// `notFound`: the switch, or its NetFlow.
    pub(crate) fn netflow(&self, vswitch: &VswitchName) -> Result<Netflow, Problem> {
        let state = self.view();
        state.intent.netflow_of(vswitch)?;
        let exports = state.netflow_exports();
        let export = exports.iter().find(|export| export.vswitch == *vswitch);
        let shown = export.and_then(|export| self.describe_netflow(&state, export));
        Ok(shown.expect("every switch of a state that is in force has a number"))
    }
}

impl Host {
    fn describe_netflow(&self, state: &State, export: &NetflowExport) -> Option<Netflow> {
        let object = state.intent.netflow.get(&export.vswitch)?;
        Some(Netflow {
            name: export.vswitch.to_string(),
            uid: object.uid,
            resource_version: object.resource_version,
            spec: object.spec.clone(),
            status: self.netflow_status(state, export),
        })
    }

    fn netflow_status(&self, state: &State, export: &NetflowExport) -> NetflowStatus {
        let meters = self.plane.datapath().meter_status(export.id);
        let meters = meters.unwrap_or_default();
        let mut told = self.flow_records.told();
        let told = told.remove(&export.vswitch).unwrap_or_default().collectors;
        let collectors = export.spec.collectors.all().iter();
        NetflowStatus {
            domain: export.domain,
            ports: state.intent.metered_ports(&export.vswitch).count(),
            flows: meters.in_use,
            room: meters.room,
            packets: meters.packets,
            evicted: meters.evicted,
            lost_records: meters.lost_records,
            collectors: collectors
                .map(|&collector| {
                    let told = told.iter().find(|(to, _)| *to == collector.address());
                    let told = told.map(|(_, told)| told.clone()).unwrap_or_default();
                    CollectorStatus {
                        collector,
                        messages: told.messages,
                        records: told.records,
                        lost_records: told.lost_records,
                        unsaid: told.unsaid,
                        last_error: told.trouble.map(|trouble| trouble.reason),
                    }
                })
                .collect(),
        }
    }
}
