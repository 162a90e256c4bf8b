//! The changes that may help a frame past what stands in its way, each with the command that makes it.

use std::collections::HashSet;

use weft_datapath::{DropReason, Step};
use weft_model::{
    ActiveUplinks, BeyondLimit, Change, Inheritable, InterfaceName, LearningLimit, LearningPatch,
    LinkSetting, Mtu, PortKey, PortPatch, PortSpec, PortgroupName, PortgroupPatch, PortgroupSpec,
    SecurityPatch, Setting, TeamingPatch, VswitchName, VswitchPatch, VswitchSpec,
};
use weft_packet::MacAddr;
use weft_vlan::{Policy, PortgroupVlan};

use super::{Answer, Question};
use crate::host::Host;
use crate::links::Link;
use crate::state::{State, quoted};
use crate::wanted::Wanted;

/// Changes that are tried at each obstacle at most.
const TRIES: usize = 16;

/// A change that may help.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Candidate {
    pub(super) change: Change,
    /// The command that makes it.
    pub(super) command: String,
    /// How many ports it concerns.
    pub(super) touches: usize,
}

/// Where a frame comes from and where it is to go.
struct Scene<'a> {
    state: &'a State,
    switch: &'a VswitchSpec,
    /// The port that sends it, unless an uplink does.
    port: Option<&'a PortSpec>,
    /// The port group of that port.
    group: Option<&'a PortgroupSpec>,
    dst: MacAddr,
    /// The forwarding domain in which the destination is looked up.
    vlan: u16,
}

impl Host {
    /// Changes that may help, those first that touch the fewest ports.
    pub(super) fn candidates(
        &self,
        state: &State,
        question: &Question,
        answer: &Answer,
    ) -> Vec<Candidate> {
        let scene = Scene::of(state, question, answer);
        let mut candidates = scene.map_or_else(Vec::new, |scene| self.helping(&scene, answer));
        candidates.sort_by_key(|candidate| candidate.touches);
        candidates.truncate(TRIES);
        candidates
    }

    /// Changes that may help at the step at which the frame is dropped.
    fn helping(&self, scene: &Scene<'_>, answer: &Answer) -> Vec<Candidate> {
        let Scene {
            state, port, group, ..
        } = *scene;
        let one = |candidate: Option<Candidate>| candidate.into_iter().collect();
        let dropped = answer.trace.dropped;
        match answer.trace.steps.last() {
            Some(Step::Port) => one(port.and_then(opened)),
            Some(Step::Length { payload, .. }) => one(resized(state, scene.switch, *payload)),
            Some(Step::Vlan { .. }) => match (port, group) {
                (Some(port), Some(group)) => trunked(state, port, group),
                _ => Vec::new(),
            },
            Some(Step::Source { .. }) if dropped == Some(DropReason::LearningLimit) => {
                group.map_or_else(Vec::new, |group| learning(state, group))
            }
            Some(Step::Source { .. }) => one(group.map(|group| forging(state, group))),
            _ if !answer.deliveries.is_empty() => {
                let ports = answer.deliveries.iter().filter_map(|delivery| {
                    let PortKey::Port(name) = &delivery.to else {
                        return None;
                    };
                    Some(&state.intent.ports.get(name)?.spec)
                });
                ports.filter_map(opened).collect()
            }
            _ if dropped == Some(DropReason::SamePort) => Vec::new(),
            _ => {
                let mut candidates = self.reaching(scene);
                if dropped == Some(DropReason::NoUplink) {
                    candidates.extend(group.into_iter().flat_map(|group| teamed(state, group)));
                }
                candidates
            }
        }
    }

    /// Changes by which the frame may find somebody.
    fn reaching(&self, scene: &Scene<'_>) -> Vec<Candidate> {
        let Scene { state, switch, .. } = *scene;
        let mut candidates = Vec::new();
        if scene.dst.is_multicast() {
            candidates.extend(scene.others().filter_map(opened));
        } else {
            for owner in self.owners(state, scene.dst) {
                candidates.extend(scene.joined(owner));
            }
            candidates.extend(self.named(scene));
        }
        if scene.port.is_some() && switch.uplinks.is_empty() {
            candidates.extend(self.plugged(state, switch));
        }
        candidates
    }

