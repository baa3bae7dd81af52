//! What the host says on its port: /livez and /readyz, in the form that the API server's own have (one line per check, `[+]`
//! or `[-]`), /metrics, and /debug/explain.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::StatusCode;
use bartizan_contract::Kind;
use tokio::sync::Notify;

/// How one provider is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Check {
    Serving,
    NotYet(String),
}

/// How the host is: shared by everyone who knows something about it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Health {
    state: Arc<Mutex<HealthState>>,
    changed: Arc<Notify>,
    counted: Arc<Notify>,
}

#[derive(Debug)]
struct HealthState {
    modules: Modules,
    checks: BTreeMap<String, Check>,
    /// Providers that are not asked for a while, and why. The host is ready nevertheless: it is no fault of its own.
    breakers: BTreeMap<String, String>,
    /// Why the next version of a provider cannot take over yet, while the one before serves.
    held: BTreeMap<String, String>,
    /// How many parents each provider serves.
    parents: BTreeMap<String, usize>,
    /// Why no Provider is known yet. There is a reason from the start: who knows no Provider cannot say that all of them serve.
    waits: Option<String>,
}

impl Default for HealthState {
    fn default() -> Self {
        let waits = Some("Providers were not read yet".to_owned());
        let (checks, breakers, held, parents) = Default::default();
        Self { modules: Modules::default(), checks, breakers, held, parents, waits }
    }
}

/// How far the folder of modules is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Modules {
    #[default]
    Loading,
    Loaded,
    /// Modules were found, and not one of them can serve.
    AllBad,
}

impl Health {
    /// The folder was read; `all_bad` if modules were found and none of them can serve.
    pub(crate) fn loaded(&self, all_bad: bool) {
        self.lock().modules = if all_bad { Modules::AllBad } else { Modules::Loaded };
    }

    /// No Provider is known yet, and why.
    pub(crate) fn providers_wait(&self, reason: &str) {
        self.lock().waits = Some(reason.to_owned());
    }

    /// Providers are known, and each says how it is.
    pub(crate) fn providers_known(&self) {
        self.lock().waits = None;
    }

    /// The provider has complete caches and works.
    pub(crate) fn serving(&self, provider: &str) {
        self.set(provider, Check::Serving);
    }

    /// The provider cannot work before something happens.
    pub(crate) fn waiting(&self, provider: &str, reason: &str) {
        self.set(provider, Check::NotYet(reason.to_owned()));
    }

    /// A watch of the provider's broke: what it knows of this kind may be old.
    pub(crate) fn broken(&self, provider: &str, kind: &Kind, reason: &str) {
        self.waiting(provider, &format!("watch of {kind} broke: {reason}"));
    }

    /// The next version of a provider cannot take over yet, or it did (`None`). The one before serves, so all is well.
    pub(crate) fn held(&self, provider: &str, reason: Option<&str>) {
        let mut state = self.lock();
        match reason {
            Some(reason) => state.held.insert(provider.to_owned(), reason.to_owned()),
            None => state.held.remove(provider),
        };
        drop(state);
        self.changed.notify_one();
    }

    /// Why the next version of a provider cannot take over yet.
    pub(crate) fn why_held(&self, provider: &str) -> Option<String> {
        self.lock().held.get(provider).cloned()
    }

    /// The provider serves so many parents.
    pub(crate) fn serves(&self, provider: &str, parents: usize) {
        self.lock().parents.insert(provider.to_owned(), parents);
        self.counted.notify_one();
    }

    /// How many parents a provider serves; `None` if it does not serve, or has not counted yet.
    pub(crate) fn parents(&self, provider: &str) -> Option<usize> {
        self.lock().parents.get(provider).copied()
    }

    /// Waits until a number of parents changed since the last time.
    pub(crate) async fn counted(&self) {
        self.counted.notified().await;
    }

    /// There is no such provider any more.
    pub(crate) fn forget(&self, provider: &str) {
        let mut state = self.lock();
        state.checks.remove(provider);
        state.breakers.remove(provider);
        state.held.remove(provider);
        state.parents.remove(provider);
        drop(state);
        self.changed.notify_one();
    }

