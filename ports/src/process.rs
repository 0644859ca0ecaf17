//! Starting commands in a container's namespaces: as children of the switch ([`enter_on_exec`]), and in place of a
//! process that is not the switch ([`exec_in`]).

use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use rustix::io::Errno;
use rustix::process::{Gid, Pid, Signal, Uid, getpid, getppid, set_parent_process_death_signal};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::error::{Error, Result};
use crate::view::{ContainerView, NamespacePaths};

const OWN_USER: &str = "/proc/self/ns/user";
const OWN_NET: &str = "/proc/self/ns/net";
const OWN_UTS: &str = "/proc/self/ns/uts";
const OWN_MOUNT: &str = "/proc/self/ns/mnt";

/// The longest path the kernel gives as a working directory.
const PATH_MAX: usize = 4096;

/// Lets `command` start in the network namespace `net`, and in `view` if given.
///
/// The process leads a process group of its own, so that a terminal's Ctrl-C reaches the switch alone, and
/// [`kill_group`](crate::descendants::kill_group) all of the command. It has no signal blocked, ignored or handled. The
/// kernel kills it when the thread that spawned it ends: spawn from a thread that lives as long as the switch.
/// Its working directory is ours if the view has it, else `/`.
///
/// A namespace that we are in is not entered again, which would take privilege there: so does the host's for a switch
/// without root. Does for `tokio::process::Command::from` too. Fails only if no descriptor is free.
pub fn enter_on_exec(command: &mut Command, net: BorrowedFd<'_>, view: Option<&ContainerView>) -> Result<()> {
    let own = |fd: BorrowedFd<'_>| {
        fd.try_clone_to_owned().map_err(|cause| Error::Namespace {
            operation: "keep open the namespaces of",
            name: command_name(command.get_program()),
            cause,
        })
    };
    let net = if is_ours(&net, OWN_NET)? { None } else { Some(own(net)?) };
    let view = view.map(|view| Ok((own(view.uts())?, own(view.mount())?))).transpose()?;
    let parent = getpid();
    command.process_group(0);
    // SAFETY: between fork and exec, `enter_in_child` only makes system calls: it allocates nothing and takes no lock.
    unsafe {
        command.pre_exec(move || enter_in_child(parent, net.as_ref(), view.as_ref()));
    }
    Ok(())
}

/// Replaces the calling process by `command` in the given namespaces, all of them joined in one go; returns only if that
/// failed. For a process of one thread. The reason's [`exit_status`](Error::exit_status) is the shell's.
///
/// The working directory is the caller's if the container has it, else `/`.
pub fn exec_in(namespaces: &NamespacePaths, command: &mut Command) -> Error {
    if let Err(error) = join(namespaces) {
        return error;
    }
    if let Some(directory) = command.get_current_dir()
        && let Err(cause) = std::fs::metadata(directory)
    {
        return Error::File { operation: "change to the directory", path: directory.into(), cause };
    }
    let cause = command.exec();
    start_failure(command, cause)
}

/// Why a command did not start, from the reason the standard library gave.
pub fn start_failure(command: &Command, cause: io::Error) -> Error {
    let name = command_name(command.get_program());
    match cause.kind() {
        io::ErrorKind::NotFound => Error::CommandNotFound { command: name },
        // What execvp answers if it could not look into one directory of PATH and found nothing in the others.
        io::ErrorKind::PermissionDenied if !is_in_path(command) => Error::CommandNotFound { command: name },
        _ => Error::CommandNotExecutable { command: name, cause },
    }
}

/// What happens to a command between fork and exec.
fn enter_in_child(parent: Pid, net: Option<&OwnedFd>, view: Option<&(OwnedFd, OwnedFd)>) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // The switch may have died before the call above: then nobody would kill us.
    if getppid() != Some(parent) {
        return Err(io::Error::from_raw_os_error(libc::ESRCH));
    }
    reset_signals();
    if let Some(net) = net {
        move_into_link_name_space(net.as_fd(), Some(LinkNameSpaceType::Network))?;
    }
    if let Some((uts, mount)) = view {
        move_into_link_name_space(uts.as_fd(), Some(LinkNameSpaceType::HostNameAndNISDomainName))?;
        enter_mount_namespace(mount.as_fd())?;
    }
    Ok(())
}

/// By system calls, because the C library refuses to touch the two signals it keeps for itself. Those may be ignored by
/// inheritance too, and the command's C library, if it is another, may have another use for them.
fn reset_signals() {
    /// Signals of Linux, and of a signal set's bits.
    const SIGNALS: libc::c_int = 64;
    /// The kernel's `struct sigaction`, at most four words: all zeroes are `SIG_DFL` and no flags.
    const DEFAULT: [u64; 4] = [0; 4];
    const NONE: [u64; 1] = [0];
    const SET_SIZE: usize = size_of::<u64>();
    for signal in 1..=SIGNALS {
        // SAFETY: the kernel reads the action and writes nothing. The default action runs none of our code.
        // KILL and STOP cannot be set and answer EINVAL.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                DEFAULT.as_ptr(),
                std::ptr::null_mut::<u64>(),
                SET_SIZE,
            );
        }
    }
    // SAFETY: the kernel reads the set, of the size given, and writes nothing.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            NONE.as_ptr(),
            std::ptr::null_mut::<u64>(),
            SET_SIZE,
        );
    }
}

