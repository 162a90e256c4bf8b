//! Events as an answer: a list, or a stream that goes on.
//!
//! The stream is newline-delimited JSON: any tool reads it line by line, and each line is an object as in the list. Browsers, for
//! which server-sent events are made, do not reach a Unix socket.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::sync::watch;
use weft_api::Event;

use super::operation::{Answer, Description};
use crate::events::Events;

/// The media type of a stream.
const LINES: &str = "application/x-ndjson";

/// Events that are written at a time.
const BATCH: usize = 64;

/// What `/v1/events` answers.
pub(super) enum EventsAnswer {
    /// What happened.
    List(Vec<Event>),
    /// What happens after the event of this number.
    Stream(Arc<Events>, u64),
}

impl IntoResponse for EventsAnswer {
    fn into_response(self) -> Response {
        match self {
            Self::List(events) => Json(events).into_response(),
            Self::Stream(events, after) => {
                let reader = Reader {
                    newest: events.watch(),
                    events,
                    after,
                };
                let lines = stream::unfold(reader, async |mut reader: Reader| {
                    let lines = reader.next().await?;
                    Some((Ok::<_, Infallible>(lines), reader))
                });
                ([(CONTENT_TYPE, LINES)], Body::from_stream(lines)).into_response()
            }
        }
    }
}

impl Answer for EventsAnswer {
    fn describe(description: &mut Description<'_>) {
        let list = description.answers.subschema_for::<Vec<Event>>();
        let line = description.answers.subschema_for::<Event>();
        description
            .answer
            .push(("application/json", list.to_value()));
        description.answer.push((LINES, line.to_value()));
    }
}

/// Somebody who watches. It is asked for more when what it had is written.
struct Reader {
    events: Arc<Events>,
    newest: watch::Receiver<(u64, bool)>,
    /// The last event that it has had.
    after: u64,
}

impl Reader {
    /// The next events as lines; `None` when there will be no more.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            let (_, ended) = *self.newest.borrow_and_update();
            let events = self.events.after(self.after, BATCH);
            if let Some(last) = events.last() {
                self.after = last.sequence;
                return Some(lines(&events));
            }
            if ended {
                return None;
            }
            self.newest.changed().await.ok()?;
        }
    }
}

fn lines(events: &[Event]) -> Bytes {
    let mut text = String::new();
    for event in events {
        text += &serde_json::to_string(event)
            .expect("events have text keys and no fallible serializer");
        text.push('\n');
    }
    text.into()
}

#[cfg(test)]
mod tests;
