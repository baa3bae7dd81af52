//! An API server in memory: objects with UID, resourceVersion, generation and managed fields; applies with preconditions, merge
//! patches, deletes, finalizers; and every watch event. It behaves like the real one for the requests of this host, as far as the
//! properties need it: no schemas, no defaulting, no admission.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use bartizan_engine::patch::MergePatch;
use bartizan_engine::reconcile::{Effect, Reply};
use bartizan_engine::snapshot::ProviderContext;
use bartizan_engine::{ApiError, Delete, Fence, InvalidField, ObjectKey, Observed, managed_fields};
use serde_json::{Value, json};

use crate::fields;

/// An event of a watch.
#[derive(Clone, Debug, PartialEq)]
pub enum WatchEvent {
    /// The object was created or updated to this state.
    Applied(Value),
    /// The object was deleted, and was last in this state.
    Deleted(Value),
}

/// The sender of a request.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// The provider.
    pub context: &'a ProviderContext,
    /// Its field manager.
    pub manager: &'a str,
    /// The reconciled parent, as in its snapshot.
    pub parent: &'a Observed,
}

/// One accepted write, for checks.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    /// `create`, `apply`, `patch`, `delete` or `status`.
    pub verb: &'static str,
    /// The object.
    pub key: ObjectKey,
    /// The object before the write.
    pub before: Option<Value>,
    /// The object after the write.
    pub after: Option<Value>,
    /// The precondition of an apply.
    pub fence: Option<Fence>,
}

/// Objects in memory.
#[derive(Clone, Debug, Default)]
pub struct ApiServer {
    objects: BTreeMap<ObjectKey, Value>,
    version: u64,
    uids: u64,
    /// Every watch event so far.
    pub events: Vec<WatchEvent>,
    /// Every accepted write of a host.
    pub writes: Vec<Write>,
    /// Namespaces that are being deleted.
    pub terminating: Vec<String>,
}

impl ApiServer {
    /// All objects.
    #[must_use]
    pub fn objects(&self) -> &BTreeMap<ObjectKey, Value> {
        &self.objects
    }

    /// The current state of an object.
    #[must_use]
    pub fn get(&self, key: &ObjectKey) -> Option<&Value> {
        self.objects.get(key)
    }

    /// The next UID.
    pub fn next_uid(&mut self) -> String {
        self.uids += 1;
        format!("u-{}", self.uids)
    }

