//! Shows what is being built; the times count from the first build of this program.

use std::sync::LazyLock;

use anyhow::Result;
use bartizan_harness::build::{Observer, Progress};

static PROGRESS: LazyLock<Progress> = LazyLock::new(Progress::default);

/// Runs one build and shows its progress.
pub(crate) fn step<T>(what: &str, work: impl FnOnce(Observer<'_>) -> Result<T>) -> Result<T> {
    PROGRESS.step(what, work)
}
