//! The API server in memory, on which the searches of `simulation` run, against the real one: random scripts of requests are answered alike,
//! and leave the same objects. A model is only as good as that.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use anyhow::{Context as _, Result, ensure};
use bartizan_contract::Kind;
use bartizan_e2e::{Stage, apply_text};
use bartizan_engine::{ApiError, Fence, ObjectKey};
use bartizan_simulation::{ApiServer, fields};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{ApiResource, DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::{DynamicObject, GroupVersionKind};
use serde_json::{Value, json};

const NAMESPACE: &str = "default";
/// Scripts, and requests in each.
const SCRIPTS: u64 = 40;
const REQUESTS: usize = 25;
const MANAGERS: [&str; 3] = ["bartizan/minio", "kubectl", "somebody"];

/// What holds fields.
const CONTAINERS: [&str; 6] =
    ["f:data", "f:spec", "f:status", "f:metadata.f:labels", "f:metadata.f:finalizers", "f:metadata.f:ownerReferences"];

/// A precondition.
#[derive(Clone, Copy, Debug)]
enum If {
    /// The object does not exist.
    Absent,
    /// It is as it is now.
    Current,
    /// It is as it was before the last change.
    Stale,
}

#[derive(Clone, Debug)]
enum Request {
    /// An update of another client creates the object.
    Create(Value),
    Apply(Value, If),
    Status(Value, If),
    Patch(Value),
    Delete(If),
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create(body) => write!(f, "create {body}"),
            Self::Apply(body, condition) => write!(f, "apply {body} if {condition:?}"),
            Self::Status(body, condition) => write!(f, "apply status {body} if {condition:?}"),
            Self::Patch(body) => write!(f, "patch {body}"),
            Self::Delete(condition) => write!(f, "delete if {condition:?}"),
        }
    }
}

/// UID and resource version.
type State = (String, String);

/// One name in one of the two servers: its states, the last one at the end.
#[derive(Default, Debug)]
struct History(Vec<State>);

impl History {
    fn note(&mut self, object: Option<&Value>) {
        let text = |object: &Value, field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
        if let Some(state) = object.map(|object| (text(object, "uid"), text(object, "resourceVersion")))
            && self.0.last() != Some(&state)
        {
            self.0.push(state);
        }
    }

    fn state(&self, condition: If) -> State {
        let back = match condition {
            If::Absent => return State::default(),
            If::Current => 1,
            If::Stale => 2,
        };
        self.0.len().checked_sub(back).and_then(|index| self.0.get(index)).cloned().unwrap_or_default()
    }

    fn has(&self, condition: If) -> bool {
        matches!(condition, If::Absent) || !self.state(condition).0.is_empty()
    }
}

/// What came of a request, in a word.
fn class(result: &Result<Option<Value>, u16>) -> String {
    match result {
        Ok(_) => "ok".to_owned(),
        Err(code) => code.to_string(),
    }
}

struct Script {
    random: fastrand::Rng,
    name: String,
    is_custom: bool,
    owners: [Value; 2],
}

impl Script {
    fn data(&mut self) -> Value {
        let mut data = serde_json::Map::new();
        for field in ["a", "b", "c"] {
            if self.random.bool() {
                data.insert(field.to_owned(), self.random.u8(0..3).to_string().into());
            }
        }
        // Typed objects have no empty maps.
        if data.is_empty() {
            data.insert("b".to_owned(), "0".into());
        }
        if !self.is_custom && self.random.u8(0..30) == 0 {
            data.insert("not a key".to_owned(), "x".into());
        }
        data.into()
    }

    /// Owners that there are, or the garbage collector would take part.
    fn owners(&mut self) -> Value {
        match self.random.u8(0..4) {
            0 => json!(self.owners),
            1 => json!([self.owners[0]]),
            _ => json!([]),
        }
    }

