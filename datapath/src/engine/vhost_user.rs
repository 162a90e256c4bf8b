//! The vhost-user engine: a guest's network adapter as receive and transmit sides of a port.

use std::path::Path;
use std::sync::Arc;

use super::{AttachError, EngineInfo, Opened, RxEngine, SocketRole, TxEngine};
use crate::port::transmit;
use crate::vhost::{Faults, PAIRS, Rx, Service, Tx};

/// Starts to serve a socket. The guest comes when it comes.
pub(crate) fn open(socket: &Path, role: SocketRole) -> Result<Opened, AttachError> {
    let failed = |source| AttachError::Socket {
        socket: socket.to_owned(),
        source,
    };
    let faults = Arc::new(Faults::default());
    let (mut rx, mut controls) = (Vec::new(), Vec::new());
    for pair in 0..PAIRS {
        let (engine, control) = Rx::new(pair, Arc::clone(&faults)).map_err(failed)?;
        rx.push(RxEngine::VhostUser(Box::new(engine)));
        controls.push(control);
    }
    let tx = transmit(TxEngine::VhostUser(Box::new(Tx::new(
        PAIRS,
        Arc::clone(&faults),
    ))));
    let service =
        Service::start(socket, role, controls, Arc::clone(&tx), faults).map_err(failed)?;
    Ok(Opened {
        rx,
        tx,
        probes: Vec::new(),
        info: EngineInfo::VhostUser,
        vhost: Some(Arc::clone(service.shared())),
        guard: Some(Box::new(service)),
    })
}
