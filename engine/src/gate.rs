//! The output gate: decides whether a provider's answer may be acted on. One refused object refuses the whole answer, since a
//! partial answer must never lead to a prune (invariant 4).

mod input;
mod name;
mod pods;
mod related;

use std::collections::BTreeSet;

use bartizan_contract::field::{is_dns_label, not_a_dns_label};
use bartizan_contract::names::{
    API_VERSION, INTENT_ANNOTATION, OWNER_ANNOTATION, OWNER_UID_ANNOTATION, OWNER_UID_LABEL, PREFIX, PROVIDER_LABEL,
    RESPONSE_KIND, RETAINED_FOR_ANNOTATION, WAVE_ANNOTATION,
};
use bartizan_contract::{Child, Generate, KeepRef, Kind, OnDelete, ProviderEvent, ReconcileResponse};
use serde_json::{Map, Value, json};

use crate::grants::Grant;
use crate::intent::Intent;
use crate::object::{ObjectKey, Observed, hash_json, short_hex};
use crate::secrets::{self, is_secret};
use crate::weight;

pub use input::{GateInput, Refusal};
pub use related::references;

/// An answer that passed the gate.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The desired children, in the order of the response.
    pub intents: Vec<Intent>,
    /// Write the status only.
    pub hold: bool,
    /// The parent's status as the provider reported it.
    pub status: Option<Value>,
    /// Resync after this many seconds.
    pub resync_after_seconds: Option<u32>,
    /// Children that are neither applied nor pruned.
    pub keep: BTreeSet<ObjectKey>,
    /// Events on the parent.
    pub events: Vec<ProviderEvent>,
    /// The provider has nothing left to do before the parent is deleted.
    pub finalized: bool,
}

/// Checks an answer, and turns it into intents.
///
/// # Errors
/// The first violation in the answer.
pub fn check(response: ReconcileResponse, input: &GateInput<'_>) -> Result<Answer, Refusal> {
    check_finalized(&response, input)?;
    if response.resync_after_seconds == Some(0) {
        return Err(Refusal::new(
            "response.resyncAfterSeconds",
            "0 would be a busy loop: leave it out, or set 1 or more",
        ));
    }
    if response.children.len() > input.max_children {
        let message = format!("{} children exceed the limit of {}", response.children.len(), input.max_children);
        return Err(Refusal::new("response.children", message));
    }
    check_status(response.status.as_ref())?;
    let mut intents = Vec::with_capacity(response.children.len());
    let mut seen = BTreeSet::new();
    for (position, child) in response.children.into_iter().enumerate() {
        let path = format!("response.children[{position}].object");
        let generate: Vec<Generate> = secret_name(&child)
            .map(|name| response.generate.iter().filter(|generate| generate.secret == name).cloned().collect())
            .unwrap_or_default();
        let intent = intent(child, generate, &path, input)?;
        if !seen.insert(intent.key.clone()) {
            return Err(Refusal::new(path, format!("{} appears twice in the answer", intent.key)));
        }
        intents.push(intent);
    }
    check_generate(&response.generate, &intents)?;
    let uses = pods::check(&intents, input)?;
    intents.iter_mut().zip(uses).for_each(|(intent, uses)| intent.uses = uses);
    let keep = kept(&response.keep, &seen, input)?;
    check_events(&response.events)?;
    Ok(Answer {
        keep,
        events: response.events,
        finalized: response.finalized,
        intents,
        hold: response.hold,
        status: response.status,
        resync_after_seconds: response.resync_after_seconds,
    })
}

/// Parses an answer.
///
/// # Errors
/// If the bytes are not a `ReconcileResponse` of this version.
pub fn read(bytes: &[u8]) -> Result<ReconcileResponse, Refusal> {
    read_within(bytes, usize::MAX)
}

/// Reads an answer that may take this much memory once it is parsed.
///
/// # Errors
/// If the bytes are not a `ReconcileResponse` of this version, or it would take more.
pub fn read_within(bytes: &[u8], most: usize) -> Result<ReconcileResponse, Refusal> {
    if weight::of(bytes) > most {
        let message = format!(
            "has so many values that it would take more than {} MiB of memory, eight times limits.responseBytes: return fewer, or raise that",
            most >> 20
        );
        return Err(Refusal::new("response", message));
    }
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let response: ReconcileResponse = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let path = if path == "." { "response".to_owned() } else { format!("response.{path}") };
        Refusal::new(path, error.into_inner().to_string())
    })?;
    json.end().map_err(|error| Refusal::new("response", error.to_string()))?;
    for (path, found, expected) in
        [("response.apiVersion", &response.api_version, API_VERSION), ("response.kind", &response.kind, RESPONSE_KIND)]
    {
        if found != expected {
            return Err(Refusal::new(path, format!("must be \"{expected}\", not \"{found}\"")));
        }
    }
    Ok(response)
}

