//! A small API server and a host without a network: what `plan` decides is executed as `host/src/execute.rs` does, under the
//! same fences. Whatever the host may not touch, the server notices.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say so at once")]

mod host;

use std::collections::BTreeMap;

use bartizan_contract::Kind;
use bartizan_contract::names::{
    OWNER_UID_ANNOTATION, OWNER_UID_LABEL, PROVIDER_LABEL, RETAINED_FOR_ANNOTATION, WAVE_ANNOTATION,
};
use bartizan_engine::gate::{self, Answer, GateInput};
use bartizan_engine::secrets::Revealed;
use bartizan_engine::{Delete, Fence, Grant, Grants, Intent, ObjectKey, Observed, Release};
use serde_json::{Value, json};

pub(crate) use host::Host;

pub(crate) const PROVIDER: &str = "minio";
pub(crate) const MANAGER: &str = "bartizan/minio";
/// UID of the parent whose host this is, and of another one of the same provider.
pub(crate) const OURS: &str = "p-1";
pub(crate) const OTHER: &str = "p-2";

pub(crate) fn parent() -> Observed {
    let object = json!({
        "apiVersion": "minio.rook.io/v1alpha1", "kind": "ObjectStore",
        "metadata": {"name": "s", "namespace": "n", "uid": OURS, "resourceVersion": "1"}
    });
    Observed::project(object, MANAGER).unwrap()
}

/// The kind of the child with this number: half of them are fenced by their state, the others by their UID.
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

/// What a provider means a child to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish {
    pub(crate) content: u8,
    pub(crate) wave: u32,
    pub(crate) retain: bool,
}

/// An answer as it comes out of the gate.
pub(crate) fn answer(wishes: &[Option<Wish>], kept: &[usize]) -> Answer {
    let children: Vec<Value> = wishes
        .iter()
        .enumerate()
        .filter_map(|(number, wish)| wish.map(|wish| (number, wish)))
        .map(|(number, Wish { content, wave, retain })| {
            let on_delete = if retain { "Retain" } else { "Delete" };
            json!({"object": bare(number, content), "wave": wave, "onDelete": on_delete})
        })
        .collect();
    let keep: Vec<Value> = kept.iter().filter(|number| wishes.get(**number).is_none_or(Option::is_none)).map(|number| {
        json!({"apiVersion": kind(*number).api_version(), "kind": kind(*number).kind, "name": format!("c{number}")})
    }).collect();
    let response = json!({
        "apiVersion": "provider.bartizan.dev/v1alpha1", "kind": "ReconcileResponse", "children": children, "keep": keep,
    });
    let response = gate::read(&serde_json::to_vec(&response).unwrap()).unwrap();
    let children = [0, 1].map(|number| (kind(number), Grant::of_parent(true))).into();
    let input = GateInput {
        provider: PROVIDER,
        grants: &Grants { children, ..Grants::default() },
        parent: &parent(),
        children: &[],
        max_children: 100,
        finalizes: false,
        finalizing: false,
        issued: &Revealed::default(),
    };
    gate::check(response, &input).unwrap()
}

/// Who owns what a state of the world begins with, or what somebody does to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Nothing is there.
    Absent,
    /// Made by the host for this parent.
    Ours(Wished),
    /// The same, and edited by somebody since.
    Edited(Wished),
    /// The same, and on its way out.
    Deleting(Wished),
    /// The same, with its labels stripped.
    Stripped(Wished),
    /// The same, and another object took control of it.
    Controlled(Wished),
    /// Made by the host for another parent.
    Others(Wished),
    /// The same, and then given to this one by hand: labels, and perhaps the owner reference, too.
    Given(Wished, bool),
    /// Somebody's, with labels as if it were ours.
    Forged(Wished),
    /// Somebody's.
    Foreign(Wished),
    /// Left by an earlier parent of the same name.
    Retained(Wished),
}

/// Content, wave, and whether it is to be retained.
pub(crate) type Wished = (u8, u8, bool);

fn labels(uid: &str) -> Value {
    json!({PROVIDER_LABEL: PROVIDER, OWNER_UID_LABEL: uid})
}

fn owners(uid: &str) -> Value {
    json!([{"uid": uid, "kind": "ObjectStore", "name": "s", "controller": true}])
}

