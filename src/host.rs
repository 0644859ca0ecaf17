//! What the switch wants to know of the host it runs on.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use vswitch_config::DEFAULT_EPHEMERAL_PORTS;
use vswitch_config::model::NetnsRef;
use vswitch_ports::netns::NetNs;

/// A number that is the same whenever this machine runs, and another on another: the start of its machine id.
/// Names IPv6 prefixes. 0 where the machine has none.
pub(crate) fn machine_seed() -> u64 {
    let id = fs::read_to_string("/etc/machine-id").unwrap_or_default();
    id.get(..16).and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or(0)
}

/// A number nobody can guess, for hash tables: the standard library's per-process random hash keys.
pub(crate) fn random_seed() -> u64 {
    RandomState::new().hash_one(std::process::id())
}

/// The ports the host takes for connections of its own, first and last, which free host ports come from too.
pub(crate) fn ephemeral_ports() -> (u16, u16) {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut ports = text.split_whitespace().map(str::parse);
    match (ports.next(), ports.next()) {
        (Some(Ok(first)), Some(Ok(last))) if 0 < first && first <= last => (first, last),
        _ => DEFAULT_EPHEMERAL_PORTS,
    }
}

/// The ports of that range which the host keeps for somebody; none where it does not say.
pub(crate) fn reserved_ports() -> Vec<RangeInclusive<u16>> {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_reserved_ports").unwrap_or_default();
    port_ranges(&text)
}

/// As the kernel writes a set of ports: `8080,9148-9150`.
fn port_ranges(text: &str) -> Vec<RangeInclusive<u16>> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse().ok()?..=last.parse().ok()?)
    };
    text.trim().split(',').filter_map(range).collect()
}

/// The host's resolver configuration, empty where it has none.
pub(crate) fn resolv_conf() -> String {
    fs::read_to_string("/etc/resolv.conf").unwrap_or_default()
}

/// Where the namespace that a configuration names is.
pub(crate) fn netns_path(reference: &NetnsRef) -> PathBuf {
    match reference {
        NetnsRef::Name(name) => Path::new("/run/netns").join(name),
        NetnsRef::Path(path) => path.clone(),
        NetnsRef::Pid(pid) => PathBuf::from(format!("/proc/{pid}/ns/net")),
    }
}

/// Whether that namespace is there now; why not, in words that stand under its name in the configuration.
pub(crate) fn netns_exists(reference: &NetnsRef) -> Result<(), String> {
    let path = netns_path(reference);
    if NetNs::identity_of_path(&path).is_some() {
        return Ok(());
    }
    Err(match reference {
        NetnsRef::Name(name) => format!("no such namespace; `ip netns add {name}` makes it"),
        NetnsRef::Path(path) if path.exists() => "this is not a network namespace".to_owned(),
        NetnsRef::Path(_) => "there is no such file".to_owned(),
        NetnsRef::Pid(_) => "no such process, or its namespaces are not yours to see".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_ports_are_read_as_the_kernel_writes_them() {
        assert_eq!(port_ranges("8080,9148-9150\n"), [8080..=8080, 9148..=9150]);
        assert_eq!(port_ranges("\n"), []);
    }
}
