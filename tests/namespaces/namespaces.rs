//! Where containers live: namespaces the switch makes, and namespaces of others, which come and go.

use std::process::{Child, Command, Stdio};

use vswitch_ports::netlink::Netlink;
use vswitch_ports::netns::NetNs;

use super::support::eventually;
use super::support::named_netns::NamedNetns;
use super::support::sockets::echo;
use super::support::switch::Switch;
use super::support::user::User;

scenarios! {
    by_sockets: [
        shared_namespaces,
        a_container_without_network,
    ],
    by_commands: [the_host_as_a_container],
    as_root: [
        four_ways_to_name_a_namespace,
        a_named_namespace_goes_and_comes_back,
        a_process_takes_its_namespace_along,
        what_is_in_a_foreign_namespace_stays,
        an_interface_name_that_is_taken,
        a_later_failure_undoes_what_was_made,
        a_namespace_that_belongs_to_root,
    ],
}

const MEGABYTE: usize = 1 << 20;

fn four_ways_to_name_a_namespace() {
    let (named, by_path) = (NamedNetns::create("named"), NamedNetns::create("path"));
    let process = Inhabitant::start();
    let text = format!(
        r#"
        [networks.lan]
        [containers]
        new = {{ networks = ["lan"], netns = "new" }}
        named = {{ networks = ["lan"], netns = "{}" }}
        path = {{ networks = ["lan"], netns = "{}" }}
        pid = {{ networks = ["lan"], netns = {{ pid = {} }} }}
        "#,
        named.name,
        by_path.path().display(),
        process.pid(),
    );
    let switch = Switch::start(User::Root, &text);
    let names = ["new", "named", "path", "pid"];
    for (one, other) in [(0, 1), (1, 2), (2, 3), (3, 0)] {
        echo(&switch, (names[one], names[other]), switch.ipv4(names[other]), MEGABYTE);
    }
    assert!(has_interface(&NetNs::open_name(&named.name).unwrap(), "eth0"));
    switch.stop();
    for netns in [&named, &by_path] {
        assert!(!has_interface(&NetNs::open_path(&netns.path()).unwrap(), "eth0"), "the tap is gone");
    }
    assert!(!has_interface(&NetNs::of_pid(process.pid()).unwrap(), "eth0"), "the tap is gone");
}

fn a_named_namespace_goes_and_comes_back() {
    let netns = NamedNetns::create("comes-back");
    let switch = Switch::start(User::Root, &beside_home(&format!("\"{}\"", netns.name)));
    let number = switch.port("guest")["port"].clone();
    echo(&switch, ("home", "guest"), switch.ipv4("guest"), MEGABYTE);
    netns.delete();
    let port =
        eventually("the port is down", || Some(switch.port("guest")).filter(|port| port["up"] == false));
    assert!(port["reason"].as_str().unwrap().contains("gone"), "{port}");
    assert_eq!(switch.port("home")["up"], true);
    assert_eq!(switch.vswitch(&["exec", "guest", "--", "true"]).status.code(), Some(1));
    netns.mount();
    eventually("the port is up again", || (switch.port("guest")["up"] == true).then_some(()));
    assert_eq!(switch.port("guest")["port"], number, "it is the same port");
    echo(&switch, ("home", "guest"), switch.ipv4("guest"), MEGABYTE);
    echo(&switch, ("guest", "home"), switch.ipv4("home"), MEGABYTE);

    // Deleted and made again faster than anybody looks.
    netns.delete();
    netns.mount();
    eventually("the port is in the new namespace", || {
        let there = NetNs::open_name(&netns.name).ok()?;
        has_interface(&there, "eth0").then_some(())
    });
    eventually("the port is up again", || (switch.port("guest")["up"] == true).then_some(()));
    echo(&switch, ("home", "guest"), switch.ipv4("guest"), MEGABYTE);
    switch.stop();
}

fn a_process_takes_its_namespace_along() {
    let process = Inhabitant::start();
    let switch = Switch::start(User::Root, &beside_home(&format!("{{ pid = {} }}", process.pid())));
    echo(&switch, ("guest", "home"), switch.ipv4("home"), MEGABYTE);
    drop(process);
    eventually("the port is down", || (switch.port("guest")["up"] == false).then_some(()));
    assert_eq!(switch.port("home")["up"], true);
    switch.stop();
}

fn what_is_in_a_foreign_namespace_stays() {
    let netns = NamedNetns::create("furnished");
    let inside = NetNs::open_name(&netns.name).unwrap();
    inside.within(|| Netlink::open()?.create_bridge("br0")).unwrap().unwrap();
    let switch = Switch::start(User::Root, &beside_home(&format!("\"{}\"", netns.name)));
    echo(&switch, ("home", "guest"), switch.ipv4("guest"), 1000);
    switch.stop();
    assert!(has_interface(&inside, "br0"));
}