    /// What clients say of an object, of which any part may be missing.
    fn body(&mut self) -> Value {
        let field = if self.is_custom { "spec" } else { "data" };
        let mut body = json!({"apiVersion": if self.is_custom { "test.bartizan.dev/v1alpha1" } else { "v1" }, "kind": if self.is_custom { "Model" } else { "ConfigMap" }});
        body["metadata"] = json!({"name": self.name, "namespace": NAMESPACE});
        // A spec that becomes empty is null, and refused.
        if self.is_custom || self.random.u8(0..4) > 0 {
            body[field] = self.data();
        }
        if self.random.u8(0..3) == 0 {
            body["metadata"]["labels"] = json!({"l": self.random.u8(0..2).to_string()});
        }
        if self.random.u8(0..6) == 0 {
            body["metadata"]["finalizers"] = json!(["test.bartizan.dev/waits"]);
        }
        if !self.is_custom && self.random.u8(0..12) == 0 {
            body["immutable"] = true.into();
        }
        body
    }

    fn condition(&mut self) -> If {
        match self.random.u8(0..6) {
            0 => If::Absent,
            1 => If::Stale,
            _ => If::Current,
        }
    }

    fn next(&mut self, exists: bool) -> Request {
        let choice = self.random.u8(0..10);
        match choice {
            _ if !exists && choice < 5 => Request::Create(self.body()),
            0..4 => {
                let condition = if exists { self.condition() } else { If::Absent };
                Request::Apply(self.body(), condition)
            }
            4..8 => {
                let mut patch = self.body();
                for field in ["data", "spec"] {
                    if let Some(data) = patch[field].as_object_mut() {
                        data.insert("a".to_owned(), Value::Null);
                    }
                }
                if self.random.u8(0..3) == 0 {
                    patch["metadata"]["finalizers"] = json!([]);
                }
                if self.random.u8(0..3) == 0 {
                    patch["metadata"]["ownerReferences"] = self.owners();
                }
                for field in ["data", "spec", "immutable"] {
                    if patch[field].is_null() {
                        patch.as_object_mut().map(|patch| patch.remove(field));
                    }
                }
                Request::Patch(patch)
            }
            8 if self.is_custom => {
                let ready = if self.random.bool() { "True" } else { "False" };
                let status = json!({"conditions": [{"type": "Ready", "status": ready, "reason": "R", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]});
                Request::Status(status, self.condition())
            }
            _ => Request::Delete(self.condition()),
        }
    }
}

/// The same request to the model.
fn to_model(
    server: &mut ApiServer,
    key: &ObjectKey,
    manager: &str,
    request: &Request,
    history: &History,
) -> Result<Option<Value>, u16> {
    let fence = |condition: If| match condition {
        If::Absent => Fence::CreateOnly,
        condition => {
            let (uid, resource_version) = history.state(condition);
            Fence::Exact { uid, resource_version }
        }
    };
    let done = match request {
        Request::Create(body) if server.get(key).is_some() => {
            _ = body;
            return Err(409);
        }
        Request::Create(body) => server.try_create(key, body).or_else(absent).map(|()| {
            let mut body = body.clone();
            if body.get("spec").is_some() || &*key.kind == "Model" {
                body["metadata"]["generation"] = 1.into();
            }
            server.create(manager, key, body);
            None
        }),
        Request::Apply(body, condition) => server.apply(manager, key, body, &fence(*condition)).map(Some),
        Request::Status(status, condition) => {
            let (uid, version) = history.state(*condition);
            server.apply_status(manager, key, &uid, &version, status).map(Some)
        }
        Request::Patch(body) => server.merge_patch(manager, key, body).map(Some),
        Request::Delete(condition) => {
            let (uid, version) = history.state(*condition);
            server.delete(key, &uid, &version).map(|()| None)
        }
    };
    done.map_err(|error| match error {
        ApiError::Conflict(_) => 409,
        ApiError::NotFound(_) => 404,
        ApiError::Invalid { .. } => 422,
        _ => 0,
    })
}

/// Nothing has the name, which is no refusal of a creation.
fn absent(error: ApiError) -> Result<(), ApiError> {
    match error {
        ApiError::NotFound(_) => Ok(()),
        error => Err(error),
    }
}

/// The same request to the real one.
async fn to_real(
    api: &Api<DynamicObject>,
    name: &str,
    manager: &str,
    request: &Request,
    history: &History,
) -> Result<Result<Option<Value>, u16>> {
    let with_fence = |mut body: Value, condition: If| {
        let (uid, version) = history.state(condition);
        match condition {
            If::Absent => body["metadata"]["resourceVersion"] = "1".into(),
            _ => {
                body["metadata"]["uid"] = uid.into();
                body["metadata"]["resourceVersion"] = version.into();
            }
        }
        body
    };
    let params = PatchParams { field_manager: Some(manager.to_owned()), ..PatchParams::default() };
    let forced = PatchParams { force: true, ..params.clone() };
    let done = match request {
        Request::Create(body) => {
            let params = PostParams { field_manager: Some(manager.to_owned()), ..PostParams::default() };
            api.create(&params, &serde_json::from_value(body.clone())?).await.map(Some)
        }
        Request::Apply(body, condition) => {
            api.patch(name, &forced, &Patch::Apply(with_fence(body.clone(), *condition))).await.map(Some)
        }
        Request::Status(status, condition) => {
            let body = json!({
                "apiVersion": "test.bartizan.dev/v1alpha1", "kind": "Model",
                "metadata": {"name": name, "namespace": NAMESPACE}, "status": status,
            });
            api.patch_status(name, &forced, &Patch::Apply(with_fence(body, *condition))).await.map(Some)
        }
        Request::Patch(body) => api.patch(name, &params, &Patch::Merge(body)).await.map(Some),
        Request::Delete(condition) => {
            let (uid, resource_version) = history.state(*condition);
            let preconditions = Some(Preconditions { uid: Some(uid), resource_version: Some(resource_version) });
            api.delete(name, &DeleteParams { preconditions, ..DeleteParams::default() }).await.map(|_| None)
        }
    };
    Ok(match done {
        Ok(object) => Ok(object.map(serde_json::to_value).transpose()?),
        Err(kube::Error::Api(status)) => Err(status.code),
        Err(error) => return Err(error.into()),
    })
}

/// An object without what is the server's own.
fn comparable(object: &Value) -> Value {
    let mut object = object.clone();
    let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    if let Some(metadata) = object["metadata"].as_object_mut() {
        for field in ["uid", "resourceVersion", "creationTimestamp", "managedFields", "deletionGracePeriodSeconds"] {
            metadata.remove(field);
        }
        metadata.entry("deletionTimestamp").and_modify(|time| *time = true.into());
        // An empty one is none.
        metadata.retain(|_, value| !matches!(value, Value::Array(items) if items.is_empty()) && *value != json!({}));
    }
    if let Some(fields) = object.as_object_mut() {
        fields.retain(|_, value| *value != json!({}));
    }
    let text = |entry: &Value, field: &str| entry[field].as_str().unwrap_or_default().to_owned();
    let managers: BTreeMap<String, BTreeSet<String>> = entries
        .iter()
        .map(|entry| {
            let paths = fields::from_v1(&entry["fieldsV1"]).into_iter().map(|path| path.join("."));
            // Updates own maps and lists beside what is in them, which the model leaves out.
            let paths = paths.filter(|path| !CONTAINERS.contains(&&**path));
            let manager = ["manager", "operation", "subresource"].map(|field| text(entry, field)).join(" ");
            (manager, paths.collect::<BTreeSet<String>>())
        })
        .filter(|(_, paths)| !paths.is_empty())
        .collect();
    object["managers"] = json!(managers);
    object
}

/// A kind with a status, whose fields are all known: where they are not, an update owns maps as a whole.
async fn install(stage: &Stage) -> Result<()> {
    let text = || json!({"type": "string"});
    let condition = json!({"type": "object", "required": ["type"], "properties": {
        "type": text(), "status": text(), "reason": text(), "message": text(), "lastTransitionTime": text(),
    }});
    let conditions = json!({
        "type": "array", "items": condition, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"],
    });
    let schema = json!({"type": "object", "properties": {
        "spec": {"type": "object", "properties": {"a": text(), "b": text(), "c": text()}},
        "status": {"type": "object", "properties": {"conditions": conditions}},
    }});
    let version = json!({
        "name": "v1alpha1", "served": true, "storage": true, "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": schema},
    });
    let crd = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "models.test.bartizan.dev"},
        "spec": {
            "group": "test.bartizan.dev", "scope": "Namespaced", "names": {"kind": "Model", "plural": "models"},
            "versions": [version],
        },
    });
    apply_text(stage, &crd.to_string()).await?;
    let wait = ["wait", "--for=condition=Established", "--timeout=60s", "crd/models.test.bartizan.dev"];
    stage.kubectl(&wait, "").await?;
    Ok(())
}

