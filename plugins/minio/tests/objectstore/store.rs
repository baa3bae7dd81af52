//! ObjectStores for tests, and accessors for responses.

use bartizan_sdk::ReconcileResponse;
use bartizan_sdk::testing::TestRequest;
use minio::MinIo;
use serde::Deserialize;
use serde_json::{Value, json};

/// An ObjectStore under test, and the existing objects.
#[derive(Clone)]
pub(crate) struct Store {
    parent: Value,
    /// The StatefulSet and the Secret, once they exist.
    children: Vec<Value>,
    /// Secrets of the user.
    secrets: Vec<Value>,
}

impl Store {
    /// A valid store of four servers.
    pub(crate) fn new(name: &str) -> Self {
        let parent = json!({
            "apiVersion": "minio.rook.io/v1alpha1",
            "kind": "ObjectStore",
            "metadata": {"name": name, "namespace": "storage", "generation": 3},
            "spec": {"scope": {"nodeCount": 4}},
        });
        Self { parent, children: Vec::new(), secrets: Vec::new() }
    }

    /// One of the examples of this repository.
    pub(crate) fn example(name: &str) -> Self {
        let file = format!("{}/../../examples/minio/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
        Self::parse(&std::fs::read_to_string(file).unwrap())
    }

    /// The ObjectStore of a YAML file, and its Secrets as the host shows them.
    pub(crate) fn parse(yaml: &str) -> Self {
        let documents =
            serde_yaml_ng::Deserializer::from_str(yaml).map(|document| Value::deserialize(document).unwrap());
        let (stores, others): (Vec<Value>, Vec<Value>) =
            documents.partition(|document| document["kind"] == "ObjectStore");
        let parent = stores.into_iter().next().unwrap();
        let mut store = Self { parent, children: Vec::new(), secrets: Vec::new() };
        for secret in others.iter().filter(|document| document["kind"] == "Secret") {
            store = store
                .secret(secret["metadata"]["name"].as_str().unwrap(), &["username", "password"].map(|key| (key, key)));
        }
        store
    }

    /// With a Secret of the user. Values are shown as tokens: `token-` and what is given here.
    pub(crate) fn secret(mut self, name: &str, data: &[(&str, &str)]) -> Self {
        self.secrets.retain(|secret| secret["metadata"]["name"] != name);
        self.secrets.push(self.secret_of(name, data));
        self
    }

    /// With these keys in the store's own Secret; none: without it.
    pub(crate) fn own_keys(mut self, data: Option<&[(&str, &str)]>) -> Self {
        self.children.retain(|child| child["kind"] != "Secret");
        let name = format!("{}-credentials", self.parent["metadata"]["name"].as_str().unwrap());
        let secret = data.map(|data| self.secret_of(&name, data));
        self.children.extend(secret);
        self
    }

    /// With an owner of a Secret.
    pub(crate) fn owned_by(mut self, secret: &str, uid: &str) -> Self {
        for secret in self.secrets.iter_mut().filter(|known| known["metadata"]["name"] == secret) {
            secret["metadata"]["ownerReferences"] = json!([{"kind": "ObjectStore", "uid": uid, "controller": true}]);
        }
        self
    }

    /// With another existing child.
    pub(crate) fn existing(mut self, child: Value) -> Self {
        self.children.push(child);
        self
    }

    /// With the servers of another store of this name, and without the Secret.
    pub(crate) fn servers_of(mut self, other: &Self) -> Self {
        self.children = other.children.iter().filter(|child| child["kind"] == "StatefulSet").cloned().collect();
        self
    }

    /// Without the Secrets of the user.
    pub(crate) fn without_secrets(mut self) -> Self {
        self.secrets.clear();
        self
    }

    /// With an annotation of the StatefulSet.
    pub(crate) fn annotate(mut self, key: &str, value: &Value) -> Self {
        self.children[0]["metadata"]["annotations"][key] = value.clone();
        self
    }

    /// Without an annotation of the StatefulSet.
    pub(crate) fn unannotate(mut self, key: &str) -> Self {
        self.children[0]["metadata"]["annotations"].as_object_mut().unwrap().remove(key);
        self
    }

    fn secret_of(&self, name: &str, data: &[(&str, &str)]) -> Value {
        let data: Value = data.iter().map(|(key, value)| (key.to_string(), json!(format!("token-{value}")))).collect();
        let namespace = &self.parent["metadata"]["namespace"];
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace}, "data": data})
    }

    /// With fields of the spec replaced.
    pub(crate) fn with(mut self, fields: Value) -> Self {
        for (name, value) in fields.as_object().unwrap() {
            self.parent["spec"][name] = value.clone();
        }
        self
    }

    /// With servers as the API server would return them once they were created from the current spec, with this many ready.
    pub(crate) fn running(mut self, ready: i32) -> Self {
        let answer = self.request().answer::<MinIo>().unwrap();
        let mut servers = child(&answer, "StatefulSet", self.parent["metadata"]["name"].as_str().unwrap()).clone();
        let nodes = servers["spec"]["replicas"].clone();
        servers["metadata"]["generation"] = json!(1);
        servers["status"] = json!({
            "observedGeneration": 1, "replicas": nodes, "readyReplicas": ready, "updatedReplicas": nodes,
        });
        let claims = servers.pointer_mut("/spec/volumeClaimTemplates").and_then(Value::as_array_mut);
        for claim in claims.into_iter().flatten() {
            claim["spec"]["volumeMode"] = json!("Filesystem");
            claim["status"] = json!({"phase": "Pending"});
        }
        self.children.push(servers);
        let secret = answer.children.iter().map(|child| &child.object).find(|object| object["kind"] == "Secret");
        match secret.cloned() {
            Some(secret) if secret.get("data").is_none() => {
                self.own_keys(Some(&["username", "password"].map(|key| (key, key))))
            }
            secret => {
                self.children.extend(secret);
                self
            }
        }
    }

    /// With a field of the StatefulSet replaced.
    pub(crate) fn servers(mut self, pointer: &str, value: Value) -> Self {
        *self.children[0].pointer_mut(pointer).unwrap() = value;
        self
    }

    pub(crate) fn request(&self) -> TestRequest {
        let request = self.children.iter().cloned().fold(TestRequest::new(self.parent.clone()), TestRequest::child);
        self.secrets.iter().cloned().fold(request, TestRequest::related)
    }
}

/// A condition of the response.
pub(crate) fn condition(answer: &ReconcileResponse, type_: &str) -> Option<Value> {
    let conditions = answer.status.as_ref()?.get("conditions")?.as_array()?;
    conditions.iter().find(|condition| condition["type"] == type_).cloned()
}

/// A child of the response.
pub(crate) fn child<'a>(answer: &'a ReconcileResponse, kind: &str, name: &str) -> &'a Value {
    let objects = answer.children.iter().map(|child| &child.object);
    objects
        .into_iter()
        .find(|object| object["kind"] == kind && object["metadata"]["name"] == name)
        .unwrap_or_else(|| panic!("no {kind} {name}"))
}
