//! This switch, as its users run it: a process of its own with a configuration of two containers.

use std::fs::DirBuilder;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use vswitch_ports::cpu::cpu_time_of;
use vswitch_ports::netns::NetNs;

use super::Unavailable;
use super::namespaces::Namespace;
use crate::api::client;
use crate::api::types;
use crate::bench::measure::{Side, Topology};

/// How long the switch may take to come up.
const PATIENCE: Duration = Duration::from_secs(10);

/// The kind of port to measure.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Port {
    Tap,
    Plain,
}

pub(super) struct Vswitch {
    left: Namespace,
    right: Namespace,
    switch: Switch,
    port: Port,
    description: String,
}

/// The running switch; stopped with this value.
struct Switch {
    process: Child,
    directory: PathBuf,
}

impl Drop for Switch {
    fn drop(&mut self) {
        // Dropping is the end of it: nothing it has outlives it.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

impl Vswitch {
    pub(super) fn build(mtu: u16, port: Port) -> Result<Self, Unavailable> {
        let driver = if port == Port::Plain { "tap-plain" } else { "tap" };
        let configuration = format!(
            "[networks.bench]\nmtu = {mtu}\nipam = [{{ subnet = \"198.18.0.0/24\", gateway = \"198.18.0.254\" }}]\n\
             [containers.left.networks.bench]\nipv4_address = \"198.18.0.1\"\nport = \"{driver}\"\n\
             [containers.right.networks.bench]\nipv4_address = \"198.18.0.2\"\nport = \"{driver}\"\n"
        );
        let failed =
            |error: &dyn std::fmt::Display| Unavailable::Failed(format!("cannot run this switch: {error}"));
        let directory = std::env::temp_dir().join(format!("vswitch-bench-{}-{driver}", std::process::id()));
        DirBuilder::new().mode(0o700).create(&directory).map_err(|error| failed(&error))?;
        let socket = directory.join("control.sock");
        let process = start(&configuration, &socket).map_err(|error| failed(&error));
        let mut switch = match process {
            Ok(process) => Switch { process, directory },
            Err(error) => {
                let _ = std::fs::remove_dir(&directory);
                return Err(error);
            }
        };

        let status = wait_until_up(&mut switch.process, &socket).map_err(|error| failed(&error))?;
        let ports: Vec<types::Port> = client::get(&socket, "/v1/ports").map_err(|error| failed(&error))?;
        let side = |name: &str| -> Result<Namespace, Unavailable> {
            let container: types::Container =
                client::get(&socket, &format!("/v1/containers/{name}")).map_err(|error| failed(&error))?;
            let path = container.namespaces.ok_or_else(|| failed(&"its container is down"))?.net;
            let address = if name == "left" { super::namespaces::LEFT } else { super::namespaces::RIGHT };
            Ok(Namespace::of(NetNs::open_path(&path)?, address.into()))
        };
        let offloads = ports.first().map(|port| port.offloads.join(",")).unwrap_or_default();
        let offloads = if offloads.is_empty() { "no offloads".to_owned() } else { offloads };
        let description = format!(
            "vswitch {}, {} worker, {driver} ports ({offloads}), source guard on",
            status.version, status.workers
        );
        Ok(Self { left: side("left")?, right: side("right")?, switch, port, description })
    }
}

fn start(configuration: &str, socket: &Path) -> std::io::Result<Child> {
    let mut process = Command::new(std::env::current_exe()?)
        .arg("--socket")
        .arg(socket)
        .args(["run", "/dev/stdin"])
        .env("VSWITCH_LOG", "warn")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()?;
    if let Some(mut stdin) = process.stdin.take() {
        stdin.write_all(configuration.as_bytes())?;
    }
    Ok(process)
}

fn wait_until_up(process: &mut Child, socket: &Path) -> Result<types::Status, client::ClientError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match client::get::<types::Status>(socket, "/v1/status") {
            Ok(status) if status.ready => return Ok(status),
            Err(error) if Instant::now() >= deadline || !matches!(process.try_wait(), Ok(None)) => {
                return Err(error);
            }
            _ => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

impl Topology for Vswitch {
    fn name(&self) -> &str {
        match self.port {
            Port::Tap => "vswitch",
            Port::Plain => "vswitch-plain",
        }
    }

    fn description(&self) -> String {
        self.description.clone()
    }

    fn left(&self) -> &dyn Side {
        &self.left
    }

    fn right(&self) -> &dyn Side {
        &self.right
    }

    fn cpu_time(&self) -> Option<Duration> {
        cpu_time_of(self.switch.process.id()).ok()
    }
}
