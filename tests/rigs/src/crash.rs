//! The crash rig: kills the host at each single write of a scenario in turn, once before the request is sent and once
//! after the API server committed it but before the response arrives, and starts another one. The scenario must then
//! end as it does undisturbed: with the same objects after each step, and as many creates and deletes of each.

mod scenario;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use bartizan_e2e::{Host, Programs, Provider, SOON, Stage};
use bartizan_harness::AuditMark;
use bartizan_harness::wait::wait_for;
use serde_json::json;

use crate::differences::differences;
use crate::faults::Rules;
use crate::hold::{Point, Side};
use crate::proxy::Proxy;
use crate::request::{Class, Summary};
use crate::secrets::Secrets;
use scenario::{Observed, Scenario};

/// The namespace of the undisturbed run.
const CALM: &str = "crash-calm";

/// How long to run, and where to start.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// No run is started that would end after this time. `None`: all of them.
    pub time: Option<Duration>,
    /// The first point is number `seed`, modulo how many there are.
    pub seed: u64,
}

/// The result of a run.
struct Reference {
    seen: Observed,
    counts: BTreeMap<String, usize>,
    writes: usize,
}

/// Runs the rig; returns whether all runs ended alike.
///
/// # Errors
/// If the control plane cannot be started, or the scenario does not succeed even undisturbed.
pub async fn run(options: Options) -> Result<bool> {
    // Building does not count towards the time.
    Programs::get().await?;
    let began = Instant::now();
    let rig = Rig::start().await?;
    let mut host = Some(rig.host().await?);
    let reference = rig.undisturbed().await?;
    let points = points(reference.writes, options.seed);
    let Some((first, _)) = points.first() else { anyhow::bail!("the host wrote nothing") };
    println!(
        "crash: an undisturbed run makes {} writes, {} creates and {} deletes; {} points to kill the host at, beginning \
         with write {first} (seed {})",
        reference.writes,
        total(&reference.counts, "create"),
        total(&reference.counts, "delete"),
        points.len(),
        options.seed,
    );
    let (mut missed, mut different) = (0, 0);
    let mut namespaces = vec![CALM.to_owned()];
    let mut longest = Duration::ZERO;
    for &(number, side) in &points {
        if options.time.is_some_and(|time| began.elapsed() + longest > time) {
            break;
        }
        let started = Instant::now();
        let point = Point { namespace: format!("crash-{number}-{side}"), number, side };
        namespaces.push(point.namespace.clone());
        let (write, problems) = rig.disturbed(&mut host, point, &reference).await?;
        longest = longest.max(started.elapsed());
        missed += usize::from(write.is_none());
        different += usize::from(!problems.is_empty());
        let write = write.map_or_else(|| "not reached: fewer writes this time".to_owned(), |write| write.to_string());
        let verdict = if problems.is_empty() { "same" } else { "DIFFERENT" };
        println!("crash: {side} write {number}: {write}: {verdict} ({:.1} s)", started.elapsed().as_secs_f32());
        for problem in problems {
            println!("         {problem}");
        }
    }
    let left = rig.left(&namespaces).await;
    for problem in &left {
        println!("crash: {problem}");
    }
    let done = namespaces.len() - 1;
    println!(
        "crash: {done} of {} points in {} s, {missed} of them not reached, {different} with differences",
        points.len(),
        began.elapsed().as_secs(),
    );
    if different > 0 || !left.is_empty() {
        // Dropped without being stopped, the control plane keeps its logs and prints where.
        return Ok(false);
    }
    if let Some(host) = host {
        host.stop().await?;
    }
    rig.stage.stop().await?;
    Ok(true)
}

/// All points, from a given one on: a rig with little time covers all of them over the days.
fn points(writes: usize, seed: u64) -> Vec<(usize, Side)> {
    let mut points: Vec<_> =
        (1..=writes).flat_map(|number| [Side::Before, Side::After].map(|side| (number, side))).collect();
    if let Ok(count) = u64::try_from(points.len())
        && count > 0
    {
        points.rotate_left(usize::try_from(seed % count).unwrap_or_default());
    }
    points
}

fn total(counts: &BTreeMap<String, usize>, verb: &str) -> usize {
    counts.iter().filter(|(what, _)| what.starts_with(verb)).map(|(_, count)| count).sum()
}

/// A control plane, and the proxy in front of it.
struct Rig {
    stage: Stage,
    proxy: Proxy,
    kubeconfig: PathBuf,
}

