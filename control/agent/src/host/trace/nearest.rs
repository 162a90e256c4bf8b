//! The nearest change that would let a frame pass, found by trying.
//!
//! What stands in the way names the few changes that may help, those that touch the fewest ports first. Each is made on a
//! copy of the configuration, and the frame is traced again there by the same code. Where one leads on to another obstacle,
//! the search goes on from there. Nothing is proposed that was not tried.

use std::sync::Arc;

use weft_api::TraceNext;
use weft_datapath::{DropReason, Step};
use weft_model::{Change, LinkSetting, Mtu, PortKey, VswitchSpec};

use super::candidates::Candidate;
use super::{Answer, Question, object, reached, verdict};
use crate::host::Host;
use crate::state::{Engine, Obstacle, State, quoted};

/// Changes that are proposed together at most.
const MOST: usize = 3;

/// Where the search for a way ended.
struct Way {
    /// What is to be changed, in order.
    changes: Vec<Candidate>,
    /// What becomes of the frame then.
    answer: Answer,
    state: State,
}

/// What stands in the way where no change of the configuration helps, or where to look.
struct Lead {
    reason: String,
    next: String,
}

impl From<Obstacle> for Lead {
    fn from(obstacle: Obstacle) -> Self {
        Self {
            reason: obstacle.reason,
            next: obstacle.next,
        }
    }
}

impl Host {
    /// What to do about a frame that is dropped.
    pub(super) fn next(
        &self,
        state: &State,
        question: &Question,
        answer: &Answer,
    ) -> Option<TraceNext> {
        let way = self.way(state, question);
        let (state, answer, changes) = match &way {
            Some(way) => (&way.state, &way.answer, way.changes.as_slice()),
            None => (state, answer, &[][..]),
        };
        let mut commands: Vec<_> = changes.iter().map(|made| made.command.clone()).collect();
        let ports = changes.iter().map(|made| made.touches).sum();
        let delivers = answer.is_delivered();
        let effect = match self.in_the_way(state, question, answer) {
            _ if delivers => reached(answer),
            Some(Lead { reason, next }) => {
                commands.push(next);
                reason
            }
            None if commands.is_empty() => return None,
            None => verdict(answer),
        };
        Some(TraceNext {
            commands,
            delivers,
            effect,
            ports,
        })
    }

    /// The changes that lead furthest; `None` where none leads on.
    fn way(&self, state: &State, question: &Question) -> Option<Way> {
        let start = Way {
            changes: Vec::new(),
            answer: self.answer_in(state, question)?,
            state: state.clone(),
        };
        let mut way = start;
        while way.changes.len() < MOST && !way.answer.is_delivered() {
            let Some((candidate, state, answer)) = self.further(&way, question) else {
                break;
            };
            way.changes.push(candidate);
            (way.state, way.answer) = (state, answer);
        }
        (!way.changes.is_empty()).then_some(way)
    }

    /// The first change with which the frame is delivered, else the first with which it gets further.
    fn further(&self, way: &Way, question: &Question) -> Option<(Candidate, State, Answer)> {
        let Way { answer, state, .. } = way;
        let before = progress(state, question, answer);
        let mut further = None;
        for candidate in self.candidates(state, question, answer) {
            let Some(next) = tried(state, &candidate.change) else {
                continue;
            };
            let Some(after) = self.answer_in(&next, question) else {
                continue;
            };
            if after.is_delivered() {
                return Some((candidate, next, after));
            }
            if further.is_none() && progress(&next, question, &after) > before {
                further = Some((candidate, next, after));
            }
        }
        further
    }

