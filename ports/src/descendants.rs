//! Processes that come from ours: watching, ending and reaping them.
//!
//! A command may fork twice and outlive its parent. [`become_subreaper`] makes such orphans our children, so that every
//! process that ever came from a command is still a descendant and [`kill_descendants`] finds it. Orphans are ours to
//! reap as well; children that somebody else waits for (tokio) must be left alone, or their exit status is lost.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, WaitOptions, getpid, kill_process_group, pidfd_open, pidfd_send_signal,
    set_child_subreaper, waitpid,
};

pub use rustix::process::Signal;

use crate::error::{Error, Result};

/// A process may fork at any time, so the processes are counted again at least this often while we wait.
const RECOUNT: Duration = Duration::from_millis(50);
/// The longest one system call waits.
const WAIT_AGAIN: Duration = Duration::from_secs(3600);
/// SIGKILL cannot be refused, but a process may be stuck in the kernel (a dead NFS server): we do not wait for ever.
const AFTER_KILL: Duration = Duration::from_secs(5);

/// Makes orphaned descendants children of this process instead of init's.
pub fn become_subreaper() -> Result<()> {
    let own = getpid();
    set_child_subreaper(Some(own)).map_err(|errno| failed("make a subreaper of", own, errno))
}

/// Ends every descendant: SIGTERM now, SIGKILL for those still there after `grace`. Reaps orphans; children listed in
/// `waited_for` are killed as well, but left for whoever waits for them. Returns the processes that even SIGKILL
/// did not end: none, unless one is stuck in the kernel.
pub fn kill_descendants(grace: Duration, waited_for: &[u32]) -> Result<Vec<u32>> {
    end(Signal::TERM, grace, waited_for)?;
    end(Signal::KILL, AFTER_KILL, waited_for)
}

/// Reaps the children that have ended, except those in `waited_for`; never waits. Returns their pids.
pub fn reap_orphans(waited_for: &[u32]) -> Result<Vec<u32>> {
    let own = own_pid();
    let mut reaped = Vec::new();
    for process in processes()? {
        if process.parent != own || process.alive || waited_for.contains(&process.pid) {
            continue;
        }
        let Some(pid) = to_pid(process.pid) else { continue };
        match waitpid(Some(pid), WaitOptions::NOHANG) {
            Ok(Some(_)) => reaped.push(process.pid),
            // Somebody else was faster.
            Ok(None) | Err(Errno::CHILD) => {}
            Err(errno) => return Err(failed("reap", pid, errno)),
        }
    }
    Ok(reaped)
}

/// Signals the process group that `pid` leads. One that is gone already is no error.
pub fn kill_group(pid: u32, signal: Signal) -> Result<()> {
    let Some(leader) = to_pid(pid) else { return Err(no_such(pid)) };
    match kill_process_group(leader, signal) {
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(errno) => Err(failed("signal the group of", leader, errno)),
    }
}

/// Watches one process, child or not; immune to the reuse of its pid.
#[derive(Debug)]
pub struct PidWatch {
    fd: OwnedFd,
}

impl PidWatch {
    /// Begins to watch `pid`.
    pub fn open(pid: u32) -> Result<Self> {
        let pid = to_pid(pid).ok_or_else(|| no_such(pid))?;
        let fd = pidfd_open(pid, PidfdFlags::empty()).map_err(|errno| failed("watch", pid, errno))?;
        Ok(Self { fd })
    }

    /// Waits until it has ended.
    pub fn wait(&self) {
        while !wait_for_any(&[self.fd.as_fd()], WAIT_AGAIN) {}
    }

    /// Whether it has ended.
    #[must_use]
    pub fn exited(&self) -> bool {
        wait_for_any(&[self.fd.as_fd()], Duration::ZERO)
    }
}

impl AsFd for PidWatch {
    /// Readable, for poll and epoll, once the process has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Sends `signal` once to every descendant, those that appear meanwhile too, until none is left or `patience` is over.
/// Returns those left.
fn end(signal: Signal, patience: Duration, waited_for: &[u32]) -> Result<Vec<u32>> {
    let deadline = Instant::now() + patience;
    let mut signalled = HashSet::new();
    loop {
        let living = living_descendants(&processes()?);
        let mut watched = Vec::new();
        for process in &living {
            let Some(fd) = open_exactly(*process) else { continue };
            if signalled.insert(process.pid) {
                match pidfd_send_signal(&fd, signal) {
                    Ok(()) | Err(Errno::SRCH | Errno::PERM) => {}
                    Err(errno) => return Err(end_failed(process.pid, errno)),
                }
            }
            watched.push(fd);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if living.is_empty() || left.is_zero() {
            reap_orphans(waited_for)?;
            return Ok(living.iter().map(|process| process.pid).collect());
        }
        let watched: Vec<_> = watched.iter().map(AsFd::as_fd).collect();
        wait_for_any(&watched, left.min(RECOUNT));
        reap_orphans(waited_for)?;
    }
}

/// A process as `/proc` shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Process {
    pid: u32,
    parent: u32,
    /// `false` for one that has ended and waits to be reaped.
    alive: bool,
}

/// All processes we can see. Not `/proc/PID/task/TID/children`: the kernel promises its completeness only for
/// processes that stand still, and builds without it exist.
fn processes() -> Result<Vec<Process>> {
    let unreadable = |cause| Error::File { operation: "list the processes in", path: "/proc".into(), cause };
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let pid = entry.file_name().to_str().and_then(|name| name.parse().ok());
        // One that ends while we read is no error.
        found.extend(pid.and_then(process));
    }
    Ok(found)
}

