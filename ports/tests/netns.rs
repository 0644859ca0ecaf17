//! Network namespaces: made, entered, found, lost.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at its first surprise"
)]

mod privilege;

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use privilege::may_make_namespaces;
use rustix::mount::{UnmountFlags, mount_bind, unmount};
use vswitch_ports::Error;
use vswitch_ports::netns::NetNs;

/// A file in the temporary directory on which a namespace can be mounted; unmounted and removed in the end.
struct MountPoint(PathBuf);

impl MountPoint {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("vswitch-test-{}-{name}", std::process::id()));
        File::create(&path).unwrap();
        Self(path)
    }
}

impl Drop for MountPoint {
    fn drop(&mut self) {
        // Not mounted (any more) in some tests.
        let _unmounted = unmount(&self.0, UnmountFlags::DETACH);
        std::fs::remove_file(&self.0).unwrap();
    }
}

fn interfaces() -> Vec<String> {
    let table = std::fs::read_to_string("/proc/thread-self/net/dev").unwrap();
    table.lines().skip(2).map(|line| line.split(':').next().unwrap().trim().to_owned()).collect()
}

#[test]
fn work_happens_inside_and_the_caller_stays_outside() {
    if !may_make_namespaces("work_happens_inside_and_the_caller_stays_outside") {
        return;
    }
    let before = NetNs::current().unwrap().identity();
    let (one, two) = (NetNs::create().unwrap(), NetNs::create().unwrap());
    assert_ne!(one.identity(), two.identity());
    assert_ne!(one.identity(), before);

    let (inside, seen) = one.within(|| (NetNs::current().unwrap().identity(), interfaces())).unwrap();
    assert_eq!(inside, one.identity());
    assert_eq!(seen, ["lo"]);

    // A namespace inside a namespace.
    let nested = one.within(|| two.within(|| NetNs::current().unwrap().identity()).unwrap()).unwrap();
    assert_eq!(nested, two.identity());
    assert_eq!(NetNs::current().unwrap().identity(), before);
}

#[test]
fn a_panic_inside_goes_on_outside() {
    if !may_make_namespaces("a_panic_inside_goes_on_outside") {
        return;
    }
    let before = NetNs::current().unwrap().identity();
    let netns = NetNs::create().unwrap();
    let caught = std::panic::catch_unwind(|| netns.within(|| panic!("inside")));
    assert_eq!(caught.unwrap_err().downcast_ref::<&str>(), Some(&"inside"));
    assert_eq!(NetNs::current().unwrap().identity(), before);
}

#[test]
fn a_namespace_is_found_by_path_and_pid() {
    if !may_make_namespaces("a_namespace_is_found_by_path_and_pid") {
        return;
    }
    let netns = NetNs::create().unwrap();
    assert_eq!(NetNs::open_path(&netns.path()).unwrap().identity(), netns.identity());
    assert_eq!(NetNs::identity_of_path(&netns.path()), Some(netns.identity()));
    let own = NetNs::of_pid(std::process::id()).unwrap();
    assert_eq!(own.identity(), NetNs::current().unwrap().identity());
}

#[test]
fn a_namespace_that_vanishes_and_is_replaced_is_noticed() {
    if !may_make_namespaces("a_namespace_that_vanishes_and_is_replaced_is_noticed") {
        return;
    }
    let point = MountPoint::new("replaced");
    assert_eq!(NetNs::identity_of_path(&point.0), None, "a plain file is no namespace");

    let first = NetNs::create().unwrap();
    mount_bind(first.path(), &point.0).unwrap();
    assert_eq!(NetNs::identity_of_path(&point.0), Some(first.identity()));
    assert_eq!(NetNs::open_path(&point.0).unwrap().identity(), first.identity());

    unmount(&point.0, UnmountFlags::DETACH).unwrap();
    assert_eq!(NetNs::identity_of_path(&point.0), None);

    let second = NetNs::create().unwrap();
    mount_bind(second.path(), &point.0).unwrap();
    assert_eq!(NetNs::identity_of_path(&point.0), Some(second.identity()));
    assert_ne!(first.identity(), second.identity());
}

#[test]
fn what_is_no_network_namespace_is_refused_by_what_it_is() {
    let refusal = |path: &str| match NetNs::open_path(Path::new(path)) {
        Err(Error::NotANetworkNamespace { found, .. }) => found,
        other => panic!("{path}: {other:?}"),
    };
    assert_eq!(refusal("/proc/self/ns/mnt"), "a mount namespace");
    assert_eq!(refusal("/proc/self/ns/user"), "a user namespace");
    assert_eq!(refusal("/dev/null"), "something that is no namespace");
    assert_eq!(refusal("/etc"), "something that is no namespace");
}

#[test]
fn opening_a_fifo_does_not_wait_for_a_writer() {
    let fifo = std::env::temp_dir().join(format!("vswitch-test-{}-fifo", std::process::id()));
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RWXU).unwrap();
    let (send, opened) = std::sync::mpsc::channel();
    let path = fifo.clone();
    std::thread::spawn(move || send.send(NetNs::open_path(&path)));
    let opened = opened.recv_timeout(std::time::Duration::from_secs(10));
    std::fs::remove_file(&fifo).unwrap();
    let error = opened.expect("it should not wait").unwrap_err();
    assert!(matches!(error, Error::NotANetworkNamespace { .. }), "{error}");
}

#[test]
fn a_namespace_that_does_not_exist_is_an_error_with_advice() {
    let message = |result: vswitch_ports::Result<NetNs>| match result {
        Err(error @ Error::NoSuchNamespace { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    };
    assert!(message(NetNs::open_name("vswitch-no-such")).contains("ip netns add"));
    assert!(message(NetNs::open_path(Path::new("/run/netns/vswitch-no-such"))).contains("netns = \"new\""));
    assert!(message(NetNs::of_pid(u32::MAX)).contains("of process 4294967295"));
    // A name is no path.
    for name in ["", ".", "..", "../netns", "a/b"] {
        message(NetNs::open_name(name));
    }
}

#[test]
fn a_namespace_lives_as_long_as_it_is_open() {
    if !may_make_namespaces("a_namespace_lives_as_long_as_it_is_open") {
        return;
    }
    let netns = NetNs::create().unwrap();
    let path = netns.path();
    assert!(path.ends_with(format!("fd/{}", std::os::fd::AsFd::as_fd(&netns).as_raw_fd())));
    assert!(netns.within(|| ()).is_ok());
    drop(netns);
    // Another test may have been given the same descriptor number meanwhile, though hardly for the same namespace.
    assert!(!matches!(NetNs::open_path(&path), Ok(found) if found.path() == path));
}
