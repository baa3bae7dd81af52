//! Generated values: created once, and never changed while their Secret exists. The end of a run does not show that,
//! so that all changes in between are watched.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{Config, Event, watcher};
use sha2::{Digest as _, Sha256};
use tokio::task::JoinSet;

/// Hashes of the values that each Secret had, by name and UID.
type Seen = Arc<Mutex<BTreeMap<(String, String), BTreeSet<[u8; 32]>>>>;

/// Watches the Secrets of a namespace until it is dropped.
pub(crate) struct Secrets {
    seen: Seen,
    _watch: JoinSet<()>,
}

impl Secrets {
    pub(crate) fn watch(api: Api<Secret>) -> Self {
        let seen = Seen::default();
        let mut watch = JoinSet::new();
        watch.spawn(follow(api, Arc::clone(&seen)));
        Self { seen, _watch: watch }
    }

    /// Secrets whose values were changed while they existed.
    pub(crate) fn problems(&self) -> Vec<String> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = seen.iter().filter(|(_, values)| values.len() > 1);
        changed.map(|((name, uid), _)| format!("the values of Secret {name} ({uid}) were changed")).collect()
    }
}

async fn follow(api: Api<Secret>, seen: Seen) {
    // With a backoff: a control plane that stops would otherwise be called in a busy loop.
    let mut events = watcher(api, Config::default()).default_backoff().boxed();
    while let Some(event) = events.next().await {
        let Ok(Event::InitApply(secret) | Event::Apply(secret)) = event else { continue };
        let mut hash = Sha256::new();
        for (key, value) in secret.data.unwrap_or_default() {
            hash.update(key);
            hash.update(value.0);
        }
        let key = (secret.metadata.name.unwrap_or_default(), secret.metadata.uid.unwrap_or_default());
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.entry(key).or_default().insert(hash.finalize().into());
    }
}
