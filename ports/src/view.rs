//! What a container's processes see beside its network: `/etc/hosts`, `/etc/resolv.conf`, `/etc/hostname`, the host name
//! and `/sys`. Everything else is the host's.
//!
//! A [`ContainerView`] is a mount namespace and a UTS namespace held open by descriptors, with no process inside. The
//! three files live in a tmpfs of the view's own, mounted over the host's files; the tmpfs has no name anywhere. Nothing
//! is written to the host's disk, no mount of the host changes, and when the view and the last process in it are gone,
//! so is all this. The files stay writable here, for names and resolvers that change while the container runs.

use std::fs::{File, Permissions};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, open, openat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags,
    OpenTreeFlags, UnmountFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen, mount, mount_change,
    move_mount, open_tree, unmount,
};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use crate::error::{Error, Result};
use crate::netns::{NetNs, on_fresh_thread, path_of_descriptor};

const HOSTS: &str = "/etc/hosts";
const RESOLV_CONF: &str = "/etc/resolv.conf";
const HOSTNAME: &str = "/etc/hostname";
/// Bounds what a view can cost; a hosts file for a thousand containers takes 60 KiB of it.
const TMPFS_SIZE: &str = "4m";

/// What the files of a view say at first.
#[derive(Debug, Clone, Copy)]
pub struct ViewFiles<'a> {
    /// `/etc/hosts`.
    pub hosts: &'a str,
    /// `/etc/resolv.conf`.
    pub resolv_conf: &'a str,
}

/// The mount and UTS namespaces of a container.
#[derive(Debug)]
pub struct ContainerView {
    mount: OwnedFd,
    uts: OwnedFd,
    hosts: File,
    resolv_conf: File,
    unbound: Vec<&'static str>,
}

/// Where other processes of the same user can open a container's namespaces, as long as this process holds them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespacePaths {
    /// The user namespace to join first; `None` to stay in one's own.
    pub user: Option<PathBuf>,
    /// The network namespace.
    pub net: PathBuf,
    /// The mount namespace.
    pub mount: PathBuf,
    /// The UTS namespace.
    pub uts: PathBuf,
}

impl ContainerView {
    /// Makes a view for the processes of `net`. `hostname` has at most 64 bytes.
    pub fn create(net: &NetNs, hostname: &str, files: &ViewFiles<'_>) -> Result<Self> {
        on_fresh_thread("a thread for a container's view", || {
            net.enter()?;
            Self::create_here(hostname, files)
        })?
    }

    /// The files of the host that do not exist and so could not be covered: processes do not see ours there.
    #[must_use]
    pub fn unbound(&self) -> &[&'static str] {
        &self.unbound
    }

    /// Replaces what `/etc/hosts` says.
    pub fn write_hosts(&self, text: &str) -> Result<()> {
        replace(&self.hosts, HOSTS, text)
    }

    /// Replaces what `/etc/resolv.conf` says.
    pub fn write_resolv_conf(&self, text: &str) -> Result<()> {
        replace(&self.resolv_conf, RESOLV_CONF, text)
    }

    /// Where other processes can join this view and its network namespace.
    #[must_use]
    pub fn namespaces(&self, net: &NetNs) -> NamespacePaths {
        NamespacePaths {
            user: Some(PathBuf::from(format!("/proc/{}/ns/user", std::process::id()))),
            net: net.path(),
            mount: path_of_descriptor(self.mount.as_fd()),
            uts: path_of_descriptor(self.uts.as_fd()),
        }
    }

