//! Ending everything that came from us. One test in a process of its own, as it kills all children of the process.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at its first surprise"
)]

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, kill_process_group};
use vswitch_ports::descendants::{PidWatch, Signal, become_subreaper, kill_descendants, reap_orphans};

/// Leaves two orphans: one that ends on SIGTERM, and one that does not, with a child of its own.
const FORKS_TWICE: &str = "(sleep 1000 & echo $!); \
    (sh -c 'trap \"\" TERM; echo $$; while :; do sleep 1000; done' & :); exit 3";

/// Process groups that do not outlive the test if it fails.
struct Groups([u32; 2]);

impl Drop for Groups {
    fn drop(&mut self) {
        for leader in self.0 {
            let leader = Pid::from_raw(leader.try_into().unwrap()).unwrap();
            // Gone, unless the test failed.
            let _gone = kill_process_group(leader, Signal::KILL);
        }
    }
}

#[test]
fn nothing_that_came_from_us_survives_and_no_status_is_stolen() {
    become_subreaper().unwrap();
    let mut patient = Command::new("sleep");
    let mut patient = patient.arg("1000").stdin(Stdio::null()).process_group(0).spawn().unwrap();
    let mut forking = Command::new("sh");
    let mut forking =
        forking.args(["-c", FORKS_TWICE]).stdout(Stdio::piped()).process_group(0).spawn().unwrap();
    let _cleanup = Groups([patient.id(), forking.id()]);
    let mut output = BufReader::new(forking.stdout.take().unwrap());
    let orphans: Vec<u32> =
        output.by_ref().lines().take(2).map(|line| line.unwrap().parse().unwrap()).collect();
    // The status of a child of ours is not for the reaper, though the child ended long before.
    let forking_watch = PidWatch::open(forking.id()).unwrap();
    while !forking_watch.exited() {
        std::thread::yield_now();
    }
    assert_eq!(reap_orphans(&[forking.id()]).unwrap(), []);
    assert_eq!(forking.wait().unwrap().code(), Some(3));
    let watches: Vec<_> = orphans.iter().map(|pid| PidWatch::open(*pid).unwrap()).collect();
    assert!(watches.iter().all(|watch| !watch.exited()), "they outlive their parent");

    let survivors = kill_descendants(Duration::from_millis(200), &[patient.id()]).unwrap();

    assert_eq!(survivors, []);
    assert!(watches.iter().all(PidWatch::exited));
    // The pipe ends when the last process that ever inherited it has ended.
    assert_eq!(output.read_to_end(&mut Vec::new()).unwrap(), 0);
    assert_eq!(patient.wait().unwrap().signal(), Some(Signal::TERM.as_raw()));
    for pid in orphans {
        assert!(!std::fs::exists(format!("/proc/{pid}")).unwrap(), "{pid} is a zombie");
    }
}
