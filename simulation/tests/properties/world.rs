//! The initial states of the properties: one parent, its children, and the objects of other writers.

use std::collections::BTreeMap;
use std::sync::Arc;

use bartizan_contract::names::{
    OWNER_UID_LABEL, PROVIDER_LABEL, RELEASED_FROM_ANNOTATION, RETAINED_FOR_ANNOTATION, finalizer,
};
use bartizan_contract::{Kind, ReconcileResponse};
use bartizan_engine::gate::{self, Answer, GateInput};
use bartizan_engine::reconcile::Effect;
use bartizan_engine::secrets::Revealed;
use bartizan_engine::snapshot::ProviderContext;
use bartizan_engine::{Fence, Grant, Grants, ObjectKey, Observed, ParentUid};
use bartizan_simulation::{ApiServer, Host};
use serde_json::{Value, json};

pub(crate) const PROVIDER: &str = "minio";
pub(crate) const MANAGER: &str = "bartizan/minio";
pub(crate) const FINALIZER: &str = "finalizer.bartizan.dev/minio";
/// The provider to which a parent is handed over.
pub(crate) const SUCCESSOR: &str = "other";
/// UID of the reconciled parent, and of another one of the same provider.
pub(crate) const OURS: &str = "p-1";
pub(crate) const OTHER: &str = "p-2";

pub(crate) fn parent_kind() -> Kind {
    Kind::new("minio.rook.io", "v1alpha1", "ObjectStore")
}

pub(crate) fn parent_key() -> ObjectKey {
    ObjectKey::new(&parent_kind(), Some("n"), "s")
}

pub(crate) fn parent_uid() -> ParentUid {
    OURS.into()
}

fn parent_object(uid: &str) -> Value {
    json!({
        "apiVersion": "minio.rook.io/v1alpha1", "kind": "ObjectStore",
        "metadata": {"name": "s", "namespace": "n", "uid": uid, "resourceVersion": "1", "generation": 1}
    })
}

/// The key of a second parent.
pub(crate) fn second_key() -> ObjectKey {
    ObjectKey::new(&parent_kind(), Some("n"), "t")
}

/// A second parent, with the UID of another one.
pub(crate) fn add_second(server: &mut ApiServer) {
    let mut second = parent_object(OTHER);
    second["metadata"]["name"] = "t".into();
    server.store(&second_key(), second);
}

/// The kind of the child with this number.
pub(crate) fn kind(number: usize) -> Kind {
    if number.is_multiple_of(2) { Kind::new("", "v1", "ConfigMap") } else { Kind::new("apps", "v1", "StatefulSet") }
}

pub(crate) fn key(number: usize) -> ObjectKey {
    ObjectKey::new(&kind(number), Some("n"), &format!("c{number}"))
}

fn bare(number: usize, content: u8) -> Value {
    let kind = kind(number);
    let metadata = json!({"name": format!("c{number}"), "namespace": "n"});
    json!({"apiVersion": kind.api_version(), "kind": kind.kind, "metadata": metadata, "data": {"content": content}})
}

fn grants() -> Grants {
    let children: BTreeMap<Kind, Grant> = [0, 1].map(|number| (kind(number), Grant::of_parent(true))).into();
    Grants { children, ..Grants::default() }
}

pub(crate) fn context(finalizes: bool) -> Arc<ProviderContext> {
    context_of(PROVIDER, 1, finalizes)
}

/// What a host knows of a version of a provider.
pub(crate) fn context_of(provider: &str, version: u8, finalizes: bool) -> Arc<ProviderContext> {
    let kinds = [kind(0), kind(1)].to_vec();
    Arc::new(ProviderContext {
        name: provider.to_owned(),
        version: format!("{version}.0.0"),
        digest: format!("sha256:{version}").into(),
        max_children: 100,
        grants: grants(),
        finalizes,
        finalizer: finalizer(provider),
        child_kinds: kinds.clone(),
        written_kinds: kinds,
        cluster_version: "v1.36.3".to_owned(),
        ..ProviderContext::default()
    })
}

pub(crate) fn host(finalizes: bool) -> Host {
    host_of(PROVIDER, finalizes)
}

/// A host that serves the parents for this provider.
pub(crate) fn host_of(provider: &str, finalizes: bool) -> Host {
    Host::new(context_of(provider, 1, finalizes), &manager(provider), parent_kind())
}

/// The field manager of a provider.
pub(crate) fn manager(provider: &str) -> String {
    format!("bartizan/{provider}")
}

/// A desired child.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DesiredChild {
    pub(crate) content: u8,
    pub(crate) wave: u32,
    pub(crate) retain: bool,
}

