//! The phases of the bench, on one controller: converge, change, drift, rest, restart.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use bartizan_harness::{ControlPlane, HostProcess};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{DeleteParams, ObjectMeta, PostParams};

use super::figures::Figures;
use super::observer::{Observer, Seen};
use super::requests::{Counter, Tally};
use super::subject::{Deployed, Programs, Subject};
use super::triples::{CONFIG_MAPS, NAMESPACE, Triples, config_map_name};
use crate::percentile::{percentile, rounded};

/// How many parents are written at the same time: more than either controller works on.
const WRITERS: usize = 32;
/// How many ConfigMaps are deleted, one after the other.
const DRIFTS: usize = 50;
/// How long a controller may take to stop after SIGTERM.
const GRACE: Duration = Duration::from_secs(30);

/// One controller under measurement.
pub(crate) struct Bench<'a> {
    subject: Subject,
    cluster: &'a ControlPlane,
    deployed: Deployed,
    process: HostProcess,
    observer: Observer,
    triples: Triples,
    parents: usize,
    timeout: Duration,
}

impl<'a> Bench<'a> {
    /// Measures everything on a fresh control plane.
    pub(crate) async fn run(subject: Subject, programs: &Programs, parents: usize, rest: u32) -> Result<Figures> {
        // No nodes: there are no pods, and the status of nodes would only be noise.
        let cluster = ControlPlane::options().nodes(0).start().await?;
        let figures = Bench::start(subject, &cluster, programs, parents).await?.measure(rest).await?;
        cluster.stop().await?;
        Ok(figures)
    }

