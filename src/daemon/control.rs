//! The control loop: start-up, what happens while the switch runs, and shutdown.
//!
//! One task owns the [`Daemon`]; signals, API requests, what workers notice and commands that end all come to
//! it as messages, one at a time, so nothing here is locked.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval};
use vswitch_config::Config;
use vswitch_config::model::{NatSettings, Uplink};
use vswitch_config::names::ContainerName;
use vswitch_ports::descendants::{self, PidWatch};

use super::supervisor::{Ended, Supervisor};
use super::{Daemon, DaemonError, plan};
use crate::api::server::{self, Answer, Ask, Query, Refusal, Request};
use crate::api::types::NewContainer;
use crate::control_socket::ControlSocket;
use crate::dataplane::{Dataplane, Event};
use crate::host;

/// How long commands have to end after SIGTERM, as compose gives them.
const GRACE: Duration = Duration::from_secs(10);

/// How often namespaces that are not ours are looked at.
const WATCH_EVERY: Duration = Duration::from_millis(500);

/// Messages that may wait for the control loop.
const WAITING: usize = 256;

/// Runs a switch until it is told to stop; answers the exit code of the process.
pub(crate) fn run(
    config: Config,
    socket: &Path,
    rootless: bool,
    exit_code_from: Option<&str>,
) -> Result<ExitCode, DaemonError> {
    let exit_code_from = exit_code_from.map(|name| command_of(&config, name)).transpose()?;
    descendants::become_subreaper()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|cause| DaemonError::System { operation: "start the control loop", cause })?;
    let (outcome, supervisor) = runtime.block_on(async {
        let width = config.containers.keys().map(|name| name.as_str().len()).max().unwrap_or(0);
        let (mut supervisor, ended) = Supervisor::new(width);
        let outcome = control(config, socket, rootless, exit_code_from, &mut supervisor, ended).await;
        (outcome, supervisor)
    });
    drop(runtime);
    supervisor.finish();
    outcome
}

fn command_of(config: &Config, name: &str) -> Result<ContainerName, DaemonError> {
    let found = config.containers.get_key_value(name).filter(|(_, spec)| spec.command.is_some());
    found.map(|(name, _)| name.clone()).ok_or_else(|| DaemonError::NoSuchCommand(name.to_owned()))
}

async fn control(
    config: Config,
    socket: &Path,
    rootless: bool,
    exit_code_from: Option<ContainerName>,
    supervisor: &mut Supervisor,
    ended: mpsc::Receiver<Ended>,
) -> Result<ExitCode, DaemonError> {
    // Before anything is made, so that a signal during start-up stops the switch in order.
    let mut signals = Signals::listen()?;
    let (_socket, listener) = ControlSocket::listen(socket)?;
    let listener = UnixListener::from_std(listener)
        .map_err(|cause| DaemonError::System { operation: "offer the control socket", cause })?;

    let connections = match &config.uplink {
        Uplink::Interface(uplink) => uplink.nat.max_connections,
        Uplink::Tap(uplink) => uplink.nat.max_connections,
        Uplink::None => NatSettings::DEFAULT_MAX_CONNECTIONS,
    };
    let connections = usize::try_from(connections).unwrap_or(usize::MAX);
    let (notify, events) = mpsc::channel(WAITING);
    let dataplane =
        Dataplane::start(config.switch.workers, host::random_seed(), connections, move |event| {
            // A full channel means hundreds of ports vanished at once; the namespace watch finds the rest.
            let _ = notify.try_send(event);
        })?;
    let mut daemon = Daemon::new(config, dataplane, rootless);
    daemon.bring_up()?;
    daemon.announce_uplink();
    daemon.announce();
    let requests = server::serve(listener);
    start_commands(&mut daemon, supervisor);

    let mut control = Control {
        daemon,
        requests,
        events,
        ended,
        departed: mpsc::channel(WAITING),
        watch: watch_interval(),
        exit_code_from,
    };
    let code = control.serve(&mut signals).await;
    control.stop(&mut signals).await;
    Ok(code)
}

fn start_commands(daemon: &mut Daemon, supervisor: &mut Supervisor) {
    let commands: Vec<_> = daemon
        .config
        .containers
        .values()
        .filter_map(|spec| Some((spec.name.clone(), spec.command.clone()?, spec.environment.clone())))
        .collect();
    for (name, argv, environment) in commands {
        let owner = daemon.namespace_owner(&name);
        let namespaces = daemon.containers.get(owner).and_then(|live| live.namespaces.as_ref());
        let started = supervisor.start(&name, &argv, environment, namespaces);
        let Some(live) = daemon.containers.get_mut(&name) else { continue };
        match started {
            Ok(pid) => live.pid = Some(pid),
            Err(error) => {
                tracing::error!("{name}: {error}");
                live.exit_code = Some(error.exit_status().into());
            }
        }
    }
}

