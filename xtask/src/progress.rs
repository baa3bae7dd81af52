//! Shows what is being built, a line that changes; on no terminal, one line a step.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Result;
use bartizan_harness::build::{self, Observer};
use indicatif::{ProgressBar, ProgressStyle};

/// Builds the control plane and the given providers and the host, and returns their paths in this order.
pub(crate) fn build_all(guests: &[&str]) -> Result<(PathBuf, Vec<PathBuf>, PathBuf)> {
    build::check_prerequisites()?;
    let control_plane = step("control plane", build::control_plane)?;
    let guests = step(&format!("providers ({})", guests.join(", ")), |observer| build::guests(guests, observer))?;
    let host = step("host", build::host)?;
    Ok((control_plane, guests, host))
}

/// Runs one step that reports its progress line by line.
pub(crate) fn step<T>(what: &str, work: impl FnOnce(Observer<'_>) -> Result<T>) -> Result<T> {
    let started = Instant::now();
    if !std::io::stderr().is_terminal() {
        eprintln!("building {what}");
        return work(&build::silent);
    }
    let bar = ProgressBar::new_spinner().with_message(format!("building {what}"));
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed:>4} {prefix:.dim}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(100));
    let result = work(&|line| bar.set_prefix(line.trim().chars().take(80).collect::<String>()));
    bar.finish_and_clear();
    if result.is_ok() && started.elapsed() > Duration::from_secs(2) {
        eprintln!("built {what} in {} s", started.elapsed().as_secs());
    }
    result
}