impl Rig {
    async fn start() -> Result<Self> {
        let stage = Stage::start(&[Provider::Minio, Provider::Scripted]).await?;
        let proxy = Proxy::start(stage.kubeconfig(), Rules::Pass).await?;
        let kubeconfig = stage.path("through-the-proxy.yaml");
        proxy.write_kubeconfig(stage.kubeconfig(), &kubeconfig)?;
        Ok(Self { stage, proxy, kubeconfig })
    }

    async fn host(&self) -> Result<Host> {
        let mut host = self.stage.listening(self.stage.command_with(&self.kubeconfig)).await?;
        host.ready().await?;
        Ok(host)
    }

    /// The result of an undisturbed run.
    async fn undisturbed(&self) -> Result<Reference> {
        let namespace = CALM;
        let scenario = Scenario { stage: &self.stage, namespace };
        scenario.prepare().await?;
        let mark = self.stage.mark()?;
        let seen = scenario.play().await?;
        let counts = self.counts(namespace, mark)?;
        let is_ours =
            |request: &Summary| request.class == Class::Write && request.namespace.as_deref() == Some(namespace);
        let writes = self.proxy.log().iter().filter(|entry| is_ours(&entry.request)).count();
        Ok(Reference { seen, counts, writes })
    }

    /// One run with a crash: the write at which the host was killed, if it was reached, and the differences.
    async fn disturbed(
        &self,
        host: &mut Option<Host>,
        point: Point,
        reference: &Reference,
    ) -> Result<(Option<Summary>, Vec<String>)> {
        let namespace = point.namespace.clone();
        let scenario = Scenario { stage: &self.stage, namespace: &namespace };
        scenario.prepare().await?;
        let mark = self.stage.mark()?;
        let secrets = Secrets::watch(self.stage.api(&namespace));
        let mut reached = self.proxy.hold(point);
        let mut play = std::pin::pin!(scenario.play_like(&reference.seen));
        let (write, played) = tokio::select! {
            biased;
            write = &mut reached => {
                let (crashed, played) = tokio::join!(self.crash(host), play);
                crashed?;
                (Some(write.context("the proxy forgot what to hold")?), played)
            }
            played = &mut play => (None, played),
        };
        self.proxy.release();
        // A run that cannot continue is a difference, too: the next point may show more.
        let mut problems = played.unwrap_or_else(|error| vec![format!("{error:#}")]);
        let counts = self.counts(&namespace, mark)?;
        problems.extend(
            differences(&json!(reference.counts), &json!(counts))
                .into_iter()
                .map(|line| format!("number of requests: {line}")),
        );
        problems.extend(secrets.problems());
        Ok((write, problems))
    }

    /// Kills the host and starts another one.
    async fn crash(&self, host: &mut Option<Host>) -> Result<()> {
        host.take().context("there is no host to kill")?.kill().await?;
        // Nothing of the killed host may reach the API server later.
        self.proxy.closed(SOON).await?;
        self.proxy.release();
        *host = Some(self.host().await?);
        Ok(())
    }

    /// How often the host created and deleted each object. Events do not count: one may be written twice.
    fn counts(&self, namespace: &str, mark: AuditMark) -> Result<BTreeMap<String, usize>> {
        let mut counts = BTreeMap::new();
        for request in self.stage.requests_since(mark)? {
            let verb = match (request.verb.as_str(), request.code) {
                ("create" | "patch" | "update", Some(201)) => "create",
                ("delete", Some(200 | 202)) => "delete",
                _ => continue,
            };
            if request.namespace == namespace && request.resource != "events" {
                *counts.entry(format!("{verb} {} {}", request.resource, request.name)).or_default() += 1;
            }
        }
        Ok(counts)
    }

    /// Objects that are left of the stores that all runs deleted.
    async fn left(&self, namespaces: &[String]) -> Vec<String> {
        let mut left = Vec::new();
        let gone = wait_for("the children of all stores to be gone", SOON, async || {
            left.clear();
            for namespace in namespaces {
                let found = Scenario { stage: &self.stage, namespace }.left().await?;
                left.extend(found.into_iter().map(|child| format!("{child} is left in namespace {namespace}")));
            }
            Ok(left.is_empty().then_some(()))
        });
        match gone.await {
            Ok(()) => Vec::new(),
            Err(error) if left.is_empty() => vec![format!("{error:#}")],
            Err(_) => left,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_write_has_two_points_and_the_seed_says_which_is_first() {
        use Side::{After, Before};
        assert_eq!(points(2, 0), [(1, Before), (1, After), (2, Before), (2, After)]);
        assert_eq!(points(2, 7), [(2, After), (1, Before), (1, After), (2, Before)]);
        assert_eq!(points(0, 7), []);
    }
}