fn watch_interval() -> Interval {
    let mut watch = interval(WATCH_EVERY);
    watch.set_missed_tick_behavior(MissedTickBehavior::Delay);
    watch
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    fn listen() -> Result<Self, DaemonError> {
        let listen = |kind| {
            signal(kind).map_err(|cause| DaemonError::System { operation: "listen for signals", cause })
        };
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    /// Ends when the user wants the switch to stop.
    async fn stop(&mut self) {
        loop {
            tokio::select! {
                _ = self.interrupt.recv() => return,
                _ = self.terminate.recv() => return,
                _ = self.hangup.recv() => {
                    tracing::warn!("SIGHUP: reloading a changed configuration is not supported yet; restart the switch");
                }
            }
        }
    }
}

struct Control {
    daemon: Daemon,
    requests: mpsc::Receiver<Request>,
    events: mpsc::Receiver<Event>,
    ended: mpsc::Receiver<Ended>,
    /// Ephemeral containers whose process ended.
    departed: (mpsc::Sender<ContainerName>, mpsc::Receiver<ContainerName>),
    watch: Interval,
    exit_code_from: Option<ContainerName>,
}

impl Control {
    /// Serves until the user stops the switch or the command that decides ends.
    async fn serve(&mut self, signals: &mut Signals) -> ExitCode {
        if let Some(code) = self.decided() {
            return code;
        }
        let watches = plan::watches_namespaces(&self.daemon.config);
        loop {
            tokio::select! {
                () = signals.stop() => return ExitCode::SUCCESS,
                Some(Request { ask, reply }) = self.requests.recv() => {
                    // Whoever asked may have gone away.
                    let _ = reply.send(self.answer(ask));
                }
                Some(event) = self.events.recv() => {
                    if let Some(code) = self.notice(event) {
                        return code;
                    }
                }
                Some(ended) = self.ended.recv() => {
                    self.note_end(ended);
                    if let Some(code) = self.decided() {
                        return code;
                    }
                }
                () = self.daemon.lease_change() => self.daemon.follow_lease(),
                Some(name) = self.departed.1.recv() => self.daemon.remove(&name),
                _ = self.watch.tick(), if watches || self.daemon.misses_a_lan() => {
                    self.daemon.watch_namespaces();
                    self.daemon.watch_lans();
                }
            }
        }
    }

    /// The exit code, once the command that decides it has ended.
    fn decided(&self) -> Option<ExitCode> {
        let live = self.daemon.containers.get(self.exit_code_from.as_ref()?)?;
        // Exit codes and 128 + signal are within a byte.
        live.exit_code.map(|code| ExitCode::from(u8::try_from(code).unwrap_or(1)))
    }

    fn note_end(&mut self, Ended { container, code }: Ended) {
        tracing::info!("{container}: its command ended with code {code}");
        if let Some(live) = self.daemon.containers.get_mut(&container) {
            live.pid = None;
            live.exit_code = Some(code);
        }
        self.reap();
    }

    /// Buries what commands left behind and we adopted.
    fn reap(&self) {
        if let Err(error) = descendants::reap_orphans(&self.daemon.command_pids()) {
            tracing::debug!("reaping: {error}");
        }
    }

    fn notice(&mut self, event: Event) -> Option<ExitCode> {
        match event {
            Event::PortGone { port, reason } => {
                if let Some(name) = self.daemon.owner(port) {
                    self.daemon.take_down(&name, &reason);
                } else {
                    self.daemon.lose_lan(port, &reason);
                }
                None
            }
            Event::WorkerDied { worker } => {
                tracing::error!("worker {worker} died, which is a defect of vswitch; stopping");
                Some(ExitCode::FAILURE)
            }
        }
    }

    fn answer(&mut self, ask: Ask) -> Answer {
        match ask {
            Ask::Tell(query) => self.daemon.report(query),
            Ask::AddContainer(new) => self.add_container(&new),
        }
    }

    fn add_container(&mut self, new: &NewContainer) -> Answer {
        let failed = |error: &dyn std::fmt::Display| Refusal::Failed(error.to_string());
        let watch = PidWatch::open(new.pid).map_err(|error| failed(&error))?;
        let name = self.daemon.add_ephemeral(&new.network, new.pid).map_err(|error| failed(&error))?;
        let (departed, gone) = (self.departed.0.clone(), name.clone());
        let waiting = std::thread::Builder::new().name(name.to_string()).spawn(move || {
            watch.wait();
            let _ = departed.blocking_send(gone);
        });
        if let Err(error) = waiting {
            self.daemon.remove(&name);
            return Err(failed(&format!("cannot watch process {}: {error}", new.pid)));
        }
        self.daemon.report(Query::Container(name.to_string()))
    }

    /// Ends every command; a second signal ends them at once.
    async fn stop(mut self, signals: &mut Signals) {
        let children = self.daemon.command_pids();
        let mut patience = GRACE;
        let leftover = loop {
            let waited_for = children.clone();
            let end =
                tokio::task::spawn_blocking(move || descendants::kill_descendants(patience, &waited_for));
            tokio::select! {
                () = signals.stop(), if !patience.is_zero() => patience = Duration::ZERO,
                ended = end => break ended,
            }
        };
        match leftover {
            Ok(Ok(left)) if left.is_empty() => {}
            Ok(Ok(left)) => tracing::warn!("processes that even SIGKILL does not end: {left:?}"),
            Ok(Err(error)) => tracing::warn!("ending the commands: {error}"),
            Err(error) => tracing::warn!("ending the commands: {error}"),
        }
        // Their ends are told once their last words are printed.
        let mut running: BTreeMap<_, _> = self.daemon.running_commands();
        while !running.is_empty() {
            let Some(ended) = self.ended.recv().await else { break };
            running.remove(&ended.container);
        }
    }
}