    /// The time of the next write: RFC 3339, one second after that of the last.
    #[must_use]
    pub fn now(&self) -> String {
        let second = self.version + 1;
        format!("2026-01-01T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60)
    }

    /// Stores an object unchanged but for the next resource version.
    pub fn store(&mut self, key: &ObjectKey, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.objects.insert(key.clone(), object.clone());
        self.events.push(WatchEvent::Applied(object.clone()));
        object
    }

    /// Creates an object by an update of another manager, which owns all of its fields.
    pub fn create(&mut self, manager: &str, key: &ObjectKey, mut object: Value) {
        object["metadata"]["uid"] = self.next_uid().into();
        let owner = Owner { manager, operation: "Update", subresource: "" };
        object["metadata"]["managedFields"] = json!([owner.entry(&fields::of(&object), self.now().into())]);
        self.store(key, object);
    }

    /// Removes an object, regardless of finalizers.
    pub fn remove(&mut self, key: &ObjectKey) {
        if let Some(mut object) = self.objects.remove(key) {
            self.version += 1;
            object["metadata"]["resourceVersion"] = self.version.to_string().into();
            self.events.push(WatchEvent::Deleted(object));
        }
    }

    /// Handles a delete request: the object is removed at once, unless it has finalizers.
    pub fn begin_deletion(&mut self, key: &ObjectKey) {
        let Some(mut object) = self.objects.get(key).cloned() else { return };
        if finalizers(&object).is_empty() {
            self.remove(key);
        } else if object["metadata"].get("deletionTimestamp").is_none() {
            object["metadata"]["deletionTimestamp"] = self.now().into();
            self.store(key, object);
        }
    }

    /// Handles an effect of a reconcile; `None` for a call of the provider, which is not a request to the API server.
    pub fn handle(&mut self, caller: Caller<'_>, effect: &Effect) -> Option<Reply> {
        Some(match effect {
            Effect::Call(_) => return None,
            Effect::ReadNamespace(name) => Reply::Terminating(Ok(self.terminating.contains(name))),
            Effect::ListChildren => Reply::Children(Ok(self.children(caller))),
            Effect::Get { key, .. } => Reply::Object(self.read(caller, key)),
            Effect::FindParent(earlier) => Reply::Parent(self.parent(caller, &earlier.uid)),
            Effect::Apply { apply, fence, .. } => {
                let (key, object) = (&apply.intent.key, &apply.intent.object);
                Reply::Object(
                    self.apply(caller.manager, key, object, fence).and_then(|object| observed(caller, object)),
                )
            }
            Effect::ClaimItems { apply, seen } => Reply::Claimed(self.claim(caller, &apply.intent.object, seen)),
            Effect::Adopt(live) => Reply::Object(self.adopt(caller, live)),
            Effect::TryCreate { apply, .. } => Reply::Done(self.try_create(&apply.intent.key, &apply.intent.object)),
            Effect::ReadAddress(address) => Reply::Address(Ok(self.holder(*address))),
            Effect::Patch(patch) => Reply::Object(self.patch(caller, patch)),
            Effect::Delete { delete, .. } => Reply::Done(self.delete(delete)),
            Effect::ApplyStatus { status, resource_version, .. } => {
                Reply::Object(self.apply_status(caller, status, resource_version))
            }
            Effect::SendEvent(_) => Reply::Done(Ok(())),
        })
    }

    fn read(&self, caller: Caller<'_>, key: &ObjectKey) -> Result<Observed, ApiError> {
        observed(caller, self.objects.get(key).cloned().ok_or_else(|| not_found(key))?)
    }

    fn adopt(&mut self, caller: Caller<'_>, seen: &Observed) -> Result<Observed, ApiError> {
        let live = self.objects.get(&seen.key).ok_or_else(|| not_found(&seen.key))?;
        let patch = match managed_fields::inherit(&live["metadata"]["managedFields"], caller.manager) {
            None => MergePatch::disown(seen),
            inherited => MergePatch::adopt(seen, &caller.context.name, &caller.parent.uid, inherited),
        };
        self.patch(caller, &patch)
    }

    /// The object of the parent's kind with this UID.
    fn parent(&self, caller: Caller<'_>, uid: &str) -> Result<Option<Box<Observed>>, ApiError> {
        let is_of_kind = |key: &ObjectKey| key.kind == caller.parent.key.kind && key.group == caller.parent.key.group;
        let mut parents = self.objects.iter().filter(|(key, _)| is_of_kind(key));
        let found = parents.find(|(_, object)| object["metadata"]["uid"] == *uid);
        found.map(|(_, object)| observed(caller, object.clone()).map(Box::new)).transpose()
    }

    /// A dry-run create.
    fn try_create(&self, key: &ObjectKey, object: &Value) -> Result<(), ApiError> {
        validate(object)?;
        if self.objects.contains_key(key) { Ok(()) } else { Err(not_found(key)) }
    }

    /// The Service that has an address.
    fn holder(&self, address: IpAddr) -> Option<String> {
        let has = |object: &Value| object["spec"]["clusterIP"] == *address.to_string();
        self.objects.iter().find(|(key, object)| &*key.kind == "Service" && has(object)).map(|(key, _)| key.to_string())
    }

    fn children(&self, caller: Caller<'_>) -> Vec<Arc<Observed>> {
        let is_written = |key: &ObjectKey| caller.context.written_kinds.iter().any(|kind| key.is_of(kind));
        let written = self.objects.iter().filter(|(key, _)| is_written(key));
        let observed = written.filter_map(|(_, object)| observed(caller, object.clone()).ok());
        observed.filter(|child| child.is_child_of(&caller.parent.uid, &caller.context.name)).map(Arc::new).collect()
    }

    /// Server-side apply with force and a precondition.
    ///
    /// # Errors
    /// If the precondition does not hold.
    pub fn apply(&mut self, manager: &str, key: &ObjectKey, intent: &Value, fence: &Fence) -> Result<Value, ApiError> {
        let before = self.objects.get(key).cloned();
        let holds = match (fence, &before) {
            (Fence::CreateOnly, None) => true,
            (Fence::Exact { uid, resource_version }, Some(live)) => {
                let is_current = live["metadata"]["resourceVersion"] == **resource_version;
                live["metadata"]["uid"] == **uid && (resource_version.is_empty() || is_current)
            }
            (Fence::CreateOnly, Some(_)) | (Fence::Exact { .. }, None) => false,
        };
        if !holds {
            return Err(conflict(key));
        }
        let mut object = match &before {
            Some(live) => live.clone(),
            None => {
                let mut object = json!({"apiVersion": intent["apiVersion"], "kind": intent["kind"], "metadata": {}});
                for field in ["name", "namespace"] {
                    if let Some(value) = intent["metadata"].get(field) {
                        object["metadata"][field] = value.clone();
                    }
                }
                object["metadata"]["uid"] = self.next_uid().into();
                object
            }
        };
        self.merge_applied(&mut object, intent, Owner { manager, operation: "Apply", subresource: "" });
        validate(&object)?;
        if let Some(before) = &before {
            validate_update(before, &object)?;
        }
        let verb = if before.is_none() { "create" } else { "apply" };
        Ok(self.commit(verb, key, before, object, Some(fence.clone())))
    }

    fn apply_status(
        &mut self,
        caller: Caller<'_>,
        status: &Value,
        resource_version: &str,
    ) -> Result<Observed, ApiError> {
        let key = &caller.parent.key;
        let before = self.objects.get(key).cloned().ok_or_else(|| not_found(key))?;
        if before["metadata"]["uid"] != *caller.parent.uid || before["metadata"]["resourceVersion"] != *resource_version
        {
            return Err(conflict(key));
        }
        let mut object = before.clone();
        let owner = Owner { manager: caller.manager, operation: "Apply", subresource: "status" };
        self.merge_applied(&mut object, &json!({"status": status}), owner);
        let object = self.commit("status", key, Some(before), object, None);
        observed(caller, object)
    }

    /// Merges an apply into an object: sets its fields, and removes omitted fields that only its manager owned.
    fn merge_applied(&self, object: &mut Value, intent: &Value, owner: Owner<'_>) {
        let applied = fields::of(intent);
        let mut entries = entries(object);
        let known = entries.iter().find(|entry| owner.is(entry)).map(|entry| fields::from_v1(&entry["fieldsV1"]));
        let owned_by_others = |path: &fields::Path| {
            entries.iter().any(|entry| !owner.is(entry) && fields::from_v1(&entry["fieldsV1"]).contains(path))
        };
        let known = known.unwrap_or_default();
        for path in known.difference(&applied).filter(|path| !owned_by_others(path)) {
            fields::remove(object, path);
        }
        let mut changed = fields::Fields::new();
        for path in &applied {
            let value = fields::get(intent, path).cloned().unwrap_or_default();
            if fields::get(object, path) != Some(&value) {
                changed.insert(path.clone());
                fields::set(object, path, value);
            }
        }
        disown(&mut entries, owner, &changed);
        let is_changed = !changed.is_empty() || known != applied;
        let time = entries.iter().find(|entry| owner.is(entry)).map(|entry| entry["time"].clone());
        let time = time.filter(|_| !is_changed).unwrap_or_else(|| self.now().into());
        entries.retain(|entry| !owner.is(entry));
        entries.push(owner.entry(&applied, time));
        object["metadata"]["managedFields"] = entries.into();
    }

    fn patch(&mut self, caller: Caller<'_>, patch: &MergePatch) -> Result<Observed, ApiError> {
        let key = &patch.key;
        let before = self.objects.get(key).cloned().ok_or_else(|| not_found(key))?;
        for field in ["uid", "resourceVersion"] {
            let expected = patch.body["metadata"].get(field);
            if expected.is_some_and(|expected| before["metadata"][field] != *expected) {
                return Err(conflict(key));
            }
        }
        let mut object = before.clone();
        fields::merge(&mut object, &patch.body);
        validate(&object)?;
        if patch.body["metadata"].get("managedFields").is_none() {
            self.record_update(&before, &mut object, caller.manager);
        }
        let object = self.commit("patch", key, Some(before), object, None);
        observed(caller, object)
    }

    /// Updates an object as another manager, which then owns the changed fields.
    pub fn update(&mut self, manager: &str, key: &ObjectKey, change: impl FnOnce(&mut Value)) {
        let Some(before) = self.objects.get(key).cloned() else { return };
        let mut object = before.clone();
        change(&mut object);
        if object != before {
            self.record_update(&before, &mut object, manager);
            self.store(key, object);
        }
    }

    fn record_update(&self, before: &Value, object: &mut Value, manager: &str) {
        let (old, new) = (fields::of(before), fields::of(object));
        let changed = |path: &&fields::Path| fields::get(before, path) != fields::get(object, path);
        let changed: fields::Fields = new.iter().filter(changed).cloned().collect();
        let removed: fields::Fields = old.difference(&new).cloned().collect();
        if changed.is_empty() && removed.is_empty() {
            return;
        }
        let owner = Owner { manager, operation: "Update", subresource: "" };
        let mut entries = entries(object);
        let known = entries.iter().find(|entry| owner.is(entry)).map(|entry| fields::from_v1(&entry["fieldsV1"]));
        disown(&mut entries, owner, &changed.union(&removed).cloned().collect());
        let mut owned = known.unwrap_or_default();
        owned.retain(|path| !removed.contains(path));
        owned.extend(changed);
        entries.retain(|entry| !owner.is(entry));
        if !owned.is_empty() {
            entries.push(owner.entry(&owned, self.now().into()));
        }
        object["metadata"]["managedFields"] = entries.into();
    }

    fn claim(&mut self, caller: Caller<'_>, intent: &Value, seen: &Observed) -> Result<Option<Observed>, ApiError> {
        let live = self.objects.get(&seen.key).ok_or_else(|| not_found(&seen.key))?;
        let Some(claimed) = managed_fields::claim(&live["metadata"]["managedFields"], caller.manager, intent) else {
            return Ok(None);
        };
        self.patch(caller, &MergePatch::claim(seen, claimed)).map(Some)
    }

    fn delete(&mut self, delete: &Delete) -> Result<(), ApiError> {
        let key = &delete.key;
        let before = self.objects.get(key).cloned().ok_or_else(|| not_found(key))?;
        let metadata = &before["metadata"];
        if metadata["uid"] != *delete.uid || metadata["resourceVersion"] != *delete.resource_version {
            return Err(conflict(key));
        }
        self.begin_deletion(key);
        let after = self.objects.get(key).cloned();
        self.writes.push(Write { verb: "delete", key: key.clone(), before: Some(before), after, fence: None });
        Ok(())
    }

    /// Stores a write of a host. A write without changes keeps the resource version; an object that is being deleted is removed
    /// with its last finalizer.
    fn commit(
        &mut self,
        verb: &'static str,
        key: &ObjectKey,
        before: Option<Value>,
        mut object: Value,
        fence: Option<Fence>,
    ) -> Value {
        if before.as_ref() != Some(&object) {
            let spec_changed = before.as_ref().is_some_and(|before| before.get("spec") != object.get("spec"));
            if spec_changed && let Some(generation) = object["metadata"]["generation"].as_i64() {
                object["metadata"]["generation"] = (generation + 1).into();
            }
            object = self.store(key, object);
            if object["metadata"].get("deletionTimestamp").is_some() && finalizers(&object).is_empty() {
                self.remove(key);
            }
        }
        let write = Write { verb, key: key.clone(), before, after: Some(object.clone()), fence };
        self.writes.push(write);
        object
    }
}

/// A manager of fields.
#[derive(Clone, Copy)]
struct Owner<'a> {
    manager: &'a str,
    operation: &'a str,
    subresource: &'a str,
}

