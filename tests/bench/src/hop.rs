//! One provider call, as the host makes it: the request is assembled, the call is timed from its bytes to the response's.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bartizan_runtime::{Config, Limits, Module, Runtime};

use crate::cluster::Cluster;
use crate::percentile::{percentile, rounded};
use crate::report::{Call, Hop};
use crate::ring::Ring;

/// The measured numbers of children.
const CHILDREN: [usize; 4] = [1, 10, 100, 1000];
/// Rounds, over some ten seconds, of which the quietest counts: other load on the machine makes calls longer, never
/// shorter.
const ROUNDS: usize = 20;
/// Calls before a round is timed: to touch pages and train branch prediction.
const WARM_UP: u32 = 50;

/// The bytes of a provider's module.
pub(crate) fn read_module(guests: &Path, name: &str) -> Result<Vec<u8>> {
    let path = guests.join(format!("{name}.wasm"));
    std::fs::read(&path).with_context(|| {
        let build = format!("cargo build --profile guest --target wasm32-unknown-unknown -p {name}");
        format!("{} cannot be read; build it with `{build}`", path.display())
    })
}

/// Times calls of the minio provider for each number of children, and of the cassandra provider for a converged ring:
/// `iterations` of each in every round.
pub(crate) fn measure(minio: &[u8], cassandra: &[u8], iterations: u32) -> Result<(Vec<Hop>, Call)> {
    let runtime = Runtime::new(Config::default())?;
    let (minio, cassandra) = (runtime.load(minio)?, runtime.load(cassandra)?);
    let mut stores = stores(&minio)?;
    let mut ring = Case::new(&cassandra, ring(&cassandra)?)?;
    for _ in 0..ROUNDS {
        stores.iter_mut().chain([&mut ring]).try_for_each(|case| case.time(iterations))?;
    }
    let hop = |(children, case): (usize, &Case<'_>)| {
        let Call { p50_us, p99_us } = case.quietest();
        Hop { children, p50_us, p99_us }
    };
    Ok((CHILDREN.into_iter().zip(&stores).map(hop).collect(), ring.quietest()))
}

/// The talk's store with each number of children.
fn stores(module: &Module) -> Result<Vec<Case<'_>>> {
    let limits = Limits::default();
    let mut cluster = Cluster::new(module.describe(&limits)?.manifest)?;
    // The first answer is what the host would have applied; from then on the provider observes it.
    let first = module.reconcile(&cluster.request(0)?, &limits)?;
    cluster.observe(&first.response)?;
    CHILDREN.into_iter().map(|children| Case::new(module, cluster.request(children)?)).collect()
}

/// A converged ring.
fn ring(module: &Module) -> Result<Vec<u8>> {
    let limits = Limits::default();
    let mut ring = Ring::new(module.describe(&limits)?.manifest)?;
    ring.settle(|request| Ok(module.reconcile(request, &limits)?.response))?;
    ring.request()
}

/// A call that is timed repeatedly.
struct Case<'m> {
    module: &'m Module,
    request: Vec<u8>,
    response: Vec<u8>,
    /// The times of each round, sorted.
    rounds: Vec<Vec<Duration>>,
}

impl<'m> Case<'m> {
    fn new(module: &'m Module, request: Vec<u8>) -> Result<Self> {
        let response = module.reconcile(&request, &Limits::default())?.response;
        Ok(Self { module, request, response, rounds: Vec::new() })
    }

    /// One round.
    fn time(&mut self, iterations: u32) -> Result<()> {
        let limits = Limits::default();
        for _ in 0..WARM_UP {
            self.module.reconcile(&self.request, &limits)?;
        }
        let mut times = Vec::with_capacity(iterations as usize);
        for _ in 0..iterations {
            let started = Instant::now();
            let answer = self.module.reconcile(&self.request, &limits)?;
            times.push(started.elapsed());
            if answer.response != self.response {
                bail!("the provider answered the same request differently: it is not deterministic");
            }
        }
        times.sort_unstable();
        self.rounds.push(times);
        Ok(())
    }

    /// The round with the lowest median.
    fn quietest(&self) -> Call {
        let round = self.rounds.iter().min_by_key(|times| percentile(times, 50)).map_or(&[][..], Vec::as_slice);
        Call { p50_us: microseconds(round, 50), p99_us: microseconds(round, 99) }
    }
}

/// A percentile of sorted times, in microseconds with one decimal.
fn microseconds(sorted: &[Duration], percent: usize) -> f64 {
    rounded(percentile(sorted, percent).as_secs_f64() * 1e6, 1)
}
