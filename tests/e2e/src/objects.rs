//! Parents and children as the API server holds them.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use bartizan_contract::names::OWNER_UID_LABEL;
use bartizan_harness::wait::wait_object;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::Api;
use kube::api::{ApiResource, ListParams};
use kube::core::{DynamicObject, GroupVersionKind};
use serde_json::{Value, json};

use crate::stage::Stage;
use crate::timeouts::SOON;

fn resource(group: &str, kind: &str, plural: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, "v1alpha1", kind), plural)
}

impl Stage {
    /// The ObjectStores of a namespace.
    #[must_use]
    pub fn stores(&self, namespace: &str) -> Api<DynamicObject> {
        let resource = resource("minio.rook.io", "ObjectStore", "objectstores");
        Api::namespaced_with(self.cluster.client(), namespace, &resource)
    }

    /// The Cassandra clusters of a namespace.
    #[must_use]
    pub fn clusters(&self, namespace: &str) -> Api<DynamicObject> {
        let resource = resource("cassandra.rook.io", "Cluster", "clusters");
        Api::namespaced_with(self.cluster.client(), namespace, &resource)
    }

    /// The Providers.
    #[must_use]
    pub fn provider_objects(&self) -> Api<DynamicObject> {
        let resource = resource("bartizan.dev", "Provider", "providers");
        Api::all_with(self.cluster.client(), &resource)
    }

    /// The Faults of the default namespace.
    #[must_use]
    pub fn faults(&self) -> Api<DynamicObject> {
        self.faults_in("default")
    }

    /// The Faults of a namespace.
    #[must_use]
    pub fn faults_in(&self, namespace: &str) -> Api<DynamicObject> {
        let resource = resource("test.bartizan.dev", "Fault", "faults");
        Api::namespaced_with(self.cluster.client(), namespace, &resource)
    }

    /// The Scripts of a namespace.
    #[must_use]
    pub fn scripts(&self, namespace: &str) -> Api<DynamicObject> {
        let resource = resource("test.bartizan.dev", "Script", "scripts");
        Api::namespaced_with(self.cluster.client(), namespace, &resource)
    }

    /// The FinalizingScripts of a namespace.
    #[must_use]
    pub fn finalizing_scripts(&self, namespace: &str) -> Api<DynamicObject> {
        let resource = resource("test.bartizan.dev", "FinalizingScript", "finalizingscripts");
        Api::namespaced_with(self.cluster.client(), namespace, &resource)
    }

    /// The ClusterScripts, which are cluster-scoped.
    #[must_use]
    pub fn cluster_scripts(&self) -> Api<DynamicObject> {
        let resource = resource("test.bartizan.dev", "ClusterScript", "clusterscripts");
        Api::all_with(self.cluster.client(), &resource)
    }

    /// The Greetings of the default namespace.
    #[must_use]
    pub fn greetings(&self) -> Api<DynamicObject> {
        self.greetings_in("default")
    }

    /// The Greetings of a namespace.
    #[must_use]
    pub fn greetings_in(&self, namespace: &str) -> Api<DynamicObject> {
        let resource = resource("hello.bartizan.dev", "Greeting", "greetings");
        Api::namespaced_with(self.cluster.client(), namespace, &resource)
    }

    /// A typed API of a namespace, with the admin's rights.
    #[must_use]
    pub fn api<K>(&self, namespace: &str) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
    {
        Api::namespaced(self.cluster.client(), namespace)
    }

    /// Waits until the status of a store is about its newest generation and it is Ready with four servers.
    ///
    /// # Errors
    /// If it is not in time, with the object as last seen.
    pub async fn wait_ready(&self, namespace: &str, name: &str) -> Result<DynamicObject> {
        wait_object(self.stores(namespace), name, "Ready with 4 of 4 servers", SOON, |store| {
            let is = |type_: &str| condition(store, type_).is_some_and(|condition| condition["status"] == "True");
            store.data["status"]["ready"] == "4/4" && is("Ready") && is("Synced") && is("Valid") && is_current(store)
        })
        .await
    }

    /// All children of a parent, of all kinds, without their status.
    ///
    /// # Errors
    /// If they cannot be listed.
    pub async fn children(&self, parent: &DynamicObject) -> Result<Snapshot> {
        let uid = parent.metadata.uid.as_deref().context("a parent without UID")?;
        let namespace = parent.metadata.namespace.as_deref().context("a parent without a namespace")?;
        self.snapshot(namespace, &format!("{OWNER_UID_LABEL}={uid}")).await
    }

