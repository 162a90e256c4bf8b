//! `weft trace`: a dry frame through the data path, told in the names of objects and settings, with the nearest change that
//! would let it pass.
//!
//! The data path decides, by the code that decides about real frames; here numbers become names. What it cannot know is
//! whether a VM is there to take its copy, which is looked up beside it.

mod candidates;
mod frame;
mod nearest;
mod steps;

use weft_api::{Problem, ProblemKind, TraceReport, TraceRequest};
use weft_datapath::{CopyKind, DropReason, Step, Trace};
use weft_model::PortKey;
use weft_packet::MacAddr;

use super::Host;
use super::counters::{name, unknown};
use super::status::object;
use crate::state::{Obstacle, State};
use frame::DryFrame;

/// The source of a frame where the port has no address yet, and of one from an uplink: nobody's.
const ANYBODY: MacAddr = MacAddr::new([0x02, 0x77, 0x65, 0x66, 0x74, 0x00]);

/// What a trace is about.
struct Question {
    /// Who sends the frame.
    from: PortKey,
    frame: DryFrame,
}

/// What becomes of a frame.
struct Answer {
    trace: Trace,
    /// What each copy that is its delivery comes to, in the order of the steps.
    deliveries: Vec<Delivery>,
}

/// A copy that is the delivery of the frame.
struct Delivery {
    to: PortKey,
    refusal: Option<Refusal>,
}

/// Why a destination takes no copy.
struct Refusal {
    reason: DropReason,
    obstacle: Option<Obstacle>,
}

impl Answer {
    /// Whether a destination gets the frame.
    fn is_delivered(&self) -> bool {
        self.taken_by().next().is_some()
    }

    /// Who gets it.
    fn taken_by(&self) -> impl Iterator<Item = &PortKey> {
        self.deliveries
            .iter()
            .filter(|delivery| delivery.refusal.is_none())
            .map(|delivery| &delivery.to)
    }

    /// The drop reason, unless it is delivered.
    fn reason(&self) -> Option<DropReason> {
        let refused = || Some(self.deliveries.first()?.refusal.as_ref()?.reason);
        match self.is_delivered() {
            true => None,
            false => self.trace.dropped.or_else(refused),
        }
    }
}

impl Host {
    /// What would happen to a frame. Nothing changes by it.
    ///
    /// # Errors
    /// `notFound` for a port or uplink that does not exist, with the nearest name; `invalid` for a frame that cannot be.
    pub(crate) fn trace(&self, request: &TraceRequest) -> Result<TraceReport, Problem> {
        let state = self.state();
        let question = self.question(&state, request)?;
        let answer = self.answer(&state, &question)?;
        let steps = self.told(&state, &question, &answer);
        let next = if answer.is_delivered() {
            None
        } else {
            self.next(&state, &question, &answer)
        };
        Ok(TraceReport {
            port: object(&question.from),
            frame: question.frame.described(),
            delivered: answer.is_delivered(),
            reason: answer.reason().map(|reason| reason.name().to_owned()),
            verdict: verdict(&answer),
            steps,
            next,
        })
    }

    fn question(&self, state: &State, request: &TraceRequest) -> Result<Question, Problem> {
        let keys: Vec<PortKey> = state.wanted().into_keys().collect();
        // Ports go before uplinks.
        let from = keys.iter().find(|key| name(key) == request.port);
        let from = from.ok_or_else(|| unknown(&request.port, keys.iter().map(name)))?;
        let own = match from {
            PortKey::Port(port) => {
                let port = &state.intent.port(port)?.spec;
                self.addresses_of(state, port).first().map(|own| own.mac)
            }
            PortKey::Uplink(_) => None,
        };
        let src = request.src.or(own).unwrap_or(ANYBODY);
        Ok(Question {
            from: from.clone(),
            frame: DryFrame::of(request, src)?,
        })
    }

    /// Asks the configuration in force.
    fn answer(&self, state: &State, question: &Question) -> Result<Answer, Problem> {
        let id = state.id(&question.from);
        let octets = question.frame.octets();
        let trace = id.and_then(|id| self.plane.datapath().trace(id, &octets));
        let trace = trace.ok_or_else(|| {
            let message = format!("{} is not in force yet", object(&question.from));
            Problem::new(ProblemKind::Failed, message)
                .about(object(&question.from))
                .with_remedy("repeat the command; see the agent's log")
        })?;
        Ok(self.understood(state, trace))
    }

    /// Asks a state that is only tried.
    fn answer_in(&self, state: &State, question: &Question) -> Option<Answer> {
        let mut addresses = self.addresses().clone();
        addresses.settle(&state.intent);
        let config = state.compile(&addresses);
        let id = state.id(&question.from)?;
        let octets = question.frame.octets();
        let trace = self.plane.datapath().trace_in(&config, id, &octets)?;
        Some(self.understood(state, trace))
    }

    fn understood(&self, state: &State, trace: Trace) -> Answer {
        let deliveries = trace.steps.iter().filter_map(|step| match *step {
            Step::Copy {
                to,
                kind: CopyKind::Original,
                outcome,
            } => {
                let to = state.key(to)?.clone();
                let refusal = self.refusal(state, &to, outcome.err());
                Some(Delivery { to, refusal })
            }
            _ => None,
        });
        Answer {
            deliveries: deliveries.collect(),
            trace,
        }
    }

    /// Why a destination takes no copy: what the data path says, or that no VM is there to take it.
    fn refusal(&self, state: &State, to: &PortKey, said: Option<DropReason>) -> Option<Refusal> {
        let obstacle = self.obstacle_at(state, to);
        let reason = said.or_else(|| obstacle.as_ref().map(|_| DropReason::PortDown))?;
        Some(Refusal { reason, obstacle })
    }

    /// What keeps a port or uplink from forwarding.
    fn obstacle_at(&self, state: &State, key: &PortKey) -> Option<Obstacle> {
        match key {
            PortKey::Port(name) => self.obstacle(state, &state.intent.ports.get(name)?.spec),
            PortKey::Uplink(_) => state.link_obstacle(key),
        }
    }
}

/// What becomes of the frame, in words.
fn verdict(answer: &Answer) -> String {
    let copies = |step: &&Step| {
        matches!(
            step,
            Step::Copy {
                kind: CopyKind::Promiscuous,
                outcome: Ok(_),
                ..
            }
        )
    };
    let promiscuous = match answer.trace.steps.iter().filter(copies).count() {
        0 => String::new(),
        1 => "; 1 port in promiscuous mode gets a copy".to_owned(),
        ports => format!("; {ports} ports in promiscuous mode get copies"),
    };
    let verdict = match answer.reason() {
        None => reached(answer),
        Some(reason) => {
            let place = match answer.deliveries.as_slice() {
                [] => String::new(),
                [only] => format!(" at {}", object(&only.to)),
                all => format!(" at {} destinations", all.len()),
            };
            format!("dropped{place}, {reason}: {}", reason.help())
        }
    };
    verdict + &promiscuous
}

/// Who gets a frame that is delivered.
fn reached(answer: &Answer) -> String {
    let (ports, uplinks): (Vec<_>, Vec<_>) = answer
        .taken_by()
        .partition(|key| matches!(key, PortKey::Port(_)));
    let ports = match ports.as_slice() {
        [] => None,
        [only] => Some(format!("delivered to {}", object(only))),
        ports => Some(format!("delivered to {} ports", ports.len())),
    };
    let uplinks = uplinks
        .into_iter()
        .map(|uplink| format!("leaves by {}", object(uplink)));
    let parts: Vec<_> = ports.into_iter().chain(uplinks).collect();
    parts.join(", and ")
}
