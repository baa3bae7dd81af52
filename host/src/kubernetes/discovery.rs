//! Which resource serves a kind: plural, scope, version. By discovery, never by guessing a plural.

use std::time::Duration;

use bartizan_contract::{GroupKind, Kind};
use futures::StreamExt as _;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::core::{GroupVersionKind, PartialObjectMeta};
use kube::discovery::{self, Scope};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::kubernetes::deadline::in_time;
use crate::kubernetes::served::Resource;

/// Asks the API server for a kind; `None` if it does not serve it.
///
/// # Errors
/// If it could not be asked: then nothing is known, and nothing may be concluded.
pub(crate) async fn discover(client: &Client, kind: &Kind) -> Result<Option<Resource>, kube::Error> {
    let gvk = GroupVersionKind::gvk(&kind.group, &kind.version, &kind.kind);
    match discovery::pinned_kind(client, &gvk).await {
        Ok((api, capabilities)) => {
            Ok(Some(Resource { api, namespaced: matches!(capabilities.scope, Scope::Namespaced) }))
        }
        Err(kube::Error::Discovery(_)) => Ok(None),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(error) => Err(error),
    }
}

/// Asks for a kind at the version that the API server prefers; `None` if it does not serve it.
///
/// # Errors
/// If it could not be asked.
pub(crate) async fn preferred(client: &Client, kind: &GroupKind) -> Result<Option<(Kind, Resource)>, kube::Error> {
    match discovery::group(client, &kind.group).await {
        Ok(group) => Ok(group.recommended_kind(&kind.kind).map(|(api, capabilities)| {
            let kind = Kind::new(&api.group, &api.version, &api.kind);
            (kind, Resource { api, namespaced: matches!(capabilities.scope, Scope::Namespaced) })
        })),
        Err(kube::Error::Discovery(_)) => Ok(None),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(error) => Err(error),
    }
}

/// Changes of what the cluster serves.
pub(crate) type Changes = watch::Receiver<u64>;

/// How long CustomResourceDefinitions must have been quiet: one is written several times until it is Established.
const QUIET: Duration = Duration::from_millis(250);
/// How long discovery may be behind what is Established.
const LAG: Duration = Duration::from_secs(5);

/// Watches CustomResourceDefinitions, whatever they say: a change of one is a reason to ask what is served.
pub(crate) fn watch_changes(client: &Client, stop: CancellationToken) -> (Changes, impl Future<Output = ()> + use<>) {
    let (changed, changes) = watch::channel(0);
    let api: Api<PartialObjectMeta<CustomResourceDefinition>> = Api::all(client.clone());
    let watching = async move {
        let mut events = watcher(api, watcher::Config::default()).default_backoff().boxed();
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                () = stop.cancelled() => return,
            };
            match event {
                Some(Ok(_)) => changed.send_modify(|count| *count += 1),
                // A watch that breaks lists anew: nothing is missed, and until then what was served is.
                Some(Err(error)) => debug!("watch of CustomResourceDefinitions broke: {error}"),
                None => return,
            }
        }
    };
    (changes, watching)
}

/// Ends when one of these kinds is served otherwise than said.
pub(crate) async fn until_changed(client: Client, kinds: Vec<(Kind, bool)>, mut changes: Changes) {
    loop {
        if kinds.is_empty() || changes.changed().await.is_err() {
            // Nothing can change, or the host stops.
            std::future::pending::<()>().await;
        }
        while tokio::time::timeout(QUIET, changes.changed()).await.is_ok_and(|changed| changed.is_ok()) {}
        // Twice: what discovery says lags behind, and a question may fail.
        for pause in [Duration::ZERO, LAG] {
            tokio::time::sleep(pause).await;
            for (kind, served) in &kinds {
                match in_time(discover(&client, kind)).await {
                    Ok(found) if found.is_some() != *served => return,
                    Ok(_) => {}
                    Err(error) => debug!(%kind, "could not be asked for: {error:#}"),
                }
            }
        }
    }
}