impl Owner<'_> {
    fn is(&self, entry: &Value) -> bool {
        let field = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default();
        field("manager") == self.manager
            && field("operation") == self.operation
            && field("subresource") == self.subresource
    }

    fn entry(&self, fields: &fields::Fields, time: Value) -> Value {
        let mut entry = json!({
            "manager": self.manager, "operation": self.operation, "time": time, "fieldsType": "FieldsV1",
            "fieldsV1": fields::to_v1(fields),
        });
        if !self.subresource.is_empty() {
            entry["subresource"] = self.subresource.into();
        }
        entry
    }
}

fn entries(object: &Value) -> Vec<Value> {
    object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default()
}

/// Removes the changed fields from the entries of all other managers.
fn disown(entries: &mut Vec<Value>, owner: Owner<'_>, changed: &fields::Fields) {
    for entry in entries.iter_mut().filter(|entry| !owner.is(entry)) {
        let theirs = fields::from_v1(&entry["fieldsV1"]);
        if !theirs.is_disjoint(changed) {
            entry["fieldsV1"] = fields::to_v1(&theirs.difference(changed).cloned().collect());
        }
    }
    entries.retain(|entry| entry["fieldsV1"].as_object().is_none_or(|fields| !fields.is_empty()));
}

fn finalizers(object: &Value) -> &[Value] {
    object["metadata"]["finalizers"].as_array().map_or(&[], Vec::as_slice)
}

