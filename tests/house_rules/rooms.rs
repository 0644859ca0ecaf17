//! The rooms and what their manifests may say.

use toml::{Table, Value};

/// A room and whom of the house it may name.
pub(crate) struct Room {
    /// Its folder; `.` is the program.
    pub(crate) folder: &'static str,
    /// The crates of ours its code may name. Its tests may name [`TESTS_MAY_NAME`] as well.
    pub(crate) may_name: &'static [&'static str],
    /// The crates of others its code may name; `None`: any that [`PROGRAM_ONLY`] does not keep out.
    pub(crate) may_use: Option<&'static [&'static str]>,
}

const fn room(folder: &'static str, may_name: &'static [&'static str]) -> Room {
    Room { folder, may_name, may_use: None }
}

/// Every room, from the innermost out.
pub(crate) const ROOMS: &[Room] = &[
    Room { folder: "wire", may_name: &[], may_use: Some(&["zerocopy"]) },
    room("switch", &["vswitch-wire"]),
    // For `MacAddr`, and nothing else: see the rule of its own.
    room("config", &["vswitch-wire"]),
    room("vxlan", &["vswitch-wire", "vswitch-switch"]),
    room("usernet", &["vswitch-wire", "vswitch-switch"]),
    room("services", &["vswitch-wire", "vswitch-switch"]),
    room("ports", &["vswitch-switch"]),
    room(".", ANY),
    room("benches", ANY),
    room("fuzz", ANY),
];

const ANY: &[&str] = &[
    "vswitch-wire",
    "vswitch-switch",
    "vswitch-config",
    "vswitch-vxlan",
    "vswitch-usernet",
    "vswitch-services",
    "vswitch-ports",
];

/// To build frames and to look at them.
pub(crate) const TESTS_MAY_NAME: &[&str] = &["vswitch-wire"];

/// The asynchronous world and the command line stay in the program, so that no worker thread meets them.
pub(crate) const PROGRAM_ONLY: &[&str] =
    &["tokio", "axum", "hyper", "hyper-util", "http-body-util", "clap", "clap_complete", "clap_mangen"];

/// What is wrong with the dependencies a room's manifest declares.
pub(crate) fn forbidden_dependencies(room: &Room, manifest: &Table) -> Vec<String> {
    let mut wrong = Vec::new();
    for (kind, name) in dependencies(manifest) {
        let of_tests = kind == "dev-dependencies";
        let ours = name.starts_with("vswitch");
        let allowed = if ours {
            room.may_name.contains(&name.as_str()) || of_tests && TESTS_MAY_NAME.contains(&name.as_str())
        } else {
            let listed = room.may_use.is_none_or(|list| list.contains(&name.as_str()));
            (of_tests || listed) && (room.folder == "." || !PROGRAM_ONLY.contains(&name.as_str()))
        };
        if !allowed {
            wrong.push(format!("{}/Cargo.toml names `{name}` in its {kind}", room.folder));
        }
    }
    wrong
}

/// Every dependency with the table it stands in, those for one platform included.
pub(crate) fn dependencies(manifest: &Table) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
        let platforms = manifest.get("target").and_then(Value::as_table);
        let platforms =
            platforms.into_iter().flat_map(|targets| targets.values().filter_map(Value::as_table));
        for table in platforms.chain([manifest]) {
            for (key, value) in table.get(kind).and_then(Value::as_table).into_iter().flatten() {
                // A dependency may be renamed; what counts is what it is.
                let name = value.get("package").and_then(Value::as_str).unwrap_or(key);
                found.push((kind.to_owned(), name.to_owned()));
            }
        }
    }
    found
}

