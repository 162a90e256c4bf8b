//! Each step with the object and the setting that decides.

use std::fmt;

use weft_api::{PortAddress, TraceOutcome, TraceStep, TraceTag};
use weft_datapath::{CopyKind, DropReason, SourceJudgement, Step};
use weft_model::{EffectivePolicy, Leaf, ObjectRef, PortKey, PortSpec, TeamingPolicy, VswitchSpec};
use weft_packet::MacAddr;

use super::{Answer, Question, Refusal, object};
use crate::host::Host;
use crate::host::uplinks::failback::any_of;
use crate::state::State;

/// Who decides a step: an object, by a setting, which has a value.
#[derive(Default)]
struct Decision {
    object: Option<ObjectRef>,
    setting: Option<(&'static str, String)>,
}

impl Decision {
    fn by(object: impl Into<ObjectRef>) -> Self {
        Self {
            object: Some(object.into()),
            setting: None,
        }
    }

    fn setting(self, setting: &'static str, value: impl fmt::Display) -> Self {
        Self {
            setting: Some((setting, value.to_string())),
            ..self
        }
    }

    fn leaf<T: fmt::Display>(setting: &'static str, leaf: &Leaf<T>) -> Self {
        Self::by(leaf.from.clone()).setting(setting, &leaf.value)
    }
}

/// A step as people are told of it.
fn told(
    step: &str,
    reason: Option<DropReason>,
    detail: impl Into<String>,
    decision: Decision,
) -> TraceStep {
    let (setting, value) = decision.setting.unzip();
    TraceStep {
        step: step.to_owned(),
        outcome: match reason {
            None => TraceOutcome::Pass,
            Some(_) => TraceOutcome::Drop,
        },
        reason: reason.map(|reason| reason.name().to_owned()),
        detail: detail.into(),
        object: decision.object,
        setting: setting.map(str::to_owned),
        value,
        to: None,
        tags: None,
    }
}

/// What is asked again and again: who sends the frame, and by which policy. An uplink has none.
struct Sender<'a> {
    host: &'a Host,
    state: &'a State,
    question: &'a Question,
    port: Option<(&'a PortSpec, EffectivePolicy)>,
    switch: Option<&'a VswitchSpec>,
}

impl Host {
    /// The steps of a trace.
    pub(super) fn told(
        &self,
        state: &State,
        question: &Question,
        answer: &Answer,
    ) -> Vec<TraceStep> {
        let sender = Sender::new(self, state, question);
        let steps = &answer.trace.steps;
        let decisions = steps
            .iter()
            .take_while(|step| !matches!(step, Step::Copy { .. }));
        let last = decisions.clone().count().checked_sub(1);
        let vlan = decisions.clone().find_map(|step| match step {
            Step::Source { vlan, .. } | Step::LookUp { vlan } => Some(*vlan),
            _ => None,
        });
        let mut told: Vec<_> = decisions
            .enumerate()
            .filter_map(|(at, step)| {
                let dropped = answer.trace.dropped.filter(|_| Some(at) == last);
                sender.decision(step, dropped, vlan, answer)
            })
            .collect();
        told.extend(steps.iter().filter_map(|step| sender.copy(step, answer)));
        told
    }
}

impl<'a> Sender<'a> {
    fn new(host: &'a Host, state: &'a State, question: &'a Question) -> Self {
        let port = match &question.from {
            PortKey::Port(name) => state.intent.ports.get(name).map(|object| &object.spec),
            PortKey::Uplink(_) => None,
        };
        let policy = |port: &'a PortSpec| {
            let policy = state.intent.effective_policy(&port.name).ok()?;
            Some((port, policy))
        };
        Self {
            host,
            state,
            question,
            port: port.and_then(policy),
            switch: state.switch_of(&question.from),
        }
    }