    /// All objects of the kinds that providers write, in a namespace, by label selector.
    ///
    /// # Errors
    /// If they cannot be listed.
    pub async fn snapshot(&self, namespace: &str, selector: &str) -> Result<Snapshot> {
        let mut objects = BTreeMap::new();
        let params = ListParams::default().labels(selector);
        list::<Service>(self, namespace, &params, &mut objects).await?;
        list::<Secret>(self, namespace, &params, &mut objects).await?;
        list::<ConfigMap>(self, namespace, &params, &mut objects).await?;
        list::<StatefulSet>(self, namespace, &params, &mut objects).await?;
        list::<PodDisruptionBudget>(self, namespace, &params, &mut objects).await?;
        Ok(Snapshot { objects })
    }
}

async fn list<K>(stage: &Stage, namespace: &str, params: &ListParams, into: &mut BTreeMap<String, Value>) -> Result<()>
where
    K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned
        + serde::Serialize,
{
    for object in stage.api::<K>(namespace).list(params).await? {
        let name = object.meta().name.clone().unwrap_or_default();
        into.insert(format!("{}/{name}", K::kind(&())), without_status(serde_json::to_value(&object)?));
    }
    Ok(())
}

/// Objects at one moment, by kind and name, without their status. Equal snapshots mean that nobody wrote: they
/// include times of writes, UIDs and generations.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    objects: BTreeMap<String, Value>,
}

impl Snapshot {
    /// `Kind/name` of each object.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        self.objects.keys().map(String::as_str).collect()
    }

    /// An object by `Kind/name`; `null` if there is none.
    #[must_use]
    pub fn get(&self, name: &str) -> &Value {
        self.objects.get(name).unwrap_or(&Value::Null)
    }

    /// The intended state without incidentals: no UIDs, times, versions, generated values or allocated addresses. Two
    /// runs that end in the same state have equal shapes.
    #[must_use]
    pub fn shape(&self) -> BTreeMap<String, Value> {
        let shape = |(name, object): (&String, &Value)| {
            let metadata = &object["metadata"];
            let mut shape = object.clone();
            let mut labels = metadata["labels"].clone();
            labels[OWNER_UID_LABEL] = Value::Null;
            // Its hash covers the owner's UID, too.
            let mut annotations = metadata["annotations"].clone();
            annotations[bartizan_contract::names::INTENT_ANNOTATION] = Value::Null;
            // A fingerprint of generated values.
            if let Some(fingerprint) = annotations.get_mut("minio.rook.io/credentials-hash") {
                *fingerprint = true.into();
            }
            let mut owners = metadata["ownerReferences"].clone();
            for owner in owners.as_array_mut().into_iter().flatten() {
                owner["uid"] = Value::Null;
            }
            shape["metadata"] = json!({
                "name": metadata["name"], "namespace": metadata["namespace"], "labels": labels,
                "annotations": annotations, "ownerReferences": owners,
            });
            if name.starts_with("Secret/") {
                let lengths = |data: &serde_json::Map<String, Value>| {
                    data.iter().map(|(key, value)| (key.clone(), value.as_str().map_or(0, str::len).into())).collect()
                };
                shape["data"] = object["data"].as_object().map(lengths).map_or(Value::Null, Value::Object);
            }
            if name.starts_with("Service/") && object["spec"]["clusterIP"] != "None" {
                shape["spec"]["clusterIP"] = Value::Null;
                shape["spec"]["clusterIPs"] = Value::Null;
            }
            (name.clone(), shape)
        };
        self.objects.iter().map(shape).collect()
    }
}

/// An object without its status, and without the metadata that changes with it.
fn without_status(mut object: Value) -> Value {
    if let Some(top) = object.as_object_mut() {
        top.remove("status");
    }
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("resourceVersion");
        if let Some(managers) = metadata.get_mut("managedFields").and_then(Value::as_array_mut) {
            managers.retain(|entry| entry.get("subresource").is_none());
        }
    }
    object
}

/// Whether every condition is about the newest generation.
fn is_current(object: &DynamicObject) -> bool {
    let conditions = object.data["status"]["conditions"].as_array();
    let generation = object.metadata.generation;
    conditions.into_iter().flatten().all(|condition| condition["observedGeneration"].as_i64() == generation)
}

