//! The files of the project: everything that is kept in the tree, nothing that a build or a run leaves.

use std::fs;
use std::path::{Path, PathBuf};

/// Folders that hold no source of ours.
const LEFT_OUT: [&str; 6] = ["target", ".git", "artifacts", "corpus", "coverage", "snapshots"];

/// The workspace's root.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A file by its path from the root, with `/` between, and its text.
pub(crate) struct File {
    /// Such as `switch/src/fdb.rs`.
    pub(crate) path: String,
    /// What is in it.
    pub(crate) text: String,
}

impl File {
    /// The folder of the root it is in: its room. Empty for files in the root itself.
    pub(crate) fn room(&self) -> &str {
        self.path.split_once('/').map_or("", |(room, _)| room)
    }

    /// Whether it is Rust.
    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Whether it is compiled for tests only, by the names the house uses for those.
    pub(crate) fn is_test(&self) -> bool {
        self.path.split('/').any(|part| part == "tests" || part == "tests.rs")
    }
}

/// Every text file in the tree.
pub(crate) fn files() -> Vec<File> {
    let mut found = Vec::new();
    walk(&root(), &mut found);
    let rust = found.iter().filter(|file| file.is_rust()).count();
    assert!(rust > 20, "found only {rust} Rust files below {}: the walk is broken", root().display());
    found
}

fn walk(folder: &Path, found: &mut Vec<File>) {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for entry in entries.map(|entry| entry.expect("an entry of a readable folder")) {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        let kind = entry.file_type().expect("an entry of a readable folder");
        if kind.is_dir() && !LEFT_OUT.contains(&name.as_str()) {
            walk(&path, found);
        } else if kind.is_file()
            && name != "Cargo.lock"
            // In a worktree it is a file, which says where the repository is.
            && name != ".git"
            && let Ok(text) = fs::read_to_string(&path)
        {
            let path = path.strip_prefix(root()).expect("below the root").to_string_lossy().into_owned();
            found.push(File { path, text });
        }
    }
}
