//! Modules that Providers take from registries. Each is followed by a task of its own: it fetches the module once, from the
//! store if it was fetched before, and tries again ever more slowly if that fails. What was fetched is not asked for again
//! before the Provider's source changes: a tag that moves is nobody's decision to upgrade.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bartizan_registry::{
    Authorities, CredentialSource, Login, Registry, RegistryError, Store, StoreEntry, parse_reference,
};
use bytes::Bytes;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use tokio::sync::{Semaphore, SemaphorePermit, mpsc};
use tokio::task::{AbortHandle, JoinSet, spawn_blocking};
use tracing::{info, warn};

use super::{OciOrigin, Trouble};
use crate::kubernetes::deadline::in_time;

/// Modules that are in memory at a time before the catalogue takes them, and one more in the channel: a start may want many, and
/// each may have 64 MiB.
pub(super) const AT_A_TIME: usize = 2;
/// First and longest time until what failed is tried again.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));
/// Type of a pull secret, and its one entry.
const SECRET_TYPE: &str = "kubernetes.io/dockerconfigjson";
const SECRET_ENTRY: &str = ".dockerconfigjson";

/// One message: what an origin holds, or why that is not known.
pub(super) type News = (OciOrigin, Result<Bytes, Trouble>);

/// What all fetches share.
pub(super) struct Context {
    /// The API server, for pull secrets.
    pub(super) client: Client,
    /// The host's own namespace, where they are.
    pub(super) namespace: String,
    /// Whom to trust beside those that this machine does.
    pub(super) authorities: Authorities,
    /// What was fetched before.
    pub(super) store: Store,
    /// Most bytes of a module.
    pub(super) limit: usize,
    /// Places in memory for modules that the catalogue has not taken yet; each may have that many bytes.
    pub(super) turns: Semaphore,
}

/// The origins that are followed.
pub(super) struct Registries {
    context: Arc<Context>,
    to: mpsc::Sender<News>,
    tasks: JoinSet<()>,
    followed: BTreeMap<OciOrigin, (mpsc::Sender<String>, AbortHandle)>,
    /// What was followed at any time: to name it again is to ask the registry again, whatever is remembered still.
    ever: BTreeSet<OciOrigin>,
}

impl Registries {
    /// None yet.
    pub(super) fn new(context: Context) -> (Self, mpsc::Receiver<News>) {
        let (to, from) = mpsc::channel(1);
        let registries = Self {
            context: Arc::new(context),
            to,
            tasks: JoinSet::new(),
            followed: BTreeMap::new(),
            ever: BTreeSet::new(),
        };
        (registries, from)
    }

    /// Follows these and no others. What is not followed any more is forgotten, so that naming it again asks the registry.
    pub(super) fn follow(&mut self, wanted: &BTreeSet<OciOrigin>) {
        let gone: Vec<OciOrigin> = self.followed.keys().filter(|origin| !wanted.contains(*origin)).cloned().collect();
        for origin in gone {
            if let Some((_, task)) = self.followed.remove(&origin) {
                task.abort();
            }
            let context = self.context.clone();
            self.tasks.spawn_blocking(move || context.store.forget(&origin.key()));
        }
        for origin in wanted {
            if !self.followed.contains_key(origin) {
                let (refuse, refused) = mpsc::channel(1);
                let recall = self.ever.insert(origin.clone());
                let task = follow(self.context.clone(), origin.clone(), self.to.clone(), recall, refused);
                self.followed.insert(origin.clone(), (refuse, self.tasks.spawn(task)));
            }
        }
        // Those that were aborted are forgotten.
        while self.tasks.try_join_next().is_some() {}
    }

    /// Whether what was told is about something that is still followed.
    pub(super) fn is_followed(&self, origin: &OciOrigin) -> bool {
        self.followed.contains_key(origin)
    }

