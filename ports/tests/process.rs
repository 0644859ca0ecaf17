//! Commands started in namespaces, as children.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at its first surprise"
)]

mod privilege;

use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use privilege::may_make_namespaces;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, getpgid};
use vswitch_ports::descendants::{PidWatch, Signal, kill_group};
use vswitch_ports::netns::NetNs;
use vswitch_ports::process::enter_on_exec;

#[test]
fn a_command_runs_in_the_namespace_with_signals_as_a_shell_expects() {
    if !may_make_namespaces("a_command_runs_in_the_namespace_with_signals_as_a_shell_expects") {
        return;
    }
    let net = NetNs::create().unwrap();
    let mut command = Command::new("sh");
    let script = "readlink /proc/self/ns/net; sed -n 's/^Sig\\(Blk\\|Ign\\):\\t//p' /proc/self/status";
    command.args(["-c", script]);
    enter_on_exec(&mut command, net.as_fd(), None).unwrap();
    let said = String::from_utf8(command.output().unwrap().stdout).unwrap();
    let namespace = format!("net:[{}]", net.identity().ino);
    assert_eq!(said.lines().collect::<Vec<_>>(), [&namespace, "0000000000000000", "0000000000000000"]);
}

#[test]
fn a_command_dies_with_the_thread_that_spawned_it() {
    if !may_make_namespaces("a_command_dies_with_the_thread_that_spawned_it") {
        return;
    }
    let net = NetNs::create().unwrap();
    let mut child = std::thread::scope(|scope| {
        let spawned = scope.spawn(|| {
            let mut command = Command::new("sleep");
            command.arg("30").stdin(Stdio::null());
            enter_on_exec(&mut command, net.as_fd(), None).unwrap();
            command.spawn().unwrap()
        });
        spawned.join().unwrap()
    });
    let died = ends(&PidWatch::open(child.id()).unwrap());
    kill_group(child.id(), Signal::TERM).unwrap();
    let status = child.wait().unwrap();
    assert!(died);
    assert_eq!(status.signal(), Some(Signal::KILL.as_raw()));
}

#[test]
fn a_group_is_killed_as_a_whole_and_a_watch_sees_it() {
    if !may_make_namespaces("a_group_is_killed_as_a_whole_and_a_watch_sees_it") {
        return;
    }
    let net = NetNs::create().unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "sleep 30 & echo ready; wait"]).stdout(Stdio::piped());
    enter_on_exec(&mut command, net.as_fd(), None).unwrap();
    let mut child = command.spawn().unwrap();
    let mut output = child.stdout.take().unwrap();
    output.read_exact(&mut [0; 6]).unwrap();
    let watch = PidWatch::open(child.id()).unwrap();
    assert!(!watch.exited());
    // Not our group, or the next line would end the test.
    let leader = Pid::from_raw(child.id().try_into().unwrap());
    assert_eq!(getpgid(leader).ok(), leader, "the command does not lead a group");

    kill_group(child.id(), Signal::TERM).unwrap();
    // The pipe ends only when both processes of the group are gone.
    assert_eq!(output.read_to_end(&mut Vec::new()).unwrap(), 0);
    assert_eq!(child.wait().unwrap().signal(), Some(Signal::TERM.as_raw()));
    assert!(watch.exited());
    kill_group(child.id(), Signal::TERM).expect("a group that is gone is no error");
}

/// Waits for a process to end, but not for ever, should it never.
fn ends(watch: &PidWatch) -> bool {
    let patience = Timespec { tv_sec: 10, tv_nsec: 0 };
    poll(&mut [PollFd::new(watch, PollFlags::IN)], Some(&patience)).unwrap() == 1
}