    pub(crate) fn mount(&self) -> BorrowedFd<'_> {
        self.mount.as_fd()
    }

    pub(crate) fn uts(&self) -> BorrowedFd<'_> {
        self.uts.as_fd()
    }

    /// Makes the calling thread's namespaces a view and opens them.
    fn create_here(hostname: &str, files: &ViewFiles<'_>) -> Result<Self> {
        let failed = |operation: &'static str, object: &str| {
            let name = object.to_owned();
            move |errno: Errno| Error::Namespace { operation, name, cause: errno.into() }
        };
        // SAFETY: no FILES among the flags, which is all that `unshare_unsafe` warns about.
        unsafe { unshare_unsafe(UnshareFlags::NEWNS | UnshareFlags::NEWUTS) }
            .map_err(failed("make a mount namespace for the container", hostname))?;
        // Mounts of the host still arrive (and its unmounts, so that we keep no disk busy); ours stay here.
        mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)
            .map_err(failed("cut the container's mounts off from", "/"))?;
        rustix::system::sethostname(hostname.as_bytes()).map_err(failed("set the host name", hostname))?;

        let tmpfs = tmpfs().map_err(failed("make a tmpfs for the container", hostname))?;
        let hosts = create_file(&tmpfs, HOSTS, files.hosts)?;
        let resolv_conf = create_file(&tmpfs, RESOLV_CONF, files.resolv_conf)?;
        create_file(&tmpfs, HOSTNAME, &format!("{hostname}\n"))?;
        let unbound = cover(&tmpfs).map_err(failed("mount the container's files on", "/etc"))?;
        refresh_sysfs();

        let open = |path: &str| {
            open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
                .map_err(failed("open the namespace", path))
        };
        Ok(Self {
            mount: open("/proc/thread-self/ns/mnt")?,
            uts: open("/proc/thread-self/ns/uts")?,
            hosts,
            resolv_conf,
            unbound,
        })
    }
}

/// A tmpfs that is mounted nowhere.
fn tmpfs() -> rustix::io::Result<OwnedFd> {
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(context.as_fd(), "mode", "0755")?;
    fsconfig_set_string(context.as_fd(), "size", TMPFS_SIZE)?;
    fsconfig_create(context.as_fd())?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// Creates the file of the tmpfs that will cover the host's `path`.
fn create_file(tmpfs: &OwnedFd, path: &'static str, text: &str) -> Result<File> {
    let failed = |cause| Error::File { operation: "create the container's", path: path.into(), cause };
    let flags = OFlags::CREATE | OFlags::RDWR | OFlags::CLOEXEC;
    let file: File = openat(tmpfs, file_name(path), flags, Mode::from(0o644))
        .map_err(|errno| failed(errno.into()))?
        .into();
    // Readable by all whatever our umask is, as these files are everywhere.
    file.set_permissions(Permissions::from_mode(0o644)).map_err(failed)?;
    replace(&file, path, text)?;
    Ok(file)
}

/// Overwrites before it cuts, so that a reader never finds the file empty.
fn replace(file: &File, path: &str, text: &str) -> Result<()> {
    let written = file.write_all_at(text.as_bytes(), 0).and_then(|()| file.set_len(text.len() as u64));
    written.map_err(|cause| Error::File { operation: "write the container's", path: path.into(), cause })
}

/// Mounts each file of the tmpfs over the host's; returns those that the host does not have.
fn cover(tmpfs: &OwnedFd) -> rustix::io::Result<Vec<&'static str>> {
    // Opened before the tmpfs hides them. Symbolic links (systemd-resolved's resolv.conf) are followed to the file.
    let mut covered = Vec::new();
    let mut unbound = Vec::new();
    for path in [HOSTS, RESOLV_CONF, HOSTNAME] {
        match open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
            Ok(target) => covered.push((path, target)),
            Err(_) => unbound.push(path),
        }
    }
    if covered.is_empty() {
        return Ok(unbound);
    }
    // Only a mount that is part of the namespace can be cloned (before Linux 6.15), so it is for a moment. It is mounted
    // on the one directory that must exist, as there is a file in it to cover.
    move_mount(tmpfs, "", CWD, "/etc", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    let both_empty = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    for (path, target) in &covered {
        let clone = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let file = open_tree(tmpfs, file_name(path), clone)?;
        move_mount(&file, "", target, "", both_empty)?;
    }
    unmount("/etc", UnmountFlags::DETACH)?;
    Ok(unbound)
}

/// Mounts `/sys` anew, as it shows the interfaces of the namespace it was mounted in. Where that is not allowed
/// (a container in a container) `/sys/class/net` shows the host's, which only diagnostic tools read.
fn refresh_sysfs() {
    // Control groups are mounted below: language runtimes read their memory and CPU limits there.
    let clone =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    let cgroups = open_tree(CWD, "/sys/fs/cgroup", clone);
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    if mount("sysfs", "/sys", "sysfs", flags, None).is_ok()
        && let Ok(cgroups) = cgroups
    {
        // Failure leaves the directory empty, as on a host without control groups.
        let _unmounted =
            move_mount(&cgroups, "", CWD, "/sys/fs/cgroup", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH);
    }
}

/// The name, in the tmpfs, of the file that covers `path`.
fn file_name(path: &str) -> &Path {
    Path::new(path.trim_start_matches("/etc/"))
}
