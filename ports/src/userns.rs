//! Running without root: a user namespace of our own, in which an ordinary user has root's powers over the network
//! namespaces made inside it, and over nothing else.
//!
//! The kernel lets only a process of one thread do this, so it comes first in `main`. Where the host forbids it,
//! the error names the setting; the kernel itself says no more than "not permitted".

use std::fs;
use std::io;
use std::path::Path;

use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use crate::error::{Error, Result};

const TUN: &str = "/dev/net/tun";
const MAX_USER_NAMESPACES: &str = "/proc/sys/user/max_user_namespaces";
/// A patch of Debian's (and once Ubuntu's and Arch's) kernels.
const UNPRIVILEGED_CLONE: &str = "/proc/sys/kernel/unprivileged_userns_clone";
/// Ubuntu since 23.10.
const APPARMOR_RESTRICTS: &str = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns";
/// Bits of `<linux/capability.h>`.
const CAP_NET_ADMIN: u64 = 1 << 12;
const CAP_SYS_ADMIN: u64 = 1 << 21;

/// Who the process was before it entered its user namespace, where it is user 0 of group 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserNamespace {
    /// The user outside: the owner of files written inside as user 0.
    pub uid: u32,
    /// The group outside.
    pub gid: u32,
}

/// Whether the process can make and configure network namespaces as it is: as root has (but root in a confined
/// container has not), or in a user namespace already entered.
#[must_use]
pub fn is_root() -> bool {
    fs::read_to_string("/proc/thread-self/status")
        .is_ok_and(|status| has_capabilities(&status, CAP_NET_ADMIN | CAP_SYS_ADMIN))
}

/// The user this process runs as, in the user namespace it is in.
#[must_use]
pub fn user_id() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Moves the process into a new user namespace and a new mount namespace. For a process of one thread.
pub fn enter_user_namespace() -> Result<UserNamespace> {
    let before =
        UserNamespace { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() };
    // SAFETY: no FILES among the flags, which is all that `unshare_unsafe` warns about.
    unsafe { unshare_unsafe(UnshareFlags::NEWUSER | UnshareFlags::NEWNS) }
        .map_err(|errno| forbidden(errno.into()))?;
    map_to_root(before).map_err(forbidden)?;
    // Mounts of the host go on arriving here (a namespace that `ip netns add` makes later), and none of ours goes there.
    // Where AppArmor grants the namespace but no power in it, this is the first thing to fail.
    mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)
        .map_err(|errno| forbidden(errno.into()))?;
    if !is_root() {
        return Err(forbidden(io::ErrorKind::PermissionDenied.into()));
    }
    Ok(before)
}

/// Whether taps can be made; opens `/dev/net/tun` and closes it.
pub fn check_tun() -> Result<()> {
    match fs::File::options().read(true).write(true).open(TUN) {
        Ok(_) => Ok(()),
        Err(cause) => Err(tun_forbidden(cause)),
    }
}

/// The error for `/dev/net/tun` not opening.
pub(crate) fn tun_forbidden(cause: io::Error) -> Error {
    Error::TunForbidden { remedy: tun_remedy(&cause), cause }
}

/// user_namespaces(7): whoever may not use setgroups(2) may map their own group, and themselves.
fn map_to_root(outside: UserNamespace) -> io::Result<()> {
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("0 {} 1", outside.uid))?;
    fs::write("/proc/self/gid_map", format!("0 {} 1", outside.gid))
}

/// Whether a `/proc/PID/status` shows all of `wanted` in effect.
fn has_capabilities(status: &str, wanted: u64) -> bool {
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    effective
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .is_some_and(|bits| bits & wanted == wanted)
}

fn tun_remedy(cause: &io::Error) -> &'static str {
    match cause.raw_os_error() {
        Some(libc::ENOENT | libc::ENODEV | libc::ENXIO) => {
            "load the driver with `modprobe tun`; if the file is still missing, \
             `mkdir -p /dev/net && mknod -m 0666 /dev/net/tun c 10 200` (in Docker: --device /dev/net/tun)"
        }
        Some(libc::EACCES) => {
            "allow it for every user, as most distributions do: `chmod 0666 /dev/net/tun`, and for good \
             `echo 'KERNEL==\"tun\", MODE=\"0666\"' > /etc/udev/rules.d/50-tun.rules`"
        }
        _ => {
            "the device is closed to this container or service: in Docker --device /dev/net/tun, in systemd DeviceAllow=/dev/net/tun rw"
        }
    }
}