    /// A decision about the frame; `None` for one that this version has no words for.
    fn decision(
        &self,
        step: &Step,
        dropped: Option<DropReason>,
        vlan: Option<u16>,
        answer: &Answer,
    ) -> Option<TraceStep> {
        let frame = &self.question.frame;
        Some(match step {
            Step::Port => {
                let (detail, decision) = self.standing(&self.question.from, dropped);
                told("port", dropped, detail, decision)
            }
            Step::Parse => {
                let detail = match dropped {
                    None => format!("EtherType {}", frame.described().ethertype),
                    Some(_) => "shorter than its Ethernet header and tags".to_owned(),
                };
                told("parse", dropped, detail, Decision::default())
            }
            Step::Length { payload, mtu } => {
                let detail = match dropped {
                    None => format!("{payload} octets of payload"),
                    Some(_) => format!("{payload} octets of payload, and {mtu} at most"),
                };
                told("length", dropped, detail, self.mtu())
            }
            Step::Vlan { .. } => {
                let shown = shown_tags(&frame.described().tags);
                let detail = match (dropped, vlan) {
                    (None, Some(vlan)) => format!("{shown}, in {}", domain(vlan)),
                    (None, None) => shown,
                    (Some(DropReason::VlanReserved), _) => {
                        "VID 4095, which IEEE 802.1Q reserves".to_owned()
                    }
                    (Some(DropReason::VlanTagNotAllowed), _) => {
                        format!("{shown}: guests may not tag on this port group")
                    }
                    (Some(_), _) => format!("{shown}: not one that the port carries"),
                };
                told("vlan", dropped, detail, self.vlan())
            }
            Step::Source { judgement, .. } => self.source(*judgement, dropped),
            Step::LookUp { vlan } => self.look_up(*vlan, dropped, answer),
            _ => return None,
        })
    }

    /// How the sender or a destination stands, and what decides that it does not take part.
    fn standing(&self, key: &PortKey, dropped: Option<DropReason>) -> (String, Decision) {
        let who = Decision::by(object(key));
        let Some(reason) = dropped else {
            return ("open".to_owned(), who);
        };
        let obstacle = self.host.obstacle_at(self.state, key);
        let detail = match obstacle {
            Some(obstacle) => obstacle.reason,
            None => reason.help().to_owned(),
        };
        let port = match key {
            PortKey::Port(name) => self.state.intent.ports.get(name),
            PortKey::Uplink(_) => None,
        };
        let decision = match port.map(|object| &object.spec) {
            Some(port) if port.block => who.setting("block", "yes"),
            Some(port) if port.link == weft_model::LinkSetting::Down => {
                who.setting("link", port.link)
            }
            Some(port) => who.setting(port.attachment.field(), &port.attachment),
            None => who,
        };
        (detail, decision)
    }

    fn mtu(&self) -> Decision {
        match self.switch {
            Some(switch) => Decision::by(&switch.name).setting("mtu", switch.mtu),
            None => Decision::default(),
        }
    }

    fn vlan(&self) -> Decision {
        match &self.port {
            Some((_, policy)) => Decision::leaf("vlan", &policy.vlan),
            None => Decision::by(object(&self.question.from)),
        }
    }

    fn source(&self, judgement: SourceJudgement, dropped: Option<DropReason>) -> TraceStep {
        let src = self.question.frame.src;
        let Some((port, policy)) = &self.port else {
            return told("source", dropped, "", Decision::default());
        };
        let own = Decision::by(&port.name);
        let forged = Decision::leaf("security.forgedTransmits", &policy.forged_transmits);
        let (detail, decision) = match judgement {
            SourceJudgement::Own => {
                let mine = self.address(port, src);
                let kind = mine.map(|mine| format!(", {}", mine.source));
                let detail = format!("{src} is its own address{}", kind.unwrap_or_default());
                (detail, own.setting("mac", src))
            }
            SourceJudgement::First => (
                format!("{src} becomes its address, as the first that it sends from"),
                own.setting("mac", "none"),
            ),
            SourceJudgement::Learned => (
                format!("{src} was learned behind it"),
                Decision::leaf("macLearning.enabled", &policy.mac_learning.enabled),
            ),
            SourceJudgement::New => (
                format!("{src} is learned behind it"),
                Decision::leaf("macLearning.enabled", &policy.mac_learning.enabled),
            ),
            SourceJudgement::Beyond if dropped.is_some() => (
                format!(
                    "{src} is none of its addresses, and it has learned {}, as many as it may",
                    policy.mac_learning.limit.value
                ),
                Decision::leaf("macLearning.beyond", &policy.mac_learning.beyond),
            ),
            SourceJudgement::Beyond => (
                format!("{src} is not learned: the port has learned as many as it may"),
                Decision::leaf("macLearning.limit", &policy.mac_learning.limit),
            ),
            _ => (
                format!(
                    "{src} is none of its addresses{}",
                    self.fate(port, policy, dropped)
                ),
                forged,
            ),
        };
        told("source", dropped, detail, decision)
    }

    /// What becomes of a source that is none of the port's addresses.
    fn fate(
        &self,
        port: &PortSpec,
        policy: &EffectivePolicy,
        dropped: Option<DropReason>,
    ) -> String {
        let src = self.question.frame.src;
        let owners = self.host.owners(self.state, src);
        let mut owners = owners.into_iter();
        let holder = owners.find(|owner| self.state.intent.share_a_domain(&owner.name, &port.name));
        match holder {
            Some(holder) => format!(": port {} has it", holder.name),
            None if policy.mac_changes.value == weft_model::Decision::Accept
                && src.is_unicast_source() =>
            {
                let later = dropped.map_or("", |_| ", and later frames pass");
                format!("; MAC changes are accepted, so the port adopts it{later}")
            }
            None => String::new(),
        }
    }

