//! Requests to stop.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::LabError;

/// Waits for Ctrl-C, a request to end, or the terminal's end. From the first call on these signals no longer end the
/// process, so that taking a lab apart is not itself cut short.
pub(crate) async fn interrupted() -> LabError {
    let listen = |kind| signal(kind).ok();
    let (mut interrupt, mut terminate, mut hang_up) = (
        listen(SignalKind::interrupt()),
        listen(SignalKind::terminate()),
        listen(SignalKind::hangup()),
    );
    let name = tokio::select! {
        () = next(&mut interrupt) => "SIGINT",
        () = next(&mut terminate) => "SIGTERM",
        () = next(&mut hang_up) => "SIGHUP",
    };
    LabError::failed("interrupted", format!("stopped by {name}"))
}

async fn next(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}
