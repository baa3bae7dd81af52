//! Finds out whether the store went back in time: after a list of a watch, a consistent one says which version the store has now. Until that
//! is known nothing is decided, since its objects would look older than what is known, and be ignored.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bartizan_engine::ApiError;
use bartizan_engine::index::{Scope, went_back};
use tokio::task::{JoinError, JoinSet};
use tracing::{error, warn};

use crate::kubernetes::backoff::{self, Backoff};
use crate::reconcile::shared::Shared;

/// What was read of one scope.
pub(super) struct Version {
    scope: Scope,
    /// The highest resource version that was seen before.
    highest: String,
    /// That of the list.
    listed: Result<String, ApiError>,
    /// Before the next attempt.
    backoff: Backoff,
}

/// The lists that are under way.
#[derive(Default)]
pub(super) struct LookBack {
    reads: JoinSet<Version>,
    of: BTreeSet<Scope>,
    /// What could not be read, and why.
    unread: BTreeMap<Scope, String>,
}

impl LookBack {
    /// Whether all is known.
    pub(super) fn is_done(&self) -> bool {
        self.of.is_empty()
    }

    /// What could not be read yet, and why.
    pub(super) fn unread(&self) -> Option<(&Scope, &String)> {
        self.unread.first_key_value()
    }

    /// Asks for the version of the store, unless that is under way.
    pub(super) fn begin(&mut self, shared: &Arc<Shared>, scope: &Scope, highest: &str) {
        if self.of.insert(scope.clone()) {
            self.read(shared, scope.clone(), highest.to_owned(), Backoff::new(backoff::LIST), None);
        }
    }

    /// Asks for it, after a failure with a pause.
    fn read(
        &mut self,
        shared: &Arc<Shared>,
        scope: Scope,
        highest: String,
        mut backoff: Backoff,
        failure: Option<ApiError>,
    ) {
        let shared = shared.clone();
        self.reads.spawn(async move {
            if let Some(error) = failure {
                backoff.wait(error.retry_after()).await;
            }
            let listed = shared.writer.version(&scope.kind, scope.namespace.as_deref()).await;
            Version { scope, highest, listed, backoff }
        });
    }

    /// What was read next; `None` if nothing is under way.
    pub(super) async fn next(&mut self) -> Option<Result<Version, JoinError>> {
        self.reads.join_next().await
    }

    /// Takes what was read. Returns whether the store went back in time.
    pub(super) fn take(&mut self, shared: &Arc<Shared>, read: Result<Version, JoinError>) -> bool {
        let provider = shared.provider();
        let Version { scope, highest, listed, backoff } = match read {
            Ok(version) => version,
            Err(error) => {
                // Whether it did is not known: what is known of it is not to be trusted.
                error!(provider, "a list ended unexpectedly: {error}");
                return true;
            }
        };
        match listed {
            Ok(listed) => {
                self.of.remove(&scope);
                self.unread.remove(&scope);
                let went_back = went_back(&highest, &listed);
                if went_back {
                    warn!(
                        provider, kind = %scope.kind,
                        "the store of the API server went back in time, from resource version {highest} to {listed}: starting anew"
                    );
                }
                went_back
            }
            Err(error) => {
                let reason = format!("it is not known whether the store went back in time: {error}");
                warn!(provider, kind = %scope.kind, "{reason}");
                self.unread.insert(scope.clone(), reason);
                self.read(shared, scope, highest, backoff, Some(error));
                false
            }
        }
    }
}
