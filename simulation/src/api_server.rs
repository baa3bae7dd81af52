//! An API server in memory: objects with UID, resourceVersion, generation and managed fields; applies with preconditions, merge
//! patches, deletes, finalizers; and every watch event. It behaves like the real one for the requests of this host, as far as the
//! properties need it. Of schemas, admission and quotas there is one of each, which can be switched on: a ConfigMap's field that is pruned,
//! one that is defaulted, and a limit of objects.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use bartizan_contract::names::{OWNER_UID_LABEL, RELEASED_FROM_ANNOTATION};
use bartizan_engine::patch::MergePatch;
use bartizan_engine::reconcile::{Effect, Reply};
use bartizan_engine::snapshot::ProviderContext;
use bartizan_engine::{ApiError, Fence, ObjectKey, Observed, managed_fields};
use serde_json::{Value, json};

use crate::fields;
use crate::owner::{self, Owner};
use crate::validation::{validate, validate_update};

/// An event of a watch.
#[derive(Clone, Debug, PartialEq)]
pub enum WatchEvent {
    /// The object was created or updated to this state.
    Applied(Arc<Value>),
    /// The object was deleted, and was last in this state.
    Deleted(Arc<Value>),
}

impl WatchEvent {
    /// The kind of the object, by which watches are told apart.
    #[must_use]
    pub fn kind(&self) -> &str {
        let (Self::Applied(object) | Self::Deleted(object)) = self;
        object["kind"].as_str().unwrap_or_default()
    }
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
    /// The field manager.
    pub manager: String,
    /// UID of the parent for which it was sent.
    pub parent: String,
    /// Whether the parent existed that owned the object, or from which it was released.
    pub owner_lived: bool,
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
    /// Most objects that there may be beside parents; more are forbidden.
    pub quota: Option<usize>,
    /// Whether `data.pruned` of a ConfigMap is dropped, and `data.defaulted` set.
    pub mutates: bool,
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
        self.events.push(WatchEvent::Applied(Arc::new(object.clone())));
        object
    }

    /// Creates an object by an update of another manager, which owns all of its fields.
    pub fn create(&mut self, manager: &str, key: &ObjectKey, mut object: Value) {
        object["metadata"]["uid"] = self.next_uid().into();
        let (owner, owned) = (Owner { manager, operation: "Update", subresource: "" }, fields::of(&object));
        if !owned.is_empty() {
            object["metadata"]["managedFields"] = json!([owner.entry(&owned, &self.now())]);
        }
        self.store(key, object);
    }

    /// Removes an object, regardless of finalizers.
    pub fn remove(&mut self, key: &ObjectKey) {
        if let Some(mut object) = self.objects.remove(key) {
            self.version += 1;
            object["metadata"]["resourceVersion"] = self.version.to_string().into();
            self.events.push(WatchEvent::Deleted(Arc::new(object)));
        }
    }

    /// Removes a finalizer of an object, which goes with the last one if it is being deleted.
    pub fn remove_finalizer(&mut self, key: &ObjectKey, finalizer: &str) {
        let Some(mut object) = self.objects.get(key).cloned() else { return };
        let left: Vec<Value> = finalizers(&object).iter().filter(|other| *other != finalizer).cloned().collect();
        object["metadata"]["finalizers"] = left.into();
        let object = self.store(key, object);
        if object["metadata"].get("deletionTimestamp").is_some() && finalizers(&object).is_empty() {
            self.remove(key);
        }
    }

    /// Handles a delete request: the object is removed at once, unless it has finalizers.
    pub fn begin_deletion(&mut self, key: &ObjectKey) {
        let Some(mut object) = self.objects.get(key).cloned() else { return };
        if finalizers(&object).is_empty() {
            self.remove(key);
        } else if object["metadata"].get("deletionTimestamp").is_none() {
            object["metadata"]["deletionTimestamp"] = self.now().into();
            if let Some(generation) = object["metadata"]["generation"].as_i64() {
                object["metadata"]["generation"] = (generation + 1).into();
            }
            self.store(key, object);
        }
    }

    /// Handles an effect of a reconcile; `None` for a call of the provider, which is not a request to the API server.
    pub fn handle(&mut self, caller: Caller<'_>, effect: &Effect) -> Option<Reply> {
        let before = self.writes.len();
        let reply = self.reply(caller, effect);
        for write in self.writes.iter_mut().skip(before) {
            (write.manager, write.parent) = (caller.manager.to_owned(), caller.parent.uid.to_string());
        }
        reply
    }

    fn reply(&mut self, caller: Caller<'_>, effect: &Effect) -> Option<Reply> {
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
            Effect::Delete { delete, .. } => {
                Reply::Done(self.delete(&delete.key, &delete.uid, &delete.resource_version))
            }
            Effect::ApplyStatus { status, resource_version, .. } => {
                let parent = caller.parent;
                let written = self.apply_status(caller.manager, &parent.key, &parent.uid, resource_version, status);
                Reply::Object(written.and_then(|object| observed(caller, object)))
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
            None => MergePatch::disown(seen, &caller.context.name),
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
    ///
    /// # Errors
    /// If the object could not be created; also if there is none of its name.
    pub fn try_create(&self, key: &ObjectKey, object: &Value) -> Result<(), ApiError> {
        validate(object)?;
        self.admit(key)?;
        if self.objects.contains_key(key) { Ok(()) } else { Err(not_found(key)) }
    }

    /// Whether one more object may be created. An object of this name counts, too.
    fn admit(&self, key: &ObjectKey) -> Result<(), ApiError> {
        let is_counted = |key: &&ObjectKey| matches!(&*key.kind, "ConfigMap" | "StatefulSet" | "Service");
        match self.quota {
            Some(quota) if is_counted(&key) && self.objects.keys().filter(is_counted).count() >= quota => {
                Err(ApiError::Forbidden(format!("{key} is forbidden: exceeded quota: objects={quota}")))
            }
            _ => Ok(()),
        }
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
                self.admit(key)?;
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
        let owner = Owner { manager, operation: "Apply", subresource: "" };
        owner::apply(&mut object, intent, owner, self.mutates, &self.now());
        validate(&object)?;
        if let Some(before) = &before {
            validate_update(before, &object)?;
        }
        let verb = if before.is_none() { "create" } else { "apply" };
        Ok(self.commit(verb, key, before, object, Some(fence.clone())))
    }

    /// Server-side apply of a status to the status subresource, with force and a precondition.
    ///
    /// # Errors
    /// If the precondition does not hold.
    pub fn apply_status(
        &mut self,
        manager: &str,
        key: &ObjectKey,
        uid: &str,
        resource_version: &str,
        status: &Value,
    ) -> Result<Value, ApiError> {
        let before = self.objects.get(key).cloned().ok_or_else(|| not_found(key))?;
        if before["metadata"]["uid"] != *uid || before["metadata"]["resourceVersion"] != *resource_version {
            return Err(conflict(key));
        }
        let mut object = before.clone();
        let owner = Owner { manager, operation: "Apply", subresource: "status" };
        owner::apply(&mut object, &json!({"status": status}), owner, false, &self.now());
        Ok(self.commit("status", key, Some(before), object, None))
    }

    fn patch(&mut self, caller: Caller<'_>, patch: &MergePatch) -> Result<Observed, ApiError> {
        let patched = self.merge_patch(caller.manager, &patch.key, &patch.body);
        patched.and_then(|object| observed(caller, object))
    }

    /// A merge patch with the preconditions that it holds.
    ///
    /// # Errors
    /// If one of them does not hold, or the result is invalid.
    pub fn merge_patch(&mut self, manager: &str, key: &ObjectKey, body: &Value) -> Result<Value, ApiError> {
        let before = self.objects.get(key).cloned().ok_or_else(|| not_found(key))?;
        for field in ["uid", "resourceVersion"] {
            let expected = body["metadata"].get(field);
            if expected.is_some_and(|expected| before["metadata"][field] != *expected) {
                return Err(conflict(key));
            }
        }
        let mut object = before.clone();
        fields::merge(&mut object, body);
        drop_empty(&mut object);
        validate(&object)?;
        validate_update(&before, &object)?;
        owner::update(&before, &mut object, manager, &self.now());
        Ok(self.commit("patch", key, Some(before), object, None))
    }

    /// Updates an object as another manager, which then owns the changed fields.
    pub fn update(&mut self, manager: &str, key: &ObjectKey, change: impl FnOnce(&mut Value)) {
        let Some(before) = self.objects.get(key).cloned() else { return };
        let mut object = before.clone();
        change(&mut object);
        if object != before {
            count_generation(&before, &mut object);
            owner::update(&before, &mut object, manager, &self.now());
            self.store(key, object);
        }
    }

    fn claim(&mut self, caller: Caller<'_>, intent: &Value, seen: &Observed) -> Result<Option<Observed>, ApiError> {
        let live = self.objects.get(&seen.key).ok_or_else(|| not_found(&seen.key))?;
        let Some(claimed) = managed_fields::claim(&live["metadata"]["managedFields"], caller.manager, intent) else {
            return Ok(None);
        };
        self.patch(caller, &MergePatch::claim(seen, claimed)).map(Some)
    }

    /// A delete with preconditions.
    ///
    /// # Errors
    /// If they do not hold.
    pub fn delete(&mut self, key: &ObjectKey, uid: &str, resource_version: &str) -> Result<(), ApiError> {
        let before = self.objects.get(key).cloned().ok_or_else(|| not_found(key))?;
        let metadata = &before["metadata"];
        if metadata["uid"] != *uid || metadata["resourceVersion"] != *resource_version {
            return Err(conflict(key));
        }
        self.begin_deletion(key);
        let after = self.objects.get(key).cloned();
        self.written("delete", key, Some(before), after, None);
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
            if let Some(before) = &before {
                count_generation(before, &mut object);
            }
            object = self.store(key, object);
            if object["metadata"].get("deletionTimestamp").is_some() && finalizers(&object).is_empty() {
                self.remove(key);
            }
        }
        self.written(verb, key, before, Some(object.clone()), fence);
        object
    }

    fn written(
        &mut self,
        verb: &'static str,
        key: &ObjectKey,
        before: Option<Value>,
        after: Option<Value>,
        fence: Option<Fence>,
    ) {
        let (key, manager, parent) = (key.clone(), String::new(), String::new());
        let metadata = before.as_ref().map(|before| &before["metadata"]);
        let owners = metadata.into_iter().flat_map(|metadata| {
            [&metadata["labels"][OWNER_UID_LABEL], &metadata["annotations"][RELEASED_FROM_ANNOTATION]]
        });
        let owner = owners.filter_map(Value::as_str).next();
        let lives = |uid: &str| self.objects.values().any(|object| object["metadata"]["uid"] == *uid);
        let owner_lived = owner.is_some_and(lives);
        self.writes.push(Write { verb, key, before, after, fence, manager, parent, owner_lived });
    }
}