/// The three settings that commonly stand in the way; `None` where the kernel does not have it.
#[derive(Debug, Clone, Copy, Default)]
struct HostSettings {
    max_user_namespaces: Option<u64>,
    unprivileged_clone: Option<u64>,
    apparmor_restricts: Option<u64>,
}

/// The error for a user namespace that could not be made, or has no power.
fn forbidden(cause: io::Error) -> Error {
    let read = |path: &str| fs::read_to_string(Path::new(path)).ok()?.trim().parse().ok();
    let settings = HostSettings {
        max_user_namespaces: read(MAX_USER_NAMESPACES),
        unprivileged_clone: read(UNPRIVILEGED_CLONE),
        apparmor_restricts: read(APPARMOR_RESTRICTS),
    };
    let (setting, remedy) = blame(settings, &cause);
    Error::NoUserNamespaces { setting, remedy, cause }
}

/// Which setting it is, and what allows it.
fn blame(settings: HostSettings, cause: &io::Error) -> (&'static str, &'static str) {
    match cause.raw_os_error() {
        Some(libc::EINVAL) => (
            "the kernel has none (CONFIG_USER_NS), or this process already has several threads",
            "run as root",
        ),
        _ if settings.max_user_namespaces == Some(0) => {
            ("user.max_user_namespaces is 0", "`sysctl -w user.max_user_namespaces=15000` as root allows it")
        }
        Some(libc::ENOSPC | libc::EUSERS) => (
            "the limit user.max_user_namespaces is reached, or they are nested 32 deep",
            "raise it with `sysctl -w user.max_user_namespaces=NUMBER` as root",
        ),
        _ if settings.unprivileged_clone == Some(0) => (
            "kernel.unprivileged_userns_clone is 0",
            "`sysctl -w kernel.unprivileged_userns_clone=1` as root allows it",
        ),
        _ if settings.apparmor_restricts == Some(1) => (
            "kernel.apparmor_restrict_unprivileged_userns is 1",
            "`sysctl -w kernel.apparmor_restrict_unprivileged_userns=0` as root allows it for all programs, \
             an AppArmor profile with `userns,` for vswitch alone",
        ),
        _ => (
            "a seccomp or security policy, or a chroot, forbids it",
            "inside Docker or Podman use --security-opt seccomp=unconfined (and apparmor=unconfined), or run as root",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blamed(settings: HostSettings, errno: i32) -> &'static str {
        blame(settings, &io::Error::from_raw_os_error(errno)).0
    }

    #[test]
    fn the_setting_that_forbids_is_named() {
        let open = HostSettings {
            max_user_namespaces: Some(96_000),
            unprivileged_clone: Some(1),
            apparmor_restricts: Some(0),
        };
        let none = HostSettings { max_user_namespaces: Some(0), ..open };
        // Linux answers ENOSPC to a limit of 0, whatever else would forbid it.
        assert!(blamed(none, libc::ENOSPC).starts_with("user.max_user_namespaces is 0"));
        assert!(blamed(open, libc::ENOSPC).contains("reached"));
        let debian = HostSettings { unprivileged_clone: Some(0), ..open };
        assert!(blamed(debian, libc::EPERM).starts_with("kernel.unprivileged_userns_clone"));
        let ubuntu = HostSettings { apparmor_restricts: Some(1), ..open };
        assert!(blamed(ubuntu, libc::EPERM).starts_with("kernel.apparmor_restrict"));
        assert!(blamed(ubuntu, libc::EACCES).starts_with("kernel.apparmor_restrict"));
        assert!(blamed(open, libc::EPERM).contains("seccomp"));
        assert!(blamed(HostSettings::default(), libc::EPERM).contains("seccomp"));
        assert!(blamed(open, libc::EINVAL).contains("threads"));
    }

    #[test]
    fn capabilities_are_read_from_a_process_status() {
        let both = CAP_NET_ADMIN | CAP_SYS_ADMIN;
        assert!(has_capabilities("Name:\tx\nCapEff:\t000001ffffffffff\nCapBnd:\t0\n", both));
        assert!(!has_capabilities("CapPrm:\t000001ffffffffff\nCapEff:\t0000000000000000\n", both));
        // What Docker leaves its root: NET_RAW and others, neither of these.
        assert!(!has_capabilities("CapEff:\t00000000a80425fb\n", both));
        assert!(!has_capabilities("", both));
    }

    #[test]
    fn what_to_do_about_tun_depends_on_what_is_wrong() {
        let remedy = |errno| tun_remedy(&io::Error::from_raw_os_error(errno));
        assert!(remedy(libc::ENOENT).contains("modprobe tun"));
        assert!(remedy(libc::EACCES).contains("chmod 0666"));
        assert!(remedy(libc::EPERM).contains("--device"));
    }
}