/// An answer of the provider.
pub(crate) fn response(desired: &[Option<DesiredChild>], kept: &[usize]) -> ReconcileResponse {
    let numbered = desired.iter().enumerate().filter_map(|(number, child)| child.map(|child| (number, child)));
    let children: Vec<Value> = numbered
        .map(|(number, DesiredChild { content, wave, retain })| {
            let on_delete = if retain { "Retain" } else { "Delete" };
            json!({"object": bare(number, content), "wave": wave, "onDelete": on_delete})
        })
        .collect();
    let kept = kept.iter().filter(|number| desired.get(**number).is_none_or(Option::is_none));
    let keep: Vec<Value> = kept
        .map(|number| {
            json!({"apiVersion": kind(*number).api_version(), "kind": kind(*number).kind, "name": format!("c{number}")})
        })
        .collect();
    let response = json!({
        "apiVersion": "provider.bartizan.dev/v1alpha1", "kind": "ReconcileResponse", "children": children, "keep": keep,
        "status": {"conditions": [{"type": "Ready", "status": "True", "reason": "Ready"}]},
    });
    gate::read(&serde_json::to_vec(&response).unwrap()).unwrap()
}

/// The answer after the gate, for a parent with this UID.
pub(crate) fn desired(response: ReconcileResponse, uid: &str) -> Answer {
    gated(response, uid).unwrap()
}

/// The same, if the gate lets it through.
pub(crate) fn gated(response: ReconcileResponse, uid: &str) -> Option<Answer> {
    let input = GateInput {
        provider: PROVIDER,
        grants: &grants(),
        parent: &observe(&parent_object(uid)),
        children: &[],
        max_children: 100,
        finalizes: false,
        finalizing: false,
        issued: &Revealed::default(),
    };
    gate::check(response, &input).ok()
}

/// The state of a child at the start, or after an intervention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It does not exist.
    Absent,
    /// Applied by the host for this parent.
    Ours(Content),
    /// The same, and edited by hand since.
    Edited(Content),
    /// The same, and being deleted, with a finalizer.
    Deleting(Content),
    /// The same, with its labels stripped.
    Stripped(Content),
    /// The same, and controlled by another owner.
    Controlled(Content),
    /// Applied by the host for another parent.
    Others(Content),
    /// The same, and then moved to this one by hand: its labels, and possibly the owner reference.
    Given(Content, bool),
    /// Created by another client, with forged labels.
    Forged(Content),
    /// Created by another client.
    Foreign(Content),
    /// Retained by an earlier parent of the same name.
    Retained(Content),
    /// Released from another parent, and restored without managed fields.
    Restored(Content),
}

/// Content, wave, and whether it is retained.
pub(crate) type Content = (u8, u8, bool);

/// A cluster with the parent in it.
pub(crate) fn server() -> ApiServer {
    let mut server = ApiServer::default();
    server.store(&parent_key(), parent_object(OURS));
    server
}

/// Replaces the object with this number by one in this state.
pub(crate) fn set(server: &mut ApiServer, number: usize, state: State) {
    let key = key(number);
    server.remove(&key);
    let (content, wave, retain) = match state {
        State::Absent => return,
        State::Ours(content)
        | State::Edited(content)
        | State::Deleting(content)
        | State::Stripped(content)
        | State::Controlled(content)
        | State::Others(content)
        | State::Given(content, _)
        | State::Forged(content)
        | State::Foreign(content)
        | State::Retained(content)
        | State::Restored(content) => content,
    };
    let mut children = vec![None; number];
    children.push(Some(DesiredChild { content, wave: wave.into(), retain }));
    let owner = if matches!(state, State::Others(_) | State::Given(..) | State::Restored(_)) { OTHER } else { OURS };
    let intent = desired(response(&children, &[]), owner).intents.remove(0).object;
    match state {
        State::Forged(_) => return server.create("kubectl", &key, intent),
        State::Foreign(_) => return server.create("kubectl", &key, bare(number, content)),
        _ => {}
    }
    server.apply(MANAGER, &key, &intent, &Fence::CreateOnly).unwrap();
    // The setup is not a write of the host under test.
    server.writes.clear();
    match state {
        State::Edited(_) => edit(server, number, content + 1),
        State::Deleting(_) => {
            server.update("somebody", &key, |object| object["metadata"]["finalizers"] = json!(["somebody/waits"]));
            server.begin_deletion(&key);
        }
        State::Stripped(_) => server.update("kubectl", &key, |object| {
            object["metadata"].as_object_mut().unwrap().remove("labels");
        }),
        State::Controlled(_) => server.update("somebody", &key, |object| {
            object["metadata"]["ownerReferences"] = owners("somebody");
        }),
        State::Given(_, reference) => server.update("kubectl", &key, |object| {
            object["metadata"]["labels"][OWNER_UID_LABEL] = OURS.into();
            object["metadata"]["ownerReferences"] = if reference { owners(OURS) } else { json!([]) };
        }),
        State::Restored(_) => {
            server.update("restore", &key, |object| {
                let metadata = &mut object["metadata"];
                metadata.as_object_mut().unwrap().retain(|field, _| field != "labels" && field != "ownerReferences");
                metadata["annotations"][RELEASED_FROM_ANNOTATION] = OTHER.into();
                metadata["annotations"][RETAINED_FOR_ANNOTATION] = second_key().title().into();
            });
            let mut object = server.get(&key).cloned().unwrap();
            object["metadata"].as_object_mut().unwrap().remove("managedFields");
            server.store(&key, object);
        }
        State::Retained(_) => server.update(MANAGER, &key, |object| {
            let metadata = &mut object["metadata"];
            metadata.as_object_mut().unwrap().retain(|field, _| field != "labels" && field != "ownerReferences");
            metadata["annotations"][RETAINED_FOR_ANNOTATION] = parent_key().title().into();
        }),
        _ => {}
    }
}

