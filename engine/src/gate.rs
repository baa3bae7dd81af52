//! The output gate: what of a provider's answer may be acted on. One refused object refuses the whole answer, since a
//! partial answer must never lead to a prune (invariant 4).

use std::collections::{BTreeMap, BTreeSet};

use bartizan_contract::names::{
    API_VERSION, INTENT_ANNOTATION, OWNER_UID_LABEL, PREFIX, PROVIDER_LABEL, RESPONSE_KIND,
};
use bartizan_contract::{Child, Generate, Kind, OnDelete, OnImmutableChange, ReconcileResponse};
use serde_json::{Map, Value, json};
use thiserror::Error;

use crate::object::{ObjectKey, Observed, hash_json, short_hex};

/// Why an answer is not acted on: where in the response, and what is wrong with it.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{path}: {message}")]
pub struct Refusal {
    /// Path in the response, as `response.children[2].object.metadata.finalizers`.
    pub path: String,
    /// What is wrong, and what to do.
    pub message: String,
}

impl Refusal {
    fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }
}

/// What a provider may write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// Granted kinds of children, and whether each is namespaced.
    pub children: BTreeMap<Kind, bool>,
}

/// Who asks, and within which bounds.
#[derive(Clone, Copy, Debug)]
pub struct GateInput<'a> {
    /// Name of the provider.
    pub provider: &'a str,
    /// What it may write.
    pub grants: &'a Grants,
    /// The parent that the answer is about.
    pub parent: &'a Observed,
    /// The most children that one answer may hold.
    pub max_children: usize,
}

/// An answer that passed the gate.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The children that should exist, in the order of the response.
    pub intents: Vec<Intent>,
    /// Write the status only.
    pub hold: bool,
    /// The parent's status as the provider said it.
    pub status: Option<Value>,
    /// Ask again after so many seconds.
    pub resync_after_seconds: Option<u32>,
}

/// One child as the host means it to be: the provider's object with the host's labels, owner reference and intent hash.
#[derive(Clone, Debug, PartialEq)]
pub struct Intent {
    /// Identity.
    pub key: ObjectKey,
    /// The kind at the version that it is written at.
    pub kind: Kind,
    /// The object to apply, but for generated values.
    pub object: Value,
    /// Hash of the intent, as it stands in the annotation. Over the wish for generated values, never over the values.
    pub hash: String,
    /// Values to generate in it, if it is a Secret that is asked to have some.
    pub generate: Vec<Generate>,
}

/// Checks an answer, and turns it into intents.
///
/// # Errors
/// The first thing in the answer that may not be acted on.
pub fn check(response: &[u8], input: &GateInput<'_>) -> Result<Answer, Refusal> {
    let response = parse(response)?;
    refuse_what_is_not_honoured(&response)?;
    if response.resync_after_seconds == Some(0) {
        return Err(Refusal::new(
            "response.resyncAfterSeconds",
            "0 would be a busy loop: leave it out, or say 1 or more",
        ));
    }
    if response.children.len() > input.max_children {
        let message = format!("{} children are more than the limit of {}", response.children.len(), input.max_children);
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
        let intent = intend(child.object, generate, &path, input)?;
        if !seen.insert(intent.key.clone()) {
            return Err(Refusal::new(path, format!("{} is in the answer twice", intent.key)));
        }
        intents.push(intent);
    }
    check_generate(&response.generate, &intents)?;
    Ok(Answer {
        intents,
        hold: response.hold,
        status: response.status,
        resync_after_seconds: response.resync_after_seconds,
    })
}

