//! A minimal Kubernetes cluster: applied objects exist, and the StatefulSet controller, the kubelet, the garbage collector and the
//! sidecar take a step when a test tells them to. As in real clusters, pods are created in order and deleted in reverse order, and
//! a template reaches the pods from the partition on.

use std::collections::BTreeMap;

use bartizan_sdk::ReconcileResponse;
use bartizan_sdk::testing::TestRequest;
use cassandra::Cassandra;
use serde::Deserialize;
use serde_json::{Value, json};

pub(crate) const NAMESPACE: &str = "databases";
const DECOMMISSIONED: &str = "cassandra.rook.io/decommissioned";

/// The Cluster under test and all existing objects.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) parent: Value,
    /// Kind and name to object.
    pub(crate) children: BTreeMap<(String, String), Value>,
    pub(crate) pods: BTreeMap<String, Pod>,
    pub(crate) claims: BTreeMap<String, Claim>,
    pub(crate) related: Vec<Value>,
    /// Templates by the names of their revisions.
    pub(crate) revisions: BTreeMap<String, Value>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pod {
    pub(crate) set: String,
    pub(crate) ordinal: i64,
    pub(crate) revision: String,
    pub(crate) annotations: Value,
    pub(crate) ready: bool,
    pub(crate) started: bool,
    pub(crate) going: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Claim {
    pub(crate) rack: String,
    pub(crate) owned_by_pod: bool,
}

impl World {
    /// A Cluster named `db` in the datacenter `dc`, with these racks and numbers of members.
    pub(crate) fn new(racks: &[(&str, i64)]) -> Self {
        let racks: Vec<Value> = racks.iter().map(|(name, members)| rack(name, *members)).collect();
        Self::of(json!({
            "apiVersion": "cassandra.rook.io/v1alpha1",
            "kind": "Cluster",
            "metadata": {"name": "db", "namespace": NAMESPACE, "generation": 7, "uid": "1"},
            "spec": {"version": "4.1.3", "datacenter": {"name": "dc", "racks": racks}},
        }))
    }

    pub(crate) fn of(parent: Value) -> Self {
        Self {
            parent,
            children: BTreeMap::new(),
            pods: BTreeMap::new(),
            claims: BTreeMap::new(),
            related: Vec::new(),
            revisions: BTreeMap::new(),
        }
    }

    /// One of the examples of this repository.
    pub(crate) fn example(name: &str) -> Self {
        let file = format!("{}/../../examples/cassandra/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
        Self::parse(&std::fs::read_to_string(file).unwrap())
    }

    /// The Cluster of a YAML file.
    pub(crate) fn parse(yaml: &str) -> Self {
        let documents =
            serde_yaml_ng::Deserializer::from_str(yaml).map(|document| Value::deserialize(document).unwrap());
        let mut parent = documents.into_iter().find(|document| document["kind"] == "Cluster").unwrap();
        parent["metadata"]["uid"] = json!("1");
        Self::of(parent)
    }

    /// With all objects created and settled.
    pub(crate) fn settled(racks: &[(&str, i64)]) -> Self {
        let mut world = Self::new(racks);
        world.run();
        world
    }

    /// With fields of the spec replaced.
    pub(crate) fn with(mut self, fields: Value) -> Self {
        self.edit(fields);
        self
    }

    pub(crate) fn edit(&mut self, fields: Value) {
        for (name, value) in fields.as_object().unwrap() {
            self.parent["spec"][name] = value.clone();
        }
    }

    pub(crate) fn racks(&mut self, racks: &[(&str, i64)]) {
        let racks: Vec<Value> = racks.iter().map(|(name, members)| rack(name, *members)).collect();
        self.parent["spec"]["datacenter"]["racks"] = json!(racks);
    }

    pub(crate) fn request(&self) -> TestRequest {
        let mut request = TestRequest::new(self.parent.clone());
        request = self.children.values().cloned().fold(request, TestRequest::child);
        request = self.pods.iter().map(|(name, pod)| pod.object(name)).fold(request, TestRequest::descendant);
        request = self.claims.iter().map(|(name, claim)| claim.object(name)).fold(request, TestRequest::descendant);
        self.related.iter().cloned().fold(request, TestRequest::related)
    }

    pub(crate) fn answer(&self) -> ReconcileResponse {
        self.request().answer::<Cassandra>().unwrap()
    }

    /// Calls the provider and executes its response, wave by wave, and prunes. Returns the response.
    pub(crate) fn reconcile(&mut self) -> ReconcileResponse {
        let answer = self.answer();
        self.apply(&answer, usize::MAX);
        answer
    }

    /// Executes the first `most` operations of a response, like a host that is killed then.
    pub(crate) fn apply(&mut self, answer: &ReconcileResponse, most: usize) {
        if answer.hold {
            return;
        }
        let mut children: Vec<_> = answer.children.iter().collect();
        children.sort_by_key(|child| child.wave);
        for child in children.iter().take(most) {
            self.put(child.object.clone());
        }
        if most < children.len() {
            return;
        }
        let meant: Vec<_> = answer
            .children
            .iter()
            .map(|child| key(&child.object))
            .chain(answer.keep.iter().map(|keep| (keep.kind.clone(), keep.name.clone())))
            .collect();
        self.children.retain(|existing, _| meant.contains(existing));
        let sets: Vec<String> = self.sets();
        self.pods.retain(|_, pod| sets.contains(&pod.set));
    }

    fn put(&mut self, mut object: Value) {
        let key = key(&object);
        if key.0 == "StatefulSet" {
            let before = self.children.get(&key);
            let generation = |set: &Value| set["metadata"]["generation"].as_i64().unwrap_or(0);
            let changed = before.is_none_or(|before| before["spec"] != object["spec"]);
            object["metadata"]["generation"] = json!(before.map_or(0, generation) + i64::from(changed));
            object["status"] = before.map_or(json!({}), |before| before["status"].clone());
        }
        self.children.insert(key, object);
    }

    pub(crate) fn sets(&self) -> Vec<String> {
        self.children.keys().filter(|(kind, _)| kind == "StatefulSet").map(|(_, name)| name.clone()).collect()
    }

    pub(crate) fn set(&mut self, name: &str) -> &mut Value {
        self.children.get_mut(&("StatefulSet".to_owned(), name.to_owned())).unwrap()
    }

    pub(crate) fn service(&mut self, name: &str) -> Option<&mut Value> {
        self.children.get_mut(&("Service".to_owned(), name.to_owned()))
    }

    pub(crate) fn label(&self, member: &str) -> Option<String> {
        let service = self.children.get(&("Service".to_owned(), member.to_owned()))?;
        service["metadata"]["labels"][DECOMMISSIONED].as_str().map(str::to_owned)
    }

    pub(crate) fn pod(&mut self, name: &str) -> &mut Pod {
        self.pods.get_mut(name).unwrap()
    }

    /// The sidecar of a member that was asked to leave decommissions it.
    pub(crate) fn sidecar(&mut self, member: &str) {
        let runs = self.pods.get(member).is_some_and(|pod| pod.started && !pod.going);
        if runs && self.label(member).as_deref() == Some("false") {
            self.service(member).unwrap()["metadata"]["labels"][DECOMMISSIONED] = json!("true");
        }
    }

    /// One step of the StatefulSet controller on one StatefulSet; the status is written as it was before that step.
    pub(crate) fn controller(&mut self, name: &str) {
        let set = self.set(name).clone();
        let revision = self.revision(&set["spec"]["template"]);
        let (replicas, partition) =
            (number(&set, "/spec/replicas"), number(&set, "/spec/updateStrategy/rollingUpdate/partition"));
        let current = set["status"]["currentRevision"].as_str().unwrap_or(&revision).to_owned();
        self.step(name, replicas, partition, &current, &revision, &set);
        let pods: Vec<&Pod> = self.pods.values().filter(|pod| pod.set == name).collect();
        let ready = pods.iter().filter(|pod| pod.ready).count();
        let updated = pods.iter().filter(|pod| pod.revision == revision && !pod.going).count();
        let done = updated as i64 == replicas && ready as i64 == replicas;
        let status = json!({
            "observedGeneration": set["metadata"]["generation"],
            "replicas": pods.len(),
            "readyReplicas": ready,
            "updatedReplicas": updated,
            "currentRevision": if done { &revision } else { &current },
            "updateRevision": revision,
        });
        self.set(name)["status"] = status;
    }

    fn revision(&mut self, template: &Value) -> String {
        let revision = bartizan_sdk::fingerprint(template.to_string().as_bytes());
        self.revisions.entry(revision.clone()).or_insert_with(|| template.clone());
        revision
    }

    fn step(&mut self, name: &str, replicas: i64, partition: i64, current: &str, update: &str, set: &Value) {
        let pod_name = |ordinal: i64| format!("{name}-{ordinal}");
        let rack = set["metadata"]["labels"]["cassandra.rook.io/rack"].as_str().unwrap().to_owned();
        for ordinal in 0..replicas {
            match self.pods.get(&pod_name(ordinal)) {
                None => {
                    let newest = ordinal >= partition;
                    let template = if newest { update } else { current };
                    let annotations = self.revisions[template]["metadata"]["annotations"].clone();
                    let pod = Pod {
                        set: name.to_owned(),
                        ordinal,
                        revision: template.to_owned(),
                        annotations,
                        ready: false,
                        started: false,
                        going: false,
                    };
                    self.pods.insert(pod_name(ordinal), pod);
                    let claims = set["spec"]["volumeClaimTemplates"].as_array();
                    for claim in claims.into_iter().flatten() {
                        let claim_name =
                            format!("{}-{}", claim["metadata"]["name"].as_str().unwrap(), pod_name(ordinal));
                        let claim = Claim { rack: rack.clone(), owned_by_pod: false };
                        self.claims.entry(claim_name).or_insert(claim);
                    }
                    return;
                }
                Some(pod) if pod.going || !pod.ready => return,
                Some(_) => {}
            }
        }
        let last =
            self.pods.values().filter(|pod| pod.set == name && pod.ordinal >= replicas).map(|pod| pod.ordinal).max();
        if let Some(last) = last {
            let doomed = set["spec"]["persistentVolumeClaimRetentionPolicy"]["whenScaled"] == "Delete";
            for (claim, state) in &mut self.claims {
                if claim.ends_with(&format!("-{}", pod_name(last))) {
                    state.owned_by_pod = doomed;
                }
            }
            self.pod(&pod_name(last)).going = true;
            return;
        }
        for ordinal in (partition..replicas).rev() {
            let pod = self.pod(&pod_name(ordinal));
            if pod.revision != update {
                pod.going = true;
                return;
            }
        }
    }

    /// One step of the kubelet with one pod: removes it if it is being deleted, else starts it.
    pub(crate) fn kubelet(&mut self, name: &str) {
        let Some(pod) = self.pods.get_mut(name) else { return };
        if pod.going {
            self.pods.remove(name);
            self.claims.retain(|claim, state| !(state.owned_by_pod && claim.ends_with(&format!("-{name}"))));
        } else {
            (pod.ready, pod.started) = (true, true);
        }
    }

    /// Lets all actors take steps until nothing changes; returns the messages of the provider's steps, in order.
    pub(crate) fn run(&mut self) -> Vec<String> {
        let mut said: Vec<String> = Vec::new();
        for _ in 0..2000 {
            let before = (self.children.clone(), self.pods.clone(), self.claims.clone());
            let answer = self.reconcile();
            for event in &answer.events {
                if said.last() != Some(&event.message) {
                    said.push(event.message.clone());
                }
            }
            for set in self.sets() {
                self.controller(&set);
            }
            for pod in self.pods.keys().cloned().collect::<Vec<_>>() {
                self.kubelet(&pod);
                self.sidecar(&pod);
            }
            if before == (self.children.clone(), self.pods.clone(), self.claims.clone()) {
                return said;
            }
        }
        panic!("never settled: {said:?}");
    }

    /// The member that has left and whose claims keep its rack from growing.
    pub(crate) fn blocked_by_claims_of(&self) -> Option<String> {
        let words = doing(&self.answer());
        let (_, member) = words.split_once("cannot grow: the volume claims of ")?;
        member.split(' ').next().map(str::to_owned)
    }

    /// The names of members with pods.
    pub(crate) fn members(&self) -> Vec<&str> {
        self.pods.keys().map(String::as_str).collect()
    }
}

impl Pod {
    fn object(&self, name: &str) -> Value {
        let state = if self.started { "running" } else { "waiting" };
        let ready = if self.ready { "True" } else { "False" };
        let mut pod = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": name,
                "namespace": NAMESPACE,
                "labels": {"controller-revision-hash": self.revision},
                "annotations": self.annotations,
            },
            "status": {
                "conditions": [{"type": "Ready", "status": ready}],
                "containerStatuses": [{"name": "cassandra", "restartCount": 0, "state": {state: {}}}],
            },
        });
        if self.going {
            pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        }
        pod
    }
}

