//! Loading twenty providers as after a restart of the host: from the compile cache by their digests, with one call
//! each.

use std::time::Instant;

use anyhow::{Context as _, Result};
use bartizan_e2e::patched;
use bartizan_runtime::{Config, Limits, Runtime};

use super::args::PROVIDERS;
use crate::percentile::rounded;

/// Timed restarts; the result is the median.
const TIMES: usize = 11;

/// In milliseconds.
pub(crate) fn measure(module: &[u8]) -> Result<f64> {
    let folder = tempfile::tempdir()?;
    let config = || Config { cache_dir: Some(folder.path().join("modules")), concurrent_calls: 4, ..Config::default() };
    let runtime = Runtime::new(config())?;
    let digests: Vec<String> = (0..PROVIDERS)
        .map(|number| {
            let version = patched(module, "bench.bartizan.dev", &format!("b{number:02}ch.bartizan.dev"))?;
            Ok(runtime.load(&version)?.digest().to_owned())
        })
        .collect::<Result<_>>()?;
    let mut times = Vec::new();
    for _ in 0..TIMES {
        let runtime = Runtime::new(config())?;
        let started = Instant::now();
        let mut kept = Vec::new();
        for digest in &digests {
            let module = runtime.recall(digest).context("it is not in the cache")?;
            module.describe(&Limits::default())?;
            kept.push(module);
        }
        times.push(started.elapsed());
    }
    times.sort_unstable();
    let median = times.get(TIMES / 2).copied().unwrap_or_default();
    Ok(rounded(median.as_secs_f64() * 1e3, 1))
}