    /// What was fetched is no provider: something else may be pushed under the same name.
    pub(super) fn refused(&self, origin: &OciOrigin, digest: String) {
        if let Some((refuse, _)) = self.followed.get(origin) {
            // A refusal that waits says the same.
            let _ = refuse.try_send(digest);
        }
    }
}

async fn follow(
    context: Arc<Context>,
    origin: OciOrigin,
    to: mpsc::Sender<News>,
    recall: bool,
    mut refused: mpsc::Receiver<String>,
) {
    let (mut failures, mut bad) = (0, None);
    loop {
        let (told, turn) = match fetch(&context, &origin, recall, bad.as_deref()).await {
            Ok(None) => (None, None),
            Ok(Some((bytes, turn))) => (Some(Ok(bytes)), turn),
            Err(failure) => {
                // Found again, it is to be told again.
                bad = None;
                (Some(Err(trouble(failure))), None)
            }
        };
        let fetched = matches!(told, Some(Ok(_)));
        if let Some(told) = told
            && to.send((origin.clone(), told)).await.is_err()
        {
            return;
        }
        drop(turn);
        if fetched {
            let Some(digest) = refused.recv().await else { return };
            let (context, origin) = (context.clone(), origin.clone());
            let _ = spawn_blocking(move || context.store.forget(&origin.key())).await;
            bad = Some(digest);
        }
        tokio::time::sleep(pause(failures, fastrand::f64())).await;
        failures = failures.saturating_add(1);
    }
}

/// How long to wait after so many failures, with a random number below 1: up to a quarter is taken off, so that many
/// Providers of one registry do not come back together.
fn pause(failures: u32, random: f64) -> Duration {
    RETRY.0.saturating_mul(1 << failures.min(16)).min(RETRY.1).mul_f64(1.0 - random / 4.0)
}

fn trouble(failure: RegistryError) -> Trouble {
    match failure {
        RegistryError::Missing(reason) => Trouble::Missing(format!("{reason}; it is loaded once it is there")),
        RegistryError::Unavailable(reason) => Trouble::Unavailable(reason),
        RegistryError::Invalid(reason) => Trouble::Invalid(reason),
        RegistryError::OtherDigest(digest) => Trouble::OtherDigest(digest),
    }
}

/// A module, and the place that it takes in memory.
type Fetched<'a> = (Bytes, Option<SemaphorePermit<'a>>);

/// The module of an origin; nothing if it is the one that is known to be bad. Without `recall` it is what the registry holds now.
async fn fetch<'a>(
    context: &'a Arc<Context>,
    origin: &OciOrigin,
    recall: bool,
    bad: Option<&str>,
) -> Result<Option<Fetched<'a>>, RegistryError> {
    if recall && bad.is_none() {
        let turn = turn(context).await;
        if let Some((entry, bytes)) = stored(context, origin, |store, origin| store.get(&origin.key())).await {
            info!(
                reference = origin.reference,
                manifest = entry.manifest,
                "taken from the cache, as it was resolved before"
            );
            return Ok(Some((bytes, turn)));
        }
    }
    match resolve(context, origin, bad).await {
        // Which bytes these are is not the registry's to say.
        Err(RegistryError::Unavailable(reason)) => {
            let turn = turn(context).await;
            let pinned = |store: &Store, origin: &OciOrigin| store.module(origin.digest.as_deref()?);
            let Some(bytes) = stored(context, origin, pinned).await else {
                return Err(RegistryError::Unavailable(reason));
            };
            warn!(reference = origin.reference, "taken from the cache by its digest, since {reason}");
            Ok(Some((bytes, turn)))
        }
        other => other,
    }
}

/// Waits for a place in memory. Nobody closes the semaphore.
async fn turn(context: &Context) -> Option<SemaphorePermit<'_>> {
    context.turns.acquire().await.ok()
}

