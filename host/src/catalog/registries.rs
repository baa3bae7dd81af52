//! Modules in registries. A task per origin pulls the module once, from the store if it was pulled before, and retries with a
//! backoff. A module that was pulled is not pulled again before the Provider's source changes: a tag that moves is nobody's
//! decision to upgrade.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bartizan_registry::{
    Authorities, CredentialSource, Login, Reference, Registry, RegistryError, Store, StoreEntry, parse_reference,
};
use bytes::Bytes;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use tokio::sync::{Semaphore, SemaphorePermit, mpsc};
use tokio::task::{AbortHandle, JoinSet, spawn_blocking};
use tracing::{info, warn};

use super::signers::signers;
use super::{OciOrigin, Trouble};
use crate::kubernetes::backoff::{self, Backoff};
use crate::kubernetes::deadline::in_time;
use crate::telemetry::timestamp;

/// Most modules in memory at a time that the actor has not taken yet, beside one in the channel: a start may want many modules, and
/// each may have 64 MiB.
pub(super) const MODULES_IN_MEMORY: usize = 2;
/// Type of a pull secret.
const SECRET_TYPE: &str = "kubernetes.io/dockerconfigjson";
/// The one entry of a pull secret.
const SECRET_ENTRY: &str = ".dockerconfigjson";

/// The result of a pull.
pub(super) struct Pull {
    /// Where the module is.
    pub(super) origin: OciOrigin,
    /// Its bytes, or why there are none.
    pub(super) result: Result<Bytes, Trouble>,
}

/// What all pulls share.
pub(super) struct Context {
    /// Reads pull secrets.
    pub(super) client: Client,
    /// The host's own namespace, which holds the pull secrets.
    pub(super) namespace: String,
    /// Certificate authorities beside those that this machine trusts.
    pub(super) authorities: Authorities,
    /// Modules that were pulled before.
    pub(super) store: Store,
    /// Most bytes of a module.
    pub(super) limit: usize,
    /// Bounds how many modules are in memory that the actor has not taken yet.
    pub(super) memory: Semaphore,
    /// Registries that asked to wait.
    pub(super) busy: Busy,
}

/// A registry, and the pull secret with which it is asked: limits are those of a user.
type Asked = (String, Option<String>);

/// Registries that asked to wait, each for all modules that one user pulls.
#[derive(Debug, Default)]
pub(super) struct Busy(Mutex<BTreeMap<Asked, (Instant, String)>>);

impl Busy {
    /// This registry asks not to be asked for a while.
    fn note(&self, asked: Asked, message: String, until: Instant) {
        let mut busy = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = busy.get(&asked).map(|(until, _)| *until);
        if known.is_none_or(|known| until > known) {
            busy.insert(asked, (until, message));
        }
    }

    /// # Errors
    /// If this registry is not to be asked yet.
    fn check(&self, asked: &Asked, now: Instant) -> Result<(), RegistryError> {
        let mut busy = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        busy.retain(|_, (until, _)| *until > now);
        match busy.get(asked) {
            Some((until, message)) => {
                let retry_after = Some(until.saturating_duration_since(now));
                Err(RegistryError::Busy { message: message.clone(), retry_after })
            }
            None => Ok(()),
        }
    }
}

/// The origins that are followed.
pub(super) struct Registries {
    context: Arc<Context>,
    to: mpsc::Sender<Pull>,
    tasks: JoinSet<()>,
    followed: BTreeMap<OciOrigin, Followed>,
    /// Origins that were followed at any time: when one is wanted again, its registry is asked even if the store has the module.
    ever_followed: BTreeSet<OciOrigin>,
}

/// An origin that is followed.
struct Followed {
    /// Digests of modules that were pulled and are no providers.
    refused: mpsc::Sender<String>,
    task: AbortHandle,
}

impl Registries {
    /// No origins yet.
    pub(super) fn new(context: Context) -> (Self, mpsc::Receiver<Pull>) {
        let (to, from) = mpsc::channel(1);
        let registries = Self {
            context: Arc::new(context),
            to,
            tasks: JoinSet::new(),
            followed: BTreeMap::new(),
            ever_followed: BTreeSet::new(),
        };
        (registries, from)
    }

