//! Shows on stderr what is being built, for how long, and what is done: one status line that changes on a terminal, a line from
//! time to time elsewhere.

use std::io::{IsTerminal as _, Write as _};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::Observer;

/// How often the status line changes on a terminal.
const REDRAW: Duration = Duration::from_millis(500);
/// How often a status line is printed elsewhere, for example into the log of a CI run.
const REPORT: Duration = Duration::from_secs(20);
/// A build that takes less is not worth a line of its own.
const WORTH_A_LINE: Duration = Duration::from_secs(2);
/// Longer status lines would wrap, and a wrapped line cannot be overwritten.
const WIDTH: usize = 100;

/// The builds under way; several may run side by side.
pub struct Progress {
    started: Instant,
    terminal: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    running: Vec<Running>,
    /// When a status line was last shown.
    shown: Option<Instant>,
    /// Whether a status line is on the screen and has to be cleared before anything else is printed.
    drawn: bool,
}

struct Running {
    what: String,
    /// Crates or packages that the tool has begun with.
    units: usize,
    last: String,
}

impl Default for Progress {
    fn default() -> Self {
        Self { started: Instant::now(), terminal: std::io::stderr().is_terminal(), state: Mutex::default() }
    }
}

impl Progress {
    /// Prints a line, preceded by the seconds since the beginning.
    pub fn say(&self, line: &str) {
        self.print(&mut self.state(), line);
    }

    /// Runs a build; the observer that it receives takes the tool's output, a line at a time.
    ///
    /// # Errors
    /// That of the build.
    pub fn step<T>(&self, what: &str, build: impl FnOnce(Observer<'_>) -> Result<T>) -> Result<T> {
        let started = Instant::now();
        {
            let mut state = self.state();
            state.running.push(Running { what: what.to_owned(), units: 0, last: String::new() });
            if !self.terminal {
                self.print(&mut state, &format!("building {what}"));
            }
        }
        let (done, is_done) = channel::<()>();
        let result = thread::scope(|scope| {
            // The tools can be silent for a minute; the line changes nevertheless.
            scope.spawn(move || {
                let every = if self.terminal { REDRAW } else { REPORT };
                while is_done.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                    self.show(every);
                }
            });
            let result = build(&|line| self.observe(what, line));
            drop(done);
            result
        });
        let mut state = self.state();
        state.running.retain(|running| running.what != what);
        if result.is_ok() && started.elapsed() >= WORTH_A_LINE {
            self.print(&mut state, &format!("built {what} in {} s", started.elapsed().as_secs()));
        }
        self.clear(&mut state);
        result
    }

    fn observe(&self, what: &str, line: &str) {
        let mut state = self.state();
        if let Some(running) = state.running.iter_mut().find(|running| running.what == what)
            && let Some(unit) = unit(line)
        {
            running.units += 1;
            unit.clone_into(&mut running.last);
        }
    }

    /// Shows the status line unless another step did so a moment ago.
    fn show(&self, every: Duration) {
        let mut state = self.state();
        if state.shown.is_some_and(|shown| shown.elapsed() < every / 2) {
            return;
        }
        state.shown = Some(Instant::now());
        let line = status(&state.running);
        if self.terminal {
            let line: String = format!("{} {line}", self.time()).chars().take(WIDTH).collect();
            eprint!("\r\x1b[2K{line}");
            let _ = std::io::stderr().flush();
            state.drawn = true;
        } else {
            eprintln!("{} {line}", self.time());
        }
    }

    fn print(&self, state: &mut State, line: &str) {
        self.clear(state);
        eprintln!("{} {line}", self.time());
    }

    fn clear(&self, state: &mut State) {
        if std::mem::take(&mut state.drawn) {
            eprint!("\r\x1b[2K");
            let _ = std::io::stderr().flush();
        }
    }

    fn time(&self) -> String {
        format!("{:>5} s ", self.started.elapsed().as_secs())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The crate or package that a line of a build tool's output is about: cargo says what it does with it, `go build -v` prints
/// import paths only.
fn unit(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace();
    let first = words.next()?;
    match words.next() {
        Some(name) if matches!(first, "Compiling" | "Checking") => Some(name),
        None if first.contains(['/', '.']) => Some(first),
        _ => None,
    }
}

fn status(running: &[Running]) -> String {
    let one = |running: &Running| match running {
        Running { what, units: 0, .. } => format!("{what}: starting"),
        Running { what, units, last } => format!("{what}: {units}, {last}"),
    };
    running.iter().map(one).collect::<Vec<_>>().join(" | ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_names_each_build_its_count_and_its_last_unit() {
        let lines = [
            "   Compiling serde v1.0.229",
            "k8s.io/api/core/v1",
            "warning: unused",
            "    Finished `dev` profile in 1 s",
            "go: downloading k8s.io/api v0.36.3",
            "",
        ];
        assert_eq!(lines.map(unit), [Some("serde"), Some("k8s.io/api/core/v1"), None, None, None, None]);
        let running = [
            Running { what: "host".to_owned(), units: 12, last: "serde".to_owned() },
            Running { what: "control plane".to_owned(), units: 0, last: String::new() },
        ];
        assert_eq!(status(&running), "host: 12, serde | control plane: starting");
    }

    #[test]
    fn a_finished_step_is_no_longer_under_way() -> Result<()> {
        let progress = Progress::default();
        let found = progress.step("something", |observer| {
            observer("   Compiling serde v1.0.229");
            Ok(progress.state().running.iter().map(|running| running.units).sum::<usize>())
        })?;
        assert_eq!(found, 1);
        assert!(progress.state().running.is_empty());
        Ok(())
    }
}
