//! Where a switch's control socket is, and who may have it.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// Why the control socket cannot be offered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SocketError {
    #[error("a switch is running already and listens on {}; stop it, or give this one another `name` under [switch]", .0.display())]
    Running(PathBuf),
    #[error("{} is not private to this user; remove it, or choose another place with --socket", .0.display())]
    NotPrivate(PathBuf),
    #[error("cannot offer the control socket {}: {cause}; choose another place with --socket", path.display())]
    Offer { path: PathBuf, cause: io::Error },
}

/// The socket of the switch `name`: as root in `/run/vswitch`, else in the user's runtime directory, else in a
/// private directory under the temporary directory. `root` is who the user was before any user namespace.
pub(crate) fn default_path(name: &str, root: bool, uid: u32) -> PathBuf {
    let directory = if root {
        PathBuf::from("/run/vswitch")
    } else if let Some(runtime) = std::env::var_os("XDG_RUNTIME_DIR").filter(|value| !value.is_empty()) {
        PathBuf::from(runtime).join("vswitch")
    } else {
        std::env::temp_dir().join(format!("vswitch-{uid}"))
    };
    directory.join(format!("{name}.sock"))
}

/// A listening control socket; its file goes away with it.
#[derive(Debug)]
pub(crate) struct ControlSocket {
    path: PathBuf,
}

impl ControlSocket {
    /// Listens on `path`, which only this user can connect to. A socket left by a switch that died is replaced.
    pub(crate) fn listen(path: &Path) -> Result<(Self, UnixListener), SocketError> {
        let failed = |cause| SocketError::Offer { path: path.to_owned(), cause };
        if let Some(directory) = path.parent() {
            make_private(directory)?;
        }
        let listener = match UnixListener::bind(path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                if UnixStream::connect(path).is_ok() {
                    return Err(SocketError::Running(path.to_owned()));
                }
                fs::remove_file(path).map_err(failed)?;
                UnixListener::bind(path).map_err(failed)?
            }
            bound => bound.map_err(failed)?,
        };
        let socket = Self { path: path.to_owned() };
        fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        Ok((socket, listener))
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        // Nothing can be done about one that is gone already.
        let _ = fs::remove_file(&self.path);
    }
}

/// Makes the directory if it is missing. One that others could have made for us, in the temporary directory,
/// must be ours alone.
fn make_private(directory: &Path) -> Result<(), SocketError> {
    let failed = |cause| SocketError::Offer { path: directory.to_owned(), cause };
    match DirBuilder::new().mode(0o700).recursive(true).create(directory) {
        Ok(()) => {}
        Err(cause) => return Err(failed(cause)),
    }
    let metadata = fs::symlink_metadata(directory).map_err(failed)?;
    let in_shared_place = directory.parent() == Some(&std::env::temp_dir());
    let ours = fs::metadata("/proc/self").map_err(failed)?.uid() == metadata.uid();
    if in_shared_place && (!metadata.is_dir() || !ours || metadata.mode() & 0o077 != 0) {
        return Err(SocketError::NotPrivate(directory.to_owned()));
    }
    Ok(())
}
