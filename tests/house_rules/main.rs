//! The rules of the house, held by the gate. Each rule is one test whose failure says where it is broken and
//! what to do; each checker is itself tested on small texts, so that no rule passes because it sees nothing.

#![allow(clippy::expect_used, clippy::panic, reason = "everything here is a test or serves one")]

mod code;
mod licence;
mod rooms;
mod tree;

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use serde_json::Value as Json;
use toml::Table;

use self::rooms::{ROOMS, Room};
use self::tree::File;

/// The longest file, in lines.
const LONGEST_FILE: usize = 600;

/// The rooms without input and output.
const PURE: [&str; 4] = ["wire", "switch", "config", "services"];

/// What pure code may not name; a path that ends in `!` is a macro.
const IMPURE: [&str; 23] = [
    "std::net::TcpStream",
    "std::net::TcpListener",
    "std::net::UdpSocket",
    "std::os",
    "std::thread",
    "std::process",
    "std::env",
    "std::fs",
    "std::io::stdin",
    "std::io::stdout",
    "std::io::stderr",
    "std::time::Instant",
    "std::time::SystemTime",
    "Instant::now",
    "SystemTime::now",
    "thread::spawn",
    "println!",
    "eprintln!",
    "print!",
    "eprint!",
    "dbg!",
    "tracing",
    "libc",
];

/// Names that say nothing of what is inside.
const EMPTY_NAMES: [&str; 6] = ["common", "util", "utils", "helpers", "helper", "misc"];

#[test]
fn every_member_is_a_room_the_rules_know() {
    let members = manifest(".")["workspace"]["members"].clone();
    for member in members.as_array().expect("a list") {
        let member = member.as_str().expect("a path");
        assert!(
            ROOMS.iter().any(|room| room.folder == member),
            "`{member}` is a workspace member without rules: say in tests/house_rules/rooms.rs whom it may name"
        );
    }
}

#[test]
fn rooms_name_only_whom_they_may() {
    let wrong = existing_rooms()
        .flat_map(|room| rooms::forbidden_dependencies(room, &manifest(room.folder)))
        .collect();
    report(wrong, "move the code to a room that may name it; the order is in tests/house_rules/rooms.rs");
}

#[test]
fn config_takes_only_the_mac_address_from_wire() {
    let files = tree::files();
    let config = files.iter().filter(|file| file.room() == "config" && file.is_rust());
    let wrong = config.flat_map(|file| more_than_the_mac_address(&file.text, &file.path)).collect();
    report(wrong, "configuration knows addresses, not frames; keep what it needs in config");
}

fn more_than_the_mac_address(source: &str, path: &str) -> Vec<String> {
    let named = code::paths(&code::blanked(source));
    let wrong = named.iter().filter(|named| {
        named.strip_prefix("vswitch_wire").is_some_and(|rest| {
            !["::MacAddr", "::InvalidMac"].iter().any(|fine| rest.strip_prefix(fine).is_some_and(ends_a_name))
        })
    });
    wrong.map(|named| format!("{path} names {named}")).collect()
}

#[test]
fn unsafe_is_only_in_ports() {
    let files = tree::files();
    let others = files.iter().filter(|file| file.is_rust() && file.room() != "ports");
    let wrong = others.filter(|file| says_unsafe(&file.text)).map(|file| file.path.clone()).collect();
    report(wrong, "system calls live in ports/; offer a safe function there and call it");
}

fn says_unsafe(source: &str) -> bool {
    code::paths(&code::blanked(source)).iter().any(|path| path == "unsafe")
}

#[test]
fn lints_are_the_workspaces() {
    let root = manifest(".");
    let workspace = root["workspace"]["lints"].as_table().expect("a table");
    assert_eq!(
        workspace["rust"]["unsafe_code"].as_str(),
        Some("forbid"),
        "the workspace's lints must forbid unsafe_code"
    );
    let wrong = existing_rooms()
        .flat_map(|room| rooms::missing_lints(room.folder, &manifest(room.folder), workspace))
        .collect();
    report(wrong, "every room is held to the same lints; silence one where it is wrong, with a reason");
}

#[test]
fn pure_rooms_do_no_input_or_output() {
    let files = tree::files();
    // What is linked into the switch: examples are programs of their own.
    let library = |file: &&File| file.path.starts_with(&format!("{}/src/", file.room()));
    let pure = files.iter().filter(|file| PURE.contains(&file.room()) && file.is_rust() && !file.is_test());
    let pure: Vec<_> = pure.filter(library).collect();
    assert!(pure.len() > 20, "found only {} files of pure rooms: the filter is broken", pure.len());
    let wrong = pure.iter().flat_map(|file| impurities(&file.text, &file.path)).collect();
    report(wrong, "take time, randomness and text as arguments and do input and output in ports/ or src/");
}

