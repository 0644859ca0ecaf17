//! Commands run in containers: started, their output prefixed, their end reported.

use std::io::{IsTerminal, Write};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::mpsc;
use vswitch_config::names::ContainerName;
use vswitch_ports::netns::NetNs;
use vswitch_ports::{Error, process};

use super::container::Namespaces;

/// Longer lines are printed in pieces, so that a command cannot make the switch hold a line without end.
const LONGEST_LINE: usize = 16 * 1024;

/// Lines that may wait to be printed; then the commands that print them wait.
const WAITING_LINES: usize = 256;

/// How long the output of a command that ended is waited for.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// Colours of prefixes, in turn, as compose has them: ANSI cyan, yellow, green, magenta, blue.
const COLOURS: [u8; 5] = [36, 33, 32, 35, 34];

/// A command ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) container: ContainerName,
    /// Its exit code; 128 and the signal's number when a signal ended it, as shells have it.
    pub(super) code: i32,
}

/// Starts commands and prints what they print.
#[derive(Debug)]
pub(super) struct Supervisor {
    lines: mpsc::Sender<Vec<u8>>,
    printer: std::thread::JoinHandle<()>,
    ended: mpsc::Sender<Ended>,
    /// Columns of the longest prefix.
    width: usize,
    started: usize,
    colour: bool,
}

impl Supervisor {
    /// A supervisor for commands of containers whose names have at most `width` characters.
    pub(super) fn new(width: usize) -> (Self, mpsc::Receiver<Ended>) {
        let (lines, mut waiting) = mpsc::channel::<Vec<u8>>(WAITING_LINES);
        // A thread of its own, so that a terminal that is stopped stops nobody but the printing commands.
        let printer = std::thread::spawn(move || {
            let mut stdout = std::io::stdout();
            while let Some(line) = waiting.blocking_recv() {
                // Whoever closed our standard output does not want it.
                let _ = stdout.write_all(&line).and_then(|()| stdout.flush());
            }
        });
        let (ended, receiver) = mpsc::channel(WAITING_LINES);
        let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        (Self { lines, printer, ended, width, started: 0, colour }, receiver)
    }

    /// Starts a command in a container's namespaces (in the switch's own for none). Its end is reported once.
    pub(super) fn start(
        &mut self,
        container: &ContainerName,
        argv: &[String],
        environment: impl IntoIterator<Item = (String, String)>,
        namespaces: Option<&Namespaces>,
    ) -> Result<u32, Error> {
        let Some((program, arguments)) = argv.split_first() else {
            return Err(Error::CommandNotFound { command: String::new() });
        };
        let mut command = Command::new(program);
        command.args(arguments).envs(environment);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        match namespaces {
            Some(Namespaces { net, view }) => process::enter_on_exec(&mut command, net.as_fd(), Some(view))?,
            None => process::enter_on_exec(&mut command, NetNs::current()?.as_fd(), None)?,
        }
        let mut command = tokio::process::Command::from(command);
        let mut child = command.spawn().map_err(|cause| process::start_failure(command.as_std(), cause))?;
        let pid = child.id().unwrap_or_default();
        let prefix = self.prefix(container);
        let lines = &self.lines;
        let stdout =
            child.stdout.take().map(|pipe| tokio::spawn(copy_lines(pipe, prefix.clone(), lines.clone())));
        let stderr = child.stderr.take().map(|pipe| tokio::spawn(copy_lines(pipe, prefix, lines.clone())));
        let (ended, container) = (self.ended.clone(), container.clone());
        tokio::spawn(async move {
            let status = child.wait().await;
            // Its last words are printed before its end is told. A background process may keep the pipes open
            // for ever, so what comes later is still printed but not waited for.
            let words = async {
                for pipe in [stdout, stderr].into_iter().flatten() {
                    let _ = pipe.await;
                }
            };
            let _ = tokio::time::timeout(LAST_WORDS, words).await;
            let code = status.map_or(1, exit_code);
            let _ = ended.send(Ended { container, code }).await;
        });
        Ok(pid)
    }

    /// Waits until everything is printed. To be called when the runtime that read the pipes is gone.
    pub(super) fn finish(self) {
        drop(self.lines);
        let _ = self.printer.join();
    }

    fn prefix(&mut self, container: &ContainerName) -> String {
        let colour = COLOURS[self.started % COLOURS.len()];
        self.started += 1;
        let name = format!("{:width$} |", container.as_str(), width = self.width);
        if self.colour { format!("\x1b[{colour}m{name}\x1b[0m ") } else { format!("{name} ") }
    }
}

fn exit_code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

/// Sends each line of `pipe` with `prefix` to be printed, until the pipe is closed.
async fn copy_lines(mut pipe: impl AsyncRead + Unpin, prefix: String, lines: mpsc::Sender<Vec<u8>>) {
    let mut buffer = Vec::with_capacity(LONGEST_LINE);
    while let Ok(count) = pipe.read_buf(&mut buffer).await {
        if count == 0 && buffer.is_empty() {
            return;
        }
        while let Some(end) = line_end(&buffer, count == 0) {
            let rest = buffer.split_off(end);
            let text = std::mem::replace(&mut buffer, rest);
            let text = text.strip_suffix(b"\n").unwrap_or(&text);
            if lines.send([prefix.as_bytes(), text, b"\n"].concat()).await.is_err() {
                return;
            }
        }
    }
}

/// Where the first line of `buffer` ends: behind its newline, or where it is cut for length or at the end.
fn line_end(buffer: &[u8], last: bool) -> Option<usize> {
    let newline = buffer.iter().position(|byte| *byte == b'\n');
    match newline {
        Some(place) => Some(place + 1),
        None if buffer.len() >= LONGEST_LINE || (last && !buffer.is_empty()) => Some(buffer.len()),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_at_newlines_at_the_limit_and_at_the_end() {
        assert_eq!(line_end(b"one\ntwo\n", false), Some(4));
        assert_eq!(line_end(b"no end yet", false), None);
        assert_eq!(line_end(b"no end ever", true), Some(11));
        assert_eq!(line_end(b"", true), None);
        assert_eq!(line_end(&[b'x'; LONGEST_LINE], false), Some(LONGEST_LINE));
    }
}
