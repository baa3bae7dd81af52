//! The steps in the life of the store of one run, and the state after each.

use std::fmt;

use anyhow::{Context as _, Result};
use bartizan_contract::names::{OWNER_UID_LABEL, PROVIDER_LABEL};
use bartizan_e2e::{SOON, Stage, apply_text, message_of, script, store};
use bartizan_harness::wait::{wait_for, wait_gone, wait_object};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::core::DynamicObject;
use serde_json::{Value, json};

use crate::differences::differences;

/// The store's name, in each namespace.
const STORE: &str = "data";
/// The Service for its clients.
const CLIENT_SERVICE: &str = "data-service";
/// The Secret with the keys that the host generates, which stay.
const GENERATED: &str = "data-credentials";
/// The Secret with other keys, which the store names later.
const KEYS: &str = "keys";
/// The image of the update.
const IMAGE: &str = "example.com/minio:2";
/// A Script beside the store, of whose two children one is pruned.
const PAIR: &str = "pair";
/// The children of the Script.
const OF_PAIR: &str = "bartizan.dev/provider=scripted";
/// All children of the store, whatever their owner labels.
const SELECTOR: &str = "minio.rook.io/objectstore=data";

/// The steps, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Create the store, and a Script with two children.
    Create,
    /// Annotate the Service for its clients: one child changes.
    Annotate,
    /// Another image and resources: the servers are rolled. And other keys: they keep those that they have.
    Update,
    /// One child of the Script is not desired any more.
    Prune,
    /// A child is deleted by somebody else.
    DeleteChild,
    /// Somebody else removes the host's labels from a child.
    StripLabels,
    /// Delete the store.
    Delete,
}

impl fmt::Display for Step {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Create => "create",
            Self::Annotate => "annotate",
            Self::Update => "update",
            Self::Prune => "prune a child",
            Self::DeleteChild => "delete a child",
            Self::StripLabels => "strip the labels of a child",
            Self::Delete => "delete",
        })
    }
}

impl Step {
    const ALL: [Self; 7] =
        [Self::Create, Self::Annotate, Self::Update, Self::Prune, Self::DeleteChild, Self::StripLabels, Self::Delete];
}

/// The observed state at the end of each step.
pub(super) type Observed = Vec<(Step, Value)>;

/// A store in a namespace of its own.
pub(super) struct Scenario<'a> {
    pub(super) stage: &'a Stage,
    pub(super) namespace: &'a str,
}

