//! Who runs the switch.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::Command;

use vswitch_ports::userns;

/// The user a switch runs as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum User {
    /// The tests' own user, who is root.
    Root,
    /// A user without any privilege: without even an account, or the tests' own user where that is not root.
    Ordinary,
}

/// A user id and group id that own nothing: `nobody` on Debian.
pub(crate) const NOBODY: u32 = 65534;

impl User {
    /// Makes `command` run as this user.
    pub(crate) fn run(self, command: &mut Command) {
        if self == Self::Ordinary && userns::is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
    }
}

/// Whether the tests are root, as entering foreign namespaces takes; says so loudly if not.
pub(crate) fn is_root(test: &str) -> bool {
    let root = userns::is_root();
    if !root {
        skip(&format!("{test} needs root"));
    }
    root
}

/// Reports a test that tests nothing here.
fn skip(why: &str) {
    assert!(std::env::var_os("VSWITCH_TESTS_MUST_NOT_SKIP").is_none(), "may not be skipped: {why}");
    // Not `eprintln`, which the test harness keeps to itself while a test passes.
    std::io::stderr().write_all(format!("SKIPPED: {why}\n").as_bytes()).unwrap();
}

/// Makes tests of scenarios: functions of a [`User`], run as `root::NAME` and as `rootless::NAME`.
///
/// - `by_sockets`: the test itself enters the containers' namespaces, for which it must be root, whoever runs the switch.
/// - `by_commands`: it uses the program's own commands only, so `rootless::NAME` runs without root.
/// - `as_root`: functions without argument that only root can have.
macro_rules! scenarios {
    (
        $(by_sockets: [$($socket:ident),* $(,)?],)?
        $(by_commands: [$($command:ident),* $(,)?],)?
        $(as_root: [$($only:ident),* $(,)?],)?
    ) => {
        mod root {
            use $crate::support::user::is_root;
            $($(#[test]
            fn $socket() {
                if is_root(concat!(module_path!(), "::", stringify!($socket))) {
                    super::$socket($crate::support::user::User::Root);
                }
            })*)?
            $($(#[test]
            fn $command() {
                if is_root(concat!(module_path!(), "::", stringify!($command))) {
                    super::$command($crate::support::user::User::Root);
                }
            })*)?
            $($(#[test]
            fn $only() {
                if is_root(concat!(module_path!(), "::", stringify!($only))) {
                    super::$only();
                }
            })*)?
        }
        mod rootless {
            $($(#[test]
            fn $socket() {
                if $crate::support::user::is_root(concat!(module_path!(), "::", stringify!($socket))) {
                    super::$socket($crate::support::user::User::Ordinary);
                }
            })*)?
            $($(#[test]
            fn $command() {
                super::$command($crate::support::user::User::Ordinary);
            })*)?
        }
    };
}