fn check_finalized(response: &ReconcileResponse, input: &GateInput<'_>) -> Result<(), Refusal> {
    let refuse = |message| Err(Refusal::new("response.finalized", message));
    match response {
        ReconcileResponse { finalized: true, .. } if !input.finalizing => {
            refuse("is valid only in the answer to a request with finalizing=true")
        }
        ReconcileResponse { finalized: true, hold: true, .. } => refuse("contradicts hold: leave one of them out"),
        ReconcileResponse { finalized: true, children, .. } if !children.is_empty() => {
            refuse("a finalized parent has no desired children: leave them out, the host deletes what remains")
        }
        _ => Ok(()),
    }
}

/// The children to leave alone, which must not also be desired.
fn kept(
    keep: &[KeepRef],
    desired: &BTreeSet<ObjectKey>,
    input: &GateInput<'_>,
) -> Result<BTreeSet<ObjectKey>, Refusal> {
    let mut kept_keys = BTreeSet::new();
    for (position, kept) in keep.iter().enumerate() {
        let path = format!("response.keep[{position}]");
        let kind = Kind::from_api_version(&kept.api_version, &kept.kind);
        let grant = input.grants.children.iter().find(|(granted, _)| granted.same_group_kind(&kind));
        let Some((_, grant)) = grant else { return Err(not_granted(&kind, &path, input)) };
        let namespace =
            if grant.namespaced { kept.namespace.as_deref().or(input.parent.key.namespace.as_deref()) } else { None };
        let key = ObjectKey::new(&kind, namespace, &kept.name);
        if desired.contains(&key) {
            return Err(Refusal::new(path, format!("{key} is also among the children of this answer")));
        }
        kept_keys.insert(key);
    }
    Ok(kept_keys)
}

/// Events become API objects, whose limits they must respect.
fn check_events(events: &[ProviderEvent]) -> Result<(), Refusal> {
    const MAX_EVENTS: usize = 16;
    if events.len() > MAX_EVENTS {
        return Err(Refusal::new(
            "response.events",
            format!("{} events exceed the limit of {MAX_EVENTS}", events.len()),
        ));
    }
    for (position, event) in events.iter().enumerate() {
        if event.reason.is_empty() || event.reason.len() > 128 {
            let message = "must have 1 to 128 characters";
            return Err(Refusal::new(format!("response.events[{position}].reason"), message));
        }
    }
    Ok(())
}

/// Condition types that are reserved for the host.
pub const HOST_CONDITIONS: [&str; 3] = ["Synced", "Reconciling", "Stalled"];

fn check_status(status: Option<&Value>) -> Result<(), Refusal> {
    let Some(status) = status else { return Ok(()) };
    let Some(status) = status.as_object() else {
        return Err(Refusal::new("response.status", "must be an object"));
    };
    let Some(conditions) = status.get("conditions") else { return Ok(()) };
    let Some(conditions) = conditions.as_array() else {
        return Err(Refusal::new("response.status.conditions", "must be a list"));
    };
    let mut seen = BTreeSet::new();
    for (position, condition) in conditions.iter().enumerate() {
        let path = format!("response.status.conditions[{position}]");
        let parsed: bartizan_contract::Condition = serde_json::from_value(condition.clone())
            .map_err(|error| Refusal::new(path.clone(), format!("is not a condition: {error}")))?;
        if HOST_CONDITIONS.contains(&parsed.type_.as_str()) {
            return Err(Refusal::new(path, format!("condition type {} is reserved for the host", parsed.type_)));
        }
        if parsed.type_.is_empty() || parsed.reason.is_empty() {
            return Err(Refusal::new(path, "a condition needs a type and a reason"));
        }
        if !seen.insert(parsed.type_.clone()) {
            return Err(Refusal::new(path, format!("condition {} appears twice", parsed.type_)));
        }
    }
    Ok(())
}

fn secret_name(child: &Child) -> Option<&str> {
    let object = &child.object;
    let is_secret = object.get("kind")?.as_str()? == "Secret" && object.get("apiVersion")?.as_str()? == "v1";
    is_secret.then(|| object.pointer("/metadata/name").and_then(Value::as_str)).flatten()
}

