//! Which tests can run here.

/// Whether the tests may make namespaces; says so loudly when they may not. A test that returns on `false` has tested
/// nothing, so the continuous integration runs as root.
pub(crate) fn may_make_namespaces(test: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("SKIPPED: {test} needs root");
    }
    root
}
