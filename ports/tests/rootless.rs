//! The road of `vswitch run` and `vswitch exec`, in processes of one thread, which entering a user namespace takes (and
//! so the test harness, which has several, is not used): once as root and once as an ordinary user.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at its first surprise"
)]

mod wires;

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use vswitch_ports::Error;
use vswitch_ports::netlink::{InterfaceSettings, Netlink};
use vswitch_ports::netns::NetNs;
use vswitch_ports::process::{enter_on_exec, exec_in};
use vswitch_ports::userns::{enter_user_namespace, is_root};
use vswitch_ports::veth::Wiring;
use vswitch_ports::view::{ContainerView, NamespacePaths, ViewFiles};

/// An ordinary user; the number need not have a name.
const USER: u32 = 1000;
const HOSTS: &str = "10.7.0.2 right\n";

fn main() {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    match arguments.first().and_then(|first| first.to_str()) {
        Some("--switch") => hold_a_container(),
        Some("--exec") => exec_into(&arguments[1..]),
        // `cargo test -- --list` and names of other tests.
        Some(filter) if filter == "--list" || !(filter.starts_with('-') || "rootless".contains(filter)) => {}
        _ => test(),
    }
}

fn test() {
    let binary = Binary::copy();
    if rustix::process::geteuid().is_root() {
        run_and_exec(&binary, Some(0), &[Some(0)]);
        // The real root may join an ordinary user's container, too.
        run_and_exec(&binary, Some(USER), &[Some(USER), Some(0)]);
    } else {
        eprintln!("SKIPPED: the same as root needs root");
        run_and_exec(&binary, None, &[None]);
    }
}

