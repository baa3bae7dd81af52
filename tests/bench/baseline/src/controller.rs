//! Applies three ConfigMaps and a status for each Triple.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, Patch, PatchParams};
use kube::runtime::controller::{self, Action, Controller};
use kube::runtime::{PredicateConfig, WatchStreamExt as _, predicates, reflector, watcher};
use kube::{Api, Client, Resource as _, ResourceExt as _};
use serde_json::{Value, json};
use tracing::{debug, warn};

use crate::triple::{Triple, TripleStatus};

/// Field manager of every write, and the label that our ConfigMaps are watched by.
const MANAGER: &str = "bartizan-baseline";
/// The usual label for who manages an object.
const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// How many reconciles run at the same time.
const CONCURRENCY: u16 = 16;
/// Delay before the next attempt after an error.
const RETRY: Duration = Duration::from_secs(5);
/// How many ConfigMaps a Triple has.
const CONFIG_MAPS: usize = 3;

/// Runs until SIGTERM.
pub(crate) async fn run(client: Client) {
    let (reader, writer) = reflector::store();
    // A status write of our own is no reason to reconcile again: only a change of the spec raises the generation.
    let triples = watcher(Api::<Triple>::all(client.clone()), watcher::Config::default())
        .default_backoff()
        .modify(|triple| triple.managed_fields_mut().clear())
        .reflect(writer)
        .applied_objects()
        .predicate_filter(predicates::generation, PredicateConfig::default());
    let ours = watcher::Config::default().labels(&format!("{MANAGED_BY}={MANAGER}"));
    Controller::for_stream(triples, reader)
        .owns(Api::<ConfigMap>::all(client.clone()), ours)
        .with_config(controller::Config::default().concurrency(CONCURRENCY))
        .shutdown_on_signal()
        .run(reconcile, on_error, Arc::new(client))
        .for_each(async |result| match result {
            Ok((triple, _)) => debug!(%triple, "reconciled"),
            Err(error) => warn!("reconcile failed: {error}"),
        })
        .await;
}

async fn reconcile(triple: Arc<Triple>, client: Arc<Client>) -> Result<Action, kube::Error> {
    let client = Client::clone(&client);
    let namespace = triple.namespace().unwrap_or_default();
    let config_maps: Api<ConfigMap> = Api::namespaced(client.clone(), &namespace);
    try_join_all((0..CONFIG_MAPS).map(async |number| {
        let config_map = config_map(&triple, number);
        config_maps.patch(&config_map.name_any(), &apply(), &Patch::Apply(&config_map)).await
    }))
    .await?;
    let triples: Api<Triple> = Api::namespaced(client, &namespace);
    triples.patch_status(&triple.name_any(), &apply(), &Patch::Apply(status(&triple))).await?;
    Ok(Action::await_change())
}

fn on_error(triple: Arc<Triple>, error: &kube::Error, _: Arc<Client>) -> Action {
    warn!(triple = triple.name_any(), "trying again in {} s: {error}", RETRY.as_secs());
    Action::requeue(RETRY)
}

fn apply() -> PatchParams {
    PatchParams::apply(MANAGER).force()
}

fn config_map(triple: &Triple, number: usize) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(format!("{}-{number}", triple.name_any())),
            namespace: triple.namespace(),
            labels: Some(BTreeMap::from([(MANAGED_BY.to_owned(), MANAGER.to_owned())])),
            owner_references: triple.controller_owner_ref(&()).map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        data: Some(BTreeMap::from([("value".to_owned(), triple.spec.value.clone())])),
        ..ConfigMap::default()
    }
}

/// The object applied to the status subresource.
fn status(triple: &Triple) -> Value {
    json!({
        "apiVersion": Triple::api_version(&()),
        "kind": Triple::kind(&()),
        "status": TripleStatus { value: triple.spec.value.clone(), conditions: vec![ready(triple)] },
    })
}

/// `Ready=True` with the time of its last transition: an apply without changes is no write.
fn ready(triple: &Triple) -> Condition {
    let before = triple.status.iter().flat_map(|status| &status.conditions);
    let since = before
        .filter(|condition| condition.type_ == "Ready" && condition.status == "True")
        .map(|condition| condition.last_transition_time.clone())
        .next();
    Condition {
        type_: "Ready".to_owned(),
        status: "True".to_owned(),
        reason: "Applied".to_owned(),
        message: String::new(),
        observed_generation: triple.metadata.generation,
        last_transition_time: since.unwrap_or_else(|| Time(Timestamp::now())),
    }
}