fn check_generate(generate: &[Generate], intents: &[Intent]) -> Result<(), Refusal> {
    let mut seen = BTreeSet::new();
    for (position, value) in generate.iter().enumerate() {
        let path = format!("response.generate[{position}]");
        if !(8..=1024).contains(&value.length) {
            let message = format!("{} characters: must be 8 to 1024", value.length);
            return Err(Refusal::new(format!("{path}.length"), message));
        }
        let Some(secret) = intents.iter().find(|intent| intent.generate.contains(value)) else {
            let message = format!("Secret \"{}\" is not among the children of this answer", value.secret);
            return Err(Refusal::new(format!("{path}.secret"), message));
        };
        if secret.object.get("data").and_then(|data| data.get(&value.key)).is_some() {
            let message = format!("Secret \"{}\" already has a value for \"{}\"", value.secret, value.key);
            return Err(Refusal::new(format!("{path}.key"), message));
        }
        if !seen.insert((&value.secret, &value.key)) {
            let message = format!("\"{}\" of Secret \"{}\" is requested twice", value.key, value.secret);
            return Err(Refusal::new(path, message));
        }
    }
    Ok(())
}

/// Checks one object and turns it into an intent.
fn intent(child: Child, generate: Vec<Generate>, path: &str, input: &GateInput<'_>) -> Result<Intent, Refusal> {
    let Child { object, wave, on_delete, on_immutable_change } = child;
    let Value::Object(mut object) = object else {
        return Err(Refusal::new(path, "must be an object"));
    };
    let required = |field: &str, value: Option<&Value>| match value.and_then(Value::as_str) {
        Some(text) if !text.is_empty() => Ok(text.to_owned()),
        _ => Err(Refusal::new(format!("{path}.{field}"), "is required and must be a string")),
    };
    let api_version = required("apiVersion", object.get("apiVersion"))?;
    let kind_name = required("kind", object.get("kind"))?;
    let kind = Kind::from_api_version(&api_version, &kind_name);
    let grant = input.grants.children.get(&kind).ok_or_else(|| not_granted(&kind, path, input))?;
    let metadata = object.remove("metadata").unwrap_or(Value::Null);
    let name = required("metadata.name", metadata.get("name"))?;
    name::check(&kind, &name).map_err(|message| Refusal::new(format!("{path}.metadata.name"), message))?;
    let Value::Object(mut metadata) = metadata else {
        return Err(Refusal::new(format!("{path}.metadata"), "must be an object"));
    };
    // As Go writes objects: `creationTimestamp: null`, `labels: null`, `status: {}`.
    metadata.retain(|_, value| !value.is_null());
    object.retain(|field, value| match field.as_str() {
        "status" => !value.is_null() && value.as_object().is_none_or(|status| !status.is_empty()),
        "stringData" => !value.is_null(),
        _ => true,
    });
    let namespace = namespace(&metadata, &kind, grant, path, input)?;
    check_metadata(&metadata, path)?;
    check_body(&object, &kind, path)?;
    secrets::check(&kind, &object, input.issued).map_err(|refused| {
        let message = "is a token that this request did not contain: copy tokens unchanged, and only from this request";
        Refusal::new(format!("{path}.data.{}", refused.key), message)
    })?;

    metadata.remove("namespace");
    if let Some(namespace) = &namespace {
        metadata.insert("namespace".to_owned(), namespace.clone().into());
    }
    let mut labels = entries(&metadata, "labels");
    labels.insert(PROVIDER_LABEL.to_owned(), input.provider.into());
    labels.insert(OWNER_UID_LABEL.to_owned(), input.parent.uid.clone().into());
    metadata.insert("labels".to_owned(), labels.into());
    let mut annotations = entries(&metadata, "annotations");
    if has_owner_reference(namespace.as_deref(), on_delete, input) {
        metadata.insert("ownerReferences".to_owned(), json!([owner_reference(input.parent)]));
    } else {
        annotations.insert(OWNER_UID_ANNOTATION.to_owned(), input.parent.uid.clone().into());
    }
    if wave > 0 {
        annotations.insert(WAVE_ANNOTATION.to_owned(), wave.to_string().into());
    }
    if on_delete == OnDelete::Retain {
        annotations.insert(RETAINED_FOR_ANNOTATION.to_owned(), input.parent.key.title().into());
    }
    let key = ObjectKey::new(&kind, namespace.as_deref(), &name);
    // The record of the parent is no part of the hash: children that were applied before there was one are not written again for it.
    let record = annotations.contains_key(OWNER_UID_ANNOTATION).then(|| input.parent.key.title());
    let hash = {
        let mut hashed = metadata.clone();
        hashed.insert("annotations".to_owned(), annotations.clone().into());
        let mut object = object.clone();
        object.insert("metadata".to_owned(), hashed.into());
        short_hex(&hash_json(&json!([object, generate])))
    };
    annotations.extend(record.map(|title| (OWNER_ANNOTATION.to_owned(), title.into())));
    annotations.insert(INTENT_ANNOTATION.to_owned(), hash.clone().into());
    metadata.insert("annotations".to_owned(), annotations.into());
    object.insert("metadata".to_owned(), metadata.into());
    let (object, uses) = (Value::Object(object), BTreeSet::new());
    Ok(Intent { key, kind, object, hash, generate, wave, on_delete, on_immutable_change, uses })
}

