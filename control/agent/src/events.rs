//! What happened on the host, for whoever asks or watches.
//!
//! The newest are kept in memory. A reader has a place of its own in them and nothing else, so that one which is slow costs the
//! agent nothing: what is not kept any more when it comes back is counted for it.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tokio::sync::watch;
use weft_api::{Event, EventDetails, EventKind, Severity};
use weft_model::ObjectRef;

/// Events that are kept.
pub(crate) const KEPT: usize = 4096;

/// Objects that an event names; a manifest may change thousands at once.
const MOST_OBJECTS: usize = 16;

/// Characters of each of its texts.
const LONGEST_TEXT: usize = 400;

/// The events of one agent.
#[derive(Debug)]
pub(crate) struct Events {
    ring: Mutex<Ring>,
    /// The number of the newest event, and whether it is the last.
    newest: watch::Sender<(u64, bool)>,
}

#[derive(Debug, Default)]
struct Ring {
    kept: VecDeque<Event>,
    newest: u64,
}

/// An event to be told.
#[derive(Clone, Debug)]
pub(crate) struct News {
    pub(crate) kind: EventKind,
    pub(crate) severity: Severity,
    pub(crate) object: Option<ObjectRef>,
    pub(crate) text: String,
    pub(crate) details: EventDetails,
}

impl News {
    /// That all is well with something.
    pub(crate) fn info(kind: EventKind, text: impl Into<String>) -> Self {
        Self {
            kind,
            severity: Severity::Info,
            object: None,
            text: text.into(),
            details: EventDetails::default(),
        }
    }

    /// That something does not work as it should.
    pub(crate) fn warning(kind: EventKind, text: impl Into<String>) -> Self {
        let severity = Severity::Warning;
        Self {
            severity,
            ..Self::info(kind, text)
        }
    }

    /// That the agent cannot do its work.
    pub(crate) fn error(kind: EventKind, text: impl Into<String>) -> Self {
        let severity = Severity::Error;
        Self {
            severity,
            ..Self::info(kind, text)
        }
    }

    /// The same, about this object.
    pub(crate) fn about(self, object: impl Into<ObjectRef>) -> Self {
        let object = Some(object.into());
        Self { object, ..self }
    }

    /// The same, with what else is known.
    pub(crate) fn with(self, details: EventDetails) -> Self {
        Self { details, ..self }
    }
}

impl Default for Events {
    fn default() -> Self {
        Self {
            ring: Mutex::default(),
            newest: watch::channel((0, false)).0,
        }
    }
}

impl Events {
    /// Tells of something that happened just now.
    pub(crate) fn push(&self, news: News) {
        let News {
            kind,
            severity,
            object,
            text,
            mut details,
        } = news;
        details.objects.truncate(MOST_OBJECTS);
        details.reason = details.reason.map(shortened);
        let mut ring = self.ring();
        ring.newest += 1;
        let event = Event {
            sequence: ring.newest,
            time: now(),
            severity,
            kind,
            object,
            text: shortened(text),
            details,
        };
        if ring.kept.len() == KEPT {
            ring.kept.pop_front();
        }
        ring.kept.push_back(event);
        let newest = ring.newest;
        self.newest.send_modify(|(number, _)| *number = newest);
    }

    /// Says that there will be no more, so that whoever watches does not keep the agent from ending.
    pub(crate) fn end(&self) {
        self.newest.send_modify(|(_, ended)| *ended = true);
    }

    /// Up to `most` events after the one of this number, oldest first. Those of them that are not kept any more are told of as
    /// one event. A number that no event has yet is of an agent before this one, and none is left out.
    pub(crate) fn after(&self, number: u64, most: usize) -> Vec<Event> {
        let ring = self.ring();
        let number = if number > ring.newest { 0 } else { number };
        let oldest = ring.newest + 1 - ring.kept.len() as u64;
        let missed = oldest.saturating_sub(number + 1);
        let known = (number + 1).saturating_sub(oldest);
        let known = usize::try_from(known).unwrap_or(usize::MAX);
        let news = ring.kept.iter().skip(known).take(most).cloned();
        let missed = (missed > 0).then(|| missing(missed, oldest - 1));
        missed.into_iter().chain(news).collect()
    }

    /// The number of the newest event; 0 before the first.
    pub(crate) fn newest(&self) -> u64 {
        self.ring().newest
    }

    /// Something that changes with each event.
    pub(crate) fn watch(&self) -> watch::Receiver<(u64, bool)> {
        self.newest.subscribe()
    }

    /// How many watch.
    #[cfg(test)]
    pub(crate) fn readers(&self) -> usize {
        self.newest.receiver_count()
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What stands for events that are not kept any more, with the number of the last of them.
fn missing(count: u64, last: u64) -> Event {
    let text = match count {
        1 => "1 event is not kept any more".to_owned(),
        _ => format!("{count} events are not kept any more"),
    };
    let details = EventDetails {
        count: Some(count),
        ..EventDetails::default()
    };
    Event {
        sequence: last,
        time: now(),
        severity: Severity::Warning,
        kind: EventKind::EventsMissed,
        object: None,
        text,
        details,
    }
}

fn now() -> String {
    humantime::format_rfc3339_millis(SystemTime::now()).to_string()
}

/// One line of bounded length.
fn shortened(text: String) -> String {
    let text = text.replace(char::is_control, " ");
    match text.char_indices().nth(LONGEST_TEXT) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(count: usize) -> Events {
        let events = Events::default();
        for number in 1..=count {
            events.push(News::info(EventKind::PortUp, format!("port {number}")));
        }
        events
    }

    fn numbers(events: &[Event]) -> Vec<u64> {
        events.iter().map(|event| event.sequence).collect()
    }

    #[test]
    fn events_come_in_their_order_after_the_one_that_is_known() {
        let events = with(5);
        assert_eq!(numbers(&events.after(0, 10)), [1, 2, 3, 4, 5]);
        assert_eq!(numbers(&events.after(2, 2)), [3, 4]);
        assert_eq!(numbers(&events.after(5, 10)), [0; 0]);
        assert_eq!(events.after(4, 10)[0].text, "port 5");
        assert_eq!(numbers(&with(0).after(0, 10)), [0; 0]);
    }

    #[test]
    fn a_number_of_an_earlier_agent_leaves_nothing_out() {
        assert_eq!(numbers(&with(3).after(700, 10)), [1, 2, 3]);
        assert_eq!(numbers(&with(3).after(u64::MAX, 10)), [1, 2, 3]);
    }

    #[test]
    fn the_oldest_go_and_are_counted() {
        let events = with(KEPT + 10);
        let read = events.after(3, 2);
        assert_eq!(numbers(&read), [10, 11, 12]);
        assert_eq!(
            (read[0].kind, read[0].details.count),
            (EventKind::EventsMissed, Some(7))
        );
        assert_eq!(numbers(&events.after(10, 1)), [11], "none is missed");
        assert_eq!(events.after(0, usize::MAX).len(), KEPT + 1);
    }

    #[test]
    fn an_event_is_one_line_of_bounded_length() {
        let events = Events::default();
        let objects = vec![ObjectRef::new(weft_model::ObjectKind::Port, "A"); 4000];
        let details = EventDetails {
            objects,
            reason: Some("é".repeat(100_000)),
            ..EventDetails::default()
        };
        events.push(News::error(EventKind::StateDamaged, "a\nb".repeat(100_000)).with(details));
        let event = events.after(0, 1).remove(0);
        let json = serde_json::to_string(&event).unwrap();
        assert!(
            json.len() < 4000 && !event.text.contains('\n'),
            "{}",
            json.len()
        );
    }
}
