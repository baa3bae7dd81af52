//! What the host says on its port: /livez and /readyz, in the form that the API server's own have (one line per check, `[+]`
//! or `[-]`), /metrics, and /debug/explain.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context as _;
use axum::extract::{ConnectInfo, Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, StatusCode};
use axum::routing::get;
use axum::{Json, Router};
use bartizan_contract::Kind;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::explain::{Board, Explained};
use crate::metrics;
use crate::preview::UpgradePlan;

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

    fn readyz(&self) -> (StatusCode, String) {
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

/// Listens, and says where.
///
/// # Errors
/// If the address cannot be bound.
pub(crate) async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).await.with_context(|| format!("--listen {address}"))?;
    let address = listener.local_addr().context("--listen")?;
    info!(%address, "listening on http://{address}");
    Ok(listener)
}

/// Serves until told to stop.
///
/// # Errors
/// If the listener fails.
pub(crate) async fn serve(
    listener: TcpListener,
    health: Health,
    board: Board,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let debug = Router::new()
        .route("/debug/explain", get(explain))
        .route("/debug/upgrade", get(upgrade))
        .route("/metrics", get(scrape))
        .with_state(board);
    let router = Router::new()
        .route("/livez", get(async || "livez check passed\n"))
        .route("/readyz", get(async |State(health): State<Health>| health.readyz()))
        .with_state(health)
        .merge(debug);
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, service).with_graceful_shutdown(stop.cancelled_owned()).await.context("health server")
}

/// What /debug/explain is asked about.
#[derive(serde::Deserialize)]
struct Subject {
    kind: String,
    namespace: Option<String>,
    name: String,
}

/// The last decisions on one parent: a list, since two providers may share a kind.
async fn explain(State(board): State<Board>, Query(subject): Query<Subject>) -> Json<Vec<Explained>> {
    Json(board.find(&subject.kind, subject.namespace.as_deref(), &subject.name))
}

/// Which provider /debug/upgrade is asked about.
#[derive(serde::Deserialize)]
struct OfProvider {
    provider: String,
}

/// What the next version of a provider would change: `null` if none waits. It shows what is in objects, so that it is told only
/// to whoever is on this machine or in this pod: a port-forward is, and needs rights.
async fn upgrade(
    State(board): State<Board>,
    ConnectInfo(asks): ConnectInfo<SocketAddr>,
    Query(of): Query<OfProvider>,
) -> Result<Json<Option<UpgradePlan>>, StatusCode> {
    if asks.ip().to_canonical().is_loopback() {
        Ok(Json(board.upgrade(&of.provider)))
    } else {
        Err(StatusCode::FORBIDDEN)
    }
}

/// What Prometheus scrapes.
async fn scrape(State(board): State<Board>) -> Result<([(HeaderName, &'static str); 1], String), StatusCode> {
    let text = board.metrics().render().map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok(([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_an_upgrade_changes_is_told_on_this_machine_only() {
        let ask = async |from: &str| {
            let of = OfProvider { provider: "minio".to_owned() };
            let from = ConnectInfo(SocketAddr::new(from.parse().unwrap(), 1));
            upgrade(State(Board::default()), from, Query(of)).await.map(|Json(plan)| plan)
        };
        for local in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(ask(local).await, Ok(None), "{local}");
        }
        for other in ["10.0.0.1", "fd00::1", "::ffff:10.0.0.1"] {
            assert_eq!(ask(other).await, Err(StatusCode::FORBIDDEN), "{other}");
        }
    }

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
