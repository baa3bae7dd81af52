//! The objects that a host would have observed of a converged Cassandra ring: our example with six members in each of
//! its two racks and no volumes, which is 20 children and 12 pods.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use bartizan_contract::names::{OWNER_UID_LABEL, PROVIDER_LABEL, field_manager};
use bartizan_contract::{Kind, KindRequest, ProviderManifest, ReconcileResponse, RelatedKind};
use bartizan_engine::object::Observed;
use bartizan_engine::request::{self, RequestInput};
use serde_json::{Value, json};

use crate::cluster::stamp;

/// The example, as applied by people.
const EXAMPLE: &str = include_str!("../../../examples/cassandra/cluster.yaml");
const PARENT_UID: &str = "00000000-0000-4000-8000-000000000000";
const MEMBERS: u64 = 6;
/// How many children and pods it has once converged.
pub(crate) const CHILDREN: usize = 20;
const PODS: usize = 12;
/// More calls than it takes to converge.
const MOST_ANSWERS: usize = 50;
/// The revision of all pods: the template never changes.
const REVISION: &str = "ring-1";

/// The Cluster, the children that the provider wants, and their pods.
pub(crate) struct Ring {
    manifest: ProviderManifest,
    namespace: Value,
    parent: Value,
    /// By kind and name.
    children: BTreeMap<(String, String), Value>,
}

impl Ring {
    pub(crate) fn new(manifest: ProviderManifest) -> Result<Self> {
        let mut parent: Value = serde_yaml_ng::from_str(EXAMPLE)?;
        for rack in parent["spec"]["datacenter"]["racks"].as_array_mut().context("no racks")? {
            rack["members"] = json!(MEMBERS);
            rack["storage"] = Value::Null;
        }
        let namespace = parent["metadata"]["namespace"].clone();
        stamp(&mut parent, PARENT_UID, 1, &namespace);
        Ok(Self { manifest, namespace, parent, children: BTreeMap::new() })
    }

    /// Calls the provider until nothing changes any more; every answer is applied at once, and every pod is ready at
    /// once.
    pub(crate) fn settle(&mut self, ask: impl Fn(&[u8]) -> Result<Vec<u8>>) -> Result<()> {
        for _ in 0..MOST_ANSWERS {
            let before = self.children.clone();
            let answer = ask(&self.request()?)?;
            let answer: ReconcileResponse = serde_json::from_slice(&answer).context("the provider's answer")?;
            let kept = answer.keep.into_iter().map(|keep| (keep.kind, keep.name));
            let kept: BTreeMap<_, _> = kept.filter_map(|key| Some((key.clone(), before.get(&key)?.clone()))).collect();
            self.children = kept;
            for child in answer.children {
                let key = (text(&child.object["kind"]), text(&child.object["metadata"]["name"]));
                self.children.insert(key, child.object);
            }
            if self.children == before {
                let (children, pods) = (self.children.len(), self.pods().len());
                ensure!((children, pods) == (CHILDREN, PODS), "it has {children} children and {pods} pods");
                return Ok(());
            }
        }
        anyhow::bail!("the ring is not done after {MOST_ANSWERS} answers")
    }

    /// The bytes of a request.
    pub(crate) fn request(&self) -> Result<Vec<u8>> {
        let kinds = |requests: &[KindRequest]| requests.iter().map(KindRequest::kind).collect::<Vec<Kind>>();
        let manager = field_manager(&self.manifest.name);
        let parent = Observed::project(self.parent.clone(), &manager)?;
        let project = |(number, object): (usize, Value)| -> Result<Observed> {
            Ok(Observed::project(self.stamped(number, object), &manager)?)
        };
        let children = self.children.values().cloned().map(with_status).enumerate().map(project);
        let children = children.collect::<Result<Vec<_>>>()?;
        let pods = self.pods().into_iter().enumerate().map(|(number, pod)| project((CHILDREN + number, pod)));
        let pods = pods.collect::<Result<Vec<_>>>()?;
        // The provider asks whether somebody else created the members' account; its own objects are in the response,
        // too.
        let related_kinds: Vec<Kind> = self.manifest.related.iter().map(RelatedKind::kind).collect();
        let related = children.iter().filter(|child| child.key.name.ends_with("-member")).collect::<Vec<_>>();
        Ok(request::build(&RequestInput {
            provider: &self.manifest.name,
            provider_version: &self.manifest.version,
            settings: &json!({}),
            cluster_version: "v1.36.3",
            optional_kinds: &BTreeMap::new(),
            parent: &parent,
            child_kinds: &kinds(&self.manifest.children),
            children: &children.iter().collect::<Vec<_>>(),
            descendant_kinds: &kinds(&self.manifest.descendants),
            descendants: &pods.iter().collect::<Vec<_>>(),
            related_kinds: &related_kinds,
            related: &related,
            finalizing: false,
            namespace_terminating: false,
        }))
    }

    /// An object as the API server would return it.
    fn stamped(&self, number: usize, mut object: Value) -> Value {
        stamp(&mut object, &format!("00000000-0000-4000-8000-{:012}", number + 1), number + 2, &self.namespace);
        if object["kind"] != "Pod" {
            object["metadata"]["labels"][PROVIDER_LABEL] = json!(self.manifest.name);
            object["metadata"]["labels"][OWNER_UID_LABEL] = json!(PARENT_UID);
        }
        object
    }

    /// The pods of all StatefulSets, ready.
    fn pods(&self) -> Vec<Value> {
        let sets = self.children.values().filter(|child| child["kind"] == "StatefulSet");
        let pods = sets.flat_map(|set| (0..replicas(set)).map(|ordinal| pod(set, ordinal)));
        pods.collect()
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn replicas(set: &Value) -> u64 {
    set["spec"]["replicas"].as_u64().unwrap_or(0)
}

/// A StatefulSet whose controller has finished; any other object unchanged.
fn with_status(mut object: Value) -> Value {
    if object["kind"] == "StatefulSet" {
        let replicas = replicas(&object);
        object["status"] = json!({
            "observedGeneration": 1, "replicas": replicas, "readyReplicas": replicas, "availableReplicas": replicas,
            "updatedReplicas": replicas, "currentReplicas": replicas, "currentRevision": REVISION, "updateRevision": REVISION,
        });
    }
    object
}

fn pod(set: &Value, ordinal: u64) -> Value {
    let template = &set["spec"]["template"];
    let mut metadata = template["metadata"].clone();
    metadata["name"] = json!(format!("{}-{ordinal}", text(&set["metadata"]["name"])));
    metadata["labels"]["controller-revision-hash"] = json!(REVISION);
    let ready = json!({"type": "Ready", "status": "True"});
    let container = json!({"name": "cassandra", "ready": true, "restartCount": 0, "state": {"running": {}}});
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"],
        "status": {"phase": "Running", "conditions": [ready], "containerStatuses": [container]},
    })
}
