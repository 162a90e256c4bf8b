//! What is wrong with telling flows, as it is shown, and as it is told once.

use weft_api::{Cause, EventDetails, EventKind, Finding};
use weft_model::{FlowRoom, NetflowSpec, ObjectRef, VswitchName};

use super::health::{News, Strain};
use crate::events;
use crate::host::Host;
use crate::state::{State, quoted};

impl Host {
    /// Collectors that are told in vain, and switches with more flows than room.
    pub(in crate::host) fn netflow_findings(&self, state: &State) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (vswitch, telling) in self.flow_records.told() {
            let Some(object) = state.intent.netflow.get(&vswitch) else {
                continue;
            };
            let finding = |reason: String, next: String| Finding {
                object: ObjectRef::netflow_of(&vswitch),
                cause: Cause::Netflow,
                reason,
                next,
            };
            let show = || format!("weft netflow show {}", quoted(&vswitch));
            for (to, told) in telling.collectors {
                if let Some(trouble) = told.trouble {
                    let reason = format!("collector {to}: {}", trouble.reason);
                    findings.push(finding(reason, trouble.next.unwrap_or_else(show)));
                }
            }
            if telling.strain.evicting {
                findings.push(finding(full(), more_room(&vswitch, &object.spec)));
            }
            if telling.strain.losing {
                findings.push(finding(too_fast(), "weft flows --limit 20".to_owned()));
            }
        }
        findings
    }

    /// Says that a collector is told in vain, or that it is not any more.
    pub(super) fn collector_is_news(&self, vswitch: &VswitchName, collector: &str, news: News) {
        if !self.may_log("collector", &format!("{vswitch} {collector}")) {
            return;
        }
        let on = Some(collector.to_owned());
        let (news, reason) = match news {
            News::Trouble(trouble) => {
                let reason = trouble.reason;
                tracing::warn!(%vswitch, collector, reason, "flows are not told to a collector");
                let text = format!("netflow {vswitch}: collector {collector}: {reason}");
                let news = events::News::warning(EventKind::CollectorLost, text);
                (news, Some(reason))
            }
            News::Over => {
                tracing::info!(%vswitch, collector, "flows are told to a collector again");
                let text = format!("netflow {vswitch}: collector {collector} is told flows again");
                (events::News::info(EventKind::CollectorFound, text), None)
            }
        };
        let details = EventDetails {
            on,
            reason,
            ..EventDetails::default()
        };
        let object = ObjectRef::netflow_of(vswitch);
        self.events.push(news.about(object).with(details));
    }

    /// Says that a switch has more flows than it has room for, or that it has room again.
    pub(super) fn strain_is_news(&self, vswitch: &VswitchName, strain: Strain) {
        if !self.may_log("flows", vswitch.as_str()) {
            return;
        }
        let reason = match strain {
            Strain { losing: true, .. } => Some(too_fast()),
            Strain { evicting: true, .. } => Some(full()),
            Strain { .. } => None,
        };
        let news = match &reason {
            Some(reason) => {
                tracing::warn!(%vswitch, reason, "more flows than can be counted");
                let text = format!("netflow {vswitch}: {reason}");
                events::News::warning(EventKind::FlowsStrained, text)
            }
            None => {
                tracing::info!(%vswitch, "flows have room again");
                let text = format!("netflow {vswitch}: flows have room again");
                events::News::info(EventKind::FlowsEased, text)
            }
        };
        let details = EventDetails {
            reason,
            ..EventDetails::default()
        };
        let object = ObjectRef::netflow_of(vswitch);
        self.events.push(news.about(object).with(details));
    }
}

fn full() -> String {
    "its table of flows is full: flows are told early, in more records, and nothing is lost"
        .to_owned()
}

fn too_fast() -> String {
    "flows end faster than they can be told, so records are lost to all collectors; look for a scan or a flood, or sample".to_owned()
}

/// The command that makes room; where the table is as large as it can be, the one that shows what fills it.
fn more_room(vswitch: &VswitchName, spec: &NetflowSpec) -> String {
    let now = spec.flows.number();
    let more = FlowRoom::MOST.min(2 * now);
    if more > now {
        format!("weft netflow set {} --flows {more}", quoted(vswitch))
    } else {
        "weft flows --limit 20".to_owned()
    }
}