/// What is wrong with a room's lints: they are the workspace's, or (in `ports`) its own, each at least as
/// strict, but for `unsafe_code`.
pub(crate) fn missing_lints(folder: &str, manifest: &Table, workspace: &Table) -> Vec<String> {
    let lints = manifest.get("lints");
    if folder != "ports" {
        let inherited = lints.and_then(|lints| lints.get("workspace")).and_then(Value::as_bool) == Some(true);
        return if inherited {
            Vec::new()
        } else {
            vec![format!("{folder}/Cargo.toml lacks `[lints] workspace = true`")]
        };
    }
    let mut wrong = Vec::new();
    for (tool, wanted) in workspace.iter().filter_map(|(tool, wanted)| Some((tool, wanted.as_table()?))) {
        for (lint, level) in wanted.iter().filter(|(lint, _)| *lint != "unsafe_code") {
            let own = lints.and_then(|lints| lints.get(tool)?.get(lint));
            if own.is_none_or(|own| strictness(own) < strictness(level)) {
                wrong.push(format!("{folder}/Cargo.toml lacks the workspace's lint {tool}.{lint}"));
            }
        }
    }
    wrong
}

fn strictness(level: &Value) -> usize {
    let level = level.get("level").unwrap_or(level).as_str().unwrap_or("allow");
    ["allow", "warn", "deny", "forbid"].iter().position(|name| *name == level).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(folder: &str, manifest: &str) -> usize {
        let room = ROOMS.iter().find(|room| room.folder == folder).expect("a room");
        forbidden_dependencies(room, &manifest.parse().expect("TOML")).len()
    }

    #[test]
    fn a_room_names_only_whom_it_may() {
        assert_eq!(wrong("wire", "[dependencies]\nzerocopy = '1'\n[dev-dependencies]\nproptest = '1'"), 0);
        assert_eq!(wrong("wire", "[dependencies]\nserde.workspace = true"), 1);
        assert_eq!(wrong("wire", "[dependencies]\nvswitch-switch.workspace = true"), 1);
        assert_eq!(wrong("switch", "[dependencies]\nvswitch-wire.workspace = true"), 0);
        assert_eq!(wrong("switch", "[dependencies]\nvswitch-config.workspace = true"), 1);
        assert_eq!(wrong("switch", "[dependencies]\nx = { package = 'vswitch-ports', path = '..' }"), 1);
        assert_eq!(wrong("ports", "[target.'cfg(unix)'.dependencies]\nvswitch-config.workspace = true"), 1);
        assert_eq!(wrong("ports", "[dev-dependencies]\nvswitch-wire.workspace = true"), 0);
        assert_eq!(wrong("ports", "[dependencies]\nvswitch-wire.workspace = true"), 1);
    }

    #[test]
    fn the_asynchronous_world_stays_in_the_program() {
        assert_eq!(wrong(".", "[dependencies]\ntokio.workspace = true"), 0);
        assert_eq!(wrong("ports", "[dependencies]\ntokio.workspace = true"), 1);
        assert_eq!(wrong("switch", "[dev-dependencies]\nclap = '4'"), 1);
        assert_eq!(wrong("config", "[build-dependencies]\nhyper = '1'"), 1);
    }

    #[test]
    fn lints_are_inherited_or_as_strict() {
        let table = |text: &str| -> Table { text.parse().expect("TOML") };
        let workspace =
            table("[rust]\nunsafe_code = 'forbid'\nmissing_docs = 'warn'\n[clippy]\npanic = 'deny'");
        assert!(missing_lints("wire", &table("[lints]\nworkspace = true"), &workspace).is_empty());
        assert_eq!(missing_lints("wire", &table("[lints]\nrust.missing_docs = 'warn'"), &workspace).len(), 1);
        let ports =
            "[lints.rust]\nmissing_docs = { level = 'deny', priority = 1 }\n[lints.clippy]\npanic = 'deny'";
        assert!(missing_lints("ports", &table(ports), &workspace).is_empty());
        assert_eq!(missing_lints("ports", &table("[lints.clippy]\npanic = 'warn'"), &workspace).len(), 2);
    }
}
