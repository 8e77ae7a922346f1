//! One agent a network namespace.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

use super::AgentError;

/// The abstract name of the lock; abstract names belong to a network namespace (unix(7)), and the kernel takes one back
/// the moment its process ends, however it ends.
const NAME: &str = "vipkeeper-agent";

/// Held as long as an agent runs in this network namespace.
#[derive(Debug)]
pub struct Lock {
    _listener: UnixListener,
}

impl Lock {
    /// Takes the lock.
    ///
    /// # Errors
    /// [`AgentError::Locked`] while another process has it.
    pub fn take() -> Result<Self, AgentError> {
        let address = SocketAddr::from_abstract_name(NAME).map_err(AgentError::Lock)?;
        match UnixListener::bind_addr(&address) {
            Ok(listener) => Ok(Self { _listener: listener }),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(AgentError::Locked),
            Err(error) => Err(AgentError::Lock(error)),
        }
    }
}