fn an_interface_name_that_is_taken() {
    let netns = NamedNetns::create("taken");
    let inside = NetNs::open_name(&netns.name).unwrap();
    inside.within(|| Netlink::open()?.create_bridge("eth0")).unwrap().unwrap();
    let switch = Switch::launch(User::Root, &beside_home(&format!("\"{}\"", netns.name)), &[]);
    let ended = switch.ended();
    assert_eq!(ended.status.code(), Some(1));
    for word in ["guest", "eth0", "free"] {
        assert!(ended.stderr.contains(word), "{word} is missing: {}", ended.stderr);
    }
    assert!(has_interface(&inside, "eth0"), "the other's interface is untouched");
}

/// The container that fails is the last of three that share its fate.
fn a_later_failure_undoes_what_was_made() {
    let (first, last) = (NamedNetns::create("first"), NamedNetns::create("last"));
    let [inside_first, inside_last] = [&first, &last].map(|netns| NetNs::open_name(&netns.name).unwrap());
    inside_last.within(|| Netlink::open()?.create_bridge("eth0")).unwrap().unwrap();
    let text = format!(
        r#"
        [networks.lan]
        [containers]
        a = {{ networks = ["lan"], netns = "{}", command = ["sleep", "1000"] }}
        b = {{ networks = ["lan"], command = ["sleep", "1000"] }}
        c = {{ networks = ["lan"], netns = "{}" }}
        "#,
        first.name, last.name
    );
    let ended = Switch::launch(User::Root, &text, &[]).ended();
    assert_eq!(ended.status.code(), Some(1));
    assert!(!has_interface(&inside_first, "eth0"), "what was made is unmade");
}

/// An ordinary user may not enter it, and is told so.
fn a_namespace_that_belongs_to_root() {
    let netns = NamedNetns::create("roots");
    let switch = Switch::launch(User::Ordinary, &beside_home(&format!("\"{}\"", netns.name)), &[]);
    let ended = switch.ended();
    assert_eq!(ended.status.code(), Some(1));
    assert!(ended.stderr.contains("guest") && ended.stderr.contains("as root"), "{}", ended.stderr);
}

fn shared_namespaces(user: User) {
    let text = r#"
        [networks.lan]
        [containers]
        home.networks = ["lan"]
        other.networks = ["lan"]
        side.network_mode = "container:home"
        further.network_mode = "container:side"
    "#;
    let switch = Switch::start(user, text);
    let inside = |name| switch.within(name, || NetNs::current().unwrap().identity());
    assert_eq!(inside("home"), inside("side"));
    assert_eq!(inside("home"), inside("further"));
    assert_ne!(inside("home"), inside("other"));
    echo(&switch, ("further", "other"), switch.ipv4("other"), MEGABYTE);
    echo(&switch, ("other", "side"), switch.ipv4("home"), MEGABYTE);
    assert_eq!(switch.json(&["show", "ports"]).as_array().unwrap().len(), 2);
    assert_eq!(switch.says(&["exec", "side", "--", "cat", "/etc/hostname"]), "home\n");
    switch.stop();
}

fn a_container_without_network(user: User) {
    let switch = Switch::start(user, "[containers.hermit]\nnetwork_mode = \"none\"");
    let links = switch.rewire("hermit", |netlink| netlink.list_links());
    let up: Vec<_> = links.iter().filter(|link| link.up).map(|link| link.name.as_str()).collect();
    assert_eq!(up, ["lo"]);
    echo(&switch, ("hermit", "hermit"), std::net::Ipv4Addr::LOCALHOST, MEGABYTE);
    assert_eq!(switch.json(&["container", "inspect", "hermit"])["state"], "none");
    switch.stop();
}

fn the_host_as_a_container(user: User) {
    let text = "[networks.lan]\n[containers]\nguest.networks = [\"lan\"]\nhost.network_mode = \"host\"";
    let switch = Switch::start(user, text);
    let host = std::fs::read_link("/proc/self/ns/net").unwrap();
    let inside = |name| switch.says(&["exec", name, "--", "readlink", "/proc/self/ns/net"]);
    assert_eq!(inside("host").trim_end(), host.to_str().unwrap());
    assert_ne!(inside("guest").trim_end(), host.to_str().unwrap());
    switch.stop();
}

/// A container of the switch's own, and one in the namespace given.
fn beside_home(netns: &str) -> String {
    format!(
        "[networks.lan]\n[containers]\nhome.networks = [\"lan\"]\nguest = {{ networks = [\"lan\"], netns = {netns} }}"
    )
}

fn has_interface(netns: &NetNs, name: &str) -> bool {
    let links = netns.within(|| Netlink::open()?.list_links()).unwrap().unwrap();
    links.iter().any(|link| link.name == name)
}

/// A process in a network namespace of its own. Ends when dropped.
struct Inhabitant(Child);

impl Inhabitant {
    fn start() -> Self {
        let mut unshare = Command::new("unshare");
        let child = unshare.args(["--net", "sleep", "1000"]).stdin(Stdio::null()).spawn().unwrap();
        let inhabitant = Self(child);
        let own = NetNs::current().unwrap().identity();
        eventually("it is in its namespace", || {
            let there = NetNs::of_pid(inhabitant.pid()).ok()?;
            (there.identity() != own).then_some(())
        });
        inhabitant
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Inhabitant {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
