//! What can go wrong between vswitch and the kernel, said so that the reader knows what to do about it.
//!
//! Messages carry the kernel's reason in full, in one line; the `cause` is kept for code that must tell
//! one errno from another and is deliberately not `source()`, so that a chain printer does not repeat it.

use std::io;
use std::path::PathBuf;

/// The result of everything in this crate that talks to the kernel.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failed system call: what failed, on what, why, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The host does not let this user make a working user namespace.
    #[error("cannot make a user namespace, which running without root needs: {setting}; {remedy}: {cause}")]
    NoUserNamespaces {
        /// The setting that forbids it, with its value.
        setting: &'static str,
        /// The command or change that allows it.
        remedy: &'static str,
        /// The kernel's reason.
        cause: io::Error,
    },

    /// `/dev/net/tun` is missing or may not be opened.
    #[error("cannot open /dev/net/tun: {cause}; {remedy}")]
    TunForbidden {
        /// The command that makes it available.
        remedy: &'static str,
        /// The kernel's reason.
        cause: io::Error,
    },

    /// A namespace named by the user does not exist (any more).
    #[error("no network namespace {name}: {remedy}")]
    NoSuchNamespace {
        /// The name, path or process as the user gave it.
        name: String,
        /// How to make one or find its right name.
        remedy: &'static str,
    },

    /// The path opens, but it is something else than a network namespace.
    #[error("{} is not a network namespace but {found}; give a path such as /run/netns/NAME or /proc/PID/ns/net", path.display())]
    NotANetworkNamespace {
        /// What was opened.
        path: PathBuf,
        /// What it is.
        found: &'static str,
    },

    /// An operation on a namespace failed.
    #[error("cannot {operation} {name}: {cause}{}", permission_advice(cause))]
    Namespace {
        /// What was attempted, as a verb: "enter", "create a network namespace for".
        operation: &'static str,
        /// The namespace, path or process it was attempted on.
        name: String,
        /// The kernel's reason.
        cause: io::Error,
    },

    /// The kernel refused a netlink request.
    #[error("cannot {operation} {object}: {cause}{}", explanation.as_ref().map(|text| format!(" ({text})")).unwrap_or_default())]
    Netlink {
        /// What was attempted, as a verb: "set the MTU of".
        operation: &'static str,
        /// The interface, address or route it was attempted on.
        object: String,
        /// The kernel's reason.
        cause: io::Error,
        /// The kernel's extended acknowledgement, where it gave one.
        explanation: Option<String>,
    },

    /// A tap could not be made or set up.
    #[error("cannot {operation} the tap {name}: {cause}; {}", tap_remedy(cause))]
    Tap {
        /// What was attempted, as a verb.
        operation: &'static str,
        /// The interface.
        name: String,
        /// The kernel's reason.
        cause: io::Error,
    },

    /// An interface of the host could not be taken or used.
    #[error("cannot {operation} the interface {name}: {cause}; {remedy}")]
    Interface {
        /// What was attempted, as a verb.
        operation: &'static str,
        /// The interface.
        name: String,
        /// The kernel's reason.
        cause: io::Error,
        /// What makes it possible.
        remedy: &'static str,
    },

    /// A thread or process could not be started.
    #[error(
        "cannot start {what}: {cause}; raise the limit on processes (ulimit -u, or the cgroup's pids.max)"
    )]
    Spawn {
        /// The thread or process.
        what: String,
        /// The kernel's reason.
        cause: io::Error,
    },

    /// A command to be executed does not exist.
    #[error(
        "cannot run {command}: no such program in the container's PATH; check the spelling or give its full path"
    )]
    CommandNotFound {
        /// The program as given.
        command: String,
    },

    /// A command exists but cannot be executed.
    #[error("cannot run {command}: {cause}; check that it is an executable file (chmod +x)")]
    CommandNotExecutable {
        /// The program as given.
        command: String,
        /// The kernel's reason.
        cause: io::Error,
    },

    /// An operation on a process failed.
    #[error("cannot {operation} process {pid}: {cause}")]
    Process {
        /// What was attempted, as a verb.
        operation: &'static str,
        /// The process.
        pid: u32,
        /// The kernel's reason.
        cause: io::Error,
    },

    /// Reading or writing something in the file system failed.
    #[error("cannot {operation} {}: {cause}", path.display())]
    File {
        /// What was attempted, as a verb.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// The kernel's reason.
        cause: io::Error,
    },
}

/// What may help when a tap cannot be made.
fn tap_remedy(cause: &io::Error) -> &'static str {
    if cause.kind() == io::ErrorKind::PermissionDenied {
        "a tap in the host's own namespace needs root; an ordinary user can run the switch in another one: `unshare --map-root-user --net`"
    } else {
        "an interface name has 1 to 15 bytes and must be free in its namespace"
    }
}

impl Error {
    /// The kernel's reason, where there was one.
    #[must_use]
    pub fn cause(&self) -> Option<&io::Error> {
        match self {
            Self::NoUserNamespaces { cause, .. }
            | Self::TunForbidden { cause, .. }
            | Self::Namespace { cause, .. }
            | Self::Netlink { cause, .. }
            | Self::Tap { cause, .. }
            | Self::Interface { cause, .. }
            | Self::Spawn { cause, .. }
            | Self::CommandNotExecutable { cause, .. }
            | Self::Process { cause, .. }
            | Self::File { cause, .. } => Some(cause),
            Self::NoSuchNamespace { .. }
            | Self::NotANetworkNamespace { .. }
            | Self::CommandNotFound { .. } => None,
        }
    }

    /// The exit status a program that failed to execute a command ends with, as shells have it:
    /// 127 for a command that does not exist, 126 for one that cannot be executed, else 1.
    #[must_use]
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::CommandNotFound { .. } => 127,
            Self::CommandNotExecutable { .. } => 126,
            _ => 1,
        }
    }
}

/// What to add for the one errno whose text alone leaves the user at a loss.
fn permission_advice(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::PermissionDenied => {
            "; a namespace can be used only by root or by the user (namespace) that made it: run vswitch as that user or as root"
        }
        _ => "",
    }
}