    /// The ports that have an address, on whatever switch and VLAN.
    pub(super) fn owners<'a>(&self, state: &'a State, mac: MacAddr) -> Vec<&'a PortSpec> {
        let ports = state.intent.ports.values().map(|object| &object.spec);
        let has = |port: &&PortSpec| {
            let addresses = self.addresses_of(state, port);
            addresses.iter().any(|address| address.mac == mac)
        };
        ports.filter(has).collect()
    }

    /// Gives the address to the one port of the VLAN that has none yet.
    fn named(&self, scene: &Scene<'_>) -> Option<Candidate> {
        let is_nameless = |port: &&PortSpec| {
            port.mac.is_none() && self.addresses_of(scene.state, port).is_empty()
        };
        let mut nameless = scene.others().filter(is_nameless);
        let (Some(only), None) = (nameless.next(), nameless.next()) else {
            return None;
        };
        let patch = PortPatch {
            mac: Some(Some(scene.dst)),
            ..PortPatch::default()
        };
        Some(set_port(only, patch, &format!("--mac {}", scene.dst)))
    }

    /// Makes that interface an uplink which nobody uses and which has a carrier, if it is the only one: of several, nobody
    /// here knows where they lead.
    fn plugged(&self, state: &State, switch: &VswitchSpec) -> Option<Candidate> {
        let wanted = state.wanted();
        let held: HashSet<_> = wanted.values().filter_map(Wanted::interface).collect();
        let is_free = |(name, link): &(&InterfaceName, &Link)| {
            link.up
                && link.carrier
                && link.mtu >= u32::from(switch.mtu.octets())
                && name.as_str() != "lo"
                && !held.contains(name)
        };
        let mut free = state.links.iter().filter(is_free);
        let (Some((only, link)), None) = (free.next(), free.next()) else {
            return None;
        };
        let uses = self.plane.uses(*link).ok()?;
        uses.is_empty().then(|| Candidate {
            change: Change::AddUplink(switch.name.clone(), only.clone()),
            command: format!("weft uplink add {} {only}", quoted(&switch.name)),
            touches: state.ports_on(&switch.name).count(),
        })
    }
}

impl<'a> Scene<'a> {
    fn of(state: &'a State, question: &Question, answer: &Answer) -> Option<Self> {
        let port = match &question.from {
            PortKey::Port(name) => Some(&state.intent.ports.get(name)?.spec),
            PortKey::Uplink(_) => None,
        };
        let group = port.and_then(|port| state.intent.portgroups.get(&port.portgroup));
        let looked_up = answer.trace.steps.iter().find_map(|step| match step {
            Step::LookUp { vlan } => Some(*vlan),
            _ => None,
        });
        Some(Self {
            state,
            switch: state.switch_of(&question.from)?,
            port,
            group: group.map(|object| &object.spec),
            dst: question.frame.dst,
            vlan: looked_up.unwrap_or_default(),
        })
    }

    /// The other ports of the VLAN.
    fn others(&self) -> impl Iterator<Item = &'a PortSpec> {
        let Self { state, port, .. } = *self;
        let groups = self
            .reached()
            .flat_map(|group| state.intent.ports_of(&group.name));
        groups.filter(move |other| port.is_none_or(|port| other.name != port.name))
    }

    /// The port groups of the switch that carry the VLAN.
    fn reached(&self) -> impl Iterator<Item = &'a PortgroupSpec> {
        let vlan = self.vlan;
        let groups = self.state.intent.portgroups_of(&self.switch.name);
        groups.filter(move |group| Policy::from(group.vlan).admits(vlan))
    }

    /// Brings the sender and the port that has the address together.
    fn joined(&self, owner: &PortSpec) -> Vec<Candidate> {
        let Self { state, group, .. } = *self;
        let Some(theirs) = state.intent.portgroups.get(&owner.portgroup) else {
            return Vec::new();
        };
        let theirs = &theirs.spec;
        let mut candidates = Vec::new();
        candidates.extend(self.port.map(|port| moved(port, &theirs.name)));
        let here = group.or_else(|| self.reached().next());
        candidates.extend(here.map(|here| moved(owner, &here.name)));
        if theirs.vswitch == self.switch.name {
            let own = PortgroupVlan::new(self.vlan).ok();
            candidates.extend(own.map(|own| in_vlan(state, theirs, own)));
            candidates.extend(group.map(|group| in_vlan(state, group, theirs.vlan)));
        }
        candidates
    }
}

/// Unblocks a port and plugs it in, as far as it is not.
fn opened(port: &PortSpec) -> Option<Candidate> {
    let mut patch = PortPatch::default();
    let mut flags = Vec::new();
    if port.block {
        patch.block = Some(false);
        flags.push("--block no");
    }
    if port.link == LinkSetting::Down {
        patch.link = Some(LinkSetting::Up);
        flags.push("--link up");
    }
    (!flags.is_empty()).then(|| set_port(port, patch, &flags.join(" ")))
}

