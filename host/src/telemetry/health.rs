//! How ready the host is: /readyz, in the form that the API server's own has (one line per check, `[+]` or `[-]`). Ready means that the
//! host is able to serve: no provider's own trouble takes it out of its Deployment. What one lacks is told beside it (`[ ]`).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::StatusCode;
use bartizan_engine::provider::event::Readiness;

/// How the host is, for its port. Nothing is decided by it: what decides writes to it and never reads it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Health {
    state: Arc<Mutex<HealthState>>,
}

#[derive(Debug)]
struct HealthState {
    modules: Modules,
    checks: BTreeMap<String, Readiness>,
    /// Why this host stands by, and whether another one is known to lead; `None`: it leads.
    stands_by: Option<(String, bool)>,
    /// Why no Provider is known yet. There is a reason from the start: who knows no Provider cannot say that all of them serve.
    waits: Option<String>,
}

impl Default for HealthState {
    fn default() -> Self {
        let waits = Some("Providers were not read yet".to_owned());
        Self { modules: Modules::default(), checks: BTreeMap::new(), stands_by: None, waits }
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

    /// This host stands by, for this reason. While another one leads, it is ready once its modules are loaded; if it may be that nobody
    /// does, it is not.
    pub(crate) fn stands_by(&self, reason: &str, another_leads: bool) {
        let mut state = self.lock();
        let HealthState { checks, waits, .. } = HealthState::default();
        (state.stands_by, state.checks, state.waits) = (Some((reason.to_owned(), another_leads)), checks, waits);
    }

    /// Why this host stands by; `None`: it leads.
    pub(crate) fn why_it_stands_by(&self) -> Option<String> {
        self.lock().stands_by.as_ref().map(|(reason, _)| reason.clone())
    }

    /// From now on this host leads.
    pub(crate) fn leads(&self) {
        self.lock().stands_by = None;
    }

    /// No Provider is known yet, and why.
    pub(crate) fn providers_wait(&self, reason: &str) {
        self.lock().waits = Some(reason.to_owned());
    }

    /// Providers are known, and each was reported on.
    pub(crate) fn providers_known(&self) {
        self.lock().waits = None;
    }

    /// How ready a provider is; `None`: it is not expected to serve.
    pub(crate) fn report(&self, provider: &str, readiness: Option<Readiness>) {
        let mut state = self.lock();
        match readiness {
            Some(readiness) => state.checks.insert(provider.to_owned(), readiness),
            None => state.checks.remove(provider),
        };
    }

    fn lock(&self) -> MutexGuard<'_, HealthState> {
        // A panic elsewhere leaves these maps consistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn readyz(&self) -> (StatusCode, String) {
        let state = self.lock();
        // Bad modules are no reason where a good one that was loaded before serves.
        let modules = match state.modules {
            Modules::AllBad if state.checks.values().any(|check| *check == Readiness::Ready) => Modules::Loaded,
            modules => modules,
        };
        let ready = modules == Modules::Loaded
            && state.stands_by.as_ref().map_or(state.waits.is_none(), |(_, another_leads)| *another_leads);
        let mut text = String::new();
        text.push_str(match modules {
            Modules::Loading => "[-]providers: loading modules\n",
            Modules::AllBad => "[-]providers: no module in the folder can serve; the log has the reasons\n",
            Modules::Loaded => "",
        });
        // Writing to a string cannot fail.
        let _ = match (&state.stands_by, &state.waits) {
            (Some((reason, true)), _) => writeln!(text, "[+]leader-election standing by: {reason}"),
            (Some((reason, false)), _) => writeln!(text, "[-]leader-election: {reason}"),
            (None, Some(reason)) if modules == Modules::Loaded => writeln!(text, "[-]providers: {reason}"),
            (None, _) => Ok(()),
        };
        for (provider, check) in &state.checks {
            // Writing to a string cannot fail.
            let _ = match check {
                Readiness::Ready => writeln!(text, "[+]provider/{provider} ok"),
                Readiness::NotYet(reason) | Readiness::Forbidden(reason) => {
                    writeln!(text, "[ ]provider/{provider} does not serve: {reason}")
                }
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
    fn ready_means_that_the_host_can_serve_and_every_provider_was_judged() {
        let health = Health::default();
        let loading = "[-]providers: loading modules\nreadyz check failed\n".to_owned();
        assert_eq!(health.readyz(), (StatusCode::SERVICE_UNAVAILABLE, loading));
        health.loaded(false);
        let unread = "[-]providers: Providers were not read yet\nreadyz check failed\n".to_owned();
        assert_eq!(health.readyz(), (StatusCode::SERVICE_UNAVAILABLE, unread));
        health.providers_known();
        assert_eq!(health.readyz(), (StatusCode::OK, "readyz check passed\n".to_owned()));
        health.report("minio", Some(Readiness::Ready));
        health.report("cassandra", Some(Readiness::NotYet("listing Pod.v1".to_owned())));
        let text = "[ ]provider/cassandra does not serve: listing Pod.v1\n[+]provider/minio ok\nreadyz check passed\n";
        assert_eq!(health.readyz(), (StatusCode::OK, text.to_owned()), "one tenant's provider is not the host");
        health.providers_wait("the watch of Providers broke");
        assert_eq!(health.readyz().0, StatusCode::SERVICE_UNAVAILABLE, "what an administrator says is not heard");
    }

    #[test]
    fn a_standby_is_ready_once_its_modules_are_loaded() {
        let health = Health::default();
        health.stands_by("a leads", true);
        assert_eq!(health.readyz().0, StatusCode::SERVICE_UNAVAILABLE);
        health.loaded(false);
        let text = "[+]leader-election standing by: a leads\nreadyz check passed\n".to_owned();
        assert_eq!(health.readyz(), (StatusCode::OK, text));
        health.stands_by("the Lease may not be read", false);
        let text = "[-]leader-election: the Lease may not be read\nreadyz check failed\n".to_owned();
        assert_eq!(health.readyz(), (StatusCode::SERVICE_UNAVAILABLE, text), "it may be that nobody leads");
        health.leads();
        assert_eq!(health.readyz().0, StatusCode::SERVICE_UNAVAILABLE, "it knows no Provider yet");
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
        health.report("minio", Some(Readiness::Ready));
        assert_eq!(health.readyz(), (StatusCode::OK, "[+]provider/minio ok\nreadyz check passed\n".to_owned()));
    }
}