/// Whether the child gets an owner reference, so that the garbage collector deletes it with the parent. It gets none where that
/// would delete too much or too early: a retained child outlives the parent, the garbage collector deletes dependents with an
/// owner in another namespace, and a foreground deletion deletes dependents before the provider has finalized the parent.
fn has_owner_reference(namespace: Option<&str>, on_delete: OnDelete, input: &GateInput<'_>) -> bool {
    let is_in_scope = match &input.parent.key.namespace {
        Some(own) => namespace == Some(own),
        None => true,
    };
    is_in_scope && on_delete == OnDelete::Delete && !input.finalizes
}

fn not_granted(kind: &Kind, path: &str, input: &GateInput<'_>) -> Refusal {
    let granted: Vec<String> = input.grants.children.keys().map(ToString::to_string).collect();
    let message = format!(
        "{kind} was not granted to provider {}; it may write {}",
        input.provider,
        if granted.is_empty() { "nothing".to_owned() } else { granted.join(", ") }
    );
    Refusal::new(path, message)
}

/// The namespace of a child: the parent's unless the provider names another that was granted; none for cluster-scoped kinds.
fn namespace(
    metadata: &Map<String, Value>,
    kind: &Kind,
    grant: &Grant,
    path: &str,
    input: &GateInput<'_>,
) -> Result<Option<String>, Refusal> {
    let path = format!("{path}.metadata.namespace");
    let requested = match metadata.get("namespace") {
        None | Some(Value::Null) => None,
        Some(Value::String(namespace)) => Some(namespace.as_str()),
        Some(other) => return Err(Refusal::new(path, format!("{other} must be a string"))),
    };
    if !grant.namespaced {
        return match requested {
            None => Ok(None),
            Some(_) => Err(Refusal::new(path, format!("{kind} is cluster-scoped: leave it out"))),
        };
    }
    let own = input.parent.key.namespace.as_deref();
    match requested.or(own) {
        Some(namespace) if !is_dns_label(namespace) => Err(Refusal::new(path, not_a_dns_label(namespace))),
        Some(namespace) if grant.covers(namespace, input.parent) => Ok(Some(namespace.to_owned())),
        Some(other) => {
            let message = match own {
                Some(own) => format!("\"{other}\" is not the parent's namespace \"{own}\", and was not granted"),
                None => format!("namespace \"{other}\" was not granted"),
            };
            Err(Refusal::new(path, message))
        }
        None => Err(Refusal::new(path, "the parent is cluster-scoped: set a namespace")),
    }
}

/// Checks that metadata contains only what a provider may set; the API server or the host sets the rest.
fn check_metadata(metadata: &Map<String, Value>, path: &str) -> Result<(), Refusal> {
    for (field, value) in metadata {
        let path = format!("{path}.metadata.{field}");
        match field.as_str() {
            "name" | "namespace" => {}
            "labels" | "annotations" => {
                let Some(map) = value.as_object() else {
                    return Err(Refusal::new(path, "must map strings to strings"));
                };
                for (key, value) in map {
                    if key.starts_with(PREFIX) {
                        return Err(Refusal::new(
                            path,
                            format!("\"{key}\": keys with the prefix {PREFIX} are reserved for the host"),
                        ));
                    }
                    if !value.is_string() {
                        return Err(Refusal::new(path, format!("\"{key}\" must be a string")));
                    }
                }
            }
            "ownerReferences" => return Err(Refusal::new(path, "the host sets the owner reference: leave it out")),
            "generateName" => return Err(Refusal::new(path, "is not supported: set metadata.name")),
            _ => return Err(Refusal::new(path, "is not for providers to set: leave it out")),
        }
    }
    Ok(())
}

fn check_body(object: &Map<String, Value>, kind: &Kind, path: &str) -> Result<(), Refusal> {
    if object.contains_key("status") {
        return Err(Refusal::new(
            format!("{path}.status"),
            "the status of a child is set by its controller: leave it out",
        ));
    }
    if is_secret(kind) && object.contains_key("stringData") {
        let message = "set data (base64) instead: stringData is never read back, so drift in it would not be detected";
        return Err(Refusal::new(format!("{path}.stringData"), message));
    }
    Ok(())
}

fn entries(metadata: &Map<String, Value>, field: &str) -> Map<String, Value> {
    metadata.get(field).and_then(Value::as_object).cloned().unwrap_or_default()
}

/// The controller owner reference to the parent; it blocks the parent's foreground deletion until the child is deleted.
fn owner_reference(parent: &Observed) -> Value {
    json!({
        "apiVersion": parent.api_version,
        "kind": &*parent.key.kind,
        "name": &*parent.key.name,
        "uid": parent.uid,
        "controller": true,
        "blockOwnerDeletion": true,
    })
}

#[cfg(test)]
mod tests;
