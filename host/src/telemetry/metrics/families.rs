//! All metrics: their names, labels and buckets.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::labels::{
    OfBuild, OfCalls, OfCondition, OfLease, OfLoad, OfParents, OfProvider, OfRequest, OfResult, OfVerb, OfVersion,
    OfWatch,
};
use super::process::Process;
use super::series::{OfProviders, Series};

/// Buckets of call durations, in seconds: a call takes some 50 µs, and is stopped after 1 s by default, or after a minute at most.
const CALL_BUCKETS: [f64; 15] =
    [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 2.5, 10.0, 60.0];

/// Buckets of the durations of reconciles and of waits, in seconds: those of Prometheus' client libraries, and on to the longest timeout.
const DURATION_BUCKETS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 120.0];

/// The one lease that there is.
pub(super) const LEASE: &str = "bartizan";

/// Seconds that reconciles take, or wait.
fn seconds() -> Histogram {
    Histogram::new(DURATION_BUCKETS)
}

pub(super) struct Families {
    pub(super) registry: Registry,
    pub(super) reconciles: Series<OfResult, Counter>,
    pub(super) reconcile_durations: Series<OfProvider, Histogram>,
    pub(super) queue_waits: Series<OfProvider, Histogram>,
    pub(super) calls: Series<OfProvider, Counter>,
    pub(super) durations: Series<OfProvider, Histogram>,
    pub(super) writes: Series<OfVerb, Counter>,
    pub(super) refusals: Series<OfProvider, Counter>,
    pub(super) ignored: Series<OfProvider, Counter>,
    pub(super) parents: Series<OfParents, Gauge>,
    pub(super) queue_depth: Series<OfProvider, Gauge>,
    pub(super) breakers: Series<OfCalls, Gauge>,
    pub(super) swaps: Series<OfProvider, Counter>,
    pub(super) watch_up: Series<OfWatch, Gauge>,
    pub(super) watch_events: Series<OfWatch, Gauge>,
    pub(super) conditions: Series<OfCondition, Gauge>,
    pub(super) versions: Series<OfVersion, Gauge>,
    pub(super) loads: Family<OfLoad, Counter>,
    pub(super) requests: Family<OfRequest, Counter>,
    pub(super) tasks: Gauge,
    pub(super) leader: Family<OfLease, Gauge>,
    of_providers: OfProviders,
    /// What [`Metrics::loads`] reads: a family cannot be read.
    pub(super) live: Mutex<BTreeMap<String, Live>>,
}

impl Default for Families {
    fn default() -> Self {
        let (mut registry, mut all) = (Registry::default(), OfProviders::default());
        let reconciles = all.add(
            &mut registry,
            "bartizan_reconciles",
            "Reconciles by result: applied, held, waiting, failed, or unchanged if there was nothing to decide",
            Counter::default,
        );
        let reconcile_durations = all.add(
            &mut registry,
            "bartizan_reconcile_duration_seconds",
            "Time of a reconcile, with its calls and writes",
            seconds,
        );
        let queue_waits = all.add(
            &mut registry,
            "bartizan_queue_wait_seconds",
            "Time that a parent was due and waited for a reconcile to begin",
            seconds,
        );
        let calls =
            all.add(&mut registry, "bartizan_provider_calls", "Calls of the provider's module", Counter::default);
        let durations = all.add(
            &mut registry,
            "bartizan_provider_call_duration_seconds",
            "Time in the provider's module, without the wait for an instance",
            || Histogram::new(CALL_BUCKETS),
        );
        let writes =
            all.add(&mut registry, "bartizan_writes", "Write requests sent to the API server", Counter::default);
        let refusals =
            all.add(&mut registry, "bartizan_gate_refusals", "Answers that the output gate refused", Counter::default);
        let ignored = all.add(
            &mut registry,
            "bartizan_ignored_objects",
            "Times that an object was seen which is labelled as a child, and is none: the host did not apply it, or may \
             not there",
            Counter::default,
        );
        let parents = all.add(
            &mut registry,
            "bartizan_parents",
            "Parents that the provider serves, by kind and by their condition Synced; Unknown: not decided yet",
            Gauge::default,
        );
        let queue_depth = all.add(
            &mut registry,
            "bartizan_queue_depth",
            "Parents that are due and wait in the queue",
            Gauge::default,
        );
        let swaps = all.add(
            &mut registry,
            "bartizan_module_swaps",
            "Times that a new module took over from the previous one without a restart",
            Counter::default,
        );
        let breakers = all.add(
            &mut registry,
            "bartizan_breaker_open",
            "1 while the provider is called for at most one parent at a time, after several in a row without an answer",
            Gauge::default,
        );
        let watch_up = all.add(
            &mut registry,
            "bartizan_watch_up",
            "1 if the watch has listed and is running, 0 if the cache of the kind may be stale",
            Gauge::default,
        );
        let watch_events = all.add(
            &mut registry,
            "bartizan_watch_last_event_timestamp_seconds",
            "Time of the last event of the watch, in seconds since the epoch",
            Gauge::default,
        );
        let conditions = all.add(
            &mut registry,
            "bartizan_provider_condition",
            "1 for the status that a condition of the Provider has, 0 for the two others",
            Gauge::default,
        );
        let versions = all.add(&mut registry, "bartizan_provider_info", "The version that serves", Gauge::default);
        let (loads, requests, tasks, leader) =
            (Family::default(), Family::default(), Gauge::default(), Family::default());
        registry.register("bartizan_module_loads", "Modules that were loaded or refused", loads.clone());
        registry.register(
            "bartizan_api_requests",
            "Requests to the API server by verb and by the code of the answer; error: there was none",
            requests.clone(),
        );
        registry.register(
            "bartizan_tasks",
            "Live tasks of the host: at rest their number is constant, whatever was served before",
            tasks.clone(),
        );
        // The name that client-go gives it.
        registry.register(
            "leader_election_master_status",
            "1 while this host holds the lease, 0 while it stands by",
            leader.clone(),
        );
        let build: Family<OfBuild, Gauge> = Family::default();
        build.get_or_create(&OfBuild { version: env!("CARGO_PKG_VERSION") }).set(1);
        registry.register("bartizan_build_info", "The version of the host", build);
        registry.register_collector(Box::new(Process));
        Self {
            registry,
            reconciles,
            reconcile_durations,
            queue_waits,
            calls,
            durations,
            writes,
            refusals,
            ignored,
            parents,
            queue_depth,
            swaps,
            breakers,
            watch_up,
            watch_events,
            conditions,
            versions,
            loads,
            requests,
            tasks,
            leader,
            of_providers: all,
            live: Mutex::default(),
        }
    }
}

/// The gauges of one provider that people ask for.
#[derive(Default)]
pub(super) struct Live {
    pub(super) queue: Gauge,
    pub(super) watches: BTreeMap<String, bool>,
}

impl Families {
    pub(super) fn live(&self) -> MutexGuard<'_, BTreeMap<String, Live>> {
        // A panic leaves a valid map.
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends all series of Providers that are not to be kept.
    pub(super) fn retain(&self, keep: impl Fn(&str) -> bool) {
        self.of_providers.retain(&keep);
        self.live().retain(|provider, _| keep(provider));
    }
}