    /// One of a port's addresses.
    fn address(&self, port: &PortSpec, mac: MacAddr) -> Option<PortAddress> {
        let addresses = self.host.addresses_of(self.state, port);
        addresses.into_iter().find(|address| address.mac == mac)
    }

    fn look_up(&self, vlan: u16, dropped: Option<DropReason>, answer: &Answer) -> TraceStep {
        let dst = self.question.frame.dst;
        let domain = domain(vlan);
        let switch = || match (self.switch, &self.port) {
            (Some(_), Some((_, policy))) if dropped == Some(DropReason::NoUplink) => {
                Decision::leaf("teaming.active", &policy.teaming.active)
            }
            (Some(switch), _) => Decision::by(&switch.name).setting("uplinks", uplinks(switch)),
            (None, _) => Decision::default(),
        };
        let told = |detail, decision| told("lookUp", dropped, detail, decision);
        if let Some((detail, decision)) = dropped.and_then(|reason| self.turned_back(reason)) {
            return told(detail, decision);
        }
        if dst.is_multicast() {
            let kind = if dst.is_broadcast() {
                "broadcast"
            } else {
                "multicast"
            };
            let detail = match dropped {
                None => format!("{kind}: to everybody else in {domain}"),
                Some(DropReason::NoUplink) => {
                    format!(
                        "{kind}: nobody else is up in {domain}, and {}",
                        self.no_uplink()
                    )
                }
                Some(_) => format!("{kind}: nobody else is up in {domain}"),
            };
            return told(detail, switch());
        }
        match (dropped, answer.deliveries.first().map(|first| &first.to)) {
            (None, Some(PortKey::Port(name))) => {
                let port = self.state.intent.ports.get(name);
                let address = port.and_then(|port| self.address(&port.spec, dst));
                let kind = address.map(|address| format!(", {}", address.source));
                let detail = format!(
                    "{dst} is port {name}'s in {domain}{}",
                    kind.unwrap_or_default()
                );
                told(detail, Decision::by(name).setting("mac", dst))
            }
            (Some(DropReason::SamePort), _) => {
                let detail = format!("{dst} is behind the port that sends the frame");
                let own = Decision::by(object(&self.question.from));
                told(detail, own.setting("mac", dst))
            }
            _ => {
                let elsewhere = self.elsewhere(dst);
                let detail = match dropped {
                    None => {
                        format!("no port has {dst} in {domain}, so it leaves the host{elsewhere}")
                    }
                    Some(DropReason::NoUplink) => {
                        format!(
                            "no port has {dst} in {domain}, and {}{elsewhere}",
                            self.no_uplink()
                        )
                    }
                    Some(_) => format!("no port has {dst} in {domain}{elsewhere}"),
                };
                told(detail, switch())
            }
        }
    }

    /// That no uplink of the sender is usable.
    fn no_uplink(&self) -> String {
        let Some((port, policy)) = &self.port else {
            return "no uplink is usable".to_owned();
        };
        let team = &policy.teaming;
        format!(
            "no uplink of port group {} is usable (active {}, standby {})",
            port.portgroup, team.active.value, team.standby.value
        )
    }

    /// Why a frame goes nowhere whoever has its destination, and who decides that.
    fn turned_back(&self, reason: DropReason) -> Option<(String, Decision)> {
        let from = || Decision::by(object(&self.question.from));
        Some(match reason {
            DropReason::ReversePath => (
                "it came in by an uplink that its destination does not use, or is the host's own"
                    .to_owned(),
                from(),
            ),
            DropReason::BpduFilter => {
                let decision = match &self.port {
                    Some((_, policy)) => Decision::leaf("bpduFilter", &policy.bpdu_filter),
                    None => from(),
                };
                ("a spanning tree BPDU of a guest".to_owned(), decision)
            }
            DropReason::ControlFrame => (
                "for the next bridge only, and the port does not trunk".to_owned(),
                self.vlan(),
            ),
            _ => return None,
        })
    }