fn process(pid: u32) -> Option<Process> {
    parse_stat(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// proc(5): `pid (command) state ppid …`, where the command may itself contain parentheses and spaces.
fn parse_stat(pid: u32, stat: &str) -> Option<Process> {
    let (_, after_command) = stat.rsplit_once(')')?;
    let mut fields = after_command.split_ascii_whitespace();
    let alive = !matches!(fields.next()?, "Z" | "X");
    let parent = fields.next()?.parse().ok()?;
    Some(Process { pid, parent, alive })
}

/// Those that come from us and have not ended, children before their children.
fn living_descendants(processes: &[Process]) -> Vec<Process> {
    let mut children: HashMap<u32, Vec<Process>> = HashMap::new();
    for process in processes {
        children.entry(process.parent).or_default().push(*process);
    }
    let mut found = children.remove(&own_pid()).unwrap_or_default();
    let mut next = 0;
    while let Some(process) = found.get(next) {
        found.extend(children.remove(&process.pid).unwrap_or_default());
        next += 1;
    }
    found.retain(|process| process.alive);
    found
}

/// A descriptor to a process that was listed, unless it has ended since and its pid is another's now.
fn open_exactly(process: Process) -> Option<OwnedFd> {
    let fd = pidfd_open(to_pid(process.pid)?, PidfdFlags::empty()).ok()?;
    // An orphan has changed parents: it is found again, with its new parent, by the next count.
    (self::process(process.pid)?.parent == process.parent).then_some(fd)
}

/// Waits until one of the processes has ended; `false` if none has in time.
fn wait_for_any(processes: &[BorrowedFd<'_>], patience: Duration) -> bool {
    let mut waiting: Vec<_> = processes.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
    let timeout = Timespec {
        tv_sec: i64::try_from(patience.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(patience.subsec_nanos()),
    };
    // A signal to us ends the wait early, which does no harm.
    matches!(poll(&mut waiting, Some(&timeout)), Ok(ended) if ended > 0)
}

fn own_pid() -> u32 {
    std::process::id()
}

fn to_pid(pid: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(pid).ok()?)
}

fn failed(operation: &'static str, pid: Pid, errno: Errno) -> Error {
    Error::Process { operation, pid: pid.as_raw_nonzero().get().unsigned_abs(), cause: errno.into() }
}

fn end_failed(pid: u32, errno: Errno) -> Error {
    Error::Process { operation: "end", pid, cause: errno.into() }
}

fn no_such(pid: u32) -> Error {
    Error::Process { operation: "find", pid, cause: io::Error::from_raw_os_error(libc::ESRCH) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_with_parentheses_does_not_confuse() {
        let parsed = parse_stat(7, "7 (a) Z 9 (b)) S 42 7 7 0 -1 4194560");
        assert_eq!(parsed, Some(Process { pid: 7, parent: 42, alive: true }));
        assert_eq!(parse_stat(7, "7 (x) Z 42 7 7"), Some(Process { pid: 7, parent: 42, alive: false }));
        assert_eq!(parse_stat(7, "7 (x"), None);
        assert_eq!(parse_stat(7, ""), None);
    }

    #[test]
    fn descendants_are_found_through_the_dead() {
        let own = own_pid();
        let process = |pid, parent, alive| Process { pid, parent, alive };
        // The order of /proc is by number, not by descent.
        let all = [
            process(own, 1, true),
            process(3, 5, true),
            process(4, 1, true),
            process(5, own, false),
            process(6, 3, true),
            process(8, 4, true),
        ];
        let found: Vec<u32> = living_descendants(&all).iter().map(|process| process.pid).collect();
        assert_eq!(found, [3, 6]);
    }

    #[test]
    fn no_process_has_an_impossible_pid() {
        for pid in [0, u32::MAX] {
            assert!(PidWatch::open(pid).is_err());
            assert!(kill_group(pid, Signal::TERM).is_err());
        }
    }
}
