//! Whole files: every bad one in `tests/bad` gets the diagnostics its snapshot shows, every good one in `tests/good`
//! resolves to the configuration its snapshot shows.

#![allow(clippy::expect_used, clippy::panic, reason = "what a test cannot go on without, it fails for")]

use std::{fs, path::PathBuf};

use vswitch_config::{DEFAULT_EPHEMERAL_PORTS, Source, Surroundings, load, model::NetnsRef};

fn sources(folder: &str) -> Vec<(String, Source)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder);
    let entries = fs::read_dir(folder).expect("the folder is in the tree");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("readable").path()).collect();
    paths.sort();
    assert!(!paths.is_empty());
    let source = |path: PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).expect("the names are ASCII").to_owned();
        let text = fs::read_to_string(&path).expect("readable");
        (
            path.file_stem().and_then(|stem| stem.to_str()).expect("the names are ASCII").to_owned(),
            Source { name, text },
        )
    };
    paths.into_iter().map(source).collect()
}

fn surroundings() -> Surroundings<'static> {
    Surroundings {
        netns_exists: &|netns| match netns {
            NetnsRef::Name(name) if name == "exists" => Ok(()),
            NetnsRef::Path(path) if path.ends_with("netns/exists") => Ok(()),
            NetnsRef::Pid(1) => Ok(()),
            NetnsRef::Pid(_) => Err("there is no such process".to_owned()),
            NetnsRef::Name(_) | NetnsRef::Path(_) => Err("no such file".to_owned()),
        },
        ula_seed: 1,
        ephemeral_ports: DEFAULT_EPHEMERAL_PORTS,
        port_is_reserved: &|port| port == 49_160,
    }
}

#[test]
fn bad_files_are_explained() {
    for (name, source) in sources("bad") {
        let diagnostics = load(&source, &surroundings()).expect_err(&name);
        insta::assert_snapshot!(name, diagnostics.render(&source, false));
    }
}

#[test]
fn good_files_resolve() {
    for (name, source) in sources("good") {
        let config = match load(&source, &surroundings()) {
            Ok(config) => config,
            Err(diagnostics) => panic!("{}", diagnostics.render(&source, false)),
        };
        insta::assert_snapshot!(name, serde_json::to_string_pretty(&config).expect("all keys are strings"));
    }
}

#[test]
fn programs_get_lines_and_columns() {
    let source = Source { name: "x.toml".into(), text: "[networks.ä]\n".into() };
    let diagnostics = load(&source, &surroundings()).expect_err("ä is no letter of a name unquoted");
    let located = serde_json::to_value(diagnostics.located(&source)).expect("serialisable");
    assert_eq!(located[0]["file"], "x.toml");
    assert_eq!(located[0]["line"], 1);
    assert_eq!(located[0]["column"], 11);
    assert!(located[0]["message"].is_string() && located[0]["label"].is_string());
}

#[test]
fn colour_is_added_only_when_asked_for() {
    let source = Source { name: "x.toml".into(), text: "[switch]\nworkers = 0\n".into() };
    let diagnostics = load(&source, &surroundings()).expect_err("0 is out of range");
    assert!(diagnostics.render(&source, true).contains('\u{1b}'));
    assert!(!diagnostics.render(&source, false).contains('\u{1b}'));
}
