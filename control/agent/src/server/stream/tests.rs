//! Readers of events: slow ones, many, and those that go.

use std::ops::ControlFlow;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use weft_api::EventKind;

use super::super::tests::{Served, serve};
use super::*;
use crate::events::{KEPT, News};

fn tell(served: &Served, count: usize) {
    for number in 0..count {
        let text = format!("port {number} is up {}", "for a long time ".repeat(20));
        served.events.push(News::info(EventKind::PortUp, text));
    }
}

/// A connection on which all events are asked for and nothing is read.
async fn slow_reader(served: &Served) -> UnixStream {
    let mut stream = UnixStream::connect(served.client.socket()).await.unwrap();
    let request = b"GET /v1/events?watch=true&since=0 HTTP/1.1\r\nhost: weft\r\n\r\n";
    stream.write_all(request).await.unwrap();
    stream
}

async fn readers_are(served: &Served, count: usize) {
    let all = async {
        while served.events.readers() != count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let all = tokio::time::timeout(Duration::from_secs(10), all).await;
    all.unwrap_or_else(|_| panic!("{} readers, not {count}", served.events.readers()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_holds_nobody_and_is_told_what_it_missed() {
    let served = serve();
    let mut stream = slow_reader(&served).await;
    readers_are(&served, 1).await;
    tell(&served, 3 * KEPT);
    assert_eq!(served.client.events(None).await.unwrap().len(), KEPT);
    let last = served.events.newest();
    served.events.end();
    let mut answer = Vec::new();
    let (mut next, mut missed) = (1, 0);
    let mut buffer = vec![0; 1 << 16];
    while next <= last {
        let count = stream.read(&mut buffer).await.unwrap();
        assert_ne!(count, 0, "the stream ends before event {next} of {last}");
        answer.extend_from_slice(&buffer[..count]);
        while let Some(end) = answer.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = answer.drain(..=end).collect();
            // Between lines there are the head and the sizes of chunks.
            let Ok(event) = serde_json::from_slice::<Event>(&line) else {
                continue;
            };
            if event.kind == EventKind::EventsMissed {
                missed += event.details.count.unwrap();
                next += event.details.count.unwrap() - 1;
            }
            assert_eq!(event.sequence, next);
            next += 1;
        }
    }
    assert!(missed > 0, "nothing was missed");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_readers_have_every_event() {
    const READERS: usize = 50;
    const EVENTS: usize = 1000;
    let served = serve();
    let first = served.events.newest();
    let readers: Vec<_> = (0..READERS)
        .map(|_| {
            let client = served.client.clone();
            tokio::spawn(async move {
                let mut seen = Vec::new();
                let watched = client.watch_events(Some(first), |event| {
                    seen.push(event.sequence);
                    ControlFlow::Continue(())
                });
                watched.await.unwrap();
                seen
            })
        })
        .collect();
    readers_are(&served, READERS).await;
    tell(&served, EVENTS);
    served.events.end();
    for reader in readers {
        let seen = tokio::time::timeout(Duration::from_secs(20), reader).await;
        let seen = seen.expect("the stream ends with the agent").unwrap();
        assert!(
            seen.iter().copied().eq(first + 1..=first + EVENTS as u64),
            "{seen:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_goes_leaves_nothing() {
    let served = serve();
    let (idle, slow) = (slow_reader(&served).await, slow_reader(&served).await);
    readers_are(&served, 2).await;
    drop(idle);
    readers_are(&served, 1).await;
    tell(&served, KEPT);
    drop(slow);
    readers_are(&served, 0).await;
    let client = &served.client;
    tell(&served, 1);
    let since = served.events.newest() - 1;
    let watched = client.watch_events(Some(since), |_| ControlFlow::Break(()));
    watched.await.unwrap();
    readers_are(&served, 0).await;
}