fn observed(caller: Caller<'_>, object: Value) -> Result<Observed, ApiError> {
    Observed::project(object, caller.manager).map_err(|error| ApiError::transient(error.to_string()))
}

/// Validates an update: the data of a ConfigMap that is marked immutable, and the address of a Service, are immutable.
fn validate_update(before: &Value, object: &Value) -> Result<(), ApiError> {
    let changes = |field: &str| before.pointer(field) != object.pointer(field);
    let invalid = |field: &str, message: &str| {
        Err(ApiError::Invalid { message: format!("{field}: {message}"), fields: vec![invalid_field(field)] })
    };
    match before["kind"].as_str() {
        Some("ConfigMap") if before["immutable"] == true && changes("/data") => {
            invalid("data", "field is immutable when `immutable` is set")
        }
        Some("Service") if changes("/spec/clusterIP") => invalid("spec.clusterIP", "may not change once set"),
        _ => Ok(()),
    }
}

fn invalid_field(path: &str) -> InvalidField {
    InvalidField { path: path.to_owned(), is_forbidden: true }
}

/// Validates metadata, for every kind, and the keys of a ConfigMap.
fn validate(object: &Value) -> Result<(), ApiError> {
    let data = object["data"].as_object().into_iter().flatten();
    let is_bad = |key: &&String| {
        key.contains(|character: char| !character.is_ascii_alphanumeric() && !"-_.".contains(character))
    };
    if let Some(key) = data.map(|(key, _)| key).find(is_bad) {
        let field = format!("data[{key}]");
        let message = format!("{field}: not a valid config map key");
        return Err(ApiError::Invalid { message, fields: vec![invalid_field(&field)] });
    }
    let owners = object["metadata"]["ownerReferences"].as_array().into_iter().flatten();
    if owners.filter(|owner| owner["controller"] == true).count() > 1 {
        let message = "metadata.ownerReferences: Only one reference can have Controller set to true";
        let fields = vec![invalid_field("metadata.ownerReferences")];
        return Err(ApiError::Invalid { message: message.to_owned(), fields });
    }
    Ok(())
}

fn conflict(key: &ObjectKey) -> ApiError {
    ApiError::Conflict(format!("{key}: the object has been modified"))
}

fn not_found(key: &ObjectKey) -> ApiError {
    ApiError::NotFound(format!("{key} not found"))
}
