//! Metrics, for GET /metrics in Prometheus' text format.

mod families;
mod labels;
mod process;
mod series;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bartizan_contract::provider::Provider;
use bartizan_contract::{ConditionStatus, Kind};
use prometheus_client::encoding::prometheus_text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use serde::{Deserialize, Serialize};

use families::{Families, LEASE, Live};
use labels::{
    OfCalls, OfCondition, OfLease, OfLoad, OfParents, OfProvider, OfRequest, OfResult, OfVerb, OfVersion, OfWatch,
};

/// Content-Type of the text that [`Metrics::render`] returns.
pub(crate) const CONTENT_TYPE: &str = prometheus_text::CONTENT_TYPE;

/// The load of one provider, for `bartizan status`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Load {
    /// Parents that are due and wait in the queue.
    pub(crate) queue: i64,
    /// Kinds that are watched, and whether the watch of each is up.
    pub(crate) watches: BTreeMap<String, bool>,
}

/// The metrics of the host.
#[derive(Clone, Default)]
pub(crate) struct Metrics {
    families: Arc<Families>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// A module was `loaded` or `refused`.
    pub(crate) fn module_loaded(&self, source: &'static str, result: &'static str) {
        self.families.loads.get_or_create(&OfLoad { source, result }).inc();
    }

    /// Whether this host leads. One that stands by has no parents, queues or watches, and judges no Provider.
    pub(crate) fn leads(&self, leads: bool) {
        if !leads {
            let Families { parents, queue_depth, breakers, watch_up, watch_events, .. } = &*self.families;
            parents.clear();
            queue_depth.clear();
            breakers.clear();
            watch_up.clear();
            watch_events.clear();
            self.families.conditions.clear();
            self.families.versions.clear();
            self.families.live().clear();
        }
        self.families.leader.get_or_create(&OfLease { name: LEASE }).set(leads.into());
    }

    /// The API server answered a request with this code; `None`: it did not answer.
    pub(crate) fn requested(&self, verb: &'static str, code: Option<u16>) {
        let code = code.map_or_else(|| "error".to_owned(), |code| code.to_string());
        self.families.requests.get_or_create(&OfRequest { verb, code }).inc();
    }

    /// A Provider as it is: its conditions and the version that serves.
    pub(crate) fn provider(&self, provider: &Provider) {
        let name = &provider.metadata.name;
        let Families { conditions, versions, .. } = &*self.families;
        for condition in &provider.status.conditions {
            for status in ConditionStatus::ALL {
                let (r#type, is) = (condition.type_.clone(), status == condition.status);
                let of = OfCondition { provider: name.clone(), r#type, status: status.as_str() };
                conditions.of(&of).set(i64::from(is));
            }
        }
        let has = |type_: &str| provider.status.conditions.iter().any(|condition| condition.type_ == type_);
        conditions.retain(|labels| labels.provider != *name || has(&labels.r#type));
        let serves = provider.status.active.as_ref().map(|active| OfVersion {
            provider: name.clone(),
            version: active.version.clone(),
            digest: active.digest.clone(),
        });
        if let Some(serves) = &serves {
            versions.of(serves).set(1);
        }
        versions.retain(|labels| labels.provider != *name || Some(labels) == serves.as_ref());
    }

    /// A Provider is gone, and its series with it.
    pub(crate) fn forget(&self, provider: &str) {
        self.families.retain(|known| known != provider);
    }

    /// There are no other Providers than those that `is_there` knows.
    pub(crate) fn retain(&self, is_there: impl Fn(&str) -> bool) {
        self.families.retain(is_there);
    }

    /// The metrics of one provider.
    pub(crate) fn of(&self, provider: &str) -> ProviderMetrics {
        let families = self.families.clone();
        let of = OfProvider { provider: provider.to_owned() };
        let queue_depth = families.queue_depth.of(&of);
        families.live().entry(provider.to_owned()).or_default().queue = queue_depth.clone();
        ProviderMetrics {
            calls: families.calls.of(&of),
            durations: families.durations.of(&of),
            reconcile_durations: families.reconcile_durations.of(&of),
            queue_waits: families.queue_waits.of(&of),
            refusals: families.refusals.of(&of),
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
    reconcile_durations: Histogram,
    queue_waits: Histogram,
    refusals: Counter,
    queue_depth: Gauge,
}

impl ProviderMetrics {
    /// A reconcile ended.
    pub(crate) fn reconciled(&self, result: &'static str) {
        self.families.reconciles.of(&OfResult { provider: self.provider.clone(), result }).inc();
    }

    /// How long it took.
    pub(crate) fn reconciled_in(&self, duration: Duration) {
        self.reconcile_durations.observe(duration.as_secs_f64());
    }

    /// How long its parent was due before it began.
    pub(crate) fn waited(&self, duration: Duration) {
        self.queue_waits.observe(duration.as_secs_f64());
    }

    /// The module was called.
    pub(crate) fn called(&self, duration: Duration) {
        self.calls.inc();
        self.durations.observe(duration.as_secs_f64());
    }

    /// A write was sent.
    pub(crate) fn wrote(&self, verb: &'static str) {
        self.families.writes.of(&OfVerb { provider: self.provider.clone(), verb }).inc();
    }

    /// Another module took over.
    pub(crate) fn swapped(&self) {
        self.families.swaps.of(&OfProvider { provider: self.provider.clone() }).inc();
    }

    /// The gate refused an answer.
    pub(crate) fn refused(&self) {
        self.refusals.inc();
    }

    /// Objects were seen that only look like children.
    pub(crate) fn ignored(&self, times: u64) {
        self.families.ignored.of(&OfProvider { provider: self.provider.clone() }).inc_by(times);
    }

    /// How many parents of a kind have this status of `Synced`.
    pub(crate) fn parents(&self, kind: &str, synced: ConditionStatus, parents: usize) {
        let of = OfParents { provider: self.provider.clone(), kind: kind.to_owned(), synced: synced.as_str() };
        self.families.parents.of(&of).set(gauge(parents));
    }

    /// No parent is served any more.
    pub(crate) fn no_parents(&self) {
        self.families.parents.forget(&self.provider);
    }

    /// How many parents wait in the queue.
    pub(crate) fn waiting(&self, parents: usize) {
        self.queue_depth.set(gauge(parents));
    }

    /// Whether the breaker of a type of calls is open.
    pub(crate) fn breaker(&self, calls: &'static str, open: bool) {
        let of = OfCalls { provider: self.provider.clone(), calls };
        self.families.breakers.of(&of).set(i64::from(open));
    }

    /// A watch received an event.
    pub(crate) fn watch_event(&self, kind: &Kind) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        self.families.watch_events.of(&self.watch(kind)).set(i64::try_from(now).unwrap_or(i64::MAX));
    }

    /// Whether the watch of a kind is up, so that its cache is current.
    pub(crate) fn watch_up(&self, kind: &Kind, up: bool) {
        let watch = self.watch(kind);
        self.families.watch_up.of(&watch).set(i64::from(up));
        if let Some(live) = self.families.live().get_mut(&self.provider) {
            live.watches.insert(watch.kind, up);
        }
    }

    /// The kind is no longer watched.
    pub(crate) fn watch_ended(&self, kind: &Kind) {
        let watch = self.watch(kind);
        self.families.watch_up.end(&watch);
        self.families.watch_events.end(&watch);
        if let Some(live) = self.families.live().get_mut(&self.provider) {
            live.watches.remove(&watch.kind);
        }
    }

    fn watch(&self, kind: &Kind) -> OfWatch {
        OfWatch { provider: self.provider.clone(), kind: kind.to_string() }
    }
}

fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