    /// Follows these origins and no others. The store forgets what is no longer followed, so that wanting it again asks the
    /// registry.
    pub(super) fn follow(&mut self, wanted: &BTreeSet<OciOrigin>) {
        let gone: Vec<OciOrigin> = self.followed.keys().filter(|origin| !wanted.contains(*origin)).cloned().collect();
        for origin in gone {
            if let Some(followed) = self.followed.remove(&origin) {
                followed.task.abort();
            }
            let context = self.context.clone();
            self.tasks.spawn_blocking(move || context.store.forget(&origin.key()));
        }
        for origin in wanted {
            if !self.followed.contains_key(origin) {
                let (refused, refusals) = mpsc::channel(1);
                let recall = self.ever_followed.insert(origin.clone());
                let task = follow(self.context.clone(), origin.clone(), self.to.clone(), recall, refusals);
                self.followed.insert(origin.clone(), Followed { refused, task: self.tasks.spawn(task) });
            }
        }
        // Drops the tasks that were aborted.
        while self.tasks.try_join_next().is_some() {}
    }

    /// Whether an origin is still followed: its last pull may have been sent before it was dropped.
    pub(super) fn is_followed(&self, origin: &OciOrigin) -> bool {
        self.followed.contains_key(origin)
    }

    /// The module that was pulled is no provider; another one may be pushed under the same name.
    pub(super) fn refused(&self, origin: &OciOrigin, digest: String) {
        if let Some(followed) = self.followed.get(origin) {
            // One module is refused once: a full channel holds this refusal already.
            let _ = followed.refused.try_send(digest);
        }
    }
}

async fn follow(
    context: Arc<Context>,
    origin: OciOrigin,
    to: mpsc::Sender<Pull>,
    recall: bool,
    mut refusals: mpsc::Receiver<String>,
) {
    let (mut backoff, mut bad) = (Backoff::new(backoff::REGISTRY), None);
    loop {
        let mut pause = backoff.next_delay();
        let (result, place) = match fetch(&context, &origin, recall, bad.as_deref()).await {
            Ok(None) => (None, None),
            Ok(Some(Fetched { bytes, place })) => (Some(Ok(bytes)), place),
            Err(failure) => {
                // If the bad module is found again, it is reported again.
                bad = None;
                if let RegistryError::Busy { retry_after: Some(asked), .. } = failure {
                    pause += asked;
                }
                (Some(Err(trouble(failure, pause))), None)
            }
        };
        let again_at = Instant::now() + pause;
        let pulled = matches!(result, Some(Ok(_)));
        if let Some(result) = result
            && to.send(Pull { origin: origin.clone(), result }).await.is_err()
        {
            return;
        }
        drop(place);
        if pulled {
            let Some(digest) = refusals.recv().await else { return };
            let (context, origin) = (context.clone(), origin.clone());
            let _ = spawn_blocking(move || context.store.forget(&origin.key())).await;
            bad = Some(digest);
        }
        tokio::time::sleep_until(again_at.into()).await;
    }
}

fn trouble(failure: RegistryError, pause: Duration) -> Trouble {
    match failure {
        RegistryError::Busy { message, retry_after: Some(_) } => {
            Trouble::Unavailable(format!("{message}; it is asked again at {}", timestamp::in_future(pause)))
        }
        RegistryError::Busy { message, retry_after: None } => Trouble::Unavailable(message),
        RegistryError::Missing(reason) => Trouble::Missing(format!("{reason}; it is loaded once it is there")),
        RegistryError::Unavailable(reason) => Trouble::Unavailable(reason),
        RegistryError::Invalid(reason) => Trouble::Invalid(reason),
        RegistryError::Unverified(reason) => Trouble::Unverified(reason),
        RegistryError::OtherDigest(digest) => Trouble::OtherDigest(digest),
    }
}

/// A module in memory.
struct Fetched<'a> {
    bytes: Bytes,
    /// Its place among the modules in memory.
    place: Option<SemaphorePermit<'a>>,
}