fn entry(manager: &str, operation: &str, second: u64, labels: bool) -> Value {
    let label = format!("f:{OWNER_UID_LABEL}");
    let fields = if labels { json!({"f:metadata": {"f:labels": {label: {}}}}) } else { json!({"f:data": {}}) };
    let time = format!("2026-01-01T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60);
    json!({"manager": manager, "operation": operation, "time": time, "fieldsV1": fields})
}

/// What the API server holds, and everything that a watch would have said.
#[derive(Clone, Debug, Default)]
pub(crate) struct Server {
    objects: BTreeMap<ObjectKey, Value>,
    version: u64,
    uids: u64,
    pub(crate) events: Vec<Event>,
}

#[derive(Clone, Debug)]
pub(crate) enum Event {
    Seen(Box<Observed>),
    Gone(Box<Observed>),
}

/// The fence does not hold.
#[derive(Debug)]
pub(crate) struct Conflict;

pub(crate) fn observe(object: &Value) -> Observed {
    Observed::project(object.clone(), MANAGER).unwrap()
}

impl Server {
    pub(crate) fn live(&self, key: &ObjectKey) -> Option<Observed> {
        self.objects.get(key).map(observe)
    }

    pub(crate) fn objects(&self) -> &BTreeMap<ObjectKey, Value> {
        &self.objects
    }

    fn store(&mut self, key: &ObjectKey, mut object: Value) -> Observed {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        let observed = observe(&object);
        self.objects.insert(key.clone(), object);
        self.events.push(Event::Seen(Box::new(observed.clone())));
        observed
    }

    fn remove(&mut self, key: &ObjectKey) {
        if let Some(mut object) = self.objects.remove(key) {
            self.version += 1;
            object["metadata"]["resourceVersion"] = self.version.to_string().into();
            self.events.push(Event::Gone(Box::new(observe(&object))));
        }
    }

    /// Somebody makes the object with this number be in this state; what was there is gone.
    pub(crate) fn set(&mut self, number: usize, state: State) {
        self.remove(&key(number));
        let (content, wave, retain) = match state {
            State::Absent => return,
            State::Ours(wish)
            | State::Edited(wish)
            | State::Deleting(wish)
            | State::Stripped(wish)
            | State::Controlled(wish)
            | State::Others(wish)
            | State::Given(wish, _)
            | State::Forged(wish)
            | State::Foreign(wish)
            | State::Retained(wish) => wish,
        };
        self.uids += 1;
        let mut wishes = vec![None; number];
        wishes.push(Some(Wish { content, wave: wave.into(), retain }));
        let mut object = answer(&wishes, &[]).intents.remove(0).object;
        let now = self.version + 1;
        let metadata = &mut object["metadata"];
        metadata["uid"] = format!("u-{}", self.uids).into();
        let ours = entry(MANAGER, "Apply", now, true);
        let mut managers = vec![ours.clone()];
        let unlabelled = entry(MANAGER, "Apply", now, false);
        let somebody = |labels| entry("kubectl", "Update", now + 1, labels);
        match state {
            State::Absent | State::Ours(_) => {}
            State::Edited(_) => managers.push(somebody(false)),
            State::Deleting(_) => {
                metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
                metadata["finalizers"] = json!(["somebody/waits"]);
            }
            State::Stripped(_) => {
                metadata["labels"] = json!({});
                managers = vec![unlabelled, somebody(false)];
            }
            State::Controlled(_) => metadata["ownerReferences"] = owners("somebody"),
            State::Others(_) => {
                metadata["labels"] = labels(OTHER);
                metadata["ownerReferences"] = owners(OTHER);
                metadata["annotations"][OWNER_UID_ANNOTATION] = OTHER.into();
                metadata["annotations"][RETAINED_FOR_ANNOTATION] = Value::Null;
            }
            State::Given(_, reference) => {
                metadata["ownerReferences"] = if reference { owners(OURS) } else { json!([]) };
                managers = vec![unlabelled, somebody(true)];
            }
            State::Forged(_) => managers = vec![somebody(true)],
            State::Foreign(_) => {
                metadata["labels"] = json!({});
                metadata["annotations"] = json!({});
                metadata["ownerReferences"] = json!([]);
                managers = vec![somebody(false)];
            }
            State::Retained(_) => {
                metadata["labels"] = json!({});
                metadata["ownerReferences"] = json!([]);
                metadata["annotations"] = json!({RETAINED_FOR_ANNOTATION: parent().key.title()});
            }
        }
        metadata["managedFields"] = managers.into();
        self.store(&key(number), object);
    }

    /// Somebody edits what is there.
    pub(crate) fn edit(&mut self, number: usize, content: u8) {
        if let Some(mut object) = self.objects.get(&key(number)).cloned() {
            object["data"] = json!({"content": content, "by": "hand"});
            let now = self.version + 1;
            if let Some(managers) = object["metadata"]["managedFields"].as_array_mut() {
                managers.push(entry("kubectl", "Update", now, false));
            }
            self.store(&key(number), object);
        }
    }

    /// Whoever held back what is being deleted no longer does.
    pub(crate) fn let_go(&mut self) {
        let going = |object: &&Value| object["metadata"].get("deletionTimestamp").is_some();
        let gone: Vec<ObjectKey> =
            self.objects.iter().filter(|(_, object)| going(object)).map(|(key, _)| key.clone()).collect();
        gone.iter().for_each(|key| self.remove(key));
    }

    fn apply(&mut self, intent: &Intent, fence: &Fence) -> Result<Observed, Conflict> {
        let known = self.objects.get(&intent.key).cloned();
        let live = known.as_ref().map(observe);
        match (fence, &live) {
            (Fence::CreateOnly, None) => self.uids += 1,
            (Fence::Uid(uid), Some(live)) if live.uid == *uid => {}
            (Fence::Exact { uid, resource_version }, Some(live))
                if live.uid == *uid && live.resource_version == *resource_version => {}
            _ => return Err(Conflict),
        }
        let mut object = intent.object.clone();
        let metadata = &mut object["metadata"];
        let mut managers = vec![entry(MANAGER, "Apply", self.version + 1, true)];
        match &known {
            None => metadata["uid"] = format!("u-{}", self.uids).into(),
            Some(known) => {
                for field in ["uid", "deletionTimestamp", "finalizers"] {
                    if let Some(value) = known["metadata"].get(field) {
                        metadata[field] = value.clone();
                    }
                }
                let entries = known["metadata"]["managedFields"].as_array().into_iter().flatten();
                managers.extend(entries.filter(|entry| entry["manager"] != MANAGER).cloned());
                // The API server takes no second controller.
                let controller = known["metadata"]["ownerReferences"].pointer("/0/uid").and_then(Value::as_str);
                assert!(controller.is_none_or(|uid| uid == OURS), "applied to what {controller:?} controls");
            }
        }
        metadata["managedFields"] = managers.into();
        Ok(self.store(&intent.key, object))
    }

    fn delete(&mut self, delete: &Delete) -> Result<(), Conflict> {
        let Some(live) = self.live(&delete.key) else { return Ok(()) };
        if live.uid != delete.uid || live.resource_version != delete.resource_version {
            return Err(Conflict);
        }
        assert!(is_owned(&live), "deleted what is not owned: {live:?}");
        if live.finalizers.is_empty() {
            self.remove(&delete.key);
        } else if let Some(mut object) = self.objects.get(&delete.key).cloned() {
            object["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
            self.store(&delete.key, object);
        }
        Ok(())
    }

    fn release(&mut self, release: &Release) -> Result<(), Conflict> {
        let child = &release.child;
        let Some(live) = self.live(&child.key) else { return Ok(()) };
        if live.uid != child.uid || live.resource_version != child.resource_version {
            return Err(Conflict);
        }
        assert!(is_owned(&live), "released what is not owned: {live:?}");
        let mut object = self.objects[&child.key].clone();
        object["metadata"]["labels"] = json!({});
        object["metadata"]["ownerReferences"] = json!([]);
        object["metadata"]["annotations"][RETAINED_FOR_ANNOTATION] = release.retained_for.clone().into();
        object["metadata"]["annotations"][OWNER_UID_ANNOTATION] = Value::Null;
        self.store(&child.key, object);
        Ok(())
    }

    /// Labels, which the host puts on what is this parent's without them; and on what it adopts.
    fn label(&mut self, live: &Observed, adopt: bool) -> Observed {
        let mut object = self.objects[&live.key].clone();
        object["metadata"]["labels"] = labels(OURS);
        if adopt {
            object["metadata"]["annotations"] = json!({WAVE_ANNOTATION: live.marks.wave.to_string()});
        }
        if let Some(managers) = object["metadata"]["managedFields"].as_array_mut() {
            managers.push(entry(MANAGER, "Update", self.version + 1, true));
        }
        self.store(&live.key, object)
    }
}

/// This parent's by everything that there is: labels that the host wrote, no other controller.
pub(crate) fn is_owned(object: &Observed) -> bool {
    object.is_child_of(OURS, PROVIDER)
        && object.applied_by_host
        && object.labelled_by_host
        && object.controller_uid.as_deref().is_none_or(|uid| uid == OURS)
}

/// Whether anything at all says that it is, or was, this parent's.
pub(crate) fn has_to_do_with_us(object: &Observed) -> bool {
    object.applied_by_host
        && (object.is_child_of(OURS, PROVIDER)
            || object.controller_uid.as_deref() == Some(OURS)
            || object.marks.owner_uid.as_deref() == Some(OURS)
            || object.marks.retained_for.as_deref() == Some(parent().key.title().as_str()))
}
