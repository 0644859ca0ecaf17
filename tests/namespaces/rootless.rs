//! What an ordinary user meets: the examples work as they do for root, and where the host forbids something the
//! message names what, and the remedy.

use super::support::place::Place;
use super::support::switch::Switch;
use super::support::user::User;

/// Two containers; what they are does not matter, as the switch does not come up.
const PAIR: &str = "[networks.lan]\n[containers]\nleft.networks = [\"lan\"]\nright.networks = [\"lan\"]";

scenarios! {
    by_commands: [the_quickstart],
    as_root: [a_device_that_is_missing, a_device_that_is_closed_to_users, a_device_that_is_none],
}

fn the_quickstart(user: User) {
    let place = Place::new(user);
    place.write("vswitch.toml", include_str!("../../examples/quickstart.toml"));
    let switch = Switch::launch_in(place, user, &[]).ready();
    super::support::eventually("the containers speak", || {
        let printed = switch.stdout();
        let speakers: std::collections::BTreeSet<_> =
            printed.lines().filter_map(|line| line.split('|').next()).collect();
        (speakers.len() >= 2).then_some(())
    });
    let ended = switch.stop();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
}

/// No `/dev/net/tun`, as in a container without it: root is told as well.
fn a_device_that_is_missing() {
    for (user, become_user) in [(User::Root, ""), (User::Ordinary, SETPRIV)] {
        refused(
            user,
            "mount -t tmpfs none /dev/net",
            become_user,
            &["/dev/net/tun", "modprobe tun", "--device"],
        );
    }
}

/// Mode 0600, as on some servers.
fn a_device_that_is_closed_to_users() {
    let closed = "cp -a /dev/net/tun \"$XDG_RUNTIME_DIR/tun\" && chmod 0600 \"$XDG_RUNTIME_DIR/tun\" && \
         chown 0:0 \"$XDG_RUNTIME_DIR/tun\" && mount --bind \"$XDG_RUNTIME_DIR/tun\" /dev/net/tun";
    refused(User::Ordinary, closed, SETPRIV, &["/dev/net/tun", "chmod 0666 /dev/net/tun", "udev"]);
}

/// Some other file in its place.
fn a_device_that_is_none() {
    refused(User::Root, "mount --bind /dev/null /dev/net/tun", "", &["eth0", "left"]);
}

const SETPRIV: &str = "setpriv --reuid=65534 --regid=65534 --clear-groups";

/// Starts a switch after `change`, made in a mount namespace that nobody else sees, and expects it to fail with all `words`.
#[track_caller]
fn refused(user: User, change: &str, become_user: &str, words: &[&str]) {
    let inner = format!("{change} && exec {become_user} \"$VSWITCH\" run \"$FILE\"");
    let shell = format!("exec unshare --mount --propagation private sh -c '{inner}'");
    let ended = Switch::launch_by(user, PAIR, &shell).ended();
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    for word in words {
        assert!(ended.stderr.contains(word), "{word} is missing: {}", ended.stderr);
    }
}

/// In a user namespace whose own limit is 0; the host's setting is not touched.
#[test]
fn user_namespaces_are_forbidden() {
    let as_user = if vswitch_ports::userns::is_root() { SETPRIV } else { "" };
    // User 0 of the inner namespace, who may change its limit, is then stripped of all that user 0 may.
    let inner = "echo 0 > /proc/sys/user/max_user_namespaces && exec setpriv --securebits=+noroot --inh-caps=-all \
         --ambient-caps=-all --bounding-set=-all \"$VSWITCH\" run \"$FILE\"";
    let shell = format!("exec {as_user} unshare --user --map-root-user sh -c '{inner}'");
    let ended = Switch::launch_by(User::Ordinary, PAIR, &shell).ended();
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    for word in ["user namespace", "user.max_user_namespaces is 0", "sysctl -w user.max_user_namespaces="] {
        assert!(ended.stderr.contains(word), "{word} is missing: {}", ended.stderr);
    }
}