/// Another spec is another generation, of objects that have one.
fn count_generation(before: &Value, object: &mut Value) {
    if before.get("spec") != object.get("spec")
        && let Some(generation) = object["metadata"]["generation"].as_i64()
    {
        object["metadata"]["generation"] = (generation + 1).into();
    }
}

/// An empty list or map of metadata is none, and no more are empty data.
fn drop_empty(object: &mut Value) {
    if object["data"] == json!({})
        && let Some(fields) = object.as_object_mut()
    {
        fields.remove("data");
    }
    if let Some(metadata) = object["metadata"].as_object_mut() {
        let is_empty = |value: &Value| *value == json!([]) || *value == json!({});
        metadata.retain(|field, value| field == "managedFields" || !is_empty(value));
    }
}

fn finalizers(object: &Value) -> &[Value] {
    object["metadata"]["finalizers"].as_array().map_or(&[], Vec::as_slice)
}

fn observed(caller: Caller<'_>, object: Value) -> Result<Observed, ApiError> {
    Observed::project(object, caller.manager).map_err(|error| ApiError::transient(error.to_string()))
}

fn conflict(key: &ObjectKey) -> ApiError {
    ApiError::Conflict(format!("{key}: the object has been modified"))
}

fn not_found(key: &ObjectKey) -> ApiError {
    ApiError::NotFound(format!("{key} not found"))
}