/// Raises the MTU of the switch.
fn resized(state: &State, switch: &VswitchSpec, payload: usize) -> Option<Candidate> {
    let mtu = Mtu::try_from(payload as u64).ok()?;
    let patch = VswitchPatch {
        mtu: Some(mtu),
        ..VswitchPatch::default()
    };
    Some(Candidate {
        change: Change::SetVswitch(switch.name.clone(), patch),
        command: format!("weft vswitch set {} --mtu {mtu}", quoted(&switch.name)),
        touches: state.ports_on(&switch.name).count(),
    })
}

/// Lets the guest tag: in another port group of the switch, or in its own.
fn trunked(state: &State, port: &PortSpec, group: &PortgroupSpec) -> Vec<Candidate> {
    let all = PortgroupVlan::GUEST_TAGGING;
    let others = state.intent.portgroups_of(&group.vswitch);
    let other = others.filter(|other| other.vlan == all).take(1);
    let mut candidates: Vec<_> = other.map(|other| moved(port, &other.name)).collect();
    candidates.push(in_vlan(state, group, all));
    candidates
}

/// Accepts forged transmits on the port group.
fn forging(state: &State, group: &PortgroupSpec) -> Candidate {
    let patch = PortgroupPatch {
        security: SecurityPatch {
            forged_transmits: Some(Inheritable::Accept),
            ..SecurityPatch::default()
        },
        ..PortgroupPatch::default()
    };
    set_portgroup(state, group, patch, "--forged-transmits accept")
}

/// Has ports learn more addresses, or forwards what comes from others.
fn learning(state: &State, group: &PortgroupSpec) -> Vec<Candidate> {
    let set = |learning: LearningPatch, flags: &str| {
        let patch = PortgroupPatch {
            mac_learning: learning,
            ..PortgroupPatch::default()
        };
        set_portgroup(state, group, patch, flags)
    };
    let limit = LearningLimit::default();
    let more = LearningPatch {
        limit: Some(Setting::Own(limit)),
        ..LearningPatch::default()
    };
    let any = LearningPatch {
        beyond: Some(Setting::Own(BeyondLimit::Allow)),
        ..LearningPatch::default()
    };
    vec![
        set(more, &format!("--learning-limit {limit}")),
        set(any, "--learning-beyond allow"),
    ]
}

/// Gives the port group the uplinks of its switch, or all of them.
fn teamed(state: &State, group: &PortgroupSpec) -> Vec<Candidate> {
    let set = |active, standby, flags: &str| {
        let patch = PortgroupPatch {
            teaming: TeamingPatch {
                active: Some(active),
                standby,
                ..TeamingPatch::default()
            },
            ..PortgroupPatch::default()
        };
        set_portgroup(state, group, patch, flags)
    };
    let all = set(Setting::Own(ActiveUplinks::All), None, "--active all");
    let own = (group.teaming.active.own(), group.teaming.standby.own());
    let inherited = match own {
        (None, None) => None,
        (Some(_), None) => Some(set(Setting::Inherit, None, "--active inherit")),
        (_, Some(_)) => Some(set(
            Setting::Inherit,
            Some(Setting::Inherit),
            "--active inherit --standby inherit",
        )),
    };
    inherited.into_iter().chain([all]).collect()
}

fn moved(port: &PortSpec, group: &PortgroupName) -> Candidate {
    let patch = PortPatch {
        portgroup: Some(group.clone()),
        ..PortPatch::default()
    };
    set_port(port, patch, &format!("--portgroup {}", quoted(group)))
}

fn in_vlan(state: &State, group: &PortgroupSpec, vlan: PortgroupVlan) -> Candidate {
    let patch = PortgroupPatch {
        vlan: Some(vlan),
        ..PortgroupPatch::default()
    };
    set_portgroup(state, group, patch, &format!("--vlan {vlan}"))
}

fn set_port(port: &PortSpec, patch: PortPatch, flags: &str) -> Candidate {
    Candidate {
        change: Change::SetPort(port.name.clone(), patch),
        command: format!("weft port set {} {flags}", quoted(&port.name)),
        touches: 1,
    }
}

fn set_portgroup(
    state: &State,
    group: &PortgroupSpec,
    patch: PortgroupPatch,
    flags: &str,
) -> Candidate {
    Candidate {
        change: Change::SetPortgroup(group.name.clone(), patch),
        command: format!("weft portgroup set {} {flags}", quoted(&group.name)),
        touches: state.intent.ports_of(&group.name).count(),
    }
}

impl State {
    /// The ports of a switch.
    pub(super) fn ports_on<'a>(
        &'a self,
        switch: &'a VswitchName,
    ) -> impl Iterator<Item = &'a PortSpec> {
        let groups = self.intent.portgroups_of(switch);
        groups.flat_map(|group| self.intent.ports_of(&group.name))
    }
}
