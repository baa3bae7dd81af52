//! /livez and /readyz, in the form that the API server's own have: one line per check, `[+]` or `[-]`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context as _;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use bartizan_contract::Kind;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::info;

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
}

#[derive(Debug, Default)]
struct HealthState {
    modules: Modules,
    checks: BTreeMap<String, Check>,
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

    fn set(&self, provider: &str, check: Check) {
        self.lock().checks.insert(provider.to_owned(), check);
    }

    fn lock(&self) -> MutexGuard<'_, HealthState> {
        // A map of texts is as good after a panic as before.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn readyz(&self) -> (StatusCode, String) {
        let state = self.lock();
        let ready = state.modules == Modules::Loaded && state.checks.values().all(|check| *check == Check::Serving);
        let mut text = String::new();
        text.push_str(match state.modules {
            Modules::Loading => "[-]providers: loading modules\n",
            Modules::AllBad => "[-]providers: no module in the folder can serve; the log has the reasons\n",
            Modules::Loaded => "",
        });
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
pub(crate) async fn serve(listener: TcpListener, health: Health, stop: CancellationToken) -> anyhow::Result<()> {
    let router = Router::new()
        .route("/livez", get(async || "livez check passed\n"))
        .route("/readyz", get(async |State(health): State<Health>| health.readyz()))
        .with_state(health);
    axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await.context("health server")
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
    }
}