    /// What is not a matter of configuration, or where to look.
    fn in_the_way(&self, state: &State, question: &Question, answer: &Answer) -> Option<Lead> {
        let look = |reason: &str, next: String| {
            let reason = reason.to_owned();
            Some(Lead { reason, next })
        };
        let switch = state.switch_of(&question.from)?;
        let of_delivery = || {
            let mut refusals = answer
                .deliveries
                .iter()
                .filter_map(|one| one.refusal.as_ref());
            refusals.find_map(|refusal| Some(refusal.obstacle.clone()?.into()))
        };
        match answer.trace.dropped {
            None => of_delivery(),
            Some(DropReason::PortDown | DropReason::PortBlocked) => {
                self.obstacle_at(state, &question.from).map(Into::into)
            }
            Some(DropReason::TooLong) => small_interface(state, switch, question.frame.payload()),
            Some(DropReason::NoUplink) => switch.uplinks.iter().find_map(|uplink| {
                let key = PortKey::Uplink(uplink.clone());
                let obstacle = state.link_obstacle(&key)?;
                Some(Lead {
                    reason: format!("{} is down: {}", object(&key), obstacle.reason),
                    next: obstacle.next,
                })
            }),
            Some(DropReason::UnknownUnicast) => look(
                "it lists the addresses that the switch knows; a port without a configured one is known once it has sent",
                format!("weft fdb list --vswitch {}", quoted(&switch.name)),
            ),
            Some(DropReason::NoReceiver) => look(
                "it lists the port groups with their VLANs; only ports of one VLAN hear each other",
                "weft portgroup list".to_owned(),
            ),
            Some(DropReason::SamePort) => match &question.from {
                PortKey::Port(name) => look(
                    "it lists the addresses of the port, of which the destination is one",
                    format!("weft port show {}", quoted(name)),
                ),
                PortKey::Uplink(_) => None,
            },
            // The frame itself is at fault, whatever the configuration.
            Some(_) => None,
        }
    }
}

/// The state with a change, and with engines for what it attaches; `None` where it would be refused.
fn tried(state: &State, change: &Change) -> Option<State> {
    let (intent, _) = state.intent.apply(change).ok()?;
    let mut next = state.clone();
    next.intent = Arc::new(intent);
    next.number().ok()?;
    let known = state.wanted();
    for (key, wanted) in next.wanted() {
        if known.get(&key) == Some(&wanted) {
            continue;
        }
        let link = wanted
            .link()
            .and_then(|interface| next.links.get(interface));
        if link.is_some_and(|link| link.mtu < u32::from(wanted.mtu)) {
            return None;
        }
        if let Some(id) = next.id(&key).filter(|_| !known.contains_key(&key)) {
            let on = None;
            next.engines.insert(key, Engine { id, wanted, on });
        }
    }
    Some(next)
}

/// How far a frame gets: its steps, and at a port that takes no frames how much the administrator has against it.
fn progress(state: &State, question: &Question, answer: &Answer) -> (usize, usize) {
    let steps = answer.trace.steps.iter();
    let decided = steps.filter(|step| !matches!(step, Step::Copy { .. }));
    let found = usize::from(answer.trace.dropped.is_none());
    let is_pulled = |key: &PortKey| match key {
        PortKey::Port(name) => {
            let port = state.intent.ports.get(name);
            port.is_some_and(|port| port.spec.link == LinkSetting::Down)
        }
        PortKey::Uplink(_) => false,
    };
    let destinations = answer.deliveries.iter().map(|delivery| &delivery.to);
    let mut asked = destinations.chain(answer.deliveries.is_empty().then_some(&question.from));
    let rank = match answer.reason() {
        Some(DropReason::PortBlocked) => 0,
        Some(DropReason::PortDown) if asked.any(is_pulled) => 1,
        _ => 2,
    };
    (decided.count() + found, rank)
}

/// The first interface of a switch whose own MTU stands in the way of a payload.
fn small_interface(state: &State, switch: &VswitchSpec, payload: usize) -> Option<Lead> {
    let mtu = Mtu::try_from(payload as u64).ok()?;
    let ports = state.ports_on(&switch.name);
    let interfaces = ports.filter_map(|port| port.attachment.interface());
    interfaces.chain(&switch.uplinks).find_map(|interface| {
        let own = state.links.get(interface)?.mtu;
        (own < u32::from(mtu.octets())).then(|| Lead {
            reason: format!(
                "the switch cannot have a larger MTU than interface {interface}, {own}"
            ),
            next: format!("ip link set dev {interface} mtu {mtu}"),
        })
    })
}
