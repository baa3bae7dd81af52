//! The steps of a test run: how long each took, and what was left out.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;

/// What is known of a run so far; steps may run side by side.
pub(crate) struct Steps {
    started: Instant,
    done: Mutex<Vec<(String, Duration)>>,
    left_out: Mutex<Vec<String>>,
}

impl Default for Steps {
    fn default() -> Self {
        Self { started: Instant::now(), done: Mutex::default(), left_out: Mutex::default() }
    }
}

impl Steps {
    /// Runs a step and records how long it took, whether it succeeds or not.
    pub(crate) fn time<T>(&self, name: &str, step: impl FnOnce() -> Result<T>) -> Result<T> {
        let started = Instant::now();
        let result = step();
        lock(&self.done).push((name.to_owned(), started.elapsed()));
        result
    }

    /// Records that something is not tested, and why.
    pub(crate) fn left_out(&self, reason: &str) {
        lock(&self.left_out).push(reason.to_owned());
    }

    /// A table of the steps, and what was left out.
    pub(crate) fn summary(&self) -> String {
        table(&lock(&self.done), self.started.elapsed(), &lock(&self.left_out))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn table(done: &[(String, Duration)], total: Duration, left_out: &[String]) -> String {
    let line = |name: &str, time: Duration| format!("{:>6} s  {name}", time.as_secs());
    let mut lines: Vec<String> = done.iter().map(|(name, time)| line(name, *time)).collect();
    lines.push(line("in all", total));
    lines.extend(left_out.iter().map(|reason| format!("left out: {reason}")));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_lists_steps_with_their_times_and_what_was_left_out() {
        let done =
            [("cargo clippy".to_owned(), Duration::from_secs(61)), ("rigs".to_owned(), Duration::from_millis(5900))];
        let left_out = ["the rest: no time".to_owned()];
        let expected = "    61 s  cargo clippy\n     5 s  rigs\n    70 s  in all\nleft out: the rest: no time";
        assert_eq!(table(&done, Duration::from_secs(70), &left_out), expected);
    }

    #[test]
    fn a_step_that_fails_is_listed_too() {
        let steps = Steps::default();
        let failed: Result<()> = steps.time("clippy", || anyhow::bail!("no"));
        assert!(failed.is_err());
        assert!(steps.summary().starts_with("     0 s  clippy\n"));
    }
}
