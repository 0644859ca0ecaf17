//! Named namespaces as `ip netns add` makes them, without `ip`.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;

/// What the names of the tests' namespaces begin with.
pub(crate) const PREFIX: &str = "vswitch-e2e-";

/// An entry of `/run/netns`. Deleted when dropped.
#[derive(Debug)]
pub(crate) struct NamedNetns {
    /// Its name.
    pub(crate) name: String,
}

impl NamedNetns {
    /// A new namespace under a name of its own, which ends in `label`.
    pub(crate) fn create(label: &str) -> Self {
        let netns = Self { name: format!("{PREFIX}{}-{label}", std::process::id()) };
        netns.mount();
        netns
    }

    pub(crate) fn path(&self) -> PathBuf {
        PathBuf::from("/run/netns").join(&self.name)
    }

    /// What `ip netns delete` does: whoever holds the namespace open keeps it, its name is gone.
    pub(crate) fn delete(&self) {
        if self.path().exists() {
            // Silent where nothing is mounted, as after `delete`.
            let _ = Command::new("umount").arg("--lazy").arg(self.path()).output();
            let _ = fs::remove_file(self.path());
        }
    }

    /// What `ip netns add` does: a new namespace under the same name.
    pub(crate) fn mount(&self) {
        fs::create_dir_all("/run/netns").unwrap();
        File::create(self.path()).unwrap();
        let mut unshare = Command::new("unshare");
        let status = unshare.arg(format!("--net={}", self.path().display())).arg("true").status().unwrap();
        assert!(status.success(), "unshare --net");
    }
}

impl Drop for NamedNetns {
    fn drop(&mut self) {
        self.delete();
    }
}
