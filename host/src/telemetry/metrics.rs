//! Metrics, for GET /metrics in Prometheus' text format. Labels are providers, kinds and a few fixed words, never parents, whose number
//! is unbounded.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bartizan_contract::Kind;
use prometheus_client::encoding::{EncodeLabelSet, prometheus_text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use serde::{Deserialize, Serialize};

/// Content-Type of the text that [`Metrics::render`] returns.
pub(crate) const CONTENT_TYPE: &str = prometheus_text::CONTENT_TYPE;

/// Buckets of call durations, in seconds: a call takes some 50 µs, and is stopped after 1 s by default.
const CALL_BUCKETS: [f64; 13] =
    [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 2.5];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfProvider {
    provider: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfResult {
    provider: String,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfLoad {
    source: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfVerb {
    provider: String,
    verb: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfWatch {
    provider: String,
    kind: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfCalls {
    provider: String,
    calls: &'static str,
}

/// The one lease that there is.
const LEASE: &str = "bartizan";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfLease {
    name: &'static str,
}

#[derive(Default)]
struct Families {
    registry: Registry,
    reconciles: Family<OfResult, Counter>,
    calls: Family<OfProvider, Counter>,
    durations: Durations,
    writes: Family<OfVerb, Counter>,
    refusals: Family<OfProvider, Counter>,
    ignored: Family<OfProvider, Counter>,
    parents: Family<OfProvider, Gauge>,
    queue_depth: Family<OfProvider, Gauge>,
    breakers: Family<OfCalls, Gauge>,
    loads: Family<OfLoad, Counter>,
    swaps: Family<OfProvider, Counter>,
    watch_up: Family<OfWatch, Gauge>,
    watch_events: Family<OfWatch, Gauge>,
    tasks: Gauge,
    leader: Family<OfLease, Gauge>,
    /// What [`Metrics::loads`] reads: a family cannot be read.
    live: Mutex<BTreeMap<String, Live>>,
}

/// The gauges of one provider that people ask for.
#[derive(Default)]
struct Live {
    queue: Gauge,
    watches: BTreeMap<String, bool>,
}

/// The load of one provider, for `bartizan status`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Load {
    /// Parents that are due and wait in the queue.
    pub(crate) queue: i64,
    /// Kinds that are watched, and whether the watch of each is up.
    pub(crate) watches: BTreeMap<String, bool>,
}

impl Families {
    fn live(&self) -> MutexGuard<'_, BTreeMap<String, Live>> {
        // A panic leaves a valid map.
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A histogram has no `Default`, since it needs buckets.
struct Durations(Family<OfProvider, Histogram, fn() -> Histogram>);

impl Default for Durations {
    fn default() -> Self {
        Self(Family::new_with_constructor(|| Histogram::new(CALL_BUCKETS)))
    }
}

/// The metrics of the host.
#[derive(Clone)]
pub(crate) struct Metrics {
    families: Arc<Families>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let (mut all, mut registry) = (Families::default(), Registry::default());
        registry.register(
            "bartizan_reconciles",
            "Reconciles by result: applied, held, waiting, failed, or unchanged if there was nothing to decide",
            all.reconciles.clone(),
        );
        registry.register("bartizan_provider_calls", "Calls of the provider's module", all.calls.clone());
        registry.register(
            "bartizan_provider_call_duration_seconds",
            "Time in the provider's module, without the wait for an instance",
            all.durations.0.clone(),
        );
        registry.register("bartizan_writes", "Write requests sent to the API server", all.writes.clone());
        registry.register("bartizan_gate_refusals", "Answers that the output gate refused", all.refusals.clone());
        registry.register(
            "bartizan_ignored_objects",
            "Times that an object was seen which is labelled as a child, and is none: the host did not apply it, or may not there",
            all.ignored.clone(),
        );
        registry.register("bartizan_parents", "Parents that the provider serves", all.parents.clone());
        registry.register(
            "bartizan_queue_depth",
            "Parents that are due and wait in the queue",
            all.queue_depth.clone(),
        );
        registry.register("bartizan_module_loads", "Modules that were loaded or refused", all.loads.clone());
        registry.register(
            "bartizan_module_swaps",
            "Times that a new module took over from the previous one without a restart",
            all.swaps.clone(),
        );
        registry.register(
            "bartizan_breaker_open",
            "1 while the provider is called for at most one parent at a time, after several in a row without an answer",
            all.breakers.clone(),
        );
        registry.register(
            "bartizan_watch_up",
            "1 if the watch has listed and is running, 0 if the cache of the kind may be stale",
            all.watch_up.clone(),
        );
        registry.register(
            "bartizan_watch_last_event_timestamp_seconds",
            "Time of the last event of the watch, in seconds since the epoch",
            all.watch_events.clone(),
        );
        registry.register(
            "bartizan_tasks",
            "Live tasks of the host: at rest their number is constant, whatever was served before",
            all.tasks.clone(),
        );
        // The name that client-go gives it.
        registry.register(
            "leader_election_master_status",
            "1 while this host holds the lease, 0 while it stands by",
            all.leader.clone(),
        );
        all.registry = registry;
        Self { families: Arc::new(all) }
    }
}

impl Metrics {
    /// A module was `loaded` or `refused`.
    pub(crate) fn module_loaded(&self, source: &'static str, result: &'static str) {
        self.families.loads.get_or_create(&OfLoad { source, result }).inc();
    }

    /// Whether this host leads. One that stands by has no parents, queues or watches.
    pub(crate) fn leads(&self, leads: bool) {
        if !leads {
            let Families { parents, queue_depth, breakers, watch_up, watch_events, .. } = &*self.families;
            [parents, queue_depth].into_iter().for_each(Family::clear);
            breakers.clear();
            [watch_up, watch_events].into_iter().for_each(Family::clear);
            self.families.live().clear();
        }
        self.families.leader.get_or_create(&OfLease { name: LEASE }).set(leads.into());
    }

    /// The metrics of one provider.
    pub(crate) fn of(&self, provider: &str) -> ProviderMetrics {
        let families = self.families.clone();
        let of = OfProvider { provider: provider.to_owned() };
        let queue_depth = families.queue_depth.get_or_create_owned(&of);
        families.live().entry(provider.to_owned()).or_default().queue = queue_depth.clone();
        ProviderMetrics {
            calls: families.calls.get_or_create_owned(&of),
            durations: families.durations.0.get_or_create_owned(&of),
            refusals: families.refusals.get_or_create_owned(&of),
            parents: families.parents.get_or_create_owned(&of),
            queue_depth,
            provider: of.provider,
            families,
        }
    }

    /// The load of each provider.
    pub(crate) fn loads(&self) -> BTreeMap<String, Load> {
        let load = |live: &Live| Load { queue: live.queue.get(), watches: live.watches.clone() };
        self.families.live().iter().map(|(provider, live)| (provider.clone(), load(live))).collect()
    }

    /// All metrics as text.
    ///
    /// # Errors
    /// Never in practice: writing to a string cannot fail.
    pub(crate) fn render(&self) -> Result<String, fmt::Error> {
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let alive = i64::try_from(runtime.metrics().num_alive_tasks()).unwrap_or(i64::MAX);
            self.families.tasks.set(alive);
        }
        let mut text = String::new();
        prometheus_text::encode(&mut text, &self.families.registry)?;
        Ok(text)
    }
}

/// The metrics of one provider.
#[derive(Clone)]
pub(crate) struct ProviderMetrics {
    provider: String,
    families: Arc<Families>,
    calls: Counter,
    durations: Histogram,
    refusals: Counter,
    parents: Gauge,
    queue_depth: Gauge,
}

impl ProviderMetrics {
    /// A reconcile ended.
    pub(crate) fn reconciled(&self, result: &'static str) {
        self.families.reconciles.get_or_create(&OfResult { provider: self.provider.clone(), result }).inc();
    }

    /// The module was called.
    pub(crate) fn called(&self, duration: Duration) {
        self.calls.inc();
        self.durations.observe(duration.as_secs_f64());
    }

    /// A write was sent.
    pub(crate) fn wrote(&self, verb: &'static str) {
        self.families.writes.get_or_create(&OfVerb { provider: self.provider.clone(), verb }).inc();
    }

    /// Another module took over.
    pub(crate) fn swapped(&self) {
        self.families.swaps.get_or_create(&OfProvider { provider: self.provider.clone() }).inc();
    }

    /// The gate refused an answer.
    pub(crate) fn refused(&self) {
        self.refusals.inc();
    }

    /// Objects were seen that only look like children.
    pub(crate) fn ignored(&self, times: u64) {
        self.families.ignored.get_or_create(&OfProvider { provider: self.provider.clone() }).inc_by(times);
    }

    /// How many parents there are, and how many of them wait in the queue.
    pub(crate) fn load(&self, parents: usize, waiting: usize) {
        let gauge = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.parents.set(gauge(parents));
        self.queue_depth.set(gauge(waiting));
    }

    /// Whether the breaker of a type of calls is open.
    pub(crate) fn breaker(&self, calls: &'static str, open: bool) {
        let of = OfCalls { provider: self.provider.clone(), calls };
        self.families.breakers.get_or_create(&of).set(i64::from(open));
    }

    /// A watch received an event.
    pub(crate) fn watch_event(&self, kind: &Kind) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        self.families.watch_events.get_or_create(&self.watch(kind)).set(i64::try_from(now).unwrap_or(i64::MAX));
    }

    /// Whether the watch of a kind is up, so that its cache is current.
    pub(crate) fn watch_up(&self, kind: &Kind, up: bool) {
        let watch = self.watch(kind);
        self.families.watch_up.get_or_create(&watch).set(i64::from(up));
        if let Some(live) = self.families.live().get_mut(&self.provider) {
            live.watches.insert(watch.kind, up);
        }
    }

    /// The kind is no longer watched.
    pub(crate) fn watch_ended(&self, kind: &Kind) {
        let watch = self.watch(kind);
        self.families.watch_up.remove(&watch);
        self.families.watch_events.remove(&watch);
        if let Some(live) = self.families.live().get_mut(&self.provider) {
            live.watches.remove(&watch.kind);
        }
    }

    fn watch(&self, kind: &Kind) -> OfWatch {
        OfWatch { provider: self.provider.clone(), kind: kind.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_have_the_names_help_and_types_that_prometheus_expects() {
        let metrics = Metrics::default();
        let minio = metrics.of("minio");
        minio.reconciled("applied");
        minio.reconciled("applied");
        minio.called(Duration::from_micros(60));
        minio.wrote("apply");
        minio.refused();
        minio.load(3, 1);
        minio.swapped();
        metrics.module_loaded("file", "loaded");
        let kind = Kind::new("apps", "v1", "StatefulSet");
        minio.breaker("serve", true);
        minio.watch_up(&kind, true);
        metrics.leads(true);
        let text = metrics.render().unwrap();
        for expected in [
            "# TYPE bartizan_reconciles_total counter\nbartizan_reconciles_total{provider=\"minio\",result=\"applied\"} 2\n",
            "# HELP bartizan_provider_calls_total Calls of the provider's module.\n# TYPE bartizan_provider_calls_total counter\nbartizan_provider_calls_total{provider=\"minio\"} 1\n",
            "# TYPE bartizan_provider_call_duration_seconds histogram\n",
            "bartizan_provider_call_duration_seconds_bucket{provider=\"minio\",le=\"5e-05\"} 0\n",
            "bartizan_provider_call_duration_seconds_bucket{provider=\"minio\",le=\"0.0001\"} 1\n",
            "bartizan_provider_call_duration_seconds_bucket{provider=\"minio\",le=\"+Inf\"} 1\n",
            "# TYPE bartizan_writes_total counter\nbartizan_writes_total{provider=\"minio\",verb=\"apply\"} 1\n",
            "# TYPE bartizan_gate_refusals_total counter\nbartizan_gate_refusals_total{provider=\"minio\"} 1\n",
            "# TYPE bartizan_parents gauge\nbartizan_parents{provider=\"minio\"} 3\n",
            "# TYPE bartizan_queue_depth gauge\nbartizan_queue_depth{provider=\"minio\"} 1\n",
            "# TYPE bartizan_breaker_open gauge\nbartizan_breaker_open{provider=\"minio\",calls=\"serve\"} 1\n",
            "# TYPE bartizan_module_loads_total counter\nbartizan_module_loads_total{source=\"file\",result=\"loaded\"} 1\n",
            "# TYPE bartizan_module_swaps_total counter\nbartizan_module_swaps_total{provider=\"minio\"} 1\n",
            "# TYPE leader_election_master_status gauge\nleader_election_master_status{name=\"bartizan\"} 1\n",
            "# TYPE bartizan_watch_up gauge\nbartizan_watch_up{provider=\"minio\",kind=\"StatefulSet.apps/v1\"} 1\n",
        ] {
            assert!(text.contains(expected), "{expected}\n{text}");
        }
        let load = &metrics.loads()["minio"];
        assert_eq!((load.queue, load.watches.values().collect::<Vec<_>>()), (1, vec![&true]));
        minio.watch_ended(&kind);
        assert!(metrics.loads()["minio"].watches.is_empty());
        assert!(!metrics.render().unwrap().contains("StatefulSet"));
    }
}