fn impurities(source: &str, path: &str) -> Vec<String> {
    let named = code::paths(&code::without_tests(&code::blanked(source)));
    let found = named.iter().filter(|named| {
        let named = named.trim_start_matches("core::").trim_start_matches("::");
        IMPURE.iter().any(|impure| named.strip_prefix(impure).is_some_and(ends_a_name))
    });
    found.map(|named| format!("{path} names {named}")).collect()
}

/// Whether what follows a path leaves it that path: `std::env` is also in `std::env::var`, not in `std::envy`.
fn ends_a_name(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with("::")
}

#[test]
fn names_say_what_is_inside() {
    let wrong = tree::files().iter().flat_map(empty_names).collect();
    report(wrong, "name a module after the one thing it is about");
}

fn empty_names(file: &File) -> Vec<String> {
    let parts = file.path.split('/').map(|part| part.split_once('.').map_or(part, |(stem, _)| stem));
    let mut wrong: Vec<_> = parts
        .filter(|part| EMPTY_NAMES.contains(part))
        .map(|part| format!("{}: `{part}`", file.path))
        .collect();
    if file.is_rust() {
        let code = code::blanked(&file.text);
        let words: Vec<_> =
            code.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|w| !w.is_empty()).collect();
        let modules = words.windows(2).filter(|pair| pair[0] == "mod" && EMPTY_NAMES.contains(&pair[1]));
        wrong.extend(modules.map(|pair| format!("{}: mod {}", file.path, pair[1])));
    }
    wrong
}

#[test]
fn files_are_small() {
    let files = tree::files();
    let rust = files.iter().filter(|file| file.is_rust());
    let wrong = rust.filter_map(|file| too_long(&file.text, &file.path)).collect();
    report(wrong, "a file is about one thing; find the second one and give it a file of its own");
}

fn too_long(source: &str, path: &str) -> Option<String> {
    let lines = source.lines().count();
    (lines > LONGEST_FILE).then(|| format!("{path} has {lines} lines, more than {LONGEST_FILE}"))
}

#[test]
fn no_path_of_one_machine_is_in_the_tree() {
    let wrong = tree::files().iter().flat_map(|file| machine_paths(&file.text, &file.path)).collect();
    report(wrong, "use a path relative to the project, or one made at run time");
}

