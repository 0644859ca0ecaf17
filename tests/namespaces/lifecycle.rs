//! How a switch starts and ends: in order, killed, refused, with nothing left behind in any case.

use std::fs;
use std::path::PathBuf;

use rustix::process::Signal;

use super::support::eventually;
use super::support::leftovers::marked_processes;
use super::support::switch::Switch;
use super::support::user::User;

scenarios! {
    by_commands: [
        sigint_and_sigterm_leave_nothing,
        sigkill_leaves_nothing,
        a_second_switch_on_the_socket_is_refused,
        a_stale_socket_is_replaced,
        a_signal_during_start_up_stops_in_order,
        a_switch_of_nothing,
        a_hundred_containers,
    ],
}

/// One command ends on SIGTERM, one ignores it, and one has a grandchild in a session of its own.
const COMMANDS: &str = r#"
    [networks.lan]
    [containers.polite]
    networks = ["lan"]
    command = ["sleep", "1000"]
    [containers.fatherly]
    networks = ["lan"]
    command = ["sh", "-c", "setsid sleep 1001 & setsid sleep 1002 & wait"]
"#;

const PLAIN: &str = r#"
    [networks.lan]
    [containers]
    one.networks = ["lan"]
    other.networks = ["lan"]
"#;

fn sigint_and_sigterm_leave_nothing(user: User) {
    for signal in [Signal::INT, Signal::TERM] {
        let switch = Switch::start(user, COMMANDS);
        wait_for_commands(&switch);
        let ended = switch.stop_by(signal);
        assert_eq!(ended.status.code(), Some(0), "{signal:?}: {}", ended.stderr);
    }
}

/// The commands die with the switch, and namespaces and taps with the last descriptor.
fn sigkill_leaves_nothing(user: User) {
    let text = r#"
        [networks.lan]
        [containers.one]
        networks = ["lan"]
        command = ["sleep", "1000"]
        [containers.other]
        networks = ["lan"]
        command = ["sh", "-c", "trap '' TERM INT HUP; while sleep 1; do :; done"]
    "#;
    let switch = Switch::start(user, text);
    let containers = switch.json(&["container", "ls"]);
    let pids: Vec<_> =
        containers.as_array().unwrap().iter().map(|one| one["pid"].as_u64().unwrap()).collect();
    let namespaces: Vec<_> = pids.iter().filter_map(|pid| namespace_of(&pid.to_string())).collect();
    let holders = || {
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let holders = processes.filter_map(|process| namespace_of(process.file_name().to_str()?));
        holders.filter(|namespace| namespaces.contains(namespace)).count()
    };
    assert!(namespaces.len() == 2 && holders() >= 2, "{namespaces:?}");
    let ended = switch.stop_by(Signal::KILL);
    assert_eq!(ended.status.code(), None);
    eventually("nobody is in the namespaces", || (holders() == 0).then_some(()));
}

fn a_second_switch_on_the_socket_is_refused(user: User) {
    let switch = Switch::start(user, COMMANDS);
    let second = switch.vswitch(&["run", switch.place.path("vswitch.toml").to_str().unwrap()]);
    assert_eq!(second.status.code(), Some(1));
    let said = String::from_utf8(second.stderr).unwrap();
    assert!(said.contains("running already") && said.contains(switch.socket().to_str().unwrap()), "{said}");
    // The first one is none the worse.
    switch.says(&["status", "--wait", "60"]);
    assert_eq!(switch.says(&["exec", "polite", "--", "echo", "hello"]), "hello\n");
    switch.stop();
}

fn a_stale_socket_is_replaced(user: User) {
    let mut switch = Switch::start(user, PLAIN);
    let first = switch.json(&["status"])["pid"].clone();
    switch.kill();
    assert!(switch.socket().exists(), "nobody was left to remove it");
    switch.launch_again();
    let switch = switch.ready();
    assert_ne!(switch.json(&["status"])["pid"], first);
    switch.stop();
}

fn a_signal_during_start_up_stops_in_order(user: User) {
    let containers: String = (0..60).map(|number| format!("c{number}.networks = [\"lan\"]\n")).collect();
    let switch = Switch::launch(user, &format!("[networks.lan]\n[containers]\n{containers}"), &[]);
    // The first thing it makes, when it listens to signals already and to nothing else yet.
    eventually("the socket is there", || switch.socket().exists().then_some(()));
    let ended = switch.stop();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
}

fn a_switch_of_nothing(user: User) {
    let switch = Switch::start(user, "");
    let status = switch.json(&["status"]);
    assert_eq!((&status["ports"], &status["ready"]), (&0.into(), &true.into()));
    assert_eq!(switch.json(&["network", "ls"]), serde_json::json!([]));
    switch.stop();
}

fn a_hundred_containers(user: User) {
    let containers: String = (0..100).map(|number| format!("c{number}.networks = [\"lan\"]\n")).collect();
    let switch = Switch::start(user, &format!("[networks.lan]\n[containers]\n{containers}"));
    assert_eq!(switch.json(&["status"])["ports_up"], 100);
    assert_eq!(switch.says(&["exec", "c99", "--", "cat", "/etc/hostname"]), "c99\n");
    switch.stop();
}

/// Both of [`COMMANDS`] run, the grandchildren too.
fn wait_for_commands(switch: &Switch) {
    eventually("the commands run", || {
        let running = marked_processes(switch.place.name());
        let runs = |words: &str| running.iter().any(|(_, command)| command.trim_end() == words);
        ["sleep 1000", "sleep 1001", "sleep 1002"].into_iter().all(runs).then_some(())
    });
}

/// Which network namespace a process is in.
fn namespace_of(pid: &str) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/ns/net")).ok()
}