    async fn start(
        subject: Subject,
        cluster: &'a ControlPlane,
        programs: &Programs,
        parents: usize,
    ) -> Result<Bench<'a>> {
        // At least ten parents a second: a controller that needs longer is broken, not slow.
        let timeout = Duration::from_secs(60) + Duration::from_millis(100) * u32::try_from(parents)?;
        let mut deployed = Deployed::new(subject, cluster, programs).await?;
        let namespace = Namespace {
            metadata: ObjectMeta { name: Some(NAMESPACE.to_owned()), ..ObjectMeta::default() },
            ..Namespace::default()
        };
        Api::all(cluster.client()).create(&PostParams::default(), &namespace).await.context("namespace")?;
        let triples = Triples::new(cluster.client());
        let observer = Observer::start(&triples, parents, timeout).await?;
        let mut counter = Counter::start(cluster, subject.user())?;
        let (process, _) = deployed.start(&mut counter, timeout).await?;
        counter.until_quiet(timeout).await?;
        Ok(Bench { subject, cluster, deployed, process, observer, triples, parents, timeout })
    }

    async fn measure(mut self, rest: u32) -> Result<Figures> {
        let mut figures = Figures::default();
        self.converge(&mut figures).await?;
        self.change(&mut figures).await?;
        self.drift(&mut figures).await?;
        self.rest(&mut figures, rest).await?;
        self.restart(&mut figures).await?;
        Ok(figures)
    }

    /// From the first create until the last parent has converged.
    async fn converge(&mut self, figures: &mut Figures) -> Result<()> {
        let counter = self.counter()?;
        let cpu = self.process.cpu_seconds()?;
        self.observer.set_wanted(FIRST);
        let started = Instant::now();
        let created = stream::iter(0..self.parents).map(|number| self.triples.create(number, FIRST));
        created.buffer_unordered(WRITERS).try_collect::<()>().await?;
        self.all_converged("all parents to converge").await?;
        let last = self.observer.read(|seen| seen.parents.iter().filter_map(|parent| parent.right_at).max());
        let took = last.context("no parents")?.saturating_duration_since(started);
        figures.converge_s = rounded(took.as_secs_f64(), 2);
        let tally = counter.until_quiet(self.timeout).await?;
        figures.requests_per_parent = per(&tally, self.parents);
        figures.cpu_s = rounded(self.process.cpu_seconds()? - cpu, 2);
        self.report("converge", &tally);
        Ok(())
    }

    /// From the response to each PATCH until the parent's status shows the new value.
    async fn change(&mut self, figures: &mut Figures) -> Result<()> {
        let counter = self.counter()?;
        self.observer.set_wanted(SECOND);
        let changed = stream::iter(0..self.parents).map(async |number| {
            self.triples.change(number, SECOND).await?;
            anyhow::Ok((number, Instant::now()))
        });
        let answered: Vec<(usize, Instant)> = changed.buffer_unordered(WRITERS).try_collect().await?;
        self.all_converged("all parents to show the change").await?;
        let mut times: Vec<Duration> = self.observer.read(|seen| {
            let shown = |number: usize| seen.parents.get(number).and_then(|parent| parent.status_at);
            answered.iter().filter_map(|(number, at)| Some(shown(*number)?.saturating_duration_since(*at))).collect()
        });
        times.sort_unstable();
        let milliseconds = |percent| rounded(percentile(&times, percent).as_secs_f64() * 1e3, 1);
        figures.update_p50_ms = milliseconds(50);
        figures.update_p99_ms = milliseconds(99);
        let tally = counter.until_quiet(self.timeout).await?;
        figures.requests_per_update = per(&tally, self.parents);
        self.report("update", &tally);
        Ok(())
    }

    /// ConfigMaps are deleted, each once the one before is recreated.
    async fn drift(&mut self, figures: &mut Figures) -> Result<()> {
        let counter = self.counter()?;
        let drifts = DRIFTS.min(self.parents);
        for drift in 0..drifts {
            let (parent, index) = (drift * self.parents / drifts, drift % CONFIG_MAPS);
            let name = config_map_name(parent, index);
            let uid = self.observer.read(|seen| seen.uid(parent, index).map(str::to_owned));
            let uid = uid.with_context(|| format!("{name} was not seen"))?;
            let params = DeleteParams::default();
            self.triples.config_maps.delete(&name, &params).await.with_context(|| format!("deleting {name}"))?;
            let is_back = |seen: &Seen| seen.uid(parent, index).is_some_and(|found| found != uid);
            self.observer.until(&format!("{name} to be back"), self.timeout, is_back).await?;
        }
        let tally = counter.until_quiet(self.timeout).await?;
        figures.requests_per_drift = per(&tally, drifts);
        self.report("drift", &tally);
        Ok(())
    }

    /// At rest.
    async fn rest(&mut self, figures: &mut Figures, seconds: u32) -> Result<()> {
        let mut counter = self.counter()?;
        let (cpu, started) = (self.process.cpu_seconds()?, Instant::now());
        tokio::time::sleep(Duration::from_secs(seconds.into())).await;
        let spent = self.process.cpu_seconds()? - cpu;
        figures.cpu_at_rest_percent = rounded(100.0 * spent / started.elapsed().as_secs_f64(), 2);
        figures.rss_mib = rounded(self.process.rss_mib()?, 1);
        let tally = counter.now()?;
        figures.requests_at_rest = tally.requests;
        self.report("rest", tally);
        Ok(())
    }

    /// A restart, while all parents have converged.
    async fn restart(&mut self, figures: &mut Figures) -> Result<()> {
        self.process.sigterm()?;
        self.process.wait_exit(GRACE).await?;
        let mut counter = self.counter()?;
        let began = Timestamp::now();
        let (process, mut ready) = self.deployed.start(&mut counter, self.timeout).await?;
        self.process = process;
        let tally = counter.until_quiet(self.timeout).await?;
        figures.restart_writes = tally.writes;
        // It has no /readyz: it is done once it has listed its caches and writes nothing more.
        if let (Subject::Native, Some(last)) = (self.subject, &tally.last_write) {
            let last: Timestamp = last.parse().context("time of a request")?;
            ready = ready.max(last.duration_since(began).unsigned_abs());
        }
        figures.restart_ready_s = rounded(ready.as_secs_f64(), 2);
        self.report("restart", &tally);
        Ok(())
    }

    fn counter(&self) -> Result<Counter<'a>> {
        Counter::start(self.cluster, self.subject.user())
    }

    async fn all_converged(&mut self, what: &str) -> Result<()> {
        let result = self.observer.until(what, self.timeout, |seen| seen.all_converged()).await;
        if let (Err(_), Some(status)) = (&result, self.process.exited()?) {
            bail!("it ended ({status}): {}", self.process.lines().last().cloned().unwrap_or_default());
        }
        result
    }

    /// Prints progress and a summary of the requests; to stderr, since stdout is for the figures.
    fn report(&self, phase: &str, tally: &Tally) {
        eprintln!("{}: {phase}: {tally}", self.subject.name());
    }
}

/// The first value of all parents.
const FIRST: &str = "first";
/// The value that they are changed to.
const SECOND: &str = "second";

/// Requests for each of so many.
fn per(tally: &Tally, count: usize) -> f64 {
    // Far below 2^52.
    rounded(tally.requests as f64 / count.max(1) as f64, 3)
}