fn machine_paths(source: &str, path: &str) -> Vec<String> {
    // Put together here, so that this file does not break its own rule.
    let folders = ["work", "root", "home"].map(|folder| format!("/{folder}/"));
    let mut wrong = Vec::new();
    for (number, line) in source.lines().enumerate() {
        for folder in &folders {
            // Within a longer path or an address, such as https://example.org/home/, it is no path of a machine.
            let begins_a_path =
                |at: usize| !line[..at].ends_with(|c: char| c.is_alphanumeric() || "._-~}".contains(c));
            if line.match_indices(folder.as_str()).any(|(at, _)| begins_a_path(at)) {
                wrong.push(format!("{path}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    wrong
}

#[test]
fn licences_of_dependencies_are_allowed() {
    let deny: Table = read("deny.toml").parse().expect("deny.toml is TOML");
    let allowed: Vec<String> = deny["licenses"]["allow"].clone().try_into().expect("a list of licences");
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked", "--filter-platform", &platform])
        .current_dir(tree::root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Json = serde_json::from_slice(&output.stdout).expect("cargo answers JSON");
    // `packages` lists the whole lock file; the resolve graph only what this platform uses.
    let used: Vec<&Json> =
        metadata["resolve"]["nodes"].as_array().expect("a graph").iter().map(|n| &n["id"]).collect();
    let packages =
        metadata["packages"].as_array().expect("a list").iter().filter(|p| used.contains(&&p["id"]));
    let packages: Vec<&Json> = packages.collect();
    assert!(packages.len() > 20, "cargo metadata lists only {} packages", packages.len());
    let wrong = packages.iter().filter_map(|package| refused_licence(package, &allowed)).collect();
    report(wrong, "choose another crate, or allow the licence in deny.toml and say why");
}

fn refused_licence(package: &Json, allowed: &[String]) -> Option<String> {
    let licence = package["license"].as_str().unwrap_or("");
    let name = package["name"].as_str().unwrap_or("?");
    (!licence::satisfied(licence, allowed)).then(|| format!("{name} is under `{licence}`"))
}

#[test]
fn dependencies_are_explained() {
    let explained = explained(&read("docs/dependencies.md"));
    let named: BTreeSet<String> = existing_rooms()
        .flat_map(|room| rooms::dependencies(&manifest(room.folder)))
        .map(|(_, name)| name)
        .filter(|name| !name.starts_with("vswitch"))
        .collect();
    let missing = named.difference(&explained).map(|name| format!("`{name}` is used and not explained"));
    let gone = explained.difference(&named).map(|name| format!("`{name}` is explained and not used"));
    report(
        missing.chain(gone).collect(),
        "say in docs/dependencies.md why this crate, and what was passed over",
    );
}

/// The crates with a line of their own in a table.
fn explained(document: &str) -> BTreeSet<String> {
    let first_cell = |line: &str| line.strip_prefix("| `")?.split_once('`').map(|(name, _)| name.to_owned());
    document.lines().filter_map(first_cell).collect()
}

fn existing_rooms() -> impl Iterator<Item = &'static Room> {
    ROOMS.iter().filter(|room| tree::root().join(room.folder).join("Cargo.toml").is_file())
}

fn manifest(folder: &str) -> Table {
    let path = format!("{folder}/Cargo.toml");
    read(&path).parse().unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn read(path: &str) -> String {
    fs::read_to_string(tree::root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[expect(clippy::needless_pass_by_value, reason = "so that a rule ends in `collect()`")]
fn report(wrong: Vec<String>, what_to_do: &str) {
    assert!(wrong.is_empty(), "\n  {}\nWhat to do: {what_to_do}.\n", wrong.join("\n  "));
}

mod the_rules_can_fail {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File { path: path.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn unsafe_blocks() {
        assert!(says_unsafe("fn f() { unsafe { g() } }"));
        assert!(says_unsafe("unsafe impl Send for X {}"));
        assert!(!says_unsafe("// unsafe\nfn not_unsafe() {} #![forbid(unsafe_code)]"));
    }

    #[test]
    fn input_and_output() {
        for source in [
            "fn f() { std::thread::sleep(d) }",
            "use std::{fmt, thread};",
            "use std::net::{IpAddr, UdpSocket};",
            "use std::time::{Duration, Instant};",
            "let t = std::time::SystemTime::now();",
            "fn f() { println!(\"x\") }",
            "use std::fs::File;",
            "let home = std::env::var(\"HOME\");",
            "#[cfg(test)] mod tests { } use std::fs;",
        ] {
            assert_eq!(impurities(source, "x.rs").len(), 1, "{source}");
        }
        for source in [
            "//! No std::thread, no println! here.",
            "use std::{fmt, net::{IpAddr, Ipv4Addr}, time::Duration};",
            "#[cfg(test)] mod tests { use std::fs; }",
            "use crate::time::Time; let threads = 1; let s = \"std::fs\";",
        ] {
            assert_eq!(impurities(source, "x.rs"), Vec::<String>::new(), "{source}");
        }
    }

    #[test]
    fn wire_in_config() {
        assert!(more_than_the_mac_address("use vswitch_wire::MacAddr;", "x.rs").is_empty());
        assert!(more_than_the_mac_address("let m = vswitch_wire::MacAddr::ZERO;", "x.rs").is_empty());
        assert_eq!(more_than_the_mac_address("use vswitch_wire::{MacAddr, VlanId};", "x.rs").len(), 1);
        assert_eq!(more_than_the_mac_address("vswitch_wire::parse(b)", "x.rs").len(), 1);
        assert_eq!(more_than_the_mac_address("use vswitch_wire as w;", "x.rs").len(), 1);
    }

    #[test]
    fn names_and_sizes() {
        assert_eq!(empty_names(&file("switch/src/util.rs", "")).len(), 1);
        assert_eq!(empty_names(&file("tests/common/mod.rs", "")).len(), 1);
        assert_eq!(empty_names(&file("src/main.rs", "mod helpers;")).len(), 1);
        assert!(
            empty_names(&file("switch/src/fdb.rs", "// mod util\nmod utility; let mod_common = 1;"))
                .is_empty()
        );
        assert!(too_long(&"\n".repeat(LONGEST_FILE + 1), "x.rs").is_some());
        assert!(too_long(&"\n".repeat(LONGEST_FILE), "x.rs").is_none());
    }

    #[test]
    fn paths_of_one_machine() {
        let path = format!("/{}/somebody/x", "home");
        assert_eq!(machine_paths(&format!("a\nlet p = \"{path}\";"), "x.rs").len(), 1);
        assert!(machine_paths(&format!("see https://example.org{path}"), "x.md").is_empty());
    }

    #[test]
    fn explanations() {
        let names: Vec<_> =
            explained("Text `a`.\n| crate | why |\n|---|---|\n| `b` | not `c` |\n").into_iter().collect();
        assert_eq!(names, ["b"]);
    }

    #[test]
    fn licences() {
        let package = serde_json::json!({ "name": "x", "license": "GPL-3.0-only" });
        assert!(refused_licence(&package, &["MIT".to_owned()]).is_some());
        assert!(refused_licence(&package, &["GPL-3.0-only".to_owned()]).is_none());
        let nameless = serde_json::json!({ "name": "x", "license": null });
        assert!(refused_licence(&nameless, &["MIT".to_owned()]).is_some());
    }
}
