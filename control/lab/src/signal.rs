//! Requests to stop.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::LabError;

/// The signals that ask a command to stop: Ctrl-C, a request to end, and the terminal's end. From its making on they no
/// longer end the process, so that a lab is not left half made, and taking it apart is not itself cut short.
pub(crate) struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Interrupts {
    pub(crate) fn catch() -> Result<Self, LabError> {
        let catch = |kind| signal(kind).map_err(|error| LabError::io("signals", &error));
        Ok(Self {
            interrupt: catch(SignalKind::interrupt())?,
            terminate: catch(SignalKind::terminate())?,
            hang_up: catch(SignalKind::hangup())?,
        })
    }

    /// Waits for the first of them.
    pub(crate) async fn next(&mut self) -> LabError {
        let name = tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.hang_up.recv() => "SIGHUP",
        };
        LabError::failed(
            "interrupted",
            format!("stopped by {name}; the lab is removed"),
        )
    }
}