/// A condition of an object, if it is about the newest generation.
#[must_use]
pub fn condition<'a>(object: &'a DynamicObject, type_: &str) -> Option<&'a Value> {
    let conditions = object.data["status"]["conditions"].as_array()?;
    let condition = conditions.iter().find(|condition| condition["type"] == type_)?;
    (condition["observedGeneration"].as_i64() == object.metadata.generation).then_some(condition)
}

/// Waits until a condition about the newest generation has this status and reason, and returns its message.
///
/// # Errors
/// If it has not in time, with the object as last seen.
pub async fn message_of(
    api: Api<DynamicObject>,
    name: &str,
    type_: &str,
    status: &str,
    reason: &str,
) -> Result<String> {
    let wanted = |object: &DynamicObject| {
        condition(object, type_).is_some_and(|condition| condition["status"] == status && condition["reason"] == reason)
    };
    let object = wait_object(api, name, &format!("{type_}={status} for {reason}"), SOON, wanted).await?;
    let message = condition(&object, type_).and_then(|condition| condition["message"].as_str());
    Ok(message.unwrap_or_default().to_owned())
}

/// An ObjectStore with this spec as JSON, which kubectl reads as it reads YAML.
#[must_use]
pub fn store(namespace: &str, name: &str, spec: &Value) -> String {
    json!({
        "apiVersion": "minio.rook.io/v1alpha1", "kind": "ObjectStore",
        "metadata": {"name": name, "namespace": namespace}, "spec": spec,
    })
    .to_string()
}

/// A Cassandra cluster with this spec.
#[must_use]
pub fn cassandra(namespace: &str, name: &str, spec: &Value) -> String {
    json!({
        "apiVersion": "cassandra.rook.io/v1alpha1", "kind": "Cluster",
        "metadata": {"name": name, "namespace": namespace}, "spec": spec,
    })
    .to_string()
}

/// A Fault of this kind in the default namespace.
#[must_use]
pub fn fault(name: &str, how: &str) -> String {
    json!({
        "apiVersion": "test.bartizan.dev/v1alpha1", "kind": "Fault",
        "metadata": {"name": name, "namespace": "default"}, "spec": {"how": how},
    })
    .to_string()
}

/// A Script with this spec, as its provider reads it. `name` means the default namespace, `namespace/name` another.
#[must_use]
pub fn script(name: &str, spec: &Value) -> String {
    test_parent("Script", name.split_once('/').unwrap_or(("default", name)), spec)
}

/// A FinalizingScript with this spec, which is that of a [`script`].
#[must_use]
pub fn finalizing_script(name: &str, spec: &Value) -> String {
    test_parent("FinalizingScript", name.split_once('/').unwrap_or(("default", name)), spec)
}

/// A ClusterScript with this spec, which is that of a [`script`].
#[must_use]
pub fn cluster_script(name: &str, spec: &Value) -> String {
    test_parent("ClusterScript", ("", name), spec)
}

fn test_parent(kind: &str, (namespace, name): (&str, &str), spec: &Value) -> String {
    let mut metadata = json!({"name": name});
    if !namespace.is_empty() {
        metadata["namespace"] = json!(namespace);
    }
    json!({"apiVersion": "test.bartizan.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}).to_string()
}

/// A pod spec with these containers that meets the level Restricted, which providers are granted by default.
#[must_use]
pub fn hardened(mut containers: Value) -> Value {
    for container in containers.as_array_mut().into_iter().flatten() {
        container["securityContext"] = json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}});
    }
    let context = json!({"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}});
    json!({"securityContext": context, "containers": containers})
}

/// A Greeting in the default namespace.
#[must_use]
pub fn greeting(name: &str, whom: &str) -> String {
    json!({
        "apiVersion": "hello.bartizan.dev/v1alpha1", "kind": "Greeting",
        "metadata": {"name": name, "namespace": "default"}, "spec": {"name": whom},
    })
    .to_string()
}

/// Applies a document with kubectl.
///
/// # Errors
/// If it is refused.
pub async fn apply_text(stage: &Stage, document: &str) -> Result<()> {
    stage.kubectl(&["apply", "-f", "-"], document).await?;
    Ok(())
}
