//! Guests on vhost-user sockets that come, leave and fail, told in the log.
//!
//! Nobody reports them: the agent looks about once a second, so a guest cannot have it log faster than that.

use std::collections::BTreeMap;

use weft_api::{EventDetails, EventKind};
use weft_datapath::{VhostState, VhostStatus};
use weft_model::{PortKey, PortName};

use super::Host;
use crate::events;

/// What the log last said of each port's guest.
pub(super) type Guests = BTreeMap<PortName, Guest>;

/// A guest, as far as the log tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Guest {
    /// Its driver uses the adapter, over the connection of this number.
    Up(u64),
    /// It is not there, or not so far yet.
    Away,
    /// It or its hypervisor did what cannot be.
    Failed(String),
}

/// A line for the log.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct News {
    pub(super) port: PortName,
    /// The socket.
    pub(super) on: String,
    /// Why the port is down; `None`: it is up.
    pub(super) reason: Option<String>,
}

impl Guest {
    /// What is to be told of a guest that was `before`.
    fn after(before: &Self, status: &VhostStatus) -> Self {
        match (status.state, before) {
            (VhostState::Running, _) => Self::Up(status.connections),
            (VhostState::Failed, _) => Self::Failed(status.reason.clone()),
            // A front-end that failed is tried again and again, each time from the beginning.
            (VhostState::Negotiating, Self::Failed(_)) => before.clone(),
            (VhostState::Waiting | VhostState::Negotiating, _) => Self::Away,
        }
    }
}

impl Host {
    /// Says which guests came, left or failed since the last call, once for each.
    pub(crate) fn follow_guests(&self) {
        for News { port, on, reason } in self.news_of_guests() {
            if reason.is_none()
                && let Some(id) = self.view().id(&PortKey::Port(port.clone()))
            {
                self.is_connected(id);
            }
            if !self.may_log("guest", port.as_str()) {
                continue;
            }
            let news = match &reason {
                None => {
                    tracing::info!(%on, "port {port} is up");
                    let text = format!("port {port} is up: its guest uses the adapter");
                    events::News::info(EventKind::GuestConnected, text)
                }
                Some(reason) => {
                    tracing::warn!(%on, reason, "port {port} is down");
                    let text = format!("port {port} is down: {reason}");
                    events::News::warning(EventKind::GuestGone, text)
                }
            };
            let details = EventDetails {
                on: Some(on),
                reason,
                ..EventDetails::default()
            };
            self.events.push(news.about(&port).with(details));
        }
    }

    /// What has changed since the last call.
    pub(super) fn news_of_guests(&self) -> Vec<News> {
        let state = self.view();
        let mut known = self.guests();
        let mut now = Guests::new();
        let mut news = Vec::new();
        for (key, engine) in &state.engines {
            let PortKey::Port(name) = key else { continue };
            let Some(on) = engine.wanted.attachment.socket() else {
                continue;
            };
            let Some(status) = self.plane.datapath().vhost_status(engine.id) else {
                continue;
            };
            // A port without a guest is no news before one has come.
            let before = known.remove(name).unwrap_or(Guest::Away);
            let guest = Guest::after(&before, &status);
            if guest != before {
                news.push(News {
                    port: name.clone(),
                    on: on.to_string(),
                    reason: (!matches!(guest, Guest::Up(_))).then_some(status.reason),
                });
            }
            now.insert(name.clone(), guest);
        }
        *known = now;
        news
    }
}