/// Entering a mount namespace moves the working directory to its root; this goes back to where it was.
/// Allocates nothing, as it runs between fork and exec.
fn enter_mount_namespace(mount: BorrowedFd<'_>) -> io::Result<()> {
    let mut buffer = [0_u8; PATH_MAX];
    // Not the C library's `getcwd`, which may allocate.
    // SAFETY: the kernel writes at most `PATH_MAX` bytes into the buffer, which has as many.
    let length = unsafe { libc::syscall(libc::SYS_getcwd, buffer.as_mut_ptr(), PATH_MAX) };
    move_into_link_name_space(mount, Some(LinkNameSpaceType::Mount))?;
    let before = if length > 0 { CStr::from_bytes_until_nul(&buffer).ok() } else { None };
    if before.is_none_or(|directory| rustix::process::chdir(directory).is_err()) {
        rustix::process::chdir(c"/")?;
    }
    Ok(())
}

/// Joins the namespaces, with the calling thread.
fn join(namespaces: &NamespacePaths) -> Result<()> {
    // All are opened before any is joined: in another user or mount namespace the paths may be out of reach.
    let user = namespaces.user.as_deref().map(|path| open_foreign(path, OWN_USER)).transpose()?.flatten();
    let net = open_foreign(&namespaces.net, OWN_NET)?;
    let uts = open_foreign(&namespaces.uts, OWN_UTS)?;
    let mount = open_foreign(&namespaces.mount, OWN_MOUNT)?;
    let failed = |path: &Path| {
        let name = path.display().to_string();
        move |cause| Error::Namespace { operation: "enter the container's namespace", name, cause }
    };
    let enter = |file: Option<&File>, kind, path: &Path| match file {
        Some(file) => {
            move_into_link_name_space(file.as_fd(), Some(kind)).map_err(|errno| failed(path)(errno.into()))
        }
        None => Ok(()),
    };
    if let (Some(user), Some(path)) = (&user, &namespaces.user) {
        enter(Some(user), LinkNameSpaceType::User, path)?;
        become_root_inside().map_err(failed(path))?;
    }
    enter(net.as_ref(), LinkNameSpaceType::Network, &namespaces.net)?;
    enter(uts.as_ref(), LinkNameSpaceType::HostNameAndNISDomainName, &namespaces.uts)?;
    mount.map_or(Ok(()), |mount| enter_mount_namespace(mount.as_fd()).map_err(failed(&namespaces.mount)))
}

/// The namespace at `path`, or `None` if it is the one we are in: a user namespace cannot be joined again, and the
/// others only with privilege in them.
fn open_foreign(path: &Path, own: &str) -> Result<Option<File>> {
    let file = open_namespace(path)?;
    Ok((!is_ours(&file, own)?).then_some(file))
}

/// Whether `namespace` is the one at `own`, a path in our `/proc/self/ns`.
fn is_ours(namespace: &impl AsFd, own: &str) -> Result<bool> {
    let examine = |errno: Errno| Error::File { operation: "examine", path: own.into(), cause: errno.into() };
    let theirs = rustix::fs::fstat(namespace).map_err(examine)?;
    let ours = rustix::fs::stat(own).map_err(examine)?;
    Ok((theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino))
}

fn open_namespace(path: &Path) -> Result<File> {
    File::open(path).map_err(|cause| match cause.kind() {
        io::ErrorKind::NotFound => Error::NoSuchNamespace {
            name: path.display().to_string(),
            remedy: "the switch that held it is gone; `vswitch status` shows whether one runs",
        },
        _ => Error::Namespace {
            operation: "open the container's namespace",
            name: path.display().to_string(),
            cause,
        },
    })
}

/// Whoever made the user namespace is user 0 in it already. The real root, joining an ordinary user's namespace, is not
/// mapped there and would own nothing in it.
fn become_root_inside() -> io::Result<()> {
    if !rustix::process::getegid().is_root() {
        rustix::thread::set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT)?;
    }
    if !rustix::process::geteuid().is_root() {
        rustix::thread::set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT)?;
    }
    Ok(())
}

/// Whether a command is given by path, or there is a file of its name in the PATH it was looked for in.
fn is_in_path(command: &Command) -> bool {
    let program = Path::new(command.get_program());
    if program.as_os_str().as_bytes().contains(&b'/') {
        return true;
    }
    let own = command.get_envs().find(|(name, _)| *name == "PATH").and_then(|(_, value)| value);
    let path = own.map(OsStr::to_owned).or_else(|| std::env::var_os("PATH")).unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).exists())
}

fn command_name(program: &OsStr) -> String {
    program.to_string_lossy().into_owned()
}