impl Claim {
    fn object(&self, name: &str) -> Value {
        let mut claim = json!({
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"cassandra.rook.io/rack": self.rack}},
        });
        if self.owned_by_pod {
            claim["metadata"]["ownerReferences"] = json!([{"kind": "Pod", "name": "p", "uid": "2"}]);
        }
        claim
    }
}

/// A rack of a spec, with a claim per member.
pub(crate) fn rack(name: &str, members: i64) -> Value {
    json!({"name": name, "members": members, "storage": {"volumeClaimTemplates": [
        {"metadata": {"name": "data"}, "spec": {"resources": {"requests": {"storage": "5Gi"}}}}
    ]}})
}

pub(crate) fn number(object: &Value, pointer: &str) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or_default()
}

fn key(object: &Value) -> (String, String) {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (text(&object["kind"]), text(&object["metadata"]["name"]))
}

/// A condition of the response: its status, reason and message.
pub(crate) fn condition(answer: &ReconcileResponse, type_: &str) -> (String, String, String) {
    let conditions = answer.status.as_ref().unwrap()["conditions"].as_array().unwrap();
    let found = conditions.iter().find(|condition| condition["type"] == type_);
    let text = |field: &str| found.unwrap()[field].as_str().unwrap().to_owned();
    (text("status"), text("reason"), text("message"))
}

/// The message of the response's progress.
pub(crate) fn doing(answer: &ReconcileResponse) -> String {
    condition(answer, "Progressing").2
}

/// A child of the response.
pub(crate) fn child<'a>(answer: &'a ReconcileResponse, kind: &str, name: &str) -> Option<&'a Value> {
    let mut objects = answer.children.iter().map(|child| &child.object);
    objects.find(|object| object["kind"] == kind && object["metadata"]["name"] == name)
}

/// Replicas and partition of a StatefulSet of the response.
pub(crate) fn scale(answer: &ReconcileResponse, name: &str) -> Option<(i64, i64)> {
    let set = child(answer, "StatefulSet", name)?;
    Some((number(set, "/spec/replicas"), number(set, "/spec/updateStrategy/rollingUpdate/partition")))
}