fn owners(uid: &str) -> Value {
    json!([{"uid": uid, "kind": "ObjectStore", "name": "s", "controller": true}])
}

/// Edits an object by hand, if it exists.
pub(crate) fn edit(server: &mut ApiServer, number: usize, content: u8) {
    server.update("kubectl", &key(number), |object| object["data"] = json!({"content": content, "by": "hand"}));
}

/// Completes all pending deletions of children.
pub(crate) fn finish_deletions(server: &mut ApiServer) {
    let terminating =
        |object: &Value| object["metadata"].get("deletionTimestamp").is_some() && object["kind"] != "ObjectStore";
    let gone: Vec<ObjectKey> =
        server.objects().iter().filter(|(_, object)| terminating(object)).map(|(key, _)| key.clone()).collect();
    gone.iter().for_each(|key| server.remove(key));
}

pub(crate) fn observe(object: &Value) -> Observed {
    observe_as(object, MANAGER)
}

/// As a host with this field manager sees it.
pub(crate) fn observe_as(object: &Value, manager: &str) -> Observed {
    Observed::project(object.clone(), manager).unwrap()
}

/// The live children.
pub(crate) fn children(server: &ApiServer) -> impl Iterator<Item = Observed> {
    server.objects().values().filter(|object| object["kind"] != "ObjectStore").map(observe)
}

/// Whether this parent owns an object: it has labels that the host applied, and no other controller.
pub(crate) fn is_owned(object: &Observed) -> bool {
    is_owned_by(object, PROVIDER, OURS)
}

/// The same for another parent.
pub(crate) fn is_owned_by(object: &Observed, provider: &str, owner: &str) -> bool {
    object.labelled_by_host && may_be_applied_for(object, provider, owner)
}

/// Whether an object is applied for a parent, even if another writer has set its labels.
pub(crate) fn may_be_applied_for(object: &Observed, provider: &str, owner: &str) -> bool {
    object.is_child_of(owner, provider)
        && object.applied_by_host
        && object.controller_uid.as_deref().is_none_or(|uid| uid == owner)
}

/// Whether any mark on an object names this parent.
fn refers_to(object: &Observed, provider: &str, parent: &ObjectKey, uid: &str) -> bool {
    object.applied_by_host
        && (object.is_child_of(uid, provider)
            || object.controller_uid.as_deref() == Some(uid)
            || object.marks.owner_uid.as_deref() == Some(uid)
            || object.marks.retained_for.as_deref() == Some(parent.title().as_str()))
}

/// The live objects that do not refer to this parent.
pub(crate) fn foreign_objects(server: &ApiServer) -> Vec<String> {
    foreign_to(server, &[PROVIDER], &[(parent_key(), OURS)])
}

/// The live objects that refer to none of these parents, as children of none of these providers.
pub(crate) fn foreign_to(server: &ApiServer, providers: &[&str], parents: &[(ObjectKey, &str)]) -> Vec<String> {
    let objects = server.objects().values().filter(|object| object["kind"] != "ObjectStore");
    // Whoever annotates a parent vouches for what it adopts.
    let adopted = parents.iter().filter_map(|(key, _)| observe(server.get(key)?).marks.adopt_from);
    let adopted: Vec<String> = adopted.collect();
    let is_adopted = |object: &Value| {
        let object = observe(object);
        let owner = object.owner_uid.or(object.marks.released_from);
        owner.is_some_and(|owner| adopted.contains(&owner))
    };
    let is_foreign = |object: &&Value| {
        !is_adopted(object)
            && !providers.iter().any(|provider| {
                let object = observe_as(object, &manager(provider));
                parents.iter().any(|(key, uid)| refers_to(&object, provider, key, uid))
            })
    };
    objects.filter(is_foreign).map(ToString::to_string).collect()
}