    /// Why a frame of the port leaves by this uplink.
    fn choice(&self, uplink: &PortKey) -> Option<(String, Decision)> {
        let (port, policy) = self.port.as_ref()?;
        let (teaming, PortKey::Uplink(uplink)) = (&policy.teaming, uplink) else {
            return None;
        };
        let active = teaming.active.value.named();
        let failback = self.host.failback(self.state, teaming, &port.name);
        if failback.decides(teaming, uplink) {
            let detail = format!(
                ": {} is usable again, but failback is off; it waits until {} fails",
                any_of(&failback.waiting),
                any_of(&failback.in_use)
            );
            return Some((
                detail,
                Decision::leaf("teaming.failback", &teaming.failback),
            ));
        }
        let detail = match teaming.policy.value {
            _ if !active.contains(uplink) => "standby, as no active uplink is usable for it",
            _ if active.len() == 1 => "the only active uplink",
            TeamingPolicy::SrcId => "by the port's number",
            TeamingPolicy::SrcMac => "by the source address",
            TeamingPolicy::IpHash => "by the IP addresses",
            TeamingPolicy::Explicit => "the first usable one",
            TeamingPolicy::Lbt => "by the port's number and the load",
        };
        let decision = Decision::leaf("teaming.policy", &teaming.policy);
        Some((format!(": {detail}"), decision))
    }

    /// Who has an address that is not found: some port of another VLAN or switch.
    fn elsewhere(&self, mac: MacAddr) -> String {
        let owner = self.host.owners(self.state, mac).into_iter().next();
        let policy = owner.and_then(|owner| {
            let policy = self.state.intent.effective_policy(&owner.name).ok()?;
            Some(format!(
                "; port {} has it, on {} with VLAN {}",
                owner.name, policy.vlan.from, policy.vlan.value
            ))
        });
        policy.unwrap_or_default()
    }

    /// What a destination gets.
    fn copy(&self, step: &Step, answer: &Answer) -> Option<TraceStep> {
        let Step::Copy {
            to: id,
            kind,
            outcome,
        } = *step
        else {
            return None;
        };
        let step = match kind {
            CopyKind::Promiscuous => "promiscuous",
            _ => "deliver",
        };
        let key = self.state.key(id)?;
        let to = object(key);
        let refusal = self.host.refusal(self.state, key, outcome.err());
        if let Some(Refusal { reason, .. }) = refusal {
            let (detail, decision) = self.standing(key, Some(reason));
            let told = told(step, Some(reason), format!("to {to}: {detail}"), decision);
            return Some(TraceStep {
                to: Some(to),
                ..told
            });
        }
        let tags: Vec<TraceTag> = self
            .question
            .frame
            .tags_after(outcome.ok()?)
            .into_iter()
            .map(Into::into)
            .collect();
        let policy = match key {
            PortKey::Port(name) => self.state.intent.effective_policy(name).ok(),
            PortKey::Uplink(_) => None,
        };
        let decision = match (&policy, kind) {
            (Some(policy), CopyKind::Promiscuous) => {
                Decision::leaf("security.promiscuous", &policy.promiscuous)
            }
            (Some(policy), _) => Decision::leaf("vlan", &policy.vlan),
            (None, _) => Decision::by(to.clone()),
        };
        let (choice, decision) = match self.choice(key) {
            Some((choice, by)) => (choice, by),
            None => (String::new(), decision),
        };
        let limit = match &policy {
            Some(policy) if answer.trace.shaped_out.contains(&id) => {
                format!(", limited to {}", policy.shaping.egress.value)
            }
            _ => String::new(),
        };
        let detail = format!("to {to}, {}{choice}{limit}", shown_tags(&tags));
        Some(TraceStep {
            to: Some(to),
            tags: Some(tags),
            ..told(step, None, detail, decision)
        })
    }
}

fn uplinks(switch: &VswitchSpec) -> String {
    let names: Vec<_> = switch.uplinks.iter().map(ToString::to_string).collect();
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(",")
    }
}

/// A forwarding domain in words.
fn domain(vlan: u16) -> String {
    format!("VLAN {vlan}")
}

fn shown_tags(tags: &[TraceTag]) -> String {
    if tags.is_empty() {
        return "untagged".to_owned();
    }
    let tags: Vec<_> = tags.iter().map(ToString::to_string).collect();
    tags.join(" in front of ")
}

impl State {
    /// The switch of a port or uplink.
    pub(super) fn switch_of(&self, key: &PortKey) -> Option<&VswitchSpec> {
        let intent = &self.intent;
        let name = match key {
            PortKey::Port(name) => {
                let group = &intent.ports.get(name)?.spec.portgroup;
                &intent.portgroups.get(group)?.spec.vswitch
            }
            PortKey::Uplink(interface) => {
                let mut uplinks = intent.uplinks();
                uplinks.find(|(_, uplink)| *uplink == interface)?.0
            }
        };
        intent.vswitches.get(name).map(|object| &object.spec)
    }
}
