//! Network namespaces.
//!
//! A [`NetNs`] is an open descriptor to a namespace, nothing more: the namespace lives at least as long as the
//! descriptor, needs no name in the file system and no process inside, and is gone when the last holder closes it.
//!
//! A thread's namespace is never changed and changed back: [`NetNs::within`] runs its work on a fresh thread which
//! joins the namespace and ends. No thread of ours is ever left in the wrong namespace by an error or a panic.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;

use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

use crate::error::{Error, Result};

/// Where iproute2 keeps its named namespaces; the second is where older systems have it.
const NAMED: [&str; 2] = ["/run/netns", "/var/run/netns"];
const OWN: &str = "/proc/thread-self/ns/net";

/// Which namespace it is, for as long as somebody holds it: the kernel reuses the numbers of dead namespaces,
/// so compare only with the identity of a namespace that is still open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NamespaceId {
    /// The device number of the kernel's namespace file system.
    pub dev: u64,
    /// The inode number in it.
    pub ino: u64,
}

/// An open network namespace.
#[derive(Debug)]
pub struct NetNs {
    fd: OwnedFd,
    id: NamespaceId,
    /// How messages name it.
    name: String,
}

impl NetNs {
    /// Makes a new, empty namespace (one loopback interface, down). Needs `CAP_SYS_ADMIN`, which root has and so has
    /// everyone inside a user namespace of their own.
    pub fn create() -> Result<Self> {
        let name = || "a new network namespace".to_owned();
        on_fresh_thread("a thread for a new network namespace", || {
            // SAFETY: NEWNET leaves the descriptor table alone, which is all that `unshare_unsafe` warns about.
            unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.map_err(|errno| Error::Namespace {
                operation: "make",
                name: name(),
                cause: errno.into(),
            })?;
            let mut created = Self::open_path(Path::new(OWN))?;
            created.name = format!("the network namespace {}", created.id.ino);
            Ok(created)
        })?
    }

    /// Opens the namespace at `path`: a bind mount such as `/run/netns/NAME` or a link such as `/proc/PID/ns/net`.
    pub fn open_path(path: &Path) -> Result<Self> {
        // Without O_NONBLOCK, a path to a FIFO would hang here until somebody writes to it.
        let opened = File::options().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path);
        let file = opened.map_err(|cause| match cause.kind() {
            io::ErrorKind::NotFound => Error::NoSuchNamespace {
                name: path.display().to_string(),
                remedy: "check the path, or let vswitch make one with netns = \"new\"",
            },
            _ => Error::Namespace {
                operation: "open the network namespace",
                name: path.display().to_string(),
                cause,
            },
        })?;
        verify(&file, path)?;
        let metadata = file.metadata().map_err(|cause| Error::File {
            operation: "examine",
            path: path.into(),
            cause,
        })?;
        let id = NamespaceId { dev: metadata.dev(), ino: metadata.ino() };
        Ok(Self { fd: file.into(), id, name: path.display().to_string() })
    }

    /// Opens the namespace that `ip netns add NAME` made.
    pub fn open_name(name: &str) -> Result<Self> {
        let absent = || Error::NoSuchNamespace {
            name: name.to_owned(),
            remedy: "`ip netns list` shows those there are, `ip netns add` makes one, and netns = \"new\" lets vswitch make one",
        };
        // A name with a slash would be a way out of the directory.
        if name.is_empty() || name.contains('/') || name == "." || name == ".." {
            return Err(absent());
        }
        let path = NAMED.iter().map(|directory| Path::new(directory).join(name)).find(|path| path.exists());
        let path = path.ok_or_else(absent)?;
        // `ip netns add` creates the file first and mounts the namespace on it second.
        if Self::identity_of_path(&path).is_none() {
            return Err(absent());
        }
        Self::open_path(&path)
    }

    /// Opens the namespace that process `pid` is in.
    pub fn of_pid(pid: u32) -> Result<Self> {
        Self::open_path(Path::new(&format!("/proc/{pid}/ns/net"))).map_err(|error| match error {
            Error::NoSuchNamespace { .. } => Error::NoSuchNamespace {
                name: format!("of process {pid}"),
                remedy: "there is no such process; give the pid of one that runs",
            },
            other => other,
        })
    }

    /// Opens the namespace the calling thread is in.
    pub fn current() -> Result<Self> {
        Self::open_path(Path::new(OWN))
    }

    /// Which namespace this is.
    #[must_use]
    pub fn identity(&self) -> NamespaceId {
        self.id
    }

    /// Which namespace is at `path` now, without opening it; `None` where there is none (a file on which a namespace
    /// is not mounted, or no longer, is none). For watching a namespace that vanishes or is replaced.
    #[must_use]
    pub fn identity_of_path(path: &Path) -> Option<NamespaceId> {
        let metadata = std::fs::metadata(path).ok()?;
        let nsfs = std::fs::metadata(OWN).ok()?.dev();
        (metadata.dev() == nsfs).then(|| NamespaceId { dev: metadata.dev(), ino: metadata.ino() })
    }

    /// A path by which other processes of the same user (and root's) can open this namespace while it is held here.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        path_of_descriptor(self.fd.as_fd())
    }

    /// Runs `work` on a fresh thread inside this namespace and returns what it returned. A panic in `work`
    /// goes on in the caller.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        on_fresh_thread("a thread in a network namespace", || {
            self.enter()?;
            Ok(work())
        })?
    }

    /// Moves the calling thread into this namespace, for good.
    pub(crate) fn enter(&self) -> Result<()> {
        move_into_link_name_space(self.fd.as_fd(), Some(LinkNameSpaceType::Network)).map_err(|errno| {
            Error::Namespace { operation: "enter", name: self.name.clone(), cause: errno.into() }
        })
    }
}

impl AsFd for NetNs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Runs `work` on a thread that ends with it, so that what it does to its own namespaces reaches no other thread.
pub(crate) fn on_fresh_thread<T: Send>(what: &str, work: impl FnOnce() -> T + Send) -> Result<T> {
    thread::scope(|scope| {
        let thread = thread::Builder::new()
            .spawn_scoped(scope, work)
            .map_err(|cause| Error::Spawn { what: what.to_owned(), cause })?;
        match thread.join() {
            Ok(value) => Ok(value),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// `/proc/PID/fd/N` for a descriptor of this process.
pub(crate) fn path_of_descriptor(fd: BorrowedFd<'_>) -> PathBuf {
    PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), fd.as_raw_fd()))
}

/// Fails unless `file` is a network namespace.
fn verify(file: &File, path: &Path) -> Result<()> {
    /// `_IO(0xb7, 3)` of `<linux/nsfs.h>`, which the libc crate lacks.
    const NS_GET_NSTYPE: libc::Ioctl = 0xb703;
    // SAFETY: this ioctl takes no argument and returns its answer; on any other kind of file it fails with ENOTTY.
    // No driver gives 0xb703 another meaning that could touch memory of ours, as no pointer is passed.
    let kind = unsafe { libc::ioctl(file.as_raw_fd(), NS_GET_NSTYPE) };
    let found = match kind {
        libc::CLONE_NEWNET => return Ok(()),
        libc::CLONE_NEWNS => "a mount namespace",
        libc::CLONE_NEWUSER => "a user namespace",
        libc::CLONE_NEWPID => "a process namespace",
        libc::CLONE_NEWUTS => "a UTS (hostname) namespace",
        libc::CLONE_NEWIPC => "an IPC namespace",
        libc::CLONE_NEWCGROUP => "a cgroup namespace",
        _ => "something that is no namespace",
    };
    Err(Error::NotANetworkNamespace { path: path.into(), found })
}