fn parse(bytes: &[u8]) -> Result<ReconcileResponse, Refusal> {
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

/// Fields of the contract that this host cannot act on yet: refused by name, since ignoring one could lose data.
fn refuse_what_is_not_honoured(response: &ReconcileResponse) -> Result<(), Refusal> {
    let refuse = |path: String| Err(Refusal::new(path, "is not supported by this version of the host"));
    for (used, name) in [
        (!response.keep.is_empty(), "keep"),
        (!response.events.is_empty(), "events"),
        (!response.related.is_empty(), "related"),
        (response.finalized, "finalized"),
    ] {
        if used {
            return refuse(format!("response.{name}"));
        }
    }
    for (position, child) in response.children.iter().enumerate() {
        for (used, name) in [
            (child.wave != 0, "wave"),
            (child.on_delete != OnDelete::Delete, "onDelete"),
            (child.on_immutable_change != OnImmutableChange::Refuse, "onImmutableChange"),
        ] {
            if used {
                return refuse(format!("response.children[{position}].{name}"));
            }
        }
    }
    Ok(())
}

/// Conditions of the host's own, which no provider may claim.
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
            return Err(Refusal::new(path, format!("condition {} is the host's own", parsed.type_)));
        }
        if parsed.type_.is_empty() || parsed.reason.is_empty() {
            return Err(Refusal::new(path, "a condition needs a type and a reason"));
        }
        if !seen.insert(parsed.type_.clone()) {
            return Err(Refusal::new(path, format!("condition {} is there twice", parsed.type_)));
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
    for (position, wish) in generate.iter().enumerate() {
        let path = format!("response.generate[{position}]");
        if !(8..=1024).contains(&wish.length) {
            let message = format!("{} characters: must be 8 to 1024", wish.length);
            return Err(Refusal::new(format!("{path}.length"), message));
        }
        let Some(secret) = intents.iter().find(|intent| intent.generate.contains(wish)) else {
            let message = format!("Secret \"{}\" is not among the children of this answer", wish.secret);
            return Err(Refusal::new(format!("{path}.secret"), message));
        };
        if secret.object.get("data").and_then(|data| data.get(&wish.key)).is_some() {
            let message = format!("Secret \"{}\" has a value of its own for \"{}\"", wish.secret, wish.key);
            return Err(Refusal::new(format!("{path}.key"), message));
        }
        if !seen.insert((&wish.secret, &wish.key)) {
            let message = format!("\"{}\" of Secret \"{}\" is asked for twice", wish.key, wish.secret);
            return Err(Refusal::new(path, message));
        }
    }
    Ok(())
}

/// Checks one object and makes it the host's intent.
fn intend(object: Value, generate: Vec<Generate>, path: &str, input: &GateInput<'_>) -> Result<Intent, Refusal> {
    let Value::Object(mut object) = object else {
        return Err(Refusal::new(path, "must be an object"));
    };
    let required = |field: &str, value: Option<&Value>| match value.and_then(Value::as_str) {
        Some(text) if !text.is_empty() => Ok(text.to_owned()),
        _ => Err(Refusal::new(format!("{path}.{field}"), "is required and must be a text")),
    };
    let api_version = required("apiVersion", object.get("apiVersion"))?;
    let kind_name = required("kind", object.get("kind"))?;
    let kind = Kind::from_api_version(&api_version, &kind_name);
    let namespaced = granted(&kind, path, input)?;
    let metadata = object.remove("metadata").unwrap_or(Value::Null);
    let name = required("metadata.name", metadata.get("name"))?;
    // It becomes a part of a URL; what else a name may be, the API server says.
    if name == "." || name == ".." || name.len() > 253 || name.contains(['/', '%', '?', '#']) {
        let message = format!("{name:?} cannot be the name of an object");
        return Err(Refusal::new(format!("{path}.metadata.name"), message));
    }
    let Value::Object(mut metadata) = metadata else {
        return Err(Refusal::new(format!("{path}.metadata"), "must be an object"));
    };
    let namespace = namespace(&metadata, &kind, namespaced, path, input)?;
    check_metadata(&metadata, path)?;
    check_body(&object, &kind, path)?;

    metadata.insert("namespace".to_owned(), namespace.clone().into());
    let mut labels = entries(&metadata, "labels");
    labels.insert(PROVIDER_LABEL.to_owned(), input.provider.into());
    labels.insert(OWNER_UID_LABEL.to_owned(), input.parent.uid.clone().into());
    metadata.insert("labels".to_owned(), labels.into());
    metadata.insert("ownerReferences".to_owned(), json!([owner_reference(input.parent)]));
    object.insert("metadata".to_owned(), metadata.into());
    let mut object = Value::Object(object);
    let hash = short_hex(&hash_json(&json!([object, generate])));
    let mut annotations =
        object.get("metadata").and_then(Value::as_object).map(|m| entries(m, "annotations")).unwrap_or_default();
    annotations.insert(INTENT_ANNOTATION.to_owned(), hash.clone().into());
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("annotations".to_owned(), annotations.into());
    }
    Ok(Intent { key: ObjectKey::new(&kind, Some(&namespace), &name), kind, object, hash, generate })
}

