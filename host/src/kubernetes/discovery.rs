//! Discovery: the resource of a kind with its plural, scope and version. A plural is never guessed.

use std::time::Duration;

use bartizan_contract::{GroupKind, Kind};
use futures::StreamExt as _;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::core::{GroupVersionKind, PartialObjectMeta};
use kube::discovery::{self, Scope};
use kube::runtime::watcher;
use kube::{Api, Client};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::kubernetes::deadline::in_time;
use crate::kubernetes::error::{chain, text};
use crate::kubernetes::relisting::relisting;
use crate::kubernetes::served::Resource;
use crate::kubernetes::watch_throttle::throttled;

/// Discovers a kind; `None` if the API server does not serve it.
///
/// # Errors
/// If the request fails: then nothing is known, and nothing may be concluded.
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

/// Discovers a kind at the version that the API server prefers; `None` if it does not serve it.
///
/// # Errors
/// If the request fails.
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

/// Counts changes of CustomResourceDefinitions.
pub(crate) type Changes = watch::Receiver<u64>;

/// Time without a change of CustomResourceDefinitions after which discovery is asked: one is written several times until it is
/// Established.
pub(crate) const QUIET: Duration = Duration::from_millis(250);
/// Time by which discovery may lag behind an Established CustomResourceDefinition.
const LAG: Duration = Duration::from_secs(5);

/// Watches the metadata of CustomResourceDefinitions: any change is a reason to repeat discovery.
pub(crate) fn watch_changes(client: &Client, stop: CancellationToken) -> (Changes, impl Future<Output = ()> + use<>) {
    let (changed, changes) = watch::channel(0);
    let api: Api<PartialObjectMeta<CustomResourceDefinition>> = Api::all(throttled(client.clone()));
    let watching = async move {
        let mut events = relisting(api, watcher::Config::default());
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                () = stop.cancelled() => return,
            };
            match event {
                Some(Ok(_)) => changed.send_modify(|count| *count += 1),
                // The watcher lists again, so that no change is missed.
                Some(Err(error)) => debug!("watch of CustomResourceDefinitions broke: {}", chain(&error)),
                None => return,
            }
        }
    };
    (changes, watching)
}

/// Returns when one of these kinds is served although it was not, or is not although it was.
pub(crate) async fn until_changed(client: Client, kinds: Vec<(Kind, bool)>, mut changes: Changes) {
    loop {
        if kinds.is_empty() || changes.changed().await.is_err() {
            // There is nothing to wait for, or the host stops.
            std::future::pending::<()>().await;
        }
        while tokio::time::timeout(QUIET, changes.changed()).await.is_ok_and(|changed| changed.is_ok()) {}
        // Twice, since discovery lags behind, and a request may fail.
        for pause in [Duration::ZERO, LAG] {
            tokio::time::sleep(pause).await;
            for (kind, served) in &kinds {
                match in_time(discover(&client, kind)).await {
                    Ok(found) if found.is_some() != *served => return,
                    Ok(_) => {}
                    Err(error) => debug!(%kind, "discovery failed: {}", text(&error)),
                }
            }
        }
    }
}