impl Scenario<'_> {
    /// Creates what the store will need.
    pub(super) async fn prepare(&self) -> Result<()> {
        self.stage.kubectl(&["create", "namespace", self.namespace], "").await?;
        let keys = ["create", "secret", "generic", KEYS, "--namespace", self.namespace];
        let values = ["--from-literal=username=somebody", "--from-literal=password=some-password"];
        self.stage.kubectl(&[&keys[..], &values[..]].concat(), "").await?;
        Ok(())
    }

    /// Plays all steps, without anything to compare with.
    pub(super) async fn play(&self) -> Result<Observed> {
        let mut seen = Vec::new();
        for step in Step::ALL {
            self.take(step).await?;
            seen.push((step, self.observe().await?));
        }
        Ok(seen)
    }

    /// Plays all steps and returns the differences from the wanted states.
    pub(super) async fn play_like(&self, wanted: &Observed) -> Result<Vec<String>> {
        let mut problems = Vec::new();
        for (step, wanted) in wanted {
            self.take(*step).await?;
            let mut last = Vec::new();
            let equal = wait_for("equal objects", SOON / 4, async || {
                last = differences(wanted, &self.observe().await?);
                Ok(last.is_empty().then_some(()))
            });
            if equal.await.is_err() {
                problems.extend(last.iter().map(|line| format!("after {step}: {line}")));
            }
        }
        Ok(problems)
    }

    /// Performs one step and waits until the host has reacted.
    async fn take(&self, step: Step) -> Result<()> {
        let taken = match step {
            Step::Create => self.create().await,
            Step::Annotate => self.annotate().await,
            Step::Update => self.update().await,
            Step::Prune => self.prune().await,
            Step::DeleteChild => self.delete_child().await,
            Step::StripLabels => self.strip_labels().await,
            Step::Delete => self.delete().await,
        };
        taken.with_context(|| format!("step `{step}` in namespace {}", self.namespace))
    }

    async fn create(&self) -> Result<()> {
        let document = store(self.namespace, STORE, &json!({"scope": {"nodeCount": 4}}));
        let object: DynamicObject = serde_json::from_str(&document)?;
        self.stage.stores(self.namespace).create(&PostParams::default(), &object).await?;
        self.pair(&["first", "second"]).await?;
        self.child_of_pair("second").await?;
        self.ready().await
    }

    async fn annotate(&self) -> Result<()> {
        self.edit(json!({"serviceAnnotations": {"example.com/step": "annotate"}})).await?;
        let services = self.stage.api::<Service>(self.namespace);
        wait_object(services, CLIENT_SERVICE, "its annotation", SOON, |service| {
            service.metadata.annotations.as_ref().is_some_and(|all| all.contains_key("example.com/step"))
        })
        .await?;
        self.ready().await
    }

    async fn update(&self) -> Result<()> {
        let resources = json!({"requests": {"cpu": "100m"}, "limits": {"memory": "1Gi"}});
        self.edit(json!({"image": IMAGE, "resources": resources, "credentials": {"name": KEYS}})).await?;
        wait_object(self.stage.api::<StatefulSet>(self.namespace), STORE, "four updated servers", SOON, |set| {
            let status = set.status.as_ref();
            let updated = status.and_then(|status| status.updated_replicas) == Some(4);
            let current = status.and_then(|status| status.observed_generation) == set.metadata.generation;
            let rolled = status.is_some_and(|status| status.current_revision == status.update_revision);
            let value = serde_json::to_value(&set.spec).unwrap_or_default();
            updated && current && rolled && value["template"]["spec"]["containers"][0]["image"] == IMAGE
        })
        .await?;
        let stores = self.stage.stores(self.namespace);
        message_of(stores, STORE, "CredentialsReady", "False", "RotationPending").await?;
        let secrets = self.stage.api::<Secret>(self.namespace);
        let keys = async |name: &str| anyhow::Ok(secrets.get(name).await?.data);
        anyhow::ensure!(keys(GENERATED).await? != keys(KEYS).await?, "the keys were rolled");
        self.ready().await
    }

    async fn prune(&self) -> Result<()> {
        self.pair(&["first"]).await?;
        wait_gone(self.stage.api::<ConfigMap>(self.namespace), "second", SOON).await?;
        message_of(self.stage.scripts(self.namespace), PAIR, "Synced", "True", "Applied").await?;
        Ok(())
    }

    /// Gives the Script these children.
    async fn pair(&self, names: &[&str]) -> Result<()> {
        let child =
            |name: &&str| json!({"object": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}});
        let children: Vec<Value> = names.iter().map(child).collect();
        let spec = json!({"answers": [{"answer": {"children": children}}]});
        apply_text(self.stage, &script(&format!("{}/{PAIR}", self.namespace), &spec)).await
    }

    async fn child_of_pair(&self, name: &str) -> Result<()> {
        wait_object(self.stage.api::<ConfigMap>(self.namespace), name, "existence", SOON, |_: &ConfigMap| true).await?;
        message_of(self.stage.scripts(self.namespace), PAIR, "Synced", "True", "Applied").await?;
        Ok(())
    }

    async fn delete_child(&self) -> Result<()> {
        let budgets = self.stage.api::<PodDisruptionBudget>(self.namespace);
        let old = budgets.get(STORE).await?.metadata.uid;
        budgets.delete(STORE, &DeleteParams::default()).await?;
        wait_object(budgets, STORE, "another one in its place", SOON, |budget| budget.metadata.uid != old).await?;
        self.ready().await
    }

    async fn strip_labels(&self) -> Result<()> {
        let services = self.stage.api::<Service>(self.namespace);
        let patch = json!({"metadata": {"labels": {PROVIDER_LABEL: null, OWNER_UID_LABEL: null}}});
        services.patch(STORE, &PatchParams::default(), &Patch::Merge(&patch)).await?;
        wait_object(services, STORE, "its labels", SOON, |service| {
            let labels = service.metadata.labels.as_ref();
            labels.is_some_and(|labels| labels.contains_key(PROVIDER_LABEL) && labels.contains_key(OWNER_UID_LABEL))
        })
        .await?;
        self.ready().await
    }

    async fn delete(&self) -> Result<()> {
        let stores = self.stage.stores(self.namespace);
        stores.delete(STORE, &DeleteParams::default()).await?;
        let scripts = self.stage.scripts(self.namespace);
        scripts.delete(PAIR, &DeleteParams::default()).await?;
        wait_gone(scripts, PAIR, SOON).await?;
        wait_gone(stores, STORE, SOON).await
    }

    /// Objects that are left of the store. They may exist for a while: the garbage collector discovers new kinds
    /// every 30 s.
    pub(super) async fn left(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for selector in [SELECTOR, OF_PAIR] {
            let left = self.stage.snapshot(self.namespace, selector).await?;
            names.extend(left.names().into_iter().map(str::to_owned));
        }
        Ok(names)
    }

    async fn edit(&self, spec: Value) -> Result<()> {
        let patch = json!({"spec": spec});
        self.stage.stores(self.namespace).patch(STORE, &PatchParams::default(), &Patch::Merge(&patch)).await?;
        Ok(())
    }

    async fn ready(&self) -> Result<()> {
        self.stage.wait_ready(self.namespace, STORE).await?;
        Ok(())
    }

    /// The store and its children, without what differs between any two runs; null once it is deleted.
    async fn observe(&self) -> Result<Value> {
        let Some(parent) = self.stage.stores(self.namespace).get_opt(STORE).await? else { return Ok(Value::Null) };
        let children = self.stage.snapshot(self.namespace, SELECTOR).await?.shape();
        let pair = self.stage.snapshot(self.namespace, OF_PAIR).await?.shape();
        let seen = json!({"children": children, "pair": pair, "store": status_of(&parent)});
        // Addresses and messages contain the namespace.
        Ok(serde_json::from_str(&seen.to_string().replace(self.namespace, "NAMESPACE"))?)
    }
}

/// The status of a store, without times.
fn status_of(parent: &DynamicObject) -> Value {
    let mut status = parent.data["status"].clone();
    for condition in status["conditions"].as_array_mut().into_iter().flatten() {
        condition["lastTransitionTime"] = Value::Null;
    }
    json!({"spec": parent.data["spec"], "status": status, "finalizers": parent.metadata.finalizers})
}