fn granted(kind: &Kind, path: &str, input: &GateInput<'_>) -> Result<bool, Refusal> {
    match input.grants.children.get(kind) {
        Some(namespaced) => Ok(*namespaced),
        None => {
            let granted: Vec<String> = input.grants.children.keys().map(ToString::to_string).collect();
            let message = format!(
                "{kind} was not granted to provider {}; it may write {}",
                input.provider,
                if granted.is_empty() { "nothing".to_owned() } else { granted.join(", ") }
            );
            Err(Refusal::new(path, message))
        }
    }
}

/// The namespace that a child goes to: the parent's, and no other.
fn namespace(
    metadata: &Map<String, Value>,
    kind: &Kind,
    namespaced: bool,
    path: &str,
    input: &GateInput<'_>,
) -> Result<String, Refusal> {
    let path = format!("{path}.metadata.namespace");
    if !namespaced {
        let message = format!("{kind} is cluster-scoped, which this version of the host does not write");
        return Err(Refusal::new(path, message));
    }
    let Some(own) = input.parent.key.namespace.as_deref() else {
        let message = "the parent is cluster-scoped, for which this version of the host writes no children";
        return Err(Refusal::new(path, message));
    };
    match metadata.get("namespace") {
        None | Some(Value::Null) => Ok(own.to_owned()),
        Some(Value::String(namespace)) if namespace == own => Ok(own.to_owned()),
        Some(other) => Err(Refusal::new(
            path,
            format!("{other} is not the parent's namespace \"{own}\", and no other was granted"),
        )),
    }
}

/// What a provider may say in metadata; the rest is the API server's or the host's.
fn check_metadata(metadata: &Map<String, Value>, path: &str) -> Result<(), Refusal> {
    for (field, value) in metadata {
        let path = format!("{path}.metadata.{field}");
        match field.as_str() {
            "name" | "namespace" => {}
            "labels" | "annotations" => {
                let Some(map) = value.as_object() else {
                    return Err(Refusal::new(path, "must be a map of texts"));
                };
                for (key, value) in map {
                    if key.starts_with(PREFIX) {
                        return Err(Refusal::new(path, format!("\"{key}\": keys below {PREFIX} are the host's")));
                    }
                    if !value.is_string() {
                        return Err(Refusal::new(path, format!("\"{key}\" must be a text")));
                    }
                }
            }
            "ownerReferences" => return Err(Refusal::new(path, "the host sets the owner reference: leave it out")),
            "generateName" => return Err(Refusal::new(path, "a child has a name of its own: set metadata.name")),
            _ => return Err(Refusal::new(path, "a provider may not set it: leave it out")),
        }
    }
    Ok(())
}

fn check_body(object: &Map<String, Value>, kind: &Kind, path: &str) -> Result<(), Refusal> {
    if object.contains_key("status") {
        return Err(Refusal::new(format!("{path}.status"), "a child's status is its controller's: leave it out"));
    }
    if kind.group.is_empty() && kind.kind == "Secret" && object.contains_key("stringData") {
        let message = "write data (base64) instead: stringData is never read back, so its changes go unseen";
        return Err(Refusal::new(format!("{path}.stringData"), message));
    }
    Ok(())
}

fn entries(metadata: &Map<String, Value>, field: &str) -> Map<String, Value> {
    metadata.get(field).and_then(Value::as_object).cloned().unwrap_or_default()
}

/// The parent as the controlling owner: with it goes the child, in foreground deletion before it.
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
#[path = "gate_tests.rs"]
mod tests;