/// The module of an origin; `None` if it is the one that is known to be bad. With `recall` it may come from the store, without it
/// is the one that the registry has now.
async fn fetch<'a>(
    context: &'a Arc<Context>,
    origin: &OciOrigin,
    recall: bool,
    bad: Option<&str>,
) -> Result<Option<Fetched<'a>>, RegistryError> {
    if recall && bad.is_none() {
        let place = place(context).await;
        if let Some((entry, bytes)) = stored(context, origin, |store, origin| store.get(&origin.key())).await {
            info!(
                reference = origin.reference,
                manifest = entry.manifest,
                "taken from the cache, as it was resolved before"
            );
            return Ok(Some(Fetched { bytes, place }));
        }
    }
    match resolve(context, origin, bad).await {
        // A pinned module is the same wherever its bytes come from.
        Err(failure @ (RegistryError::Unavailable(_) | RegistryError::Busy { .. })) => {
            let place = place(context).await;
            // Of one that must be signed, the digest alone says too little.
            let pinned = |store: &Store, origin: &OciOrigin| {
                store.module(origin.digest.as_deref().filter(|_| origin.verify.is_none())?)
            };
            let Some(bytes) = stored(context, origin, pinned).await else {
                return Err(failure);
            };
            warn!(reference = origin.reference, "taken from the cache by its digest, since {failure}");
            Ok(Some(Fetched { bytes, place }))
        }
        other => other,
    }
}

/// Waits for a place among the modules in memory. Nobody closes the semaphore.
async fn place(context: &Context) -> Option<SemaphorePermit<'_>> {
    context.memory.acquire().await.ok()
}

async fn resolve<'a>(
    context: &'a Arc<Context>,
    origin: &OciOrigin,
    bad: Option<&str>,
) -> Result<Option<Fetched<'a>>, RegistryError> {
    let reference = parse_reference(&origin.reference)?;
    let asked = (reference.registry().to_owned(), origin.pull_secret_name.clone());
    context.busy.check(&asked, Instant::now())?;
    let resolved = resolve_now(context, origin, reference, bad).await;
    if let Err(RegistryError::Busy { message, retry_after: Some(delay) }) = &resolved {
        context.busy.note(asked, message.clone(), Instant::now() + *delay);
    }
    resolved
}

async fn resolve_now<'a>(
    context: &'a Arc<Context>,
    origin: &OciOrigin,
    reference: Reference,
    bad: Option<&str>,
) -> Result<Option<Fetched<'a>>, RegistryError> {
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
    if let Some(verify) = &origin.verify {
        let signers = signers(&context.client, &context.namespace, verify).await?;
        registry.verify(&resolved.manifest, &signers).await?;
    }
    let (wanted, place) = (digest.clone(), place(context).await);
    let bytes = match stored(context, origin, move |store, _| store.module(&wanted)).await {
        Some(bytes) => bytes,
        None => registry.download(&resolved.layer).await?,
    };
    let entry = StoreEntry { origin: origin.key(), manifest: resolved.manifest, module: digest };
    let (shared, kept) = (context.clone(), bytes.clone());
    // A failure is logged there, and the module serves nevertheless.
    let _ = spawn_blocking(move || shared.store.put(&entry, &kept)).await;
    Ok(Some(Fetched { bytes, place }))
}

/// Reads from the store, on a thread that may block.
async fn stored<T: Send + 'static>(
    context: &Arc<Context>,
    origin: &OciOrigin,
    look: impl FnOnce(&Store, &OciOrigin) -> Option<T> + Send + 'static,
) -> Option<T> {
    let (context, origin) = (context.clone(), origin.clone());
    spawn_blocking(move || look(&context.store, &origin)).await.ok().flatten()
}

/// The Docker configuration of a pull secret. An error of the API server may quote the Secret, so only its code is kept.
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
    fn a_registry_that_asked_to_wait_is_not_asked_for_other_modules() {
        let (busy, now, minute) = (Busy::default(), Instant::now(), Duration::from_secs(60));
        let asked = |registry: &str, secret: Option<&str>| (registry.to_owned(), secret.map(str::to_owned));
        busy.note(asked("a", None), "m".to_owned(), now + minute);
        // A later answer that asks for less changes nothing.
        busy.note(asked("a", None), "n".to_owned(), now + minute / 3);
        let expected = RegistryError::Busy { message: "m".to_owned(), retry_after: Some(minute / 2) };
        assert_eq!(busy.check(&asked("a", None), now + minute / 2), Err(expected));
        assert_eq!(busy.check(&asked("b", None), now), Ok(()));
        assert_eq!(busy.check(&asked("a", Some("pull")), now), Ok(()), "another user");
        assert_eq!(busy.check(&asked("a", None), now + minute), Ok(()));
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
