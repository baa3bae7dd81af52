//! One provider call, as the host makes it: the request is assembled, the call is timed from its bytes to the response's.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bartizan_runtime::{Config, Limits, Module, Runtime};

use crate::cluster::Cluster;
use crate::percentile::{percentile, rounded};
use crate::report::{Call, Hop};
use crate::ring::{self, Ring};

/// Numbers of children that are measured.
const CHILDREN: [usize; 4] = [1, 10, 100, 1000];
/// Calls before the clock runs: pages are touched, branches are learnt.
const WARM_UP: u32 = 50;

/// The bytes of a provider's module.
pub(crate) fn read_module(guests: &Path, name: &str) -> Result<Vec<u8>> {
    let path = guests.join(format!("{name}.wasm"));
    std::fs::read(&path).with_context(|| {
        let build = format!("cargo build --profile guest --target wasm32-unknown-unknown -p {name}");
        format!("{} cannot be read; build it with `{build}`", path.display())
    })
}

/// Times `iterations` calls for each number of children.
pub(crate) fn measure(wasm: &[u8], iterations: u32) -> Result<Vec<Hop>> {
    let module = Runtime::new(Config::default())?.load(wasm)?;
    let limits = Limits::default();
    let mut cluster = Cluster::new(module.describe(&limits)?.manifest)?;
    // The first answer is what the host would have applied; from then on the provider sees it.
    let first = module.reconcile(&cluster.request(0)?, &limits)?;
    cluster.observe(&first.response)?;
    CHILDREN.into_iter().map(|children| time(&module, &cluster.request(children)?, children, iterations)).collect()
}

/// Times `iterations` calls of the cassandra provider for a ring that is as its spec says.
pub(crate) fn measure_ring(wasm: &[u8], iterations: u32) -> Result<Call> {
    let module = Runtime::new(Config::default())?.load(wasm)?;
    let limits = Limits::default();
    let mut ring = Ring::new(module.describe(&limits)?.manifest)?;
    ring.settle(|request| Ok(module.reconcile(request, &limits)?.response))?;
    let Hop { p50_us, p99_us, .. } = time(&module, &ring.request()?, ring::CHILDREN, iterations)?;
    Ok(Call { p50_us, p99_us })
}

fn time(module: &Module, request: &[u8], children: usize, iterations: u32) -> Result<Hop> {
    let limits = Limits::default();
    let expected = module.reconcile(request, &limits)?.response;
    for _ in 0..WARM_UP {
        module.reconcile(request, &limits)?;
    }
    let mut times = Vec::with_capacity(iterations as usize);
    for _ in 0..iterations {
        let started = Instant::now();
        let answer = module.reconcile(request, &limits)?;
        times.push(started.elapsed());
        if answer.response != expected {
            bail!("the provider answered the same request differently: it is not deterministic");
        }
    }
    times.sort_unstable();
    Ok(Hop { children, p50_us: microseconds(&times, 50), p99_us: microseconds(&times, 99) })
}

/// A percentile of sorted times, in microseconds with one digit.
fn microseconds(sorted: &[Duration], percent: usize) -> f64 {
    rounded(percentile(sorted, percent).as_secs_f64() * 1e6, 1)
}