/// Starts a process that holds a container as user `owner`, and executes commands in it as each of `users`.
fn run_and_exec(binary: &Binary, owner: Option<u32>, users: &[Option<u32>]) {
    let mut switch = Switch::start(binary, owner);
    let first = switch.line();
    if let Some(reason) = first.strip_prefix("FORBIDDEN ") {
        eprintln!("SKIPPED: an ordinary user's container: {reason}");
        return;
    }
    assert_eq!(first, "talked");
    assert_eq!(switch.line(), format!("outside {}", owner.unwrap_or(rustix::process::geteuid().as_raw())));
    let paths: Vec<String> = switch.line().split('\t').map(str::to_owned).collect();

    for user in users {
        let run = |command: &[&str]| {
            let output = binary.command(*user, "--exec").args(&paths).args(command).output().unwrap();
            (output.status.code(), String::from_utf8(output.stdout).unwrap(), output.stderr)
        };
        let script =
            "cat /etc/hosts; uname -n; readlink /proc/self/ns/net; id -u; grep -c eth0 /proc/net/dev; pwd -P";
        let (status, said, errors) = run(&["sh", "-c", script]);
        assert_eq!(status, Some(0), "{}", String::from_utf8_lossy(&errors));
        let namespace = fs::read_link(&paths[1]).unwrap();

        let expected = format!("{HOSTS}right\n{}\n0\n1\n/\n", namespace.to_str().unwrap());
        assert_eq!(said, expected, "as user {user:?} in a container of {owner:?}");

        assert_eq!(run(&["sh", "-c", "exit 42"]).0, Some(42));
        let (status, _, errors) = run(&["vswitch-no-such-command"]);
        assert_eq!(status, Some(127));
        assert!(String::from_utf8(errors).unwrap().contains("vswitch-no-such-command"));
        assert_eq!(run(&["/etc/hosts"]).0, Some(126));
    }

    let held = switch.end();
    let (status, _, errors) = {
        let output = binary.command(owner, "--exec").args(&paths).arg("true").output().unwrap();
        (output.status.code(), output.stdout, String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(status, Some(1));
    assert!(errors.contains("the switch that held it is gone"), "{errors}");
    assert!(held, "the holder ends without complaint");
}

/// `--switch`: makes two joined containers, proves that they talk, says where one is, and holds it until stdin ends.
fn hold_a_container() {
    let mut outside = rustix::process::geteuid().as_raw();
    if !is_root() {
        match enter_user_namespace() {
            Ok(before) => outside = before.uid,
            Err(error @ Error::NoUserNamespaces { .. }) => return println!("FORBIDDEN {error}"),
            Err(error) => panic!("{error}"),
        }
        assert!(is_root());
    }
    let (left, right) = (NetNs::create().unwrap(), NetNs::create().unwrap());
    let joined = left.within(|| Netlink::open()?.create_veth("eth0", "eth0", Some(right.as_fd())));
    joined.unwrap().unwrap();
    for (netns, address) in [(&left, "10.7.0.1/24"), (&right, "10.7.0.2/24")] {
        let settings = InterfaceSettings {
            name: "eth0".to_owned(),
            mac: None,
            mtu: 1500,
            txqueuelen: Some(10_000),
            addresses: vec![address.parse().unwrap()],
            default_gateways: vec!["10.7.0.254".parse().unwrap()],
            on_link: Vec::new(),
            ipv6: false,
            link_local: true,
            accept_ra: false,
            arp: true,
            loopback: true,
        };
        netns.within(|| Netlink::open()?.configure_interface(&settings)).unwrap().unwrap();
    }
    let files = ViewFiles { hosts: HOSTS, resolv_conf: "nameserver 10.7.0.254\n" };
    let view = ContainerView::create(&right, "right", &files).unwrap();
    greet(&left, &right);
    joined_by_our_veths(&left, &right);

    let mut command = Command::new("cat");
    command.arg("/etc/hosts");
    enter_on_exec(&mut command, right.as_fd(), Some(&view)).unwrap();
    assert_eq!(command.output().unwrap().stdout, HOSTS.as_bytes());

    let paths = view.namespaces(&right);
    let user = paths.user.unwrap();
    let paths = [&user, &paths.net, &paths.mount, &paths.uts].map(|path| path.to_str().unwrap());
    println!("talked\noutside {outside}\n{}", paths.join("\t"));
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

/// Joins the two by veth ports too: packet sockets need no root on the host.
fn joined_by_our_veths(left: &NetNs, right: &NetNs) {
    let wiring = Wiring::create().unwrap();
    let mut ends =
        [(left, "left", "10.8.0.1/24"), (right, "right", "10.8.0.2/24")].map(|(netns, end, address)| {
            netns
                .within(|| {
                    wiring.connect(&wires::settings("eth1", &[address]), end, 1).unwrap().pop().unwrap()
                })
                .unwrap()
        });
    // Nobody need be asked for a MAC address to send a broadcast.
    left.within(|| {
        let socket = std::net::UdpSocket::bind("10.8.0.1:0").unwrap();
        socket.set_broadcast(true).unwrap();
        socket.send_to(b"by veth", "10.8.0.255:9").unwrap();
    })
    .unwrap();
    let is_it = |frame: &&Vec<u8>| frame.ends_with(b"by veth");
    let arrived = wires::hear(&mut ends[0], |heard| heard.iter().any(|frame| is_it(&frame)));
    wires::send(&mut ends[1], arrived.iter().find(is_it).unwrap());
}

/// `--exec USER NET MOUNT UTS COMMAND…`
fn exec_into(arguments: &[OsString]) {
    let path = |position: usize| PathBuf::from(&arguments[position]);
    let namespaces = NamespacePaths { user: Some(path(0)), net: path(1), mount: path(2), uts: path(3) };
    let error = exec_in(&namespaces, Command::new(&arguments[4]).args(&arguments[5..]));
    eprintln!("{error}");
    std::process::exit(error.exit_status().into());
}

fn greet(left: &NetNs, right: &NetNs) {
    let address: SocketAddr = "10.7.0.2:7000".parse().unwrap();
    let listener = right.within(|| TcpListener::bind(address)).unwrap().unwrap();
    let mut caller = left.within(|| TcpStream::connect(address)).unwrap().unwrap();
    caller.write_all(b"good day").unwrap();
    drop(caller);
    let mut heard = String::new();
    listener.accept().unwrap().0.read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "good day");
}

/// A copy of this program that every user can execute; gone when dropped.
struct Binary(PathBuf);

impl Binary {
    fn copy() -> Self {
        let directory = std::env::temp_dir().join(format!("vswitch-rootless-{}", std::process::id()));
        fs::create_dir(&directory).unwrap();
        let binary = Self(directory);
        fs::set_permissions(&binary.0, fs::Permissions::from_mode(0o755)).unwrap();
        fs::copy(std::env::current_exe().unwrap(), binary.path()).unwrap();
        fs::set_permissions(binary.path(), fs::Permissions::from_mode(0o755)).unwrap();
        binary
    }

    fn path(&self) -> PathBuf {
        self.0.join("rootless")
    }

    /// Runs it in a directory that every user can enter.
    fn command(&self, user: Option<u32>, mode: &str) -> Command {
        let mut command = Command::new(self.path());
        command.arg(mode).current_dir(Path::new("/"));
        if let Some(user) = user {
            command.uid(user).gid(user);
        }
        command
    }
}

impl Drop for Binary {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// A running `--switch`. It ends with its stdin, and so with us.
struct Switch {
    process: Child,
    output: BufReader<std::process::ChildStdout>,
}

impl Switch {
    fn start(binary: &Binary, user: Option<u32>) -> Self {
        let mut command = binary.command(user, "--switch");
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        Self { process, output }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Whether it ended well.
    fn end(mut self) -> bool {
        drop(self.process.stdin.take());
        self.process.wait().unwrap().success()
    }
}
