//! A running switch.

use std::fmt::Debug;
use std::fs::{self, File};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::str::FromStr;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use vswitch_ports::netlink::Netlink;
use vswitch_ports::netns::NetNs;

use super::eventually;
use super::leftovers::{Belongings, MARK, marked_processes};
use super::place::Place;
use super::user::User;

/// A `vswitch run` of the built program, with a name, a folder and a control socket of its own. Killed when dropped.
pub(crate) struct Switch {
    pub(crate) place: Place,
    user: User,
    process: Child,
    before: Belongings,
}

/// How a switch ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Switch {
    /// Starts a switch and waits until all its ports are up. `text` is its configuration after `[switch]` and its name,
    /// so lines that precede the first header belong to `[switch]`.
    pub(crate) fn start(user: User, text: &str) -> Self {
        Self::launch(user, text, &[]).ready()
    }

    /// Starts a switch that may not come up. `arguments` follow the file.
    pub(crate) fn launch(user: User, text: &str, arguments: &[&str]) -> Self {
        let place = Place::new(user);
        let text = format!("[switch]\nname = \"{}\"\n{text}", place.name());
        place.write("vswitch.toml", &text);
        Self::launch_in(place, user, arguments)
    }

    /// Starts a switch on the `vswitch.toml` in `place`.
    pub(crate) fn launch_in(place: Place, user: User, arguments: &[&str]) -> Self {
        let before = Belongings::now();
        let mut command = command_in(&place, user);
        command.arg("run").arg(place.path("vswitch.toml")).args(arguments);
        Self { process: spawn(&place, command), place, user, before }
    }

    /// Starts a switch with `netns` for the host's network, whose interfaces it may use as uplinks. Root only.
    pub(crate) fn launch_at(netns: &NetNs, text: &str) -> Self {
        let place = Place::new(User::Root);
        place.write("vswitch.toml", &format!("[switch]\nname = \"{}\"\n{text}", place.name()));
        let before = Belongings::now();
        let mut command = command_in(&place, User::Root);
        command.arg("run").arg(place.path("vswitch.toml"));
        let process = netns.within(|| spawn(&place, command)).unwrap();
        Self { process, place, user: User::Root, before }
    }

    /// Runs another command in place of `vswitch run`; `"$VSWITCH"` and `"$FILE"` are the program and the configuration.
    pub(crate) fn launch_by(user: User, text: &str, shell: &str) -> Self {
        let place = Place::new(user);
        let file = place.write("vswitch.toml", &format!("[switch]\nname = \"{}\"\n{text}", place.name()));
        let before = Belongings::now();
        let mut command = Command::new("sh");
        command.args(["-c", shell]).env("VSWITCH", place.program()).env("FILE", file);
        environment(&mut command, &place);
        Self { process: spawn(&place, command), place, user, before }
    }

    /// Kills the switch as nothing else would: by SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts it once more, with the same name, folder and socket.
    pub(crate) fn launch_again(&mut self) {
        let mut command = command_in(&self.place, self.user);
        command.arg("run").arg(self.place.path("vswitch.toml"));
        self.process = spawn(&self.place, command);
    }

    /// Waits until all ports are up.
    #[track_caller]
    pub(crate) fn ready(self) -> Self {
        let waited = self.vswitch(&["status", "--wait", "60"]);
        assert!(waited.status.success(), "{}{}", text(&waited.stderr), self.stderr());
        self
    }

    /// Waits until it ends by itself, and asserts that nothing is left of it.
    pub(crate) fn ended(mut self) -> Ended {
        let process = &mut self.process;
        let status = eventually("the switch ends", || process.try_wait().unwrap());
        let ended = Ended { status, stdout: self.stdout(), stderr: self.stderr() };
        self.assert_nothing_left(status.signal() == Some(Signal::KILL.as_raw()));
        ended
    }

    /// Stops it as Ctrl-C does, and asserts that nothing is left of it.
    pub(crate) fn stop(self) -> Ended {
        self.stop_by(Signal::INT)
    }

    /// Sends it a signal, waits for its end, and asserts that nothing is left of it.
    pub(crate) fn stop_by(self, signal: Signal) -> Ended {
        self.send(signal);
        self.ended()
    }

    pub(crate) fn send(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }

    /// A client command for this switch, as its user.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command_in(&self.place, self.user);
        command.args(arguments);
        command
    }

    /// Runs a client command to its end.
    pub(crate) fn vswitch(&self, arguments: &[&str]) -> Output {
        self.command(arguments).stdin(Stdio::null()).output().unwrap()
    }

    /// The standard output of a client command that succeeds.
    #[track_caller]
    pub(crate) fn says(&self, arguments: &[&str]) -> String {
        let output = self.vswitch(arguments);
        assert!(output.status.success(), "{arguments:?}: {}{}", text(&output.stderr), self.stderr());
        text(&output.stdout)
    }

    /// What a client command prints with `--json`.
    #[track_caller]
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.says(&[arguments, &["--json"]].concat())).unwrap()
    }

    /// What it printed so far.
    pub(crate) fn stdout(&self) -> String {
        fs::read_to_string(self.place.path("stdout")).unwrap()
    }

    /// What it logged so far.
    pub(crate) fn stderr(&self) -> String {
        fs::read_to_string(self.place.path("stderr")).unwrap()
    }

    /// The namespace that is the host's to it.
    pub(crate) fn host(&self) -> NetNs {
        NetNs::of_pid(self.process.id()).unwrap()
    }

    /// The port to the outside.
    #[track_caller]
    pub(crate) fn uplink_port(&self) -> Value {
        let ports = self.json(&["show", "ports"]);
        let own = ports.as_array().unwrap().iter().find(|port| port["network"] == "uplink");
        own.unwrap_or_else(|| panic!("there is no uplink: {ports}")).clone()
    }

    /// A container's port, on its first network.
    #[track_caller]
    pub(crate) fn port(&self, container: &str) -> Value {
        let ports = self.json(&["show", "ports"]);
        let own = ports.as_array().unwrap().iter().find(|port| port["container"] == container);
        own.unwrap_or_else(|| panic!("{container} has no port: {ports}")).clone()
    }

    /// How many frames of a container were dropped for a reason.
    pub(crate) fn drops(&self, container: &str, reason: &str) -> u64 {
        let counters = self.json(&["show", "counters"]);
        let own = counters["ports"].as_array().unwrap().iter().filter(|port| port["container"] == container);
        own.filter_map(|port| port["drops"][reason].as_u64()).sum()
    }

    /// How many frames from outside, or for there, were dropped for a reason.
    pub(crate) fn uplink_drops(&self, reason: &str) -> u64 {
        let counters = self.json(&["show", "counters"]);
        let outside = counters["ports"].as_array().unwrap().iter().filter(|port| port["container"].is_null());
        outside.filter_map(|port| port["drops"][reason].as_u64()).sum()
    }

    /// Its IPv4 address on its first network.
    #[track_caller]
    pub(crate) fn ipv4(&self, container: &str) -> Ipv4Addr {
        address(&self.port(container)["ipv4_address"])
    }

    /// Its IPv6 address on its first network.
    #[track_caller]
    pub(crate) fn ipv6(&self, container: &str) -> Ipv6Addr {
        address(&self.port(container)["ipv6_address"])
    }

    /// Its MAC address on its first network.
    #[track_caller]
    pub(crate) fn mac(&self, container: &str) -> [u8; 6] {
        let text = self.port(container)["mac_address"].as_str().unwrap().to_owned();
        let bytes: Vec<u8> = text.split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
        bytes.try_into().unwrap()
    }

    /// Runs `work` in a container's network namespace; sockets it returns stay there.
    #[track_caller]
    pub(crate) fn within<T: Send>(&self, container: &str, work: impl FnOnce() -> T + Send) -> T {
        self.netns(container).within(work).unwrap()
    }

    /// Changes the interfaces of a container from inside.
    #[track_caller]
    pub(crate) fn rewire<T: Send>(
        &self,
        container: &str,
        change: impl FnOnce(&mut Netlink) -> vswitch_ports::Result<T> + Send,
    ) -> T {
        self.within(container, || Netlink::open().and_then(|mut netlink| change(&mut netlink))).unwrap()
    }

    /// The paths of a container's namespaces.
    #[track_caller]
    pub(crate) fn namespaces(&self, container: &str) -> Value {
        self.json(&["container", "inspect", container])["namespaces"].clone()
    }

    /// A container's network namespace.
    #[track_caller]
    pub(crate) fn netns(&self, container: &str) -> NetNs {
        let path = self.namespaces(container)["net"]
            .as_str()
            .unwrap_or_else(|| panic!("{container} is down"))
            .to_owned();
        NetNs::open_path(Path::new(&path)).unwrap()
    }

    fn assert_nothing_left(&self, was_killed: bool) {
        let mark = self.place.name();
        // A killed process is not gone before its parent, which may be the host's init, buried it.
        let gone = || marked_processes(mark).is_empty().then_some(());
        eventually(&format!("processes end: {:?}", marked_processes(mark)), gone);
        self.before.assert_nothing_more();
        // After SIGKILL nobody is left to remove the socket's file; the next switch replaces it.
        assert!(was_killed || !self.socket().exists(), "the control socket is left");
    }

    pub(crate) fn socket(&self) -> PathBuf {
        socket_in(&self.place)
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        if self.process.try_wait().is_ok_and(|status| status.is_none()) {
            if std::thread::panicking() {
                eprintln!("--- the switch said\n{}{}", self.stdout(), self.stderr());
            }
            // In order, so that what it started ends too; a test that fails need not wait for more.
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
        for (pid, _) in marked_processes(self.place.name()) {
            let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
            let _ = pid.map(|pid| kill_process(pid, Signal::KILL));
        }
    }
}

/// The built program, run as `user` with the control socket of `place`.
pub(crate) fn command_in(place: &Place, user: User) -> Command {
    let mut command = Command::new(place.program());
    environment(&mut command, place);
    user.run(&mut command);
    command
}

fn environment(command: &mut Command, place: &Place) {
    command
        .env(MARK, place.name())
        .env("VSWITCH_SOCKET", socket_in(place))
        .env("XDG_RUNTIME_DIR", place.private())
        .env("HOME", place.private())
        // Ours may lead to folders closed to the other user.
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env_remove("VSWITCH_LOG")
        .current_dir("/");
}

/// Output goes to files, which no reader has to keep empty.
fn spawn(place: &Place, mut command: Command) -> Child {
    let file = |name| File::create(place.path(name)).unwrap();
    command.stdin(Stdio::null()).stdout(file("stdout")).stderr(file("stderr")).spawn().unwrap()
}

fn socket_in(place: &Place) -> PathBuf {
    place.private().join("control.sock")
}

/// An address without its prefix length.
fn address<T: FromStr<Err: Debug>>(value: &Value) -> T {
    value.as_str().unwrap().split('/').next().unwrap().parse().unwrap()
}

/// Output as text.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