async fn resolve<'a>(
    context: &'a Arc<Context>,
    origin: &OciOrigin,
    bad: Option<&str>,
) -> Result<Option<Fetched<'a>>, RegistryError> {
    let reference = parse_reference(&origin.reference)?;
    let login = match &origin.pull_secret_name {
        Some(name) => {
            let config = pull_secret(context, name).await.map_err(RegistryError::Unavailable)?;
            Login::from_docker_config(&config, &reference, CredentialSource::Secret(name.clone()))?
        }
        None => Login::anonymous(CredentialSource::None),
    };
    let registry = Registry::new(reference, origin.plain_http, &context.authorities, login)?;
    let resolved = registry.resolve(context.limit).await?;
    let digest = resolved.layer.digest.clone();
    if origin.digest.as_ref().is_some_and(|wanted| *wanted != digest) {
        return Err(RegistryError::OtherDigest(digest));
    }
    if bad == Some(digest.as_str()) {
        return Ok(None);
    }
    let (wanted, turn) = (digest.clone(), turn(context).await);
    let bytes = match stored(context, origin, move |store, _| store.module(&wanted)).await {
        Some(bytes) => bytes,
        None => registry.download(&resolved.layer).await?,
    };
    let entry = StoreEntry { origin: origin.key(), manifest: resolved.manifest, module: digest };
    let (shared, kept) = (context.clone(), bytes.clone());
    // If that fails it has said so, and the module serves all the same.
    let _ = spawn_blocking(move || shared.store.put(&entry, &kept)).await;
    Ok(Some((bytes, turn)))
}

/// Looks into the store, on a thread that may block.
async fn stored<T: Send + 'static>(
    context: &Arc<Context>,
    origin: &OciOrigin,
    look: impl FnOnce(&Store, &OciOrigin) -> Option<T> + Send + 'static,
) -> Option<T> {
    let (context, origin) = (context.clone(), origin.clone());
    spawn_blocking(move || look(&context.store, &origin)).await.ok().flatten()
}

/// The Docker configuration of a pull secret. What the API server says of a Secret may quote it, so only the code is kept.
async fn pull_secret(context: &Context, name: &str) -> Result<Vec<u8>, String> {
    let namespace = &context.namespace;
    let title = format!("Secret {name} in namespace {namespace} (spec.module.oci.pullSecretName)");
    let secrets: Api<Secret> = Api::namespaced(context.client.clone(), namespace);
    let secret = in_time(secrets.get_opt(name)).await.map_err(|error| match error.downcast_ref() {
        Some(kube::Error::Api(status)) if status.code == 403 => {
            format!(
                "{title} may not be read: allow the host to get it by name, with a Role as in \
                 docs/administrators/registry.md"
            )
        }
        Some(kube::Error::Api(status)) => format!("{title} could not be read: the API server answered {}", status.code),
        _ => format!("{title} could not be read: the API server could not be asked"),
    })?;
    let secret = secret.ok_or_else(|| format!("there is no {title}"))?;
    config_of(secret).ok_or_else(|| format!("{title} is not of type {SECRET_TYPE}, with an entry {SECRET_ENTRY}"))
}

fn config_of(secret: Secret) -> Option<Vec<u8>> {
    (secret.type_.as_deref() == Some(SECRET_TYPE)).then_some(())?;
    Some(secret.data?.remove(SECRET_ENTRY)?.0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_fails_is_tried_again_ever_more_slowly_and_never_all_together() {
        let seconds: Vec<u64> = (0..10).map(|failures| pause(failures, 0.0).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300]);
        assert_eq!(pause(u32::MAX, 1.0), Duration::from_secs(225));
    }

    #[test]
    fn a_pull_secret_is_one_by_its_type() {
        let secret = |value| config_of(serde_json::from_value(value).unwrap());
        let data = json!({".dockerconfigjson": "e30="});
        assert_eq!(secret(json!({"type": SECRET_TYPE, "data": data})), Some(b"{}".to_vec()));
        assert_eq!(secret(json!({"type": "Opaque", "data": data})), None);
        assert_eq!(secret(json!({"type": SECRET_TYPE})), None);
    }
}