    /// Why a provider is not asked for a while; `None` once it is.
    pub(crate) fn breaker(&self, provider: &str, open: Option<String>) {
        let mut state = self.lock();
        let before = match &open {
            Some(message) => state.breakers.insert(provider.to_owned(), message.clone()),
            None => state.breakers.remove(provider),
        };
        drop(state);
        if before != open {
            self.changed.notify_one();
        }
    }

    /// Why a provider is not asked for a while.
    pub(crate) fn open_breaker(&self, provider: &str) -> Option<String> {
        self.lock().breakers.get(provider).cloned()
    }

    /// Why a provider does not serve; `None` if it does. The outer `None`: nothing is known of it.
    pub(crate) fn reason(&self, provider: &str) -> Option<Option<String>> {
        self.lock().checks.get(provider).map(|check| match check {
            Check::Serving => None,
            Check::NotYet(reason) => Some(reason.clone()),
        })
    }

    /// Waits until something changed since the last time.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    fn set(&self, provider: &str, check: Check) {
        self.lock().checks.insert(provider.to_owned(), check);
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, HealthState> {
        // A map of texts is as good after a panic as before.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn readyz(&self) -> (StatusCode, String) {
        let state = self.lock();
        // Bad modules are no reason where a good one that was loaded before serves.
        let modules = match state.modules {
            Modules::AllBad if state.checks.values().any(|check| *check == Check::Serving) => Modules::Loaded,
            modules => modules,
        };
        let ready = modules == Modules::Loaded
            && state.waits.is_none()
            && state.checks.values().all(|check| *check == Check::Serving);
        let mut text = String::new();
        text.push_str(match modules {
            Modules::Loading => "[-]providers: loading modules\n",
            Modules::AllBad => "[-]providers: no module in the folder can serve; the log has the reasons\n",
            Modules::Loaded => "",
        });
        if let Some(reason) = state.waits.as_ref().filter(|_| modules == Modules::Loaded) {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "[-]providers: {reason}");
        }
        for (provider, check) in &state.checks {
            // Writing to a string cannot fail.
            let _ = match check {
                Check::Serving => writeln!(text, "[+]provider/{provider} ok"),
                Check::NotYet(reason) => writeln!(text, "[-]provider/{provider} not ready: {reason}"),
            };
        }
        text.push_str(if ready { "readyz check passed\n" } else { "readyz check failed\n" });
        (if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_means_that_every_provider_serves() {
        let health = Health::default();
        let loading = "[-]providers: loading modules\nreadyz check failed\n".to_owned();
        assert_eq!(health.readyz(), (StatusCode::SERVICE_UNAVAILABLE, loading));
        health.loaded(false);
        let unread = "[-]providers: Providers were not read yet\nreadyz check failed\n".to_owned();
        assert_eq!(health.readyz(), (StatusCode::SERVICE_UNAVAILABLE, unread));
        health.providers_known();
        assert_eq!(health.readyz(), (StatusCode::OK, "readyz check passed\n".to_owned()));
        health.serving("minio");
        health.waiting("cassandra", "listing Pod.v1");
        let text = "[-]provider/cassandra not ready: listing Pod.v1\n[+]provider/minio ok\nreadyz check failed\n";
        assert_eq!(health.readyz(), (StatusCode::SERVICE_UNAVAILABLE, text.to_owned()));
        health.serving("cassandra");
        assert_eq!(health.readyz().0, StatusCode::OK);
    }

    #[test]
    fn a_host_whose_modules_are_all_bad_is_not_ready() {
        let health = Health::default();
        health.loaded(true);
        let (code, text) = health.readyz();
        assert_eq!(code, StatusCode::SERVICE_UNAVAILABLE);
        assert!(text.starts_with("[-]providers: no module in the folder can serve"), "{text}");
        // One that was recalled from the cache serves all the same.
        health.providers_known();
        health.serving("minio");
        assert_eq!(health.readyz(), (StatusCode::OK, "[+]provider/minio ok\nreadyz check passed\n".to_owned()));
    }
}
