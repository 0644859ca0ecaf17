//! What processes in a container's view see, and that the host sees nothing of it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at its first surprise"
)]

mod privilege;

use std::fs;
use std::os::fd::AsFd;
use std::process::{Command, Stdio};

use privilege::may_make_namespaces;
use vswitch_ports::netlink::Netlink;
use vswitch_ports::netns::NetNs;
use vswitch_ports::process::enter_on_exec;
use vswitch_ports::view::{ContainerView, ViewFiles};

const FILES: ViewFiles<'_> = ViewFiles { hosts: "10.9.0.2 web\n", resolv_conf: "nameserver 10.9.0.1\n" };

/// What a shell inside says.
fn inside(net: &NetNs, view: &ContainerView, script: &str) -> String {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script]).stderr(Stdio::inherit());
    enter_on_exec(&mut command, net.as_fd(), Some(view)).unwrap();
    let output = command.output().unwrap();
    assert!(output.status.success(), "{script}: {}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

fn host_state() -> (String, Vec<String>, String) {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let etc = ["/etc/hosts", "/etc/resolv.conf", "/etc/hostname"];
    let contents = etc.iter().map(|path| fs::read_to_string(path).unwrap_or_default()).collect();
    (mounts, contents, fs::read_to_string("/proc/sys/kernel/hostname").unwrap())
}

#[test]
fn a_container_sees_its_files_and_name_and_the_host_sees_nothing() {
    if !may_make_namespaces("a_container_sees_its_files_and_name_and_the_host_sees_nothing") {
        return;
    }
    let before = host_state();
    let net = NetNs::create().unwrap();
    let view = ContainerView::create(&net, "web", &FILES).unwrap();
    let exists = |path: &&str| fs::exists(path).unwrap();
    let etc = ["/etc/hosts", "/etc/resolv.conf", "/etc/hostname"];
    let missing: Vec<_> = etc.into_iter().filter(|path| !exists(path)).collect();
    assert_eq!(view.unbound(), missing, "what the host does not have cannot be covered");

    for (path, expected) in etc.into_iter().zip([FILES.hosts, FILES.resolv_conf, "web\n"]) {
        if exists(&path) {
            assert_eq!(inside(&net, &view, &format!("cat {path}")), expected, "{path}");
        }
    }
    assert_eq!(inside(&net, &view, "uname -n"), "web\n");
    assert_eq!(host_state(), before);
    drop(view);
    assert_eq!(host_state(), before);
}

#[test]
fn the_files_can_be_rewritten_while_the_container_runs() {
    if !may_make_namespaces("the_files_can_be_rewritten_while_the_container_runs") {
        return;
    }
    let net = NetNs::create().unwrap();
    let view = ContainerView::create(&net, "web", &FILES).unwrap();
    for text in ["10.9.0.2 web\n10.9.0.3 database with a longer line\n", "x\n", ""] {
        view.write_hosts(text).unwrap();
        view.write_resolv_conf(text).unwrap();
        assert_eq!(inside(&net, &view, "cat /etc/hosts"), text);
        assert_eq!(inside(&net, &view, "cat /etc/resolv.conf"), text);
    }
}

#[test]
fn sys_shows_the_interfaces_of_the_container() {
    if !may_make_namespaces("sys_shows_the_interfaces_of_the_container") {
        return;
    }
    let net = NetNs::create().unwrap();
    net.within(|| Netlink::open().unwrap().create_veth("inside0", "inside1", None)).unwrap().unwrap();
    let view = ContainerView::create(&net, "web", &FILES).unwrap();
    assert_eq!(inside(&net, &view, "ls /sys/class/net | grep -v bonding_masters"), "inside0\ninside1\nlo\n");
    // Control groups are where they were.
    let host: Vec<_> = fs::read_dir("/sys/fs/cgroup").unwrap().collect();
    assert_eq!(inside(&net, &view, "ls /sys/fs/cgroup | wc -l").trim(), host.len().to_string());
}

#[test]
fn the_working_directory_and_the_rest_of_the_file_system_are_the_hosts() {
    if !may_make_namespaces("the_working_directory_and_the_rest_of_the_file_system_are_the_hosts") {
        return;
    }
    let net = NetNs::create().unwrap();
    let view = ContainerView::create(&net, "web", &FILES).unwrap();
    let here = std::env::current_dir().unwrap();
    assert_eq!(inside(&net, &view, "pwd -P").trim(), here.to_str().unwrap());
    let count = |path: &str| fs::read_dir(path).unwrap().count().to_string();
    assert_eq!(inside(&net, &view, "ls -A /etc | wc -l").trim(), count("/etc"), "the scratch mount is gone");

    let mut gone = Command::new("/bin/sh");
    gone.args(["-c", "pwd -P"]).current_dir("/tmp");
    enter_on_exec(&mut gone, net.as_fd(), Some(&view)).unwrap();
    assert_eq!(gone.output().unwrap().stdout, b"/tmp\n");
}

#[test]
fn a_host_name_too_long_is_an_error_that_names_it() {
    if !may_make_namespaces("a_host_name_too_long_is_an_error_that_names_it") {
        return;
    }
    let long = "x".repeat(65);
    let error = ContainerView::create(&NetNs::create().unwrap(), &long, &FILES).unwrap_err();
    assert!(error.to_string().contains(&long), "{error}");
}