async fn owner(stage: &Stage, name: &str) -> Result<Value> {
    let owner: ConfigMap = serde_json::from_value(json!({"metadata": {"name": name}}))?;
    let owner = stage.api::<ConfigMap>(NAMESPACE).create(&PostParams::default(), &owner).await?;
    let uid = owner.metadata.uid.context("no UID")?;
    Ok(json!({"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": uid, "controller": true}))
}

#[tokio::test]
async fn the_api_server_in_memory_answers_as_the_real_one() -> Result<()> {
    let stage = Stage::bare().await?;
    install(&stage).await?;
    let owners = [owner(&stage, "owner-1").await?, owner(&stage, "owner-2").await?];
    let mut refused = BTreeMap::<String, u32>::new();
    for seed in 0..SCRIPTS {
        let is_custom = seed.is_multiple_of(2);
        let kind = if is_custom {
            Kind::new("test.bartizan.dev", "v1alpha1", "Model")
        } else {
            Kind::new("", "v1", "ConfigMap")
        };
        let name = format!("object-{seed}");
        let key = ObjectKey::new(&kind, Some(NAMESPACE), &name);
        let gvk = GroupVersionKind::gvk(&kind.group, &kind.version, &kind.kind);
        let resource = ApiResource::from_gvk_with_plural(&gvk, if is_custom { "models" } else { "configmaps" });
        let api: Api<DynamicObject> = Api::namespaced_with(stage.cluster.client(), NAMESPACE, &resource);
        let mut model = ApiServer::default();
        let (mut modelled, mut real) = (History::default(), History::default());
        let mut script =
            Script { random: fastrand::Rng::with_seed(seed), name: name.clone(), is_custom, owners: owners.clone() };
        let mut log = Vec::new();
        for _ in 0..REQUESTS {
            let request = script.next(model.get(&key).is_some());
            if let Request::Apply(_, condition) | Request::Status(_, condition) | Request::Delete(condition) = &request
                && !modelled.has(*condition)
            {
                continue;
            }
            let manager = MANAGERS[script.random.usize(0..MANAGERS.len())];
            let expected = to_model(&mut model, &key, manager, &request, &modelled);
            let found = to_real(&api, &name, manager, &request, &real).await.with_context(|| request.to_string())?;
            let live = api.get_opt(&name).await?.map(serde_json::to_value).transpose()?;
            log.push(format!("{manager}: {request}: {} and {}", class(&expected), class(&found)));
            *refused.entry(class(&found)).or_default() += 1;
            let trace = || format!("seed {seed}:\n{}", log.join("\n"));
            ensure!(class(&expected) == class(&found), "{}", trace());
            let (expected, found) = (model.get(&key).map(comparable), live.as_ref().map(comparable));
            let shown = |object: &Option<Value>| object.as_ref().map_or("none".to_owned(), Value::to_string);
            ensure!(expected == found, "{}\nmodel {}\nreal  {}", trace(), shown(&expected), shown(&found));
            // A write that changes nothing changes no resource version, in neither. (A second deletion may: it drops empty maps.)
            let (before, after) = (modelled.0.len(), real.0.len());
            modelled.note(model.get(&key));
            real.note(live.as_ref());
            let is_alike = modelled.0.len() - before == real.0.len() - after;
            ensure!(
                is_alike || matches!(request, Request::Delete(_)),
                "{}\nresource versions {modelled:?} {real:?}",
                trace()
            );
        }
    }
    println!("answers: {refused:?}");
    ensure!(["ok", "409", "404", "422"].iter().all(|class| refused.contains_key(*class)), "{refused:?}");
    stage.stop().await
}
