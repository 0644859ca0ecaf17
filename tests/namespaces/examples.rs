//! The examples do what they say, where they need more than to be started. Those that change the host run in a network
//! namespace that is the host to them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use vswitch_ports::netns::NetNs;
use vswitch_ports::userns;

use super::support::eventually;
use super::support::switch::Switch;
use super::support::user::User;

scenarios! {
    by_sockets: [a_published_server],
}

/// From the host the server sees the host, and from another container the switch.
fn a_published_server(user: User) {
    let world = match user {
        User::Root => "unshare --net",
        User::Ordinary if userns::is_root() => {
            concat!("setpriv --reuid=65534 --regid=65534 --clear-groups ", "unshare --map-root-user --net")
        }
        User::Ordinary => "unshare --map-root-user --net",
    };
    let shell = format!("exec {world} \"$VSWITCH\" run \"$FILE\"");
    let example = include_str!("../../examples/published.toml");
    let switch = Switch::launch_by(user, example, &shell).ready();
    eventually("the server is open", || switch.stdout().contains("open").then_some(()));

    let pid = switch.json(&["status"])["pid"].as_u64().unwrap();
    let host = NetNs::of_pid(u32::try_from(pid).unwrap()).unwrap();
    assert_eq!(host.within(ask).unwrap(), "hello, 100.64.0.1\n");
    eventually("the passer is answered", || {
        let printed = switch.stdout();
        printed
            .lines()
            .any(|line| line.starts_with("passer") && line.contains("hello, 100.64.0.2"))
            .then_some(())
    });
    let ended = switch.stop();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
}

/// The last line of what the published server answers.
fn ask() -> String {
    let published = SocketAddr::from(([100, 64, 0, 2], 8080));
    let patience = Duration::from_secs(20);
    let mut connection = TcpStream::connect_timeout(&published, patience).unwrap();
    connection.set_read_timeout(Some(patience)).unwrap();
    connection.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    answer.lines().last().map(|line| format!("{line}\n")).unwrap_or_default()
}
