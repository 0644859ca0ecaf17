//! A process of this switch with a configuration of the benchmark's, as its users run it.

use std::fmt::Display;
use std::fs::DirBuilder;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use vswitch_ports::cpu::cpu_time_of;
use vswitch_ports::netns::NetNs;
use vswitch_ports::process::enter_on_exec;

use super::Unavailable;
use super::namespaces::Namespace;
use crate::api::client;
use crate::api::types;

/// How long the switch may take to come up.
const PATIENCE: Duration = Duration::from_secs(10);

/// The running switch; stopped with this value.
pub(super) struct Switch {
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

impl Switch {
    /// Runs the switch in the namespace `net` until all its ports are up; `name` tells it from others of this run.
    pub(super) fn run(
        name: &str,
        configuration: &str,
        net: &NetNs,
    ) -> Result<(Self, types::Status), Unavailable> {
        let directory = std::env::temp_dir().join(format!("vswitch-bench-{}-{name}", std::process::id()));
        DirBuilder::new().mode(0o700).create(&directory).map_err(|error| failed(&error))?;
        let process = match start(configuration, &directory.join("control.sock"), net) {
            Ok(process) => process,
            Err(error) => {
                let _ = std::fs::remove_dir(&directory);
                return Err(error);
            }
        };
        let mut switch = Self { process, directory };
        let status = switch.wait_until_up().map_err(|error| failed(&error))?;
        Ok((switch, status))
    }

    /// The side that is the container of this name.
    pub(super) fn container(
        &self,
        name: &str,
        address: std::net::Ipv4Addr,
    ) -> Result<Namespace, Unavailable> {
        let container: types::Container = self.ask(&format!("/v1/containers/{name}"))?;
        let path = container.namespaces.ok_or_else(|| failed(&"its container is down"))?.net;
        Ok(Namespace::of(NetNs::open_path(&path)?, address.into()))
    }

    /// The offloads of its first port, for people.
    pub(super) fn offloads(&self) -> Result<String, Unavailable> {
        let ports: Vec<types::Port> = self.ask("/v1/ports")?;
        let offloads = ports.first().map(|port| port.offloads.join(",")).unwrap_or_default();
        Ok(if offloads.is_empty() { "no offloads".to_owned() } else { offloads })
    }

    /// CPU time of all its threads so far.
    pub(super) fn cpu_time(&self) -> Option<Duration> {
        cpu_time_of(self.process.id()).ok()
    }

    fn ask<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<T, Unavailable> {
        client::get(&self.socket(), path).map_err(|error| failed(&error))
    }

    fn socket(&self) -> PathBuf {
        self.directory.join("control.sock")
    }

    fn wait_until_up(&mut self) -> Result<types::Status, client::ClientError> {
        let socket = self.socket();
        let deadline = Instant::now() + PATIENCE;
        loop {
            match client::get::<types::Status>(&socket, "/v1/status") {
                Ok(status) if status.ready => return Ok(status),
                Err(error) if Instant::now() >= deadline || !matches!(self.process.try_wait(), Ok(None)) => {
                    return Err(error);
                }
                _ => std::thread::sleep(Duration::from_millis(10)),
            }
        }
    }
}

fn failed(error: &dyn Display) -> Unavailable {
    Unavailable::Failed(format!("cannot run this switch: {error}"))
}

fn start(configuration: &str, socket: &Path, net: &NetNs) -> Result<Child, Unavailable> {
    let program = std::env::current_exe().map_err(|error| failed(&error))?;
    let mut command = Command::new(program);
    command.arg("--socket").arg(socket).args(["run", "/dev/stdin"]).env("VSWITCH_LOG", "warn");
    command.stdin(Stdio::piped()).stdout(Stdio::null());
    enter_on_exec(&mut command, net.as_fd(), None)?;
    let mut process = command.spawn().map_err(|error| failed(&error))?;
    if let Some(mut stdin) = process.stdin.take() {
        stdin.write_all(configuration.as_bytes()).map_err(|error| failed(&error))?;
    }
    Ok(process)
}
