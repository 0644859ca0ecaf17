//! What a switch must not leave on the host: processes, mounts, interfaces, names.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::named_netns;

/// The variable that marks the processes of a switch: their environment is inherited, whoever adopts them.
pub(crate) const MARK: &str = "VSWITCH_E2E_MARK";

/// What is on the host, apart from processes and from what other tests make at the same time.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Belongings {
    mounts: BTreeSet<String>,
    taps: BTreeSet<String>,
    netns_names: BTreeSet<String>,
}

impl Belongings {
    pub(crate) fn now() -> Self {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let mount_points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
        // The names of namespaces are mounts as well, and are looked at by name.
        let mount_points = mount_points.filter(|point| !point.starts_with("/run/netns")).map(str::to_owned);
        let interfaces = names_in("/sys/class/net").into_iter();
        Self {
            mounts: mount_points.collect(),
            taps: interfaces
                .filter(|name| Path::new("/sys/class/net").join(name).join("tun_flags").exists())
                .collect(),
            netns_names: names_in("/run/netns")
                .into_iter()
                .filter(|name| !name.starts_with(named_netns::PREFIX))
                .collect(),
        }
    }

    /// Fails if there is more now than there was.
    pub(crate) fn assert_nothing_more(&self) {
        let now = Self::now();
        let more = |before: &BTreeSet<String>, now: &BTreeSet<String>| -> Vec<String> {
            now.difference(before).cloned().collect()
        };
        assert_eq!(more(&self.mounts, &now.mounts), Vec::<String>::new(), "mounts are left");
        assert_eq!(more(&self.taps, &now.taps), Vec::<String>::new(), "interfaces are left");
        assert_eq!(
            more(&self.netns_names, &now.netns_names),
            Vec::<String>::new(),
            "names of namespaces are left"
        );
    }
}

/// The living processes that carry a mark, as pid and command.
pub(crate) fn marked_processes(mark: &str) -> Vec<(u32, String)> {
    let wanted = format!("{MARK}={mark}");
    let carries = |pid: &u32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes())
    };
    let command = |pid: u32| {
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        (pid, String::from_utf8_lossy(&words).replace('\0', " "))
    };
    names_in("/proc").iter().filter_map(|name| name.parse().ok()).filter(carries).map(command).collect()
}

fn names_in(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}
