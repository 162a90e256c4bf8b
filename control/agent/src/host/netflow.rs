//! Who is told of the flows of switches, and the flows that go on.

use weft_api::{CollectorStatus, FlowEntry, Netflow, NetflowStatus, Problem};
use weft_model::{NetflowExport, VswitchName};

use super::Host;
use super::counters::{name, unknown};
use crate::state::State;

impl Host {
    /// Who is told of the flows of every switch that has somebody.
    pub(crate) fn netflows(&self) -> Vec<Netflow> {
        let state = self.view();
        let exports = state.netflow_exports();
        let shown = exports.iter().map(|export| describe(&state, export));
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
        let shown = export.and_then(|export| describe(&state, export));
        Ok(shown.expect("every switch of a state that is in force has a number"))
    }

    /// The flows that go on, with the most octets first: at most so many, of one port or uplink if one is named.
    ///
    /// # Errors
    /// `notFound` for a port that does not exist.
    pub(crate) fn flows(
        &self,
        port: Option<&str>,
        _limit: usize,
    ) -> Result<Vec<FlowEntry>, Problem> {
        let state = self.view();
        if let Some(asked) = port {
            let wanted = state.wanted();
            let mut known = wanted.keys().map(name);
            if !known.any(|name| name == asked) {
                return Err(unknown(asked, wanted.keys().map(name)));
            }
        }
        // todo(exporter): the flows in the tables of the meters.
        Ok(Vec::new())
    }
}

fn describe(state: &State, export: &NetflowExport) -> Option<Netflow> {
    let object = state.intent.netflow.get(&export.vswitch)?;
    Some(Netflow {
        name: export.vswitch.to_string(),
        uid: object.uid,
        resource_version: object.resource_version,
        spec: object.spec.clone(),
        status: status(state, export),
    })
}

fn status(state: &State, export: &NetflowExport) -> NetflowStatus {
    let collectors = export.spec.collectors.all().iter();
    // todo(exporter): all counters, of collectors and of tables.
    NetflowStatus {
        domain: export.domain,
        ports: state.intent.metered_ports(&export.vswitch).count(),
        flows: 0,
        room: 0,
        evicted: 0,
        collectors: collectors
            .map(|&collector| CollectorStatus {
                collector,
                messages: 0,
                records: 0,
                lost_records: 0,
                last_error: None,
            })
            .collect(),
    }
}
