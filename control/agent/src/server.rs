//! The agent's API on its Unix socket.

mod caller;
mod extract;
mod listener;
mod metrics;
mod operation;
mod routes;
mod stream;
mod table;

use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::extract::connect_info::IntoMakeServiceWithConnectInfo;
use nix::unistd::{Gid, Group};
use tokio::net::UnixListener;

use crate::descriptors::Reserve;
use crate::error::AgentError;
use crate::host::Host;
use crate::options::DEFAULT_GROUP;
use crate::patience::once_its_holder_died;
use caller::Peer;
use listener::Listener;
pub(crate) use metrics::Exporter;

/// The API as a service for each connection, which knows who connected.
pub(crate) fn service(host: Arc<Host>) -> IntoMakeServiceWithConnectInfo<Router, Peer> {
    routes::router(host).into_make_service_with_connect_info()
}

/// The group whose members may use the socket: the one of this name, or the default one where the host has it.
///
/// # Errors
/// There is no group of this name.
pub(crate) fn operators(name: Option<&str>) -> Result<Option<Gid>, AgentError> {
    let group = Group::from_name(name.unwrap_or(DEFAULT_GROUP))
        .ok()
        .flatten();
    match (name, group) {
        (Some(name), None) => Err(AgentError::NoGroup {
            group: name.to_owned(),
        }),
        (_, group) => Ok(group.map(|group| group.gid)),
    }
}

/// A bound socket, removed when it is dropped.
pub(crate) struct Socket {
    listener: Option<Listener>,
    path: PathBuf,
}

impl Socket {
    /// Binds the socket, for root and a group only: this one, or the agent's own. What a dead agent left behind is removed.
    ///
    /// # Errors
    /// Another agent serves it, or the system refuses it.
    pub(crate) fn bind(path: &Path, group: Option<Gid>) -> Result<Self, AgentError> {
        let failed = |source| AgentError::Socket {
            path: path.into(),
            source,
        };
        if let Some(directory) = path
            .parent()
            .filter(|directory| !directory.as_os_str().is_empty())
        {
            std::fs::create_dir_all(directory).map_err(failed)?;
        }
        remove_stale(path)?;
        let listener = UnixListener::bind(path).map_err(failed)?;
        let socket = Self {
            listener: Some(Listener::new(listener, Reserve::new())),
            path: path.into(),
        };
        if let Some(group) = group {
            chown(path, None, Some(group.as_raw())).map_err(failed)?;
        }
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660)).map_err(failed)?;
        Ok(socket)
    }

    /// The listener, once.
    pub(crate) fn listener(&mut self) -> Option<Listener> {
        self.listener.take()
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn remove_stale(path: &Path) -> Result<(), AgentError> {
    let failed = |source| AgentError::Socket {
        path: path.into(),
        source,
    };
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(failed(std::io::Error::new(
                ErrorKind::AlreadyExists,
                "a file that is no socket is in the way",
            )));
        }
        Ok(_) => {}
    }
    let probe = || std::os::unix::net::UnixStream::connect(path).err();
    let error =
        once_its_holder_died(probe).ok_or_else(|| AgentError::SocketInUse { path: path.into() })?;
    match error.kind() {
        ErrorKind::ConnectionRefused => std::fs::remove_file(path).map_err(failed),
        // It went between the two looks.
        ErrorKind::NotFound => Ok(()),
        _ => Err(failed(error)),
    }
}

#[cfg(test)]
mod tests;
