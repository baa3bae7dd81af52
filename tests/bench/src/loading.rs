//! Loading a module: compiling it, and loading it from the compile cache.

use std::path::Path;
use std::time::Instant;

use anyhow::{Result, ensure};
use bartizan_runtime::{Config, Runtime};

/// Timed loads; the result is the median.
const COLD: usize = 5;
const CACHED: usize = 25;

/// Milliseconds of a cold load (which writes to the cache) and of one from the cache.
pub(crate) fn measure(wasm: &[u8]) -> Result<(f64, f64)> {
    let mut cold = Vec::new();
    for _ in 0..COLD {
        cold.push(load(wasm, &tempfile::tempdir()?.path().join("modules"), false)?);
    }
    let parent = tempfile::tempdir()?;
    let dir = parent.path().join("modules");
    load(wasm, &dir, false)?;
    let cached = (0..CACHED).map(|_| load(wasm, &dir, true)).collect::<Result<Vec<_>>>()?;
    Ok((median(cold), median(cached)))
}

/// One load in an engine of its own, as after a restart of the host.
fn load(wasm: &[u8], dir: &Path, from_cache: bool) -> Result<f64> {
    let config = Config { cache_dir: Some(dir.to_owned()), concurrent_calls: 4, ..Config::default() };
    let runtime = Runtime::new(config)?;
    let started = Instant::now();
    let module = runtime.load(wasm)?;
    let milliseconds = started.elapsed().as_secs_f64() * 1e3;
    ensure!(module.from_cache() == from_cache, "the compile cache did not do what it should");
    Ok(milliseconds)
}

/// With two decimals.
fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    (times.get(times.len() / 2).copied().unwrap_or(0.0) * 100.0).round() / 100.0
}
