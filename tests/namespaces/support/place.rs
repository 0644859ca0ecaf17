//! A folder for each switch, and the program where every user can run it.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use vswitch_ports::userns;

use super::user::{NOBODY, User};

/// A folder of one switch: world-readable, with a private one for its user. Gone when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    folder: PathBuf,
    name: String,
    program: Arc<Program>,
}

impl Place {
    pub(crate) fn new(user: User) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("e2e-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let place = Self {
            folder: std::env::temp_dir().join(format!("vswitch-{name}")),
            name,
            program: Program::here(),
        };
        make_folder(&place.folder, 0o755);
        let private = place.private();
        make_folder(&private, 0o700);
        if user == User::Ordinary && userns::is_root() {
            chown(&private, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        place
    }

    /// A name no other switch, and nothing else on this machine, has.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The folder that only the switch's user can enter.
    pub(crate) fn private(&self) -> PathBuf {
        self.folder.join("private")
    }

    /// A file in the folder that all can read.
    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.folder.join(file)
    }

    pub(crate) fn write(&self, file: &str, text: &str) -> PathBuf {
        let path = self.path(file);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        path
    }

    pub(crate) fn program(&self) -> &Path {
        &self.program.path
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The program, copied to where every user can run it: a build folder may be closed to others.
#[derive(Debug)]
struct Program {
    folder: PathBuf,
    path: PathBuf,
}

impl Program {
    /// One copy for all tests that run at the moment.
    fn here() -> Arc<Self> {
        static SHARED: Mutex<(Weak<Program>, u32)> = Mutex::new((Weak::new(), 0));
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(program) = shared.0.upgrade() {
            return program;
        }
        shared.1 += 1;
        let folder =
            std::env::temp_dir().join(format!("vswitch-e2e-program-{}-{}", std::process::id(), shared.1));
        make_folder(&folder, 0o755);
        let path = folder.join("vswitch");
        // By another process: were the file open for writing here, a fork of another test's thread would hold it open
        // too, and running it would fail with "text file busy".
        let mut install = Command::new("install");
        install.args(["-m", "0755", env!("CARGO_BIN_EXE_vswitch")]).arg(&path);
        assert!(install.status().unwrap().success());
        let program = Arc::new(Self { folder, path });
        shared.0 = Arc::downgrade(&program);
        program
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn make_folder(path: &Path, mode: u32) {
    fs::create_dir(path).unwrap();
    // Whatever the umask is.
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}