/// The lowest wave of a desired child that cannot be applied now: what the host knows of it is being deleted, or is not its own.
pub(crate) fn blocked(host: &Host, provider: &str, owner: &str, answer: &Answer) -> Option<u32> {
    let known = host.index.children(owner);
    let is_blocked = |key: &ObjectKey| {
        let mut children = known.iter().filter(|child| child.key == *key);
        children.any(|child| child.deleting || !may_be_applied_for(child, provider, owner))
    };
    answer.intents.iter().filter(|intent| is_blocked(&intent.key)).map(|intent| intent.wave).min()
}

/// Checks the writes of a reconcile, and removes them from the server.
pub(crate) fn check_writes(server: &mut ApiServer) -> Result<(), String> {
    for write in std::mem::take(&mut server.writes) {
        let observe = |object: &Value| observe_as(object, &write.manager);
        if write.key.namespace != parent_key().namespace {
            return Err(format!("{} is in a namespace that was not granted", write.key));
        }
        let Some(before) = write.before.as_ref().map(observe).filter(|before| *before.key.kind != *"ObjectStore")
        else {
            continue;
        };
        let after = write.after.as_ref().map(observe);
        let is_released = after.as_ref().is_some_and(|after| after.owner_uid.is_none()) && before.owner_uid.is_some();
        let provider = write.manager.strip_prefix("bartizan/").unwrap_or_default();
        if (write.verb == "delete" || is_released) && !is_owned_by(&before, provider, &write.parent) {
            return Err(format!("{} was deleted or released but is not owned", write.key));
        }
        if write.verb == "apply" && before.controller_uid.as_deref().is_some_and(|uid| uid != write.parent) {
            return Err(format!("{} was applied but has another controller", write.key));
        }
        let old = before.owner_uid.as_ref().or(before.marks.released_from.as_ref());
        let new = after.as_ref().and_then(|after| after.owner_uid.as_ref());
        if let (Some(old), Some(new)) = (old, new)
            && old != new
            && write.owner_lived
        {
            return Err(format!("{} was taken from {old}, which lived, for {new}", write.key));
        }
        let exact = Fence::Exact { uid: before.uid.clone(), resource_version: before.resource_version.clone() };
        if write.verb == "apply" && write.fence.as_ref() != Some(&exact) {
            return Err(format!("{} was applied in a state that was not observed", write.key));
        }
    }
    Ok(())
}

/// Checks the order of a reconcile's effects: waves in ascending order; after a failure, or beyond the wave in which a desired child
/// is blocked, no later wave, delete or release; deletes of one wave only; and no child is both applied or kept and deleted or
/// released, unless it could be created again.
pub(crate) fn check_trace(trace: &[(Effect, bool)], kept: &[ObjectKey], blocked: Option<u32>) -> Result<(), String> {
    let (mut wave, mut failed, mut deleted) = (0, false, None);
    let applied: Vec<&ObjectKey> = trace
        .iter()
        .filter_map(|(effect, _)| match effect {
            Effect::Apply { apply, .. } => Some(&apply.intent.key),
            _ => None,
        })
        .collect();
    let mut tried = Vec::new();
    for (effect, ok) in trace {
        match effect {
            Effect::TryCreate { apply, .. } if *ok => tried.push(&apply.intent.key),
            // To be made again: the API server has said that it could be.
            Effect::Delete { delete, .. } if tried.contains(&&delete.key) => {}
            Effect::Apply { apply, .. } => {
                if deleted.is_some() {
                    return Err(format!("{} is applied after a delete", apply.intent.key));
                }
                let is_blocked = blocked.is_some_and(|blocked| apply.intent.wave > blocked);
                if is_blocked || apply.intent.wave < wave || (apply.intent.wave > wave && failed) {
                    return Err(format!("{} is applied out of turn", apply.intent.key));
                }
                wave = apply.intent.wave;
                failed |= !ok;
            }
            Effect::Delete { delete, .. } => {
                if deleted.replace(delete.wave).is_some_and(|wave| wave != delete.wave) {
                    return Err(format!("{} is deleted with another wave", delete.key));
                }
                if failed || blocked.is_some() || applied.contains(&&delete.key) || kept.contains(&delete.key) {
                    return Err(format!("{} is deleted after a failure, or although it is desired", delete.key));
                }
            }
            Effect::Patch(patch) if patch.body["metadata"]["labels"][PROVIDER_LABEL].is_null() => {
                let labels = patch.body["metadata"].get("labels").is_some();
                if labels && (failed || blocked.is_some() || applied.contains(&&patch.key) || kept.contains(&patch.key))
                {
                    return Err(format!("{} is released after a failure, or although it is desired", patch.key));
                }
            }
            _ => {}
        }
    }
    Ok(())
}
